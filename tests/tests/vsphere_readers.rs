//! Whoever reads a disk, the point has the same bytes: VMware's library, nbdkit, and libraries of other ages.

use serde_json::Value;
use strongroom_tests::{Like, StandIn, VsphereSite, has_program};

/// Map roots of the disks of a backup.
#[track_caller]
fn roots(place: &VsphereSite, vm: &str, options: &[&str]) -> Vec<Value> {
    let result = place.json(&[&["backup", vm, "--read-all"], options].concat(), 0);
    let disks = result["runs"][0]["backup"]["disks"].clone();
    disks.as_array().unwrap().iter().map(|disk| disk["map_root"].clone()).collect()
}

#[test]
fn the_library_and_nbdkit_give_identical_bytes() {
    if !has_program("nbdkit") {
        return;
    }
    let Some(place) = VsphereSite::with(&["--disk-mib", "24"]) else { return };
    let root = place.vcenter.datastore("ds1");
    let serve = "exec nbdkit -f -r -U {socket} file \"$0/$(echo '{path}' | cut -d' ' -f2)\"";
    let quoted = format!("'{}'", serve.replace('\'', "'\\''"));
    let command = format!("sh -c {quoted} {} transports=nbdssl", root.display());
    for vm in ["two01", "clear01"] {
        for (at, zero) in [(100, ""), (1 << 20, "&zero=true"), ((24 << 20) - 512, "")] {
            let length = if zero.is_empty() { 512 } else { 2 << 20 };
            place.vcenter.ctl(&format!("write?vm={vm}&off={at}&len={length}{zero}"));
        }
        let by_library = roots(&place, vm, &[]);
        let by_nbdkit = roots(&place, vm, &["--reader-command", &command]);
        assert!(
            by_library == by_nbdkit && by_library.iter().all(Value::is_string),
            "{vm}: {by_library:?} {by_nbdkit:?}"
        );
    }
}

#[test]
fn a_library_that_takes_no_more_than_a_mebibyte_at_once_is_asked_for_no_more() {
    let Some(place) = VsphereSite::with(&["--disk-mib", "24"]) else { return };
    let datastore = place.vcenter.datastore("ds1");
    let free = roots(&place, "enc01", &[]);
    place.library.set_over(&datastore, "max_request = 2048\n");
    assert_eq!(roots(&place, "enc01", &[]), free);
    place.run(&["restore", "enc01", "--name", "back", "--yes", "--verify-after"]).ends(0);
    assert!(place.known("back").disks == place.known("enc01").disks);
}

#[test]
fn libraries_that_know_no_allocated_blocks_give_the_same_point() {
    let Some(mut place) = VsphereSite::new() else { return };
    let datastore = place.vcenter.datastore("ds1");
    let newest = roots(&place, "enc01", &[]);
    for like in [Like::Old, Like::Version6] {
        place.library = StandIn::like(like, "");
        place.library.set_over(&datastore, "");
        assert_eq!(roots(&place, "enc01", &[]), newest, "{like:?}");
        place.run(&["restore", "enc01", "--name", "back", "--yes", "--verify-after"]).ends(0);
        assert!(place.known("back").disks == place.known("enc01").disks, "{like:?}");
        place.destroy("back");
    }
}
