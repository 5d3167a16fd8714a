//! A splice against SPEC.md section 9, read a second time: cells, runs, cuts of the whole run.

#![allow(clippy::single_range_in_vec_init, reason = "one range is what is wanted")]
#![allow(clippy::cast_possible_truncation, reason = "disks of tests are small")]

use proptest::prelude::*;
use repo_format::{ChunkRef, ChunkerKind, Extent, HashedChunk, RepositoryId, RepositoryKeys};

use super::*;
use crate::source::MemorySource;

fn keys(seed: u8) -> Keyring {
    Keyring::new(&RepositoryKeys::generate([seed; 32]), RepositoryId::from_bytes([9; 16]))
}

/// The map that a full read gives of a segment whose bytes begin at `address` of the disk.
fn full(bytes: &[u8], address: u64, chunking: Chunking, keys: &Keyring) -> SegmentMap {
    let chunker = Chunker::new(&chunking, keys);
    let cell_bytes = chunking.min_bytes() as usize;
    let mut extents = Vec::new();
    let mut run = 0..0;
    let end_run = |extents: &mut Vec<Extent>, run: &mut Range<usize>| {
        while run.start < run.end {
            let length = chunker.cut(&bytes[run.clone()], address + run.start as u64, RunEnd::Here).unwrap();
            let id = HashedChunk::of_data(&bytes[run.start..run.start + length], keys).id();
            extents.push(Extent::Data(ChunkRef { id, length: u32::try_from(length).unwrap() }));
            run.start += length;
        }
    };
    for (number, cell) in bytes.chunks(cell_bytes).enumerate() {
        let start = number * cell_bytes;
        if cell.iter().all(|byte| *byte == 0) {
            end_run(&mut extents, &mut run);
            extents.push(Extent::Hole { length: u32::try_from(cell.len()).unwrap() });
            run = start + cell.len()..start + cell.len();
        } else {
            run = if run.start == run.end { start..start + cell.len() } else { run.start..start + cell.len() };
        }
    }
    end_run(&mut extents, &mut run);
    SegmentMap::new(extents)
}

fn fill(seed: u64, into: &mut [u8]) {
    crate::entropy::Entropy::fill(&crate::entropy::SeededEntropy::new(seed), into);
}

/// What becomes of a range.
#[derive(Clone, Copy, Debug)]
enum What {
    Noise(u64),
    /// One byte: its blocks are all alike, so that they cut at once or never.
    Same(u8),
    Zeros,
    /// Zeros that the source declares.
    Trim,
    /// It is in the list but has not changed.
    Nothing,
}

#[derive(Clone, Debug)]
struct Edit {
    start: usize,
    length: usize,
    what: What,
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => any::<u64>().prop_map(What::Noise),
        3 => (1_u8..4).prop_map(What::Same),
        2 => Just(What::Zeros),
        2 => Just(What::Trim),
        1 => Just(What::Nothing),
    ]
}

/// Edits of any alignment: some of single bytes, some of whole blocks, some long.
fn edits(bytes: usize, count: usize) -> impl Strategy<Value = Vec<Edit>> {
    let length = prop_oneof![1_usize..200, (1_usize..9).prop_map(|blocks| blocks * 4096), 1_usize..150_000];
    let start = prop_oneof![0..bytes, (0..bytes / 4096).prop_map(|block| block * 4096)];
    let edit = (start, length, what()).prop_map(|(start, length, what)| Edit { start, length, what });
    proptest::collection::vec(edit, 0..count)
}

#[derive(Clone, Debug)]
struct Disk {
    bytes: Vec<u8>,
    trimmed: Vec<Range<u64>>,
}

impl Disk {
    fn apply(&mut self, edits: &[Edit]) -> Vec<Range<u64>> {
        let mut touched = Vec::new();
        for Edit { start, length, what } in edits {
            let end = self.bytes.len().min(start + length);
            let Some(into) = self.bytes.get_mut(*start..end).filter(|into| !into.is_empty()) else { continue };
            match what {
                What::Noise(seed) => fill(*seed, into),
                What::Same(byte) => into.fill(*byte),
                What::Zeros => into.fill(0),
                What::Trim => into.fill(0),
                What::Nothing => {}
            }
            let range = *start as u64..end as u64;
            match what {
                What::Trim => self.trimmed.push(range.clone()),
                What::Nothing => {}
                _ => self.trimmed.retain(|trimmed| trimmed.end <= range.start || range.end <= trimmed.start),
            }
            touched.push(range);
        }
        crate::byte_ranges::coalesced(touched)
    }

    /// What is not trimmed.
    fn allocated(&self) -> Vec<Range<u64>> {
        let mut allocated = Vec::new();
        let mut at = 0;
        for trimmed in crate::byte_ranges::coalesced(self.trimmed.clone()) {
            allocated.push(at..trimmed.start);
            at = trimmed.end;
        }
        allocated.push(at..self.bytes.len() as u64);
        allocated.retain(|range| range.start < range.end);
        allocated
    }
}

fn chunking() -> impl Strategy<Value = Chunking> {
    let kind = proptest::sample::select(vec![ChunkerKind::Block, ChunkerKind::FastCdc]);
    (kind, 12_u8..=13, 0_u8..=2, 0_u8..=2).prop_map(|(chunker, min_log2, more, most)| {
        let avg_log2 = (min_log2 + more).max(13);
        Chunking { chunker, min_log2, avg_log2, max_log2: avg_log2 + most }
    })
}

/// Ranges widened to cells.
fn cells(ranges: &[Range<u64>], disk_bytes: u64, chunking: Chunking) -> Vec<Range<u64>> {
    let areas = crate::changed_areas::ChangedAreas::of(disk_bytes, ranges.iter().cloned()).unwrap();
    areas.cells(u64::from(chunking.min_bytes()))
}

const DISK_BYTES: usize = 700_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_splice_gives_the_map_of_a_full_read(
        made_of in edits(DISK_BYTES, 12),
        nights in proptest::collection::vec(edits(DISK_BYTES, 6), 1..4),
        cut_off in 0_usize..9000,
        segment_number in 0_u64..3,
        chunking in chunking(),
        seed: u8,
        holes_are_told: bool,
    ) {
        let keys = keys(seed);
        // Addresses matter to `block`: the segment lies anywhere on the disk.
        let address = segment_number << 20;
        let bytes = DISK_BYTES - cut_off;
        let mut disk = Disk { bytes: vec![0; bytes], trimmed: vec![] };
        disk.apply(&made_of);
        let mut parent = full(&disk.bytes, address, chunking, &keys);
        let before = usize::try_from(address).unwrap();
        for edits in nights {
            let changed = disk.apply(&edits);
            let shift = |range: &Range<u64>| range.start + address..range.end + address;
            let disk_end = address + bytes as u64;
            let changed: Vec<_> = changed.iter().map(shift).collect();
            let changed = cells(&changed, disk_end, chunking);
            let source = MemorySource::new([vec![0xee; before], disk.bytes.clone()].concat());
            let allocated = disk.allocated().iter().map(shift).collect();
            let source = if holes_are_told { source.with_allocated(allocated) } else { source };
            let (map, read_bytes) =
                splice_segment(&source, address..disk_end, &parent, &changed, chunking, &keys).unwrap();
            prop_assert_eq!(&map, &full(&disk.bytes, address, chunking, &keys));
            prop_assert!(read_bytes <= bytes as u64, "{} bytes read of {}", read_bytes, bytes);
            parent = map;
        }
    }
}

#[test]
fn a_change_behind_a_forced_cut_moves_that_cut() {
    // One byte all over: no block is picked under this key, so that all cuts are forced.
    let chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 16 };
    let mut moved = 0;
    for seed in 0..60 {
        let keys = keys(seed);
        let mut bytes = vec![1; 1 << 19];
        // The run begins three cells in: its first cut is forced to a round address, five cells before its largest end.
        bytes[..3 * 4096].fill(0);
        let parent = full(&bytes, 0, chunking, &keys);
        for cell in 14..20 {
            let mut changed = bytes.clone();
            fill(u64::from(seed) * 100 + cell, &mut changed[cell as usize * 4096..][..4096]);
            let source = MemorySource::new(changed.clone());
            let (map, _) =
                splice_segment(&source, 0..1 << 19, &parent, &[cell * 4096..(cell + 1) * 4096], chunking, &keys)
                    .unwrap();
            assert_eq!(map, full(&changed, 0, chunking, &keys), "seed {seed}, cell {cell}");
            moved += u32::from(map.extents().get(1) != parent.extents().get(1) && cell > 16);
        }
    }
    assert!(moved > 0, "no cut was moved by what lies behind it: the test tests nothing");
}

#[test]
fn nothing_that_lies_outside_of_the_segment_is_read() {
    let keys = keys(1);
    let chunking = Chunking { chunker: ChunkerKind::FastCdc, min_log2: 12, avg_log2: 14, max_log2: 16 };
    let mut bytes = vec![0; 3 << 20];
    fill(7, &mut bytes);
    let segment = 1_u64 << 20..2 << 20;
    let parent = full(&bytes[1 << 20..2 << 20], segment.start, chunking, &keys);
    for changed in [segment.start..segment.start + 4096, segment.end - 4096..segment.end, segment.clone()] {
        let mut now = bytes.clone();
        fill(8, &mut now[changed.start as usize..changed.end as usize]);
        let source = MemorySource::new(now.clone()).with_unreadable(vec![0..segment.start, segment.end..3 << 20]);
        let (map, _) = splice_segment(&source, segment.clone(), &parent, &[changed], chunking, &keys).unwrap();
        assert_eq!(map, full(&now[1 << 20..2 << 20], segment.start, chunking, &keys));
    }
}

#[test]
fn a_parent_with_bad_extents_is_no_base() {
    let parent = SegmentMap::new(vec![Extent::Bad { length: 4096 }]);
    let source = MemorySource::new(vec![1; 4096]);
    let chunking = Chunking::default();
    assert!(splice_segment(&source, 0..4096, &parent, &[0..4096], chunking, &keys(1)).is_none());
}

/// With the sizes of every repository, on random data: what is read beyond a changed area, one area at a time, so that
/// neighbours do not share. `written` is what has really changed of the area.
fn mean_kib_beyond(kind: ChunkerKind, area: u64, written: u64) -> u64 {
    const SEGMENT: usize = 16 << 20;
    const AREAS: u64 = 300;
    let chunking = Chunking { chunker: kind, ..Chunking::default() };
    let keys = keys(3);
    let mut bytes = vec![0; SEGMENT];
    fill(1, &mut bytes);
    let parent = full(&bytes, 0, chunking, &keys);
    let mut beyond = 0;
    for place in 0..AREAS {
        let start = (place * 40_960 + place * place * 4096) % (SEGMENT as u64 - area);
        let start = start - start % area;
        let at = start + place % (area / written) * written;
        let mut now = bytes.clone();
        fill(place + 100, &mut now[at as usize..][..written as usize]);
        let changed = cells(&[start..start + area], SEGMENT as u64, chunking);
        let source = MemorySource::new(now);
        let (_, read) = splice_segment(&source, 0..SEGMENT as u64, &parent, &changed, chunking, &keys).unwrap();
        beyond += read - area;
    }
    beyond / AREAS / 1024
}

#[test]
fn an_area_costs_at_most_128_kib_more_on_the_average() {
    for kind in [ChunkerKind::Block, ChunkerKind::FastCdc] {
        // Blocks of guests, told to the byte or in the usual 64 KiB; and 64 KiB of which nothing is as it was.
        for (area, written, most) in [(4096, 4096, 128), (65536, 4096, 128), (65536, 65536, 160)] {
            let mean = mean_kib_beyond(kind, area, written);
            assert!(mean <= most, "{kind:?}: {mean} KiB beyond an area of {area} bytes, {written} of them written");
        }
    }
}
