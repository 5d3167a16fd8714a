//! VMs of a vCenter, encrypted ones included, become restore points; nothing is left behind in the vCenter.

use serde_json::{Value, json};
use strongroom_tests::{VsphereSite, files_below, is_same};

/// Backs up one VM; the run, as its result tells it.
#[track_caller]
fn back_up(place: &VsphereSite, vm: &str, exit: i32) -> Value {
    let result = place.json(&["backup", vm], exit);
    let [run] = result["runs"].as_array().unwrap().as_slice() else { panic!("{result}") };
    run.clone()
}

/// The newest point of a VM has the bytes of its disks, by device key.
#[track_caller]
fn assert_disks(place: &VsphereSite, vm: &str, keys: &[u64]) {
    assert_disks_of(place, vm, vm, keys);
}

#[track_caller]
fn assert_disks_of(place: &VsphereSite, point: &str, vm: &str, keys: &[u64]) {
    for (number, key) in keys.iter().enumerate() {
        let target = place.site.fresh("back.img");
        let to = format!("disk{number}={}", target.display());
        place.site.run(&["restore", point, "--disk", &to]).ends(0);
        assert!(is_same(&target, &place.disk_file(vm, *key)), "{vm} disk{number}");
    }
}

/// What of a point's VM home is shown.
fn home(place: &VsphereSite, vm: &str) -> Value {
    place.site.json(&["show", vm])["point"]["vm_home"].clone()
}

#[test]
fn an_encrypted_vm_is_captured_with_key_bundle_policy_and_nvram() {
    let Some(place) = VsphereSite::new() else { return };
    let before = place.vcenter.ctl("state");
    let run = back_up(&place, "enc01", 0);
    assert_eq!((&run["outcome"], &run["encryption"]), (&json!("done"), &json!("whole")), "{run}");
    assert_eq!(run["consistency"], json!("file_system"));
    assert_disks(&place, "enc01", &[2000]);
    let info = place.vcenter.info("enc01");
    let home = home(&place, "enc01");
    assert_eq!(home["key_id"], json!(info["key_id"].as_str().unwrap().split_once('/').unwrap().1), "{home}");
    assert_eq!(home["provider_id"], json!("kms-prod"));
    assert_eq!(home["storage_policy"]["name"], json!("VM Encryption Policy"));
    // Tracking was switched on, and stays: nothing else is left.
    let mut after = place.vcenter.ctl("state");
    let tracking =
        |state: &mut Value| state.to_string().replace("\"change_tracking\":true", "\"change_tracking\":false");
    let mut before = before;
    assert_eq!(tracking(&mut before), tracking(&mut after));
}

#[test]
fn every_kind_of_vm_is_backed_up_in_one_run_and_a_template_is_refused_by_name() {
    let Some(place) = VsphereSite::new() else { return };
    let result = place.json(&["backup", "--all"], 0);
    let names: Vec<&str> = result["runs"].as_array().unwrap().iter().map(|run| run["vm"].as_str().unwrap()).collect();
    assert_eq!(names, ["clear01", "enc01", "off01", "tpm01", "two01"]);
    let word = |vm: &str| {
        let runs = result["runs"].as_array().unwrap();
        runs.iter().find(|run| run["vm"] == vm).unwrap()["encryption"].as_str().unwrap().to_owned()
    };
    assert_eq!(["clear01", "tpm01", "two01"].map(word), ["clear", "whole", "whole"]);
    for vm in ["clear01", "enc01", "off01", "tpm01"] {
        assert_disks(&place, vm, &[2000]);
    }
    assert_disks(&place, "two01", &[2000, 2001]);
    let disks = home(&place, "two01")["disks"].clone();
    let providers: Vec<_> = disks.as_array().unwrap().iter().map(|disk| disk["provider_id"].clone()).collect();
    assert_eq!(providers, [json!("kms-prod"), json!("kms-dr")]);
    place.run(&["backup", "tmpl01"]).fails(2, &["tmpl01", "is a template"]);
}

#[test]
fn two_nights_after_the_first_read_only_what_changed_and_are_bit_for_bit_whole() {
    let Some(place) = VsphereSite::new() else { return };
    back_up(&place, "enc01", 0);
    for (night, (at, length)) in [(1_u32 << 20, 70_000_u32), (5 << 20, 200_000)].into_iter().enumerate() {
        place.vcenter.ctl(&format!("write?vm=enc01&off={at}&len={length}"));
        let run = back_up(&place, "enc01", 0);
        let disk = &run["backup"]["disks"][0];
        assert_eq!(disk["read"], json!("changed_areas"), "night {night}: {run}");
        assert_disks(&place, "enc01", &[2000]);
    }
    place.site.run(&["verify", "--read-data"]).ends(0);
}

#[test]
fn a_reset_of_change_tracking_is_a_full_read_that_says_why() {
    let Some(place) = VsphereSite::new() else { return };
    back_up(&place, "clear01", 0);
    place.vcenter.ctl("write?vm=clear01&off=1048576&len=4096");
    place.vcenter.ctl("ctkreset?vm=clear01");
    let run = back_up(&place, "clear01", 0);
    let disk = &run["backup"]["disks"][0];
    assert_eq!(disk["read"], json!("whole"));
    assert!(disk["full_read_reason"].as_str().unwrap().contains("change tracking was reset"), "{disk}");
    assert_disks(&place, "clear01", &[2000]);
}

#[test]
fn an_encrypted_vm_without_its_bundle_is_an_incomplete_point_and_says_so() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("config?vm=enc01&extra=encryption.bundle");
    let ended = place.run(&["backup", "enc01"]).ends(3);
    for words in ["encryption.bundle is not in config.extraConfig", "NVRAM of this point is unusable"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let point = place.site.json(&["list"])["points"][0]["id"].as_str().unwrap().to_owned();
    assert_disks_of(&place, &point, "enc01", &[2000]);
}

#[test]
fn ways_that_would_carry_encrypted_disks_in_the_clear_are_refused_before_anything_is_opened() {
    let Some(place) = VsphereSite::new() else { return };
    for transport in ["san", "nbd"] {
        place.run(&["backup", "enc01", "--transport", transport]).fails(2, &["enc01 disk0", transport, "refused"]);
    }
    let calls = place.vcenter.calls();
    assert!(!calls.iter().any(|call| call.starts_with("CreateSnapshot")), "{calls:?}");
}

#[test]
fn a_way_that_the_library_fell_back_to_is_noticed_and_nothing_is_read() {
    let Some(place) = VsphereSite::new() else { return };
    let root = place.vcenter.datastore("ds1");
    place.library.set_over(&root, "mode = \"san\"\n");
    place.run(&["backup", "enc01"]).fails(1, &["enc01 disk0", "encrypted, but opened by \"san\"; nothing was read"]);
    assert_eq!(place.vcenter.info("enc01")["snapshots"], json!([]), "the snapshot is gone all the same");
}

#[test]
fn a_guest_that_cannot_be_made_quiet_is_backed_up_as_after_a_power_cut_or_not_at_all() {
    let Some(place) = VsphereSite::new() else { return };
    place
        .run(&["backup", "enc01", "--quiesce", "application"])
        .fails(2, &["file systems only", "--quiesce file-system"]);
    let run = place.json(&["backup", "clear01", "--quiesce", "none"], 0)["runs"][0].clone();
    assert_eq!(run["consistency"], json!("crash"));
    let run = back_up(&place, "off01", 0);
    assert_eq!(run["consistency"], json!("powered_off"));
}

#[test]
fn a_run_killed_while_it_reads_leaves_a_snapshot_that_the_next_run_removes() {
    let Some(place) = VsphereSite::new() else { return };
    let root = place.vcenter.datastore("ds1");
    let before = place.vcenter.ctl("state");
    place.library.set_over(&root, "delay_ms = 3000\n");
    let mut running = place.start(&["backup", "enc01"]);
    let has_snapshot = || place.vcenter.info("enc01")["snapshots"] != json!([]);
    while !has_snapshot() && running.goes_on() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    running.signal(rustix::process::Signal::KILL);
    running.end();
    assert!(has_snapshot());
    let shown = place.json(&["cleanup", "--dry-run"], 0);
    assert_eq!(shown["undone"].as_array().unwrap().len(), 1, "{shown}");
    assert!(has_snapshot(), "a dry run changes nothing");
    let done = place.json(&["cleanup", "--yes"], 0);
    assert_eq!(done["undone"].as_array().unwrap().len(), 1, "{done}");
    let flat = |state: Value| state.to_string().replace("\"change_tracking\":true", "\"change_tracking\":false");
    assert_eq!(flat(place.vcenter.ctl("state")), flat(before));
    assert_eq!(place.json(&["cleanup", "--yes"], 0)["undone"], json!([]));
    place.site.run(&["verify"]).ends(0);
}

#[test]
fn somebody_elses_reader_serves_the_disks_and_the_point_says_that_its_way_was_not_checked() {
    let Some(place) = VsphereSite::new() else { return };
    let root = place.vcenter.datastore("ds1");
    let serve = "test -s {password_file} && exec nbdkit -f -r -U {socket} file \"$0/$(echo '{path}' | cut -d' ' -f2)\"";
    let command = format!("sh -c {} {} transports=nbdssl", quoted(serve), root.display());
    place.run(&["backup", "clear01", "--reader-command", &command]).ends(0);
    assert_disks(&place, "clear01", &[2000]);
    let ended = place.run(&["backup", "enc01", "--reader-command", &command]).ends(0);
    assert!(ended.stderr.contains("whose own way to it cannot be checked"), "{}", ended.stderr);
    assert_disks(&place, "enc01", &[2000]);
    let careless = command.replace(" transports=nbdssl", "");
    place.run(&["backup", "enc01", "--reader-command", &careless]).fails(2, &["transports=nbdssl", "nothing was read"]);
    place.run(&["backup", "clear01", "--reader-command", "false"]).fails(1, &["ended with"]);
    assert_eq!(place.vcenter.info("enc01")["snapshots"], json!([]));
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn snapshots_of_others_are_never_touched() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("snapshot?vm=clear01&name=before-upgrade&description=by%20hand");
    let run = back_up(&place, "clear01", 0);
    assert_eq!(run["outcome"], json!("done"), "{run}");
    place.json(&["cleanup", "--yes"], 0);
    let snapshots = place.vcenter.info("clear01")["snapshots"].clone();
    assert_eq!(snapshots.as_array().unwrap().len(), 1, "{snapshots}");
}

#[test]
fn the_vcenter_password_is_in_no_output_and_no_folder() {
    let Some(place) = VsphereSite::new() else { return };
    let ended = place.run(&["backup", "enc01", "-v"]).ends(0);
    let secret = place.vcenter.password.as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(!holds(ended.stdout.as_bytes()) && !holds(ended.stderr.as_bytes()));
    let bundle = place.vcenter.info("enc01")["bundle"].as_str().unwrap().to_owned();
    assert!(!ended.stdout.contains(&bundle) && !ended.stderr.contains(&bundle));
    for folder in ["state", "cache", "repository"] {
        for file in files_below(&place.site.path(folder)) {
            let bytes = std::fs::read(&file).unwrap();
            let shows_bundle = bytes.windows(bundle.len()).any(|window| window == bundle.as_bytes());
            assert!(!holds(&bytes) && !shows_bundle, "{}", file.display());
        }
    }
}
