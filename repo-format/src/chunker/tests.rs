use aes::{Aes128, cipher::BlockCipherEncrypt};
use aes_gcm::{
    Aes128Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use proptest::prelude::*;

use super::*;
use crate::{RepositoryId, RepositoryKeys};

const SMALL: Chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 15 };

fn keys(seed: u8) -> Keyring {
    Keyring::new(&RepositoryKeys::generate([seed; 32]), RepositoryId::from_bytes([9; 16]))
}

/// `p(B)`, by other crates than the chunker's.
fn pick(block: &[u8], keys: &Keyring) -> u64 {
    let cut_keys = keys.cut_keys();
    let tag =
        Aes128Gcm::new(&cut_keys.hash.into()).encrypt(&Nonce::from([0; 12]), Payload { msg: &[], aad: block }).unwrap();
    let mut picked = aes::Block::try_from(tag.as_slice()).unwrap();
    Aes128::new(&cut_keys.prf.into()).encrypt_block(&mut picked);
    u64::from_le_bytes(picked[..8].try_into().unwrap())
}

/// SPEC.md section 9, word by word: the ends of all chunks of a run that begins at `address`.
fn spec_cuts(run: &[u8], mut address: u64, chunking: &Chunking, keys: &Keyring) -> Vec<usize> {
    let (min, avg, max) = (chunking.min_bytes() as usize, chunking.avg_bytes() as usize, chunking.max_bytes() as usize);
    let n = (avg / 4096) as u128;
    let (t1, t2) = ((1_u128 << 63) / n, ((1_u128 << 66) / n).min(1 << 63));
    let mut rest = run;
    let mut cuts = vec![];
    while !rest.is_empty() {
        let mut length = rest.len();
        for l in (4096..=rest.len()).step_by(4096) {
            let p = u128::from(pick(&rest[l - 4096..l], keys));
            if l >= min && (l < avg && p < t1 || l >= avg && p < t2) {
                length = l;
                break;
            }
            if l == max {
                let end = (address + max as u64) / (max as u64 / 2) * (max as u64 / 2);
                length = usize::try_from(end - address).unwrap();
                break;
            }
        }
        cuts.push(length);
        rest = &rest[length..];
        address += length as u64;
    }
    cuts
}

/// All cuts, with windows of `window` bytes that grow by `window` where they are too small.
fn cuts(chunker: &Chunker, run: &[u8], address: u64, window: usize) -> Vec<usize> {
    let mut start = 0;
    let mut cuts = vec![];
    while start < run.len() {
        let length = (1..)
            .find_map(|times| {
                let end = run.len().min(start + window * times);
                let run_end = if end == run.len() { RunEnd::Here } else { RunEnd::Beyond };
                chunker.cut(&run[start..end], address + start as u64, run_end)
            })
            .unwrap();
        cuts.push(length);
        start += length;
    }
    cuts
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Stretches of noise, and of one byte (whose blocks are all alike, so that they cut at once or never), and a tail.
fn run() -> impl Strategy<Value = Vec<u8>> {
    let stretch = (any::<u64>(), any::<bool>(), 0_usize..20);
    (proptest::collection::vec(stretch, 0..6), 1_usize..5000).prop_map(|(stretches, tail)| {
        let mut run = vec![];
        for (seed, same, blocks) in stretches {
            let length = blocks * 4096;
            run.extend(if same { vec![seed.to_le_bytes()[0]; length] } else { noise(seed, length) });
        }
        run.extend(noise(0, tail));
        run
    })
}

fn chunking(chunker: ChunkerKind) -> impl Strategy<Value = Chunking> {
    (12_u8..=14, 0_u8..=2, 0_u8..=2).prop_map(move |(min, more, most)| {
        let avg_log2 = (min + more).max(13);
        Chunking { chunker, min_log2: min, avg_log2, max_log2: avg_log2 + most }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn block_cuts_where_the_spec_says(run in run(), block in 0_u64..1 << 30, chunking in chunking(ChunkerKind::Block), seed: u8) {
        let keys = keys(seed);
        let chunker = Chunker::new(&chunking, &keys);
        let found = cuts(&chunker, &run, block * 4096, chunking.max_bytes() as usize);
        prop_assert_eq!(found, spec_cuts(&run, block * 4096, &chunking, &keys));
    }

    #[test]
    fn fastcdc_cuts_where_the_crate_says(run in run(), chunking in chunking(ChunkerKind::FastCdc)) {
        let (min, avg, max) = (chunking.min_bytes(), chunking.avg_bytes(), chunking.max_bytes());
        let [min, avg, max] = [min, avg, max].map(|bytes| bytes as usize);
        let level = ::fastcdc::v2020::Normalization::Level1;
        let wanted = ::fastcdc::v2020::FastCDC::with_level_and_seed(&run, min, avg, max, level, 0);
        let wanted: Vec<usize> = wanted.map(|chunk| chunk.length).collect();
        prop_assert_eq!(cuts(&Chunker::new(&chunking, &keys(1)), &run, 0, max), wanted.clone());
        prop_assert_eq!(cuts(&Chunker::for_streams(&chunking), &run, 4096, max), wanted);
    }

    #[test]
    fn windows_do_not_move_cuts(
        run in run(),
        window in 1_usize..100_000,
        kind in proptest::sample::select(vec![ChunkerKind::Block, ChunkerKind::FastCdc]),
    ) {
        let chunker = Chunker::new(&Chunking { chunker: kind, ..SMALL }, &keys(1));
        prop_assert_eq!(cuts(&chunker, &run, 8192, window.max(500)), cuts(&chunker, &run, 8192, run.len()));
    }

    #[test]
    fn nothing_beyond_the_reach_of_a_chunk_moves_its_end(
        run in run(),
        block in 0_u64..100,
        chunking in chunking(ChunkerKind::Block),
        kind in proptest::sample::select(vec![ChunkerKind::Block, ChunkerKind::FastCdc]),
        seed: u8,
    ) {
        let address = block * 4096;
        let chunker = Chunker::new(&Chunking { chunker: kind, ..chunking }, &keys(seed));
        let mut start = 0;
        for length in cuts(&chunker, &run, address, usize::MAX / 2) {
            let reach = chunker.reach(u32::try_from(length).unwrap(), address + start as u64);
            let kept = start + usize::try_from(reach).unwrap();
            if kept < run.len() {
                for other in [noise(77, 1 << 17), vec![run[kept - 1]; 1 << 17]] {
                    let changed = [&run[start..kept], &other].concat();
                    let at = address + start as u64;
                    let end = chunker.cut(&changed, at, RunEnd::Beyond);
                    prop_assert_eq!(end, Some(length));
                    prop_assert_eq!(chunker.cut(&run[start..kept], at, RunEnd::Beyond), Some(length));
                }
            }
            start += length;
        }
    }

    #[test]
    fn chunks_keep_their_bounds(run in run(), chunking in chunking(ChunkerKind::Block)) {
        let cuts = cuts(&Chunker::new(&chunking, &keys(1)), &run, 0, usize::MAX / 2);
        let (min, max) = (chunking.min_bytes() as usize, chunking.max_bytes() as usize);
        for length in &cuts[..cuts.len() - 1] {
            prop_assert!(*length >= min.min(max / 2 + 1) && *length <= max && length.is_multiple_of(4096));
        }
        prop_assert!(cuts.last().unwrap() <= &max);
    }
}

#[test]
fn a_window_that_is_too_small_asks_for_more() {
    for chunker in [ChunkerKind::Block, ChunkerKind::FastCdc] {
        let chunker = Chunker::new(&Chunking { chunker, ..SMALL }, &keys(1));
        assert_eq!(chunker.cut(&[0; 4000], 0, RunEnd::Beyond), None);
        assert_eq!(chunker.cut(&[0; 4000], 0, RunEnd::Here), Some(4000));
        assert_eq!(chunker.cut(&[], 0, RunEnd::Here), None);
    }
}

#[test]
fn the_largest_chunk_is_always_enough() {
    for kind in [ChunkerKind::Block, ChunkerKind::FastCdc] {
        for seed in 0..20 {
            let chunker = Chunker::new(&Chunking { chunker: kind, ..SMALL }, &keys(seed));
            assert!(chunker.cut(&vec![seed; 1 << 15], 0, RunEnd::Beyond).is_some());
            assert!(chunker.cut(&noise(seed.into(), 1 << 15), 0, RunEnd::Beyond).is_some());
        }
    }
}

#[test]
fn an_uncut_run_is_cut_at_round_addresses() {
    // A seed under which a block of one byte is not picked.
    let chunking = Chunking { min_log2: 12, avg_log2: 16, max_log2: 18, ..SMALL };
    let keys = (0..).map(keys).find(|keys| pick(&[1; 4096], keys) > 1 << 63).unwrap();
    let chunker = Chunker::new(&chunking, &keys);
    let found = cuts(&chunker, &vec![1; 1 << 20], 3 * 4096, 1 << 18);
    assert_eq!(found[0], (1 << 18) - 3 * 4096);
    assert!(found[1..found.len() - 1].iter().all(|length| *length == 1 << 18));
}

#[test]
fn equal_runs_are_cut_equally_where_they_lie_alike_and_differently_under_another_key() {
    let run = noise(1, 1 << 20);
    let cut = |seed, address| cuts(&Chunker::new(&SMALL, &keys(seed)), &run, address, 1 << 15);
    assert_eq!(cut(1, 0), cut(1, 1 << 20));
    assert_ne!(cut(1, 0), cut(2, 0));
}

#[test]
fn an_insertion_moves_few_cuts() {
    let run = noise(1, 4 << 20);
    let chunker = Chunker::new(&SMALL, &keys(1));
    let ends = |run: &[u8]| {
        let mut end = 0;
        cuts(&chunker, run, 0, 1 << 15)
            .into_iter()
            .map(|length| {
                end += length;
                run.len() - end
            })
            .collect::<Vec<_>>()
    };
    let before = ends(&run);
    let after = ends(&[&noise(2, 4096), &run[..]].concat());
    let kept = before.iter().filter(|end| after.contains(end)).count();
    assert!(kept * 10 > before.len() * 9, "{kept} of {}", before.len());
}

#[test]
fn chunks_of_noise_gather_around_the_average() {
    let run = noise(1, 16 << 20);
    for kind in [ChunkerKind::Block, ChunkerKind::FastCdc] {
        let chunking = Chunking { chunker: kind, ..Chunking::default() };
        let average = run.len() / cuts(&Chunker::new(&chunking, &keys(1)), &run, 0, 1 << 18).len();
        assert!((1 << 15..1 << 17).contains(&average), "{average}");
    }
}

#[test]
fn a_chunker_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Chunker>();
}
