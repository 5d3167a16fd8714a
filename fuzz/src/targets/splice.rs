//! The splice: a segment made of its parent and a list of changes has the map of a full read.

use std::ops::Range;

use engine::{MemorySource, splice_segment};
use repo_format::{ChunkRef, Chunker, ChunkerKind, Chunking, Extent, HashedChunk, RunEnd, SegmentMap};

use super::{Input, KEYS};
use crate::Outcome;

const SEGMENT_BYTES: usize = 1 << 18;
const EDITS_MAX: usize = 24;

/// `chunker u8 | sizes u8 | segment u8 | edits before the parent u8 | edits`, each `start in sectors u16 | length in 64 bytes u16 |
/// what u8`; the edits behind the parent's are told as changed, some of them more widely than they are.
pub fn splice(bytes: &[u8]) -> Outcome {
    let mut input = Input(bytes);
    let chunker = if input.u8() % 2 == 0 { ChunkerKind::Block } else { ChunkerKind::FastCdc };
    let sizes = input.u8();
    let (min_log2, avg_log2) = (12 + sizes % 2, 13 + sizes / 2 % 2);
    let chunking = Chunking { chunker, min_log2, avg_log2, max_log2: avg_log2 + sizes / 4 % 4 };
    let address = usize::from(input.u8() % 4) * SEGMENT_BYTES;
    let first = usize::from(input.u8()) % EDITS_MAX;
    let mut disk = vec![0; SEGMENT_BYTES];
    let mut number = 0;
    while number < first && !input.0.is_empty() {
        edit(&mut disk, &mut input);
        number += 1;
    }
    let parent = full(&disk, address as u64, &chunking);
    let mut changed = Vec::new();
    while changed.len() < EDITS_MAX && !input.0.is_empty() {
        changed.push(edit(&mut disk, &mut input));
    }
    let cells = cells(&changed, address as u64, u64::from(chunking.min_bytes()));
    let segment = address as u64..(address + SEGMENT_BYTES) as u64;
    let source = MemorySource::new([vec![0xee; address], disk.clone()].concat());
    let Some((map, read_bytes)) = splice_segment(&source, segment, &parent, &cells, chunking, &KEYS) else {
        panic!("a source in memory can be read")
    };
    assert_eq!(map, full(&disk, address as u64, &chunking));
    assert!(read_bytes <= SEGMENT_BYTES as u64, "{read_bytes} bytes read");
    Outcome::Refused(format!("{} runs, {} extents", cells.len(), map.extents().len().min(24)))
}

fn edit(disk: &mut [u8], input: &mut Input<'_>) -> Range<usize> {
    let start = usize::from(input.u16()) * 512 % SEGMENT_BYTES;
    let end = (start + 1 + usize::from(input.u16()) * 64 % (SEGMENT_BYTES / 2)).min(SEGMENT_BYTES);
    let what = input.u8();
    let into = disk.get_mut(start..end).unwrap_or_default();
    match what {
        0..=63 => into.fill(0),
        64..=127 => into.fill(what % 3 + 1),
        // Told, but not done.
        128..=140 => {}
        _ => blake3::Hasher::new().update(&[what]).finalize_xof().fill(into),
    }
    start..end
}

/// Widened to cells, in order, apart.
fn cells(changed: &[Range<usize>], address: u64, cell_bytes: u64) -> Vec<Range<u64>> {
    let mut widened: Vec<Range<u64>> = changed
        .iter()
        .map(|range| {
            let (start, end) = (address + range.start as u64, address + range.end as u64);
            start - start % cell_bytes..end.next_multiple_of(cell_bytes)
        })
        .collect();
    widened.sort_unstable_by_key(|range| range.start);
    let mut cells: Vec<Range<u64>> = Vec::new();
    for range in widened {
        match cells.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => cells.push(range),
        }
    }
    cells
}

/// SPEC.md section 9, read once more.
fn full(disk: &[u8], address: u64, chunking: &Chunking) -> SegmentMap {
    let chunker = Chunker::new(chunking, &KEYS);
    let cell_bytes = chunking.min_bytes() as usize;
    let mut extents = Vec::new();
    let mut cells = disk.chunks(cell_bytes).enumerate().peekable();
    while let Some((number, cell)) = cells.next() {
        let zero = |cell: &[u8]| cell.iter().all(|byte| *byte == 0);
        if zero(cell) {
            extents.push(Extent::Hole { length: u32::try_from(cell.len()).unwrap_or(u32::MAX) });
            continue;
        }
        let start = number * cell_bytes;
        let mut end = start + cell.len();
        while let Some((_, cell)) = cells.next_if(|(_, cell)| !zero(cell)) {
            end += cell.len();
        }
        let mut at = start;
        while at < end {
            let rest = disk.get(at..end).unwrap_or_default();
            let Some(length) = chunker.cut(rest, address + at as u64, RunEnd::Here) else {
                panic!("the whole rest of a run has a first chunk")
            };
            let id = HashedChunk::of_data(rest.get(..length).unwrap_or_default(), &KEYS).id();
            extents.push(Extent::Data(ChunkRef { id, length: u32::try_from(length).unwrap_or(u32::MAX) }));
            at += length;
        }
    }
    SegmentMap::new(extents)
}
