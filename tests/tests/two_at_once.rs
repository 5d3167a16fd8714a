//! Writers side by side.

use strongroom_tests::{Site, disk, write_full, write_random_file};

#[test]
fn of_two_backups_of_one_vm_the_later_ends_with_11_and_the_first_is_not_disturbed() {
    let site = Site::new();
    let (image, other) = (site.path("web01.img"), site.path("other.img"));
    write_random_file(&image, 1, 0, 300 << 20);
    write_full(&other, &disk(2, 1 << 20));
    let first = site.start(&["backup", image.to_str().unwrap()]);
    site.wait_for_packs(1);
    site.run(&["backup", "--vm", "web01", other.to_str().unwrap()])
        .fails(11, &["web01 is being backed up by another process", "wait until the other run has ended"]);
    // Another VM, a list and a verification do not wait for it.
    site.back_up("web02", &other);
    site.run(&["list"]).ends(0);
    first.end().ends(0);
    site.assert_restores("web01", &image);
    site.assert_restores("web02", &other);
    site.back_up("web01", &other);
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
}

#[test]
fn many_vms_backed_up_at_once_all_come_back() {
    let site = Site::new();
    let images: Vec<_> = (0..6_u64)
        .map(|number| {
            let image = site.path(&format!("vm{number}.img"));
            // Two share their content: they race for the same chunks.
            write_full(&image, &disk(10 + number / 2, 6 << 20));
            image
        })
        .collect();
    let runs: Vec<_> = images.iter().map(|image| site.start(&["backup", image.to_str().unwrap()])).collect();
    for run in runs {
        run.end().ends(0);
    }
    for (number, image) in images.iter().enumerate() {
        site.assert_restores(&format!("vm{number}"), image);
    }
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
}
