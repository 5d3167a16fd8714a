#![expect(clippy::single_range_in_vec_init, reason = "one range is what is wanted")]

use super::*;
use crate::{
    monitor::Silent,
    target::{Ending, MemoryTarget},
    test_repository::{CHUNK, TestRepository, content, flip},
};

const OPTIONS: RestoreOptions = RestoreOptions { threads: 3, bad_extents: BadExtents::Refuse };
const CHUNK_BYTES: u64 = CHUNK as u64;

fn job(point: ChunkId, disks: &[(&str, &Arc<MemoryTarget>)]) -> RestoreJob {
    let disk =
        |(name, target): &(&str, &Arc<MemoryTarget>)| ((*name).to_owned(), Arc::clone(target) as Arc<dyn Target>);
    RestoreJob { point, disks: disks.iter().map(disk).collect(), base: None }
}

fn run(reader: &Reader, point: ChunkId, target: &Arc<MemoryTarget>) -> Result<RestoreReport, RestoreError> {
    restore(reader, &job(point, &[("a", target)]), &OPTIONS, &Silent)
}

/// Runs of data, holes, and a chunk that comes again and again.
fn seeds(count: usize) -> Vec<u8> {
    let seed = |number: usize| match number % 7 {
        3 => 0,
        5 => 9,
        _ => u8::try_from(number % 249 + 1).unwrap(),
    };
    (0..count).map(seed).collect()
}

#[test]
fn what_was_backed_up_comes_back_by_any_number_of_threads() {
    let mut repository = TestRepository::new();
    let mut a = content(&seeds(1100));
    a.truncate(a.len() - 1234);
    let (b, c) = (content(&[0; 900]), content(&[7]));
    let point = repository.back_up("web01", &[("a", &a), ("b", &b), ("c", &c)], false);
    let reader = repository.reader();
    for threads in [1, 2, 8] {
        let [ta, tb, tc] = std::array::from_fn(|_| Arc::new(MemoryTarget::new()));
        let job = job(point, &[("a", &ta), ("c", &tc), ("b", &tb)]);
        let report = restore(&reader, &job, &RestoreOptions { threads, ..OPTIONS }, &Silent).unwrap();
        assert!(ta.bytes() == a && tb.bytes() == b && tc.bytes() == c, "{threads} threads");
        assert_eq!(report.problems, []);
        assert_eq!(report.disks[0].written_bytes + report.disks[0].hole_bytes, a.len() as u64);
        assert_eq!(report.disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>(), ["a", "c", "b"]);
        assert!([ta, tb, tc].iter().all(|target| target.ending() == Ending::Whole));
    }
}

#[test]
fn neighbours_of_one_frame_go_out_in_one_write() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    let target = Arc::new(MemoryTarget::new());
    run(&repository.reader(), point, &target).unwrap();
    assert!(target.bytes() == a);
    assert_eq!(target.writes(), 1);
}

#[test]
fn a_foreign_target_is_zeroed_where_the_disk_is_and_left_alone_beyond() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 0, 0, 2, 0, 0, 0, 0, 0, 3]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    let target = MemoryTarget::starting(vec![0xee; a.len() + 100], Start::Foreign { tail_bytes: 100 });
    let target = Arc::new(target);
    let report = run(&repository.reader(), point, &target).unwrap();
    assert_eq!(report.disks[0].tail_bytes, 100);
    assert!(target.bytes()[..a.len()] == a && target.bytes()[a.len()..] == [0xee; 100]);
}

#[test]
fn a_resumed_restore_writes_only_what_is_not_right() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 0, 2, 3, 4]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    let mut left = a.clone();
    left[2 * CHUNK] ^= 1;
    left[CHUNK] = 9;
    let target = Arc::new(MemoryTarget::starting(left, Start::Resumed));
    let report = run(&repository.reader(), point, &target).unwrap();
    assert!(target.bytes() == a);
    assert_eq!((report.disks[0].written_bytes, report.disks[0].skipped_bytes), (CHUNK_BYTES, 3 * CHUNK_BYTES));
}

#[test]
fn damage_is_lost_by_name_and_no_wrong_byte_is_written() {
    let mut repository = TestRepository::new();
    let a = content(&seeds(600));
    let point = repository.back_up("web01", &[("a", &a)], false);
    repository.fill_cache();
    let cut = |bytes: &mut Vec<u8>| {
        bytes.truncate(4096);
        true
    };
    let damages: [fn(&mut Vec<u8>) -> bool; 3] = [|bytes| flip(4096 + 77)(bytes), cut, |_| false];
    for pack in repository.packs() {
        for (number, damage) in damages.into_iter().enumerate() {
            repository.while_damaged(&repository.pack_name(pack), damage, |repository| {
                let target = Arc::new(MemoryTarget::new());
                // The record of the point itself may be in this pack: then there is nothing to restore.
                let Ok(report) = run(&repository.cached_reader(), point, &target) else { return };
                let disk = &report.disks[0];
                assert!(!disk.lost.is_empty(), "{pack}, damage {number}");
                let costs: u64 = report.problems.iter().flat_map(|problem| &problem.costs).map(|cost| cost.bytes).sum();
                assert_eq!(costs, disk.lost.iter().map(byte_ranges::length).sum::<u64>());
                assert_ne!(target.ending(), Ending::Whole);
                for (at, (found, wanted)) in (0_u64..).zip(target.bytes().iter().zip(&a)) {
                    let lost = disk.lost.iter().any(|range| range.contains(&at));
                    assert!(if lost { *found == 0 } else { found == wanted }, "{pack}, damage {number}, byte {at}");
                }
            });
        }
    }
}

#[test]
fn a_second_copy_of_a_damaged_chunk_is_used() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 2, 3]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    let first = repository.packs()[0];
    let copies = repository.add_copies(&a);
    for pack in [first, copies] {
        repository.while_damaged(&repository.pack_name(pack), flip(4200), |repository| {
            let target = Arc::new(MemoryTarget::new());
            let report = run(&repository.reader(), point, &target).unwrap();
            assert!(report.problems.is_empty() && target.bytes() == a);
        });
    }
}

#[test]
fn bad_extents_are_refused_before_anything_is_written_unless_accepted() {
    let mut repository = TestRepository::new();
    let point = repository.back_up("web01", &[("a", &content(&[1, 255, 255, 2]))], false);
    let (reader, target) = (repository.reader(), Arc::new(MemoryTarget::new()));
    let refused = run(&reader, point, &target).err().unwrap();
    assert!(matches!(refused, RestoreError::BadExtents { bytes: 8192, .. }) && target.bytes().is_empty());
    let accepting = RestoreOptions { bad_extents: BadExtents::AcceptAsZeros, ..OPTIONS };
    let report = restore(&reader, &job(point, &[("a", &target)]), &accepting, &Silent).unwrap();
    assert_eq!(report.disks[0].bad, [4096..12288]);
    assert_eq!(target.ending(), Ending::Whole);
    assert!(target.bytes()[CHUNK..3 * CHUNK].iter().all(|byte| *byte == 0));
}

#[test]
fn a_disk_that_is_not_there_or_named_twice_is_refused() {
    let mut repository = TestRepository::new();
    let point = repository.back_up("web01", &[("a", &content(&[1]))], false);
    let (reader, target) = (repository.reader(), Arc::new(MemoryTarget::new()));
    for disks in [vec![("b", &target)], vec![("a", &target), ("a", &target)]] {
        let error = restore(&reader, &job(point, &disks), &OPTIONS, &Silent).err().unwrap();
        assert!(error.to_string().ends_with("it has a"), "{error}");
    }
}

#[test]
fn a_restore_that_is_stopped_names_nothing() {
    struct Stop;
    impl Monitor for Stop {
        fn event(&self, _event: &Event<'_>) {}
        fn advance(&self, _step: Step) {}
        fn interrupted(&self) -> bool {
            true
        }
    }
    let mut repository = TestRepository::new();
    let point = repository.back_up("web01", &[("a", &content(&[1]))], false);
    let target = Arc::new(MemoryTarget::new());
    let stopped = restore(&repository.reader(), &job(point, &[("a", &target)]), &OPTIONS, &Stop).err().unwrap();
    assert_eq!((stopped.kind(), target.ending()), (Kind::Interrupted, Ending::Open));
}

#[test]
fn a_home_comes_back_byte_for_byte() {
    let mut repository = TestRepository::new();
    let with = repository.back_up("web01", &[("a", &content(&[1]))], true);
    let without = repository.back_up("web02", &[("a", &content(&[1]))], false);
    let reader = repository.reader();
    let home = restore_home(&reader, with).unwrap();
    assert_eq!(home.document.as_slice(), b"{\"document\":1}");
    let (name, nvram) = home.nvram.unwrap();
    assert_eq!((name.as_str(), nvram.as_slice()), ("web01.nvram", b"bytes of the NVRAM".as_slice()));
    assert!(matches!(restore_home(&reader, without), Err(RestoreHomeError::None { .. })));
}
