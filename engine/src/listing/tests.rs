use super::*;
use crate::{
    monitor::Silent,
    test_repository::{CHUNK, TestRepository, content},
};

const CHUNK_BYTES: u64 = CHUNK as u64;

#[test]
fn a_difference_is_what_changed_and_nothing_else() {
    let mut repository = TestRepository::new();
    let seeds: Vec<u8> = (0..1100_usize).map(|number| u8::try_from(number % 200).unwrap()).collect();
    let mut night = seeds.clone();
    (night[0], night[5], night[6], night[800]) = (1, 253, 254, 252);
    let before = repository.back_up("web01", &[("a", &content(&seeds)), ("gone", &content(&[1, 0, 2]))], true);
    let after = repository.back_up("web01", &[("a", &content(&night)), ("new", &content(&[0, 9]))], false);
    let reader = repository.reader();
    let mut extents = Vec::new();
    let found = diff(&reader, before, after, &mut |disk, range| {
        if disk == "a" {
            extents.push((range.start / CHUNK_BYTES, range.end / CHUNK_BYTES));
        }
    });
    let found = found.unwrap();
    let disks: Vec<_> = found
        .disks
        .iter()
        .map(|disk| (disk.name.as_str(), disk.side, disk.changed_bytes / CHUNK_BYTES, disk.changed_segments))
        .collect();
    assert_eq!(disks, [("a", Side::Both, 4, 3), ("new", Side::Added, 1, 1), ("gone", Side::Removed, 2, 1)]);
    assert_eq!(extents, [(0, 1), (5, 7), (800, 801)]);
    assert!(!found.other_vm);
    let firmware = found.home.iter().find(|change| change.field == "firmware").unwrap();
    assert_eq!((firmware.before.as_str(), firmware.after.as_str()), ("efi", "-"));
    let same = diff(&reader, before, before, &mut |_, _| ()).unwrap();
    assert!(same.home.is_empty() && same.disks.iter().all(|disk| disk.changed_bytes == 0));
}

#[test]
fn disks_whose_maps_are_of_unequal_height_are_compared() {
    let mut repository = TestRepository::new();
    let small: Vec<u8> = (0..100).collect();
    let mut large = small.clone();
    large.extend([0; 2000]);
    (large[7], large[1500]) = (200, 9);
    let small = repository.back_up("web01", &[("a", &content(&small))], false);
    let large = repository.back_up("web02", &[("a", &content(&large))], false);
    let reader = repository.reader();
    for (before, after) in [(small, large), (large, small)] {
        let found = diff(&reader, before, after, &mut |_, _| ()).unwrap();
        assert!(found.other_vm);
        assert_eq!((found.disks[0].changed_bytes, found.disks[0].changed_segments), (2 * CHUNK_BYTES, 2));
    }
}

#[test]
fn a_shown_point_gives_no_secret_away() {
    let mut repository = TestRepository::new();
    let point = repository.back_up("web01", &[("a", &content(&[1, 2, 0, 3]))], true);
    let reader = repository.reader();
    let shown = show(&reader, point).unwrap();
    let bundle = shown.home.as_ref().and_then(|home| home.encryption_bundle.clone()).unwrap();
    assert_eq!((bundle.bytes, bundle.fingerprint.len()), (40, 8));
    assert!(!format!("{shown:?}").contains("[5, 5"));
    assert_eq!(shown.verdict.word(), "unknown");
    let mut extents = Vec::new();
    disk_extents(&reader, &shown.record.disks[0], &mut |range| extents.push(range)).unwrap();
    assert_eq!(extents, [0..8192, 12288..16384]);
    let mut listed = Vec::new();
    list(&reader, &mut |point| listed.push(point)).unwrap();
    assert_eq!(listed.iter().map(|point| (point.id, &point.verdict)).collect::<Vec<_>>(), [(point, &shown.verdict)]);
}

#[test]
fn figures_add_up() {
    let mut repository = TestRepository::new();
    repository.back_up("web01", &[("a", &content(&[1, 2, 0, 3]))], false);
    repository.back_up("web02", &[("a", &content(&[1, 9, 9, 0]))], false);
    repository.back_up("web01", &[("a", &content(&[1, 2, 0, 4]))], false);
    let found = stats(&repository.reader(), &Silent).unwrap();
    let chunks = |bytes: u64| bytes / CHUNK_BYTES;
    let totals = found.totals;
    assert!(found.exact && found.unreadable_points == 0);
    assert_eq!((totals.points, chunks(totals.logical_bytes), chunks(totals.allocated_bytes)), (3, 12, 9));
    assert_eq!(chunks(totals.distinct_bytes), 5);
    let vms: Vec<_> = found
        .vms
        .iter()
        .map(|vm| (vm.points, chunks(vm.logical_bytes), chunks(vm.allocated_bytes), chunks(vm.unique_bytes)))
        .collect();
    assert_eq!(vms, [(2, 8, 6, 3), (1, 4, 3, 1)]);
    assert!(found.vms[0].stored_bytes >= 3 * CHUNK_BYTES && totals.stored_bytes > found.vms[0].stored_bytes);
}
