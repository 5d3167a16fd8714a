//! Parity: shards from which damaged ones are made anew (SPEC.md section 11).
//!
//! A Reed–Solomon code over GF(2^16), that of the crate `reed-solomon-simd` at its high rate. The shards are coded 64 bytes by
//! 64 bytes, so a stripe of all of them is coded while it is in the cache.

use reed_solomon_simd::{
    engine::{DefaultEngine, Engine, ShardsRefMut},
    rate::{HighRate, HighRateDecoder, Rate, RateDecoder},
};

/// So many bytes of each shard are coded together: with the sums, what fits in a cache of 512 KiB.
const STRIPE_BYTES: usize = 8192;
/// What the code takes at once.
const BLOCK_BYTES: usize = 64;
/// The fewest parity shards of a pack that has any.
const PARITY_SHARDS_MIN: usize = 2;

/// Makes the tables of the code (8 MiB, once in a process), which else the first pack with parity makes.
pub fn prepare_parity() {
    drop(DefaultEngine::new());
}

/// How many of a pack's `shards` are parity. `rate` counts in 512ths.
pub(super) fn parity_shards(shards: usize, rate: u8) -> usize {
    match rate {
        0 => 0,
        rate => (shards.saturating_sub(2).saturating_mul(usize::from(rate))).div_ceil(512).max(PARITY_SHARDS_MIN),
    }
}

/// The fewest shards of a pack of which `others` are no parity.
pub(super) fn shards_with_parity(others: usize, rate: u8) -> usize {
    let mut shards = others.saturating_add(parity_shards(others, rate));
    // Each further shard is at most one more of parity, and that at most every eighth time.
    while shards.saturating_sub(parity_shards(shards, rate)) < others {
        shards = shards.saturating_add(1);
    }
    shards
}

/// Whether there is a code for so many shards.
pub(super) fn is_possible(data_shards: usize, parity_shards: usize) -> bool {
    HighRate::<DefaultEngine>::supports(data_shards, parity_shards)
}

/// Fills `parity` with the parity of `data`, shards of `shard_bytes` (a multiple of 64) each.
pub(super) fn encode(data: &[&[u8]], parity: &mut [u8], shard_bytes: usize) {
    let count = parity.len() / shard_bytes.max(1);
    let group_shards = count.next_power_of_two();
    let engine = DefaultEngine::new();
    let blocks_max = group_shards * STRIPE_BYTES.min(shard_bytes) / BLOCK_BYTES;
    let (mut sum, mut group) = (vec![[0; BLOCK_BYTES]; blocks_max], vec![[0; BLOCK_BYTES]; blocks_max]);
    for at in (0..shard_bytes).step_by(STRIPE_BYTES) {
        let stripe_bytes = STRIPE_BYTES.min(shard_bytes - at);
        let blocks = stripe_bytes / BLOCK_BYTES;
        sum.truncate(group_shards * blocks);
        group.truncate(group_shards * blocks);
        sum.fill([0; BLOCK_BYTES]);
        for (number, shards) in (1..).zip(data.chunks(group_shards)) {
            let mut lanes = group.as_flattened_mut().chunks_exact_mut(stripe_bytes);
            for (lane, shard) in lanes.by_ref().zip(shards) {
                lane.copy_from_slice(shard.get(at..at + stripe_bytes).unwrap_or(lane_of_zeros(stripe_bytes)));
            }
            lanes_after(group.as_flattened_mut(), shards.len() * stripe_bytes).fill(0);
            let mut work = ShardsRefMut::new(group_shards, blocks, &mut group);
            engine.ifft(&mut work, 0, group_shards, shards.len(), number * group_shards);
            let pairs = sum.as_flattened_mut().iter_mut().zip(group.as_flattened());
            pairs.for_each(|(sum, byte)| *sum ^= *byte);
        }
        engine.fft(&mut ShardsRefMut::new(group_shards, blocks, &mut sum), 0, group_shards, count, 0);
        let lanes = sum.as_flattened().chunks_exact(stripe_bytes);
        for (shard, lane) in parity.chunks_exact_mut(shard_bytes).zip(lanes) {
            if let Some(part) = shard.get_mut(at..at + stripe_bytes) {
                part.copy_from_slice(lane);
            }
        }
    }
}

fn lanes_after(lanes: &mut [u8], from: usize) -> &mut [u8] {
    lanes.get_mut(from..).unwrap_or_default()
}

fn lane_of_zeros(bytes: usize) -> &'static [u8] {
    const ZEROS: [u8; STRIPE_BYTES] = [0; STRIPE_BYTES];
    ZEROS.get(..bytes).unwrap_or_default()
}

/// The missing ones of `data`, in order, made from the others and `parity`; `None` if too few are there.
pub(super) fn decode(
    data: &[Option<&[u8]>],
    parity: &[Option<&[u8]>],
    shard_bytes: usize,
) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut decoder = HighRateDecoder::new(data.len(), parity.len(), shard_bytes, DefaultEngine::new(), None).ok()?;
    for (index, shard) in data.iter().enumerate().filter_map(|(index, shard)| Some((index, (*shard)?))) {
        decoder.add_original_shard(index, shard).ok()?;
    }
    for (index, shard) in parity.iter().enumerate().filter_map(|(index, shard)| Some((index, (*shard)?))) {
        decoder.add_recovery_shard(index, shard).ok()?;
    }
    let result = decoder.decode().ok()?;
    Some(result.restored_original_iter().map(|(index, shard)| (index, shard.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};

    use super::*;
    use crate::test_kit::noise;

    #[test]
    fn the_stripes_give_the_code_of_the_library() {
        for (data, parity, shard_bytes) in
            [(3, 2, 1024), (494, 16, 1024), (60, 2, 65_536), (31, 2, 8256), (100, 5, 128), (7, 3, 20_480)]
        {
            let bytes = noise(data * shard_bytes, data as u64);
            let shards: Vec<&[u8]> = bytes.chunks(shard_bytes).collect();
            let mut ours = vec![0xee; parity * shard_bytes];
            encode(&shards, &mut ours, shard_bytes);
            let mut library = HighRateEncoder::new(data, parity, shard_bytes, DefaultEngine::new(), None).unwrap();
            shards.iter().for_each(|shard| library.add_original_shard(shard).unwrap());
            let theirs: Vec<u8> = library.encode().unwrap().recovery_iter().flatten().copied().collect();
            assert!(ours == theirs, "{data} + {parity} shards of {shard_bytes}");
        }
    }

    #[test]
    fn a_32nd_of_a_pack_is_parity_and_never_less_than_two_shards() {
        for (shards, parity) in [(512, 16), (64, 2), (7, 2), (67, 3), (128, 4)] {
            assert_eq!(parity_shards(shards, 16), parity, "{shards}");
        }
        assert_eq!((parity_shards(512, 0), parity_shards(512, 64), parity_shards(514, 1)), (0, 64, 2));
    }

    #[test]
    fn a_pack_gets_as_many_shards_as_its_parity_takes_and_no_more() {
        for rate in [0, 1, 16, 33, 64] {
            for others in 3..600 {
                let shards = shards_with_parity(others, rate);
                assert!(shards - parity_shards(shards, rate) >= others);
                assert!(shards - 1 - parity_shards(shards - 1, rate) < others, "{others} at {rate}");
            }
        }
        // One for each 31 of data.
        assert_eq!((shards_with_parity(2 + 494, 16), shards_with_parity(2 + 62, 16)), (512, 66));
        assert_eq!(shards_with_parity(2 + 63, 16), 68);
    }
}
