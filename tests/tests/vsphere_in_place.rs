//! Disks of a VM that is there become what they were; and HotAdd, which writes under a snapshot.

use std::fs;

use serde_json::json;
use strongroom_tests::VsphereSite;

const RESTORE: [&str; 4] = ["restore", "enc01", "--in-place", "--yes"];

#[test]
fn a_powered_off_vm_gets_its_disks_back_and_keeps_everything_else_and_only_what_differs_is_written() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let was = place.known("enc01");
    let state = place.vcenter.ctl("state");
    for at in [1 << 20, 5 << 20] {
        place.vcenter.ctl(&format!("write?vm=enc01&off={at}&len=70000"));
    }
    place.run(&RESTORE).fails(2, &["enc01: it must be powered off; its state is powered on", "power it off"]);
    place.vcenter.ctl("poweroff?vm=enc01");
    place.run(&RESTORE[..3]).fails(2, &["consent is missing", "--yes"]);
    let changed = place.known("enc01");
    let dry = place.run(&["restore", "enc01", "--in-place", "-n"]).ends(0);
    assert!(dry.stderr.contains("-> in place, enc01"), "{}", dry.stderr);
    assert!(place.known("enc01").disks == changed.disks, "a dry run has written");
    let done = place.json(&RESTORE, 0);
    let written = done["written_bytes"].as_u64().unwrap();
    assert!((140_000..1_500_000).contains(&written), "{done}");
    assert_eq!((&done["vm"], &done["verdict"]), (&json!("enc01"), &json!("unchanged")));
    let back = place.known("enc01");
    assert!(back.disks == was.disks);
    assert_eq!((back.keys(), &back.info["bundle"]), (was.keys(), &was.info["bundle"]));
    assert_eq!(back.info["change_tracking"], true);
    assert_eq!(place.json(&RESTORE, 0)["written_bytes"], 0, "all is right already");
    // Nothing trusts what tracking knew before: the next night reads all of it.
    let run = place.json(&["backup", "enc01"], 0)["runs"][0].clone();
    assert_eq!(run["backup"]["disks"][0]["read"], "whole", "{run}");
    assert_eq!(place.boots("enc01"), "original");
    let flat = |text: String| text.replace("poweredOff", "poweredOn");
    assert_eq!(flat(place.vcenter.ctl("state").to_string()), flat(state.to_string()));
    assert_eq!(place.json(&["cleanup", "--yes"], 0)["undone"], json!([]));
}

#[test]
fn a_vm_that_is_not_the_one_of_the_point_is_not_written_to() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01", "off01"]).ends(0);
    place.vcenter.ctl("poweroff?vm=enc01");
    place.vcenter.ctl("snapshot?vm=enc01&name=mine&description=by%20hand");
    place.run(&RESTORE).fails(2, &["enc01: it has snapshots", "leave --in-place out"]);
    place.vcenter.ctl("unsnapshot?vm=enc01&snapshot=mine");
    place
        .run(&["restore", "enc01", "--in-place", "--yes", "--accept-loss", "nvram"])
        .fails(2, &["--accept-loss nvram has no meaning"]);
    place.run(&["restore", "enc01", "--in-place", "--name", "x"]).ends(2);
    for transport in ["san", "nbd"] {
        let words = [&RESTORE[..], &["--transport", transport]].concat();
        place.run(&words).fails(2, &["enc01 disk0", "is refused", "nothing was written"]);
    }
    // One that was made anew under the same identity has other disks; one that is gone has none.
    place.destroy("off01");
    place.vcenter.ctl("addvm?name=off01&disks=8&off=true");
    let before = place.known("off01");
    let words = ["off01 disk0: the VM has no disk with the uuid that it had", "leave --in-place out"];
    place.run(&["restore", "off01", "--in-place", "--yes"]).fails(2, &words);
    assert!(place.known("off01").disks == before.disks);
    place.destroy("off01");
    let words = ["off01: it is not in vCenter", "leave --in-place out"];
    place.run(&["restore", "off01", "--in-place", "--yes"]).fails(1, &words);
    let place = place.moved(&["--disk-mib", "8", "--instance-uuid", "0a1b2c3d-2222-4222-8333-444455556666"]);
    place.run(&RESTORE).fails(2, &["was made of a VM of another vCenter"]);
}

#[test]
fn an_in_place_restore_that_fails_or_is_killed_is_told_tracking_comes_back_and_it_can_be_run_again() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let was = place.known("enc01");
    place.vcenter.ctl("write?vm=enc01&off=1048576&len=200000");
    place.vcenter.ctl("poweroff?vm=enc01");
    let datastore = place.vcenter.datastore("ds1");
    place.library.set_over(&datastore, "fail = [\"Write:16\"]\n");
    place.run(&RESTORE).fails(1, &["enc01", "what was written until then stays: run it again"]);
    assert_eq!(place.vcenter.info("enc01")["change_tracking"], true);
    place.library.set_over(&datastore, "delay_ms = 2000\n");
    let mut running = place.start(&RESTORE);
    while place.vcenter.info("enc01")["change_tracking"] == true && running.goes_on() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running.signal(rustix::process::Signal::KILL);
    running.end();
    place.library.set_over(&datastore, "");
    assert_eq!(place.vcenter.info("enc01")["change_tracking"], false);
    let undone = place.json(&["cleanup", "--yes"], 0)["undone"].to_string();
    assert!(undone.contains("may be restored in part: run that restore again"), "{undone}");
    assert_eq!(place.vcenter.info("enc01")["change_tracking"], true);
    place.run(&RESTORE).ends(0);
    assert!(place.known("enc01").disks == was.disks);
}

#[test]
fn hotadd_writes_the_disk_below_a_snapshot_of_its_own_that_is_gone_afterwards() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let was = place.known("enc01");
    let proxy = place.vcenter.info("tpm01")["uuid"].as_str().unwrap().to_owned();
    let datastore = place.vcenter.datastore("ds1");
    place.library.set_over(&datastore, "mode = \"hotadd\"\n");
    place.vcenter.ctl("calls?clear=true");
    let new = ["restore", "enc01", "--name", "back", "--yes", "--verify-after", "--transport", "hotadd"];
    let Some(run) = place.inside(&proxy, &new) else { return };
    run.ends(0);
    let calls = place.vcenter.calls();
    let at = |name: &str| {
        calls.iter().position(|call| call.starts_with(name)).unwrap_or_else(|| panic!("{name}: {calls:?}"))
    };
    assert!(
        at("CreateVM") < at("CreateSnapshot")
            && at("CreateSnapshot") < at("RemoveSnapshot")
            && at("RemoveSnapshot") < at("PUT")
    );
    let back = place.known("back");
    assert!(back.disks == was.disks);
    assert_eq!(back.info["snapshots"], json!([]));
    assert!(!back.info["disks"][0]["file"].as_str().unwrap().contains("-000001"), "{}", back.info);
    assert_eq!(place.boots("back"), "original");
    // The same where the disk is: and a failure removes the snapshot, too.
    place.vcenter.ctl("write?vm=enc01&off=1048576&len=200000");
    place.vcenter.ctl("poweroff?vm=enc01");
    let in_place = [&RESTORE[..], &["--transport", "hotadd"]].concat();
    place.library.set_over(&datastore, "mode = \"hotadd\"\nfail = [\"Write:16\"]\n");
    place.inside(&proxy, &in_place).unwrap().ends(1);
    assert_eq!(place.vcenter.info("enc01")["snapshots"], json!([]));
    place.library.set_over(&datastore, "mode = \"hotadd\"\n");
    place.inside(&proxy, &in_place).unwrap().ends(0);
    let back = place.known("enc01");
    assert!(back.disks == was.disks);
    assert_eq!((&back.info["snapshots"], &back.info["change_tracking"]), (&json!([]), &json!(true)));
    // From a proxy in the clear an encrypted disk is not written, and nothing is made for it.
    let clear = place.vcenter.info("clear01")["uuid"].as_str().unwrap().to_owned();
    let words = ["restore", "enc01", "--name", "never", "--yes", "--transport", "hotadd"];
    let run = place.inside(&clear, &words).unwrap().ends(1);
    assert!(run.stdout.contains("hotadd is refused: the disk is encrypted"), "{}", run.stdout);
    place.assert_nothing_is_left("never");
    // A hotadd that falls back to another way is closed, and the VM that was made for it goes.
    place.library.set_over(&datastore, "mode = \"nbdssl\"\n");
    place.inside(&proxy, &words).unwrap().ends(1);
    place.assert_nothing_is_left("never");
    let left: Vec<_> = fs::read_dir(datastore.join("enc01")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().contains("-00000")), "{left:?}");
}
