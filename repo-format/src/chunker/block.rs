//! The chunker `block`: cuts behind whole 4 KiB blocks that a keyed function picks. It is fast, because a chunk's
//! first blocks are skipped and the rest is one GHASH; file systems move data in blocks, so a rolling hash gains little.
//!
//! `p(B)` is AES-128(prf key, tag), where tag is the AES-128-GCM tag of nothing with `B` as associated data.

use aes::{
    Aes128, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{RunEnd, rest};
use crate::{Chunking, keys::CutKeys};

const BLOCK_BYTES: usize = 4096;

/// **Invariant:** neither a tag nor `p` leaves this file: the fixed nonce is harmless only as long as no tag is shown.
pub(super) struct BlockChunker {
    hash: LessSafeKey,
    prf: Aes128,
    min_bytes: usize,
    avg_bytes: usize,
    max_bytes: usize,
    /// Below it, `p` ends a chunk shorter than the average …
    threshold_short: u64,
    /// … and below this one, a longer one.
    threshold_long: u64,
}

impl BlockChunker {
    #[expect(clippy::expect_used, reason = "a key of 16 bytes is one that AES-128 takes")]
    pub(super) fn new(chunking: &Chunking, keys: &CutKeys) -> Self {
        // Between 1 and 8: the average is 2^13 … 2^20, a block 2^12.
        let blocks_log2 = u32::from(chunking.avg_log2.clamp(13, 20)) - 12;
        Self {
            hash: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &keys.hash).expect("AES-128 key")),
            prf: Aes128::new(&keys.prf.into()),
            min_bytes: chunking.min_bytes() as usize,
            avg_bytes: chunking.avg_bytes() as usize,
            max_bytes: chunking.max_bytes() as usize,
            threshold_short: 1 << (63 - blocks_log2),
            threshold_long: 1 << (66 - blocks_log2).min(63),
        }
    }

    pub(super) fn cut(&self, window: &[u8], address: u64, end: RunEnd) -> Option<usize> {
        let seen = window.get(..self.max_bytes).unwrap_or(window);
        // Blocks that end before the smallest chunk does cannot end it.
        let skipped = self.min_bytes - BLOCK_BYTES;
        let candidates = seen.get(skipped..).unwrap_or_default().as_chunks::<BLOCK_BYTES>().0;
        for (length, block) in (self.min_bytes..).step_by(BLOCK_BYTES).zip(candidates) {
            let threshold = if length < self.avg_bytes { self.threshold_short } else { self.threshold_long };
            if self.pick(block) < threshold {
                return Some(length);
            }
        }
        if seen.len() == self.max_bytes { Some(self.forced(address)) } else { rest(window, end) }
    }

    /// No block ends the chunk: it ends at a round address, so that equal content at equal places is cut equally.
    fn forced(&self, address: u64) -> usize {
        // A power of two below 2^21, hence what is masked fits.
        let half = self.max_bytes / 2;
        let beyond = usize::try_from(address % half as u64).unwrap_or(0);
        self.max_bytes - beyond
    }

    /// A forced cut says that no block up to the largest chunk was picked: blocks **behind** the cut were looked at too.
    pub(super) fn reach(&self, length: u32, address: u64) -> u64 {
        let (length, half) = (u64::from(length), self.max_bytes as u64 / 2);
        let may_be_forced = length > half && (address + length).is_multiple_of(half);
        if may_be_forced { self.max_bytes as u64 } else { length }
    }

    /// `p(B)`.
    #[expect(clippy::expect_used, reason = "no plaintext and 4 KiB of associated data is what GCM takes")]
    fn pick(&self, block: &[u8; BLOCK_BYTES]) -> u64 {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self.hash.seal_in_place_separate_tag(nonce, Aad::from(block), &mut []).expect("a GCM tag");
        let mut picked = Block::try_from(tag.as_ref()).expect("a tag is 16 bytes");
        self.prf.encrypt_block(&mut picked);
        let [first, ..] = picked.as_chunks::<8>().0 else { return u64::MAX };
        u64::from_le_bytes(*first)
    }
}
