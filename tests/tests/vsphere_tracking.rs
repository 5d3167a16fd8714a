//! The rules of changed areas, C1 to C10, through the program: whatever tracking says, a point has the bytes of the disk.

use serde_json::Value;
use strongroom_tests::VsphereSite;

const VM: &str = "clear01";

/// Backs the VM up: how its disk was read, why, and whether the point is the disk bit for bit.
#[track_caller]
fn night(place: &VsphereSite, options: &[&str], exit: i32) -> Value {
    let run = place.json(&[&["backup", VM], options].concat(), exit)["runs"][0].clone();
    let target = place.site.fresh("back.img");
    place.site.run(&["restore", VM, "--disk", &format!("disk0={}", target.display())]).ends(0);
    assert!(strongroom_tests::is_same(&target, &place.disk_file(VM, 2000)), "{run}");
    run["backup"]["disks"][0].clone()
}

#[track_caller]
fn assert_whole(disk: &Value, why: &str) {
    assert_eq!(disk["read"], "whole", "{disk}");
    assert!(disk["full_read_reason"].as_str().unwrap_or_default().contains(why), "{why:?}: {disk}");
}

#[track_caller]
fn assert_changed(disk: &Value) {
    assert_eq!(disk["read"], "changed_areas", "{disk}");
}

fn write(place: &VsphereSite, at: u64) {
    place.vcenter.ctl(&format!("write?vm={VM}&off={at}&len=5000"));
}

#[test]
fn c1_without_a_base_or_with_one_that_has_bad_extents_all_is_read() {
    let Some(place) = VsphereSite::new() else { return };
    let datastore = place.vcenter.datastore("ds1");
    place.library.set_over(&datastore, "fail = [\"Read:16@2048\"]\n");
    let first = place.json(&["backup", VM], 3)["runs"][0].clone();
    assert_eq!(first["backup"]["disks"][0]["read"], "whole", "{first}");
    place.library.set_over(&datastore, "");
    write(&place, 1 << 20);
    assert_whole(&night(&place, &[], 0), "");
    write(&place, 2 << 20);
    assert_changed(&night(&place, &[], 0));
}

#[test]
fn c2_without_a_change_id_this_night_and_the_next_read_all() {
    let Some(place) = VsphereSite::new() else { return };
    night(&place, &[], 0);
    place.vcenter.ctl(&format!("ctk?vm={VM}&mode=nochangeid"));
    write(&place, 1 << 20);
    assert_whole(&night(&place, &[], 0), "changes of the disk are not tracked");
    place.vcenter.ctl(&format!("ctk?vm={VM}&mode="));
    write(&place, 2 << 20);
    assert_whole(&night(&place, &[], 0), "the point before has no change id of it");
    write(&place, 3 << 20);
    assert_changed(&night(&place, &[], 0));
}

#[test]
fn c3_c6_c7_every_answer_that_cannot_be_right_is_a_full_read_that_says_why() {
    let Some(place) = VsphereSite::new() else { return };
    night(&place, &[], 0);
    for (call, why) in [
        ("ctkreset?vm=clear01", "change tracking was reset"),
        ("ctk?vm=clear01&mode=backwards", "change tracking"),
        ("ctk?vm=clear01&mode=fault", "the server cannot say what has changed (FileFault"),
        (
            "fail?method=QueryChangedDiskAreas&fault=InvalidArgument",
            "the server cannot say what has changed (InvalidArgument",
        ),
        ("fail?method=QueryChangedDiskAreas&fault=NotFound", "the server cannot say what has changed (NotFound"),
        ("fail?method=QueryChangedDiskAreas&fault=SystemError", "the server cannot say what has changed (SystemError"),
        ("ctk?vm=clear01&mode=startoffset", "server answered wrongly"),
        ("ctk?vm=clear01&mode=nolength", "server answered wrongly"),
        ("ctk?vm=clear01&mode=beyond", "server answered wrongly"),
        ("ctk?vm=clear01&mode=unsorted", "server answered wrongly"),
        ("ctk?vm=clear01&mode=overlap", "server answered wrongly"),
        ("ctk?vm=clear01&mode=outside", "server answered wrongly"),
    ] {
        write(&place, 1 << 20);
        place.vcenter.ctl(call);
        assert_whole(&night(&place, &[], 0), why);
        place.vcenter.ctl("clean");
        place.vcenter.ctl(&format!("ctk?vm={VM}&mode="));
        // What was read whole is a base again.
        write(&place, 4 << 20);
        let disk = night(&place, &[], 0);
        if !call.ends_with("backwards") {
            assert_changed(&disk);
        }
    }
}

#[test]
fn c4_another_disk_under_the_same_name_is_read_whole() {
    let Some(place) = VsphereSite::new() else { return };
    night(&place, &[], 0);
    place.destroy(VM);
    place.vcenter.ctl("addvm?name=clear01&disks=6");
    let disk = night(&place, &[], 0);
    assert_whole(&disk, "the disk had 8388608 bytes and has 6291456");
}

#[test]
fn c5_a_revert_that_resets_tracking_is_a_full_read() {
    let Some(place) = VsphereSite::new() else { return };
    night(&place, &[], 0);
    place.vcenter.ctl(&format!("snapshot?vm={VM}&name=before"));
    write(&place, 1 << 20);
    assert_changed(&night(&place, &[], 0));
    place.vcenter.ctl(&format!("revert?vm={VM}&snapshot=before"));
    assert_whole(&night(&place, &[], 0), "change tracking was reset");
}

#[test]
fn c8_the_server_is_asked_until_the_end_of_the_disk_however_little_it_answers() {
    let Some(place) = VsphereSite::new() else { return };
    night(&place, &[], 0);
    for (mode, split) in [("", 1 << 20), ("short", 0)] {
        place.vcenter.ctl(&format!("ctk?vm={VM}&mode={mode}&split={split}"));
        for at in [100, 3 << 20, (8 << 20) - 6000] {
            write(&place, at);
        }
        place.vcenter.ctl("calls?clear=true");
        assert_changed(&night(&place, &[], 0));
        let asked = place.vcenter.calls().iter().filter(|call| *call == "QueryChangedDiskAreas").count();
        assert!(asked >= 8, "{mode} {split}: asked {asked} times");
    }
}

#[test]
fn c9_what_was_ever_written_is_never_asked_for() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("calls?clear=true");
    night(&place, &[], 0);
    assert!(
        !place.vcenter.calls().iter().any(|call| call == "QueryChangedDiskAreas"),
        "a first night has no base to ask by"
    );
}

#[test]
fn c10_what_tracking_has_missed_is_found_by_the_audit_and_the_disk_read_whole() {
    let Some(place) = VsphereSite::new() else { return };
    night(&place, &[], 0);
    place.vcenter.ctl(&format!("write?vm={VM}&off=5242880&len=4096&unseen=true"));
    let run = place.json(&["backup", VM, "--audit", "100%"], 3)["runs"][0].clone();
    let disk = &run["backup"]["disks"][0];
    assert!(disk["audit"]["missed_segments"].as_u64().unwrap() > 0, "{run}");
    let target = place.site.fresh("back.img");
    place.site.run(&["restore", VM, "--disk", &format!("disk0={}", target.display())]).ends(0);
    assert!(strongroom_tests::is_same(&target, &place.disk_file(VM, 2000)), "{run}");
    // A revert that tracking goes on over is found the same way.
    place.vcenter.ctl(&format!("snapshot?vm={VM}&name=before"));
    write(&place, 1 << 20);
    place.json(&["backup", VM], 0);
    place.vcenter.ctl(&format!("revert?vm={VM}&snapshot=before&tracking=goes-on"));
    place.json(&["backup", VM, "--audit", "100%"], 3);
    let target = place.site.fresh("back.img");
    place.site.run(&["restore", VM, "--disk", &format!("disk0={}", target.display())]).ends(0);
    assert!(strongroom_tests::is_same(&target, &place.disk_file(VM, 2000)));
}

#[test]
fn nights_by_changed_areas_and_nights_read_whole_have_the_same_map_root() {
    let Some(place) = VsphereSite::with(&["--disk-mib", "40"]) else { return };
    night(&place, &[], 0);
    for round in 0..4_u64 {
        for part in 0..5_u64 {
            let at = (round * 7 + part * 11) % 39 * (1 << 20) + part * 4096 * 3;
            let zero = if part == round { "&zero=true" } else { "" };
            place.vcenter.ctl(&format!("write?vm={VM}&off={at}&len={}{zero}", 3000 + part * 70_000));
        }
        let by_areas = night(&place, &[], 0);
        assert_changed(&by_areas);
        place.vcenter.ctl(&format!("ctkreset?vm={VM}"));
        let whole = night(&place, &[], 0);
        assert_whole(&whole, "change tracking was reset");
        assert_eq!(by_areas["map_root"], whole["map_root"], "round {round}");
        assert!(by_areas["map_root"].is_string());
    }
}
