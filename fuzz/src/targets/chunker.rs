//! Chunkers: cut points do not depend on the windows in which a run is looked at.

use repo_format::{Chunker, ChunkerKind, Chunking, RunEnd};

use super::{Input, KEYS};
use crate::Outcome;

const CHUNKING: Chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 15 };

/// The chunker for disks of virtual machines.
pub fn chunker_block(bytes: &[u8]) -> Outcome {
    cut(&Chunker::new(&CHUNKING, &KEYS), bytes)
}

/// The chunker for streams.
pub fn chunker_fastcdc(bytes: &[u8]) -> Outcome {
    cut(&Chunker::for_streams(&CHUNKING), bytes)
}

/// `address in blocks u16 | window u16 | repeats u8 | bytes`, the run being the bytes repeated.
fn cut(chunker: &Chunker, bytes: &[u8]) -> Outcome {
    let mut input = Input(bytes);
    let address = u64::from(input.u16()) * 4096;
    let window = usize::from(input.u16());
    let repeats = usize::from(input.u8()) + 1;
    let run: Vec<u8> = input.0.repeat(repeats).into_iter().take(200_000).collect();
    if run.is_empty() {
        return Outcome::Refused("no run".to_owned());
    }
    let whole = chunks(chunker, &run, address, usize::MAX);
    assert_eq!(chunks(chunker, &run, address, window), whole);
    assert_eq!(whole.iter().sum::<usize>(), run.len());
    let (min, max) = (1 << CHUNKING.min_log2, 1 << CHUNKING.max_log2);
    for (place, length) in whole.iter().enumerate() {
        let last = place + 1 == whole.len();
        assert!(*length > 0 && *length <= max && (last || *length >= min), "a chunk of {length}");
    }
    Outcome::Refused(format!("{} chunks", whole.len()))
}

/// Lengths of the chunks of `run`, looked at in windows that are `short` of the largest chunk at first.
fn chunks(chunker: &Chunker, run: &[u8], address: u64, short: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut start = 0;
    while start < run.len() {
        let rest = run.get(start..).unwrap_or_default();
        let address = address + start as u64;
        let narrow = rest.get(..short.min(rest.len())).unwrap_or_default();
        let narrow =
            chunker.cut(narrow, address, if narrow.len() == rest.len() { RunEnd::Here } else { RunEnd::Beyond });
        let Some(length) = narrow.or_else(|| chunker.cut(rest, address, RunEnd::Here)) else {
            panic!("the whole rest of a run has a first chunk")
        };
        lengths.push(length);
        start += length;
    }
    lengths
}
