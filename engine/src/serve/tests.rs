//! A point read at any offset: right bytes, or an error that names the chunk.

use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::{
    monitor::Silent,
    nbd::{Fault, Piece, wire::error_code},
    test_repository::{CHUNK, TestRepository, content, flip},
};

const CACHE_BYTES: u64 = 64 << 10;

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

fn bytes_of(pieces: &[Piece]) -> Vec<u8> {
    let bytes = |piece: &Piece| match piece {
        Piece::Zeros(count) => vec![0; size(*count)],
        Piece::Bytes(shared) => shared.bytes().to_vec(),
    };
    pieces.iter().flat_map(bytes).collect()
}

/// Runs `then` with the first disk of `point`, served with an overlay in memory or none.
fn with_disk<T>(
    repository: &TestRepository,
    point: ChunkId,
    place: &OverlayPlace,
    then: impl FnOnce(&PointExport<'_>, &Faults<'_>) -> T,
) -> T {
    let reader = repository.reader();
    let record = read_point(&reader, point).unwrap();
    let overlay = Overlay::open(place, reader.config().repository, point, &record.disks).unwrap();
    let (cache, faults) = (FrameCache::new(&reader, CACHE_BYTES), Faults::new(&Silent));
    let disk = PointDisk::open(&record.disks[0], &cache, &faults).unwrap();
    let overlay = overlay.as_ref().and_then(|overlay| overlay.disk(&record.disks[0].name));
    then(&PointExport { disk, overlay, description: String::new() }, &faults)
}

fn read(export: &PointExport<'_>, range: Range<u64>) -> Result<Vec<u8>, Fault> {
    let mut pieces = Vec::new();
    export.read(range, &mut pieces).map(|()| bytes_of(&pieces))
}

#[test]
fn every_range_reads_as_the_disk() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 2, 0, 0, 3, 1, 4, 5, 0, 6, 7]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    with_disk(&repository, point, &OverlayPlace::None, |export, faults| {
        let step = CHUNK / 3;
        for start in (0..a.len()).step_by(step) {
            for end in (start + 1..=a.len()).step_by(step) {
                assert!(read(export, start as u64..end as u64).unwrap() == a[start..end], "{start}..{end}");
            }
        }
        assert!(faults.troubles().is_empty());
    });
}

#[test]
fn a_damaged_chunk_is_an_error_where_it_lies_and_nowhere_else() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 2, 3]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    // Another frame in another pack.
    let b = content(&[8, 9]);
    let other = repository.back_up("web02", &[("b", &b)], false);
    let pack = repository.pack_name(repository.packs()[0]);
    repository.while_damaged(&pack, flip(4200), |repository| {
        with_disk(repository, point, &OverlayPlace::None, |export, faults| {
            let fault = read(export, 0..CHUNK as u64).unwrap_err();
            assert_eq!((fault.error, fault.at), (error_code::EIO, 0));
            assert!(read(export, 0..CHUNK as u64).is_err(), "again");
            let troubles = faults.troubles();
            assert_eq!(troubles.len(), 1, "said once");
            assert!(troubles[0].object.starts_with("chunk ") && troubles[0].kind == Kind::Damaged, "{troubles:?}");
        });
        with_disk(repository, other, &OverlayPlace::None, |export, faults| {
            assert!(read(export, 0..b.len() as u64).unwrap() == b && faults.troubles().is_empty());
        });
    });
}

#[test]
fn a_second_copy_of_a_damaged_chunk_is_served() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 2, 3]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    let first = repository.packs()[0];
    let copies = repository.add_copies(&a);
    for pack in [first, copies] {
        repository.while_damaged(&repository.pack_name(pack), flip(4200), |repository| {
            with_disk(repository, point, &OverlayPlace::None, |export, faults| {
                assert!(read(export, 0..a.len() as u64).unwrap() == a && faults.troubles().is_empty());
            });
        });
    }
}

#[test]
fn a_bad_extent_is_an_error_and_never_zeros() {
    let mut repository = TestRepository::new();
    let a = content(&[1, 255, 2]);
    let point = repository.back_up("web01", &[("a", &a)], false);
    with_disk(&repository, point, &OverlayPlace::None, |export, faults| {
        let (chunk, end) = (CHUNK as u64, a.len() as u64);
        assert!(read(export, 0..chunk).unwrap() == a[..CHUNK]);
        assert_eq!(read(export, chunk..chunk + 1).unwrap_err().error, error_code::EIO);
        assert!(read(export, 2 * chunk..end).unwrap() == a[2 * CHUNK..]);
        assert_eq!(faults.troubles()[0].kind, Kind::Failed);
        // Nor does writing over a part of it make the rest of the block up.
        assert!(read(export, 0..end).is_err());
    });
    with_disk(&repository, point, &OverlayPlace::Memory, |export, _| {
        let chunk = CHUNK as u64;
        assert!(export.write(chunk + 1, b"x").is_err());
        export.write(chunk, &[7; CHUNK]).unwrap();
        assert!(read(export, chunk..2 * chunk).unwrap() == [7; CHUNK]);
    });
}

#[test]
fn an_overlay_fits_only_the_point_it_was_begun_over() {
    let mut repository = TestRepository::new();
    let points = [1, 2].map(|seed| repository.back_up("web01", &[("a", &content(&[seed, 7]))], false));
    let folder = tempfile::tempdir().unwrap();
    let place = OverlayPlace::File(folder.path().join("overlay"));
    let reader = repository.reader();
    let open = |point| {
        let record = read_point(&reader, point).unwrap();
        Overlay::open(&place, reader.config().repository, point, &record.disks)
    };
    drop(open(points[0]).unwrap());
    assert!(matches!(open(points[1]), Err(OverlayError::OfAnother { .. })));
    let first = open(points[0]).unwrap();
    assert!(matches!(open(points[0]), Err(OverlayError::InUse { .. })), "two serves at once");
    drop(first);
}

#[test]
fn frames_take_no_more_than_the_cache_may() {
    let mut repository = TestRepository::new();
    let seeds: Vec<u8> = (1..200).collect();
    let a = content(&seeds);
    let point = repository.back_up("web01", &[("a", &a)], false);
    let reader = repository.reader();
    let record = read_point(&reader, point).unwrap();
    let (cache, faults) = (FrameCache::new(&reader, CACHE_BYTES), Faults::new(&Silent));
    let disk = PointDisk::open(&record.disks[0], &cache, &faults).unwrap();
    let mut largest = 0;
    for at in (0..a.len() as u64).step_by(CHUNK) {
        let mut pieces = Vec::new();
        disk.read(at..(at + CHUNK as u64).min(a.len() as u64), &mut pieces).unwrap();
        largest = largest.max(cache.held_bytes());
    }
    // A shard keeps the frame that came last, even if that alone is more than its part.
    let frame_bytes = 8 * CHUNK as u64;
    assert!(largest <= CACHE_BYTES + 8 * frame_bytes && largest < a.len() as u64, "{largest}");
}

#[derive(Clone, Debug)]
enum Act {
    Write(u64, usize, u8),
    Zero(u64, u64),
    Flush,
    Reopen,
}

fn act(bytes: u64) -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..bytes, 1..9000_usize, 1..=255_u8).prop_map(|(at, length, byte)| Act::Write(at, length, byte)),
        3 => (0..bytes, 1..20_000_u64).prop_map(|(at, length)| Act::Zero(at, length)),
        1 => Just(Act::Flush),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_overlay_reads_as_the_last_that_was_written(acts in proptest::collection::vec(act(40_000), 1..40)) {
        let mut repository = TestRepository::new();
        let a = content(&[1, 2, 0, 0, 3, 1, 4, 5, 0, 6]);
        let a = &a[..a.len() - 100];
        let point = repository.back_up("web01", &[("a", a)], false);
        let folder = tempfile::tempdir().unwrap();
        let place = OverlayPlace::File(folder.path().join("overlay"));
        let mut wanted = a.to_vec();
        for run in acts.split(|act| matches!(act, Act::Reopen)) {
            with_disk(&repository, point, &place, |export, _| {
                for act in run {
                    let clip = |at: u64, length: u64| at.min(a.len() as u64 - 1)..(at + length).min(a.len() as u64).max(1);
                    match act {
                        Act::Write(at, length, byte) => {
                            let range = clip(*at, *length as u64);
                            export.write(range.start, &vec![*byte; size(range.end - range.start)]).unwrap();
                            wanted[size(range.start)..size(range.end)].fill(*byte);
                        }
                        Act::Zero(at, length) => {
                            let range = clip(*at, *length);
                            export.zero(range.clone(), crate::nbd::ZeroHow::MayPunch).unwrap();
                            wanted[size(range.start)..size(range.end)].fill(0);
                        }
                        Act::Flush | Act::Reopen => export.flush().unwrap(),
                    }
                }
                export.flush().unwrap();
                assert!(read(export, 0..a.len() as u64).unwrap() == wanted);
                let extents = export.status(0..a.len() as u64).unwrap();
                let mut at = 0;
                for extent in extents {
                    let end = at + extent.bytes as usize;
                    assert!(extent.status == 0 || wanted[at..end].iter().all(|byte| *byte == 0), "{at}..{end} is no hole");
                    at = end;
                }
                assert_eq!(at, a.len());
            });
        }
    }
}
