//! The chunker `fastcdc`: FastCDC 2020 as in the crate, normalisation level 1, seed 0.

use fastcdc::v2020::{Normalization, cut, select_masks};

use super::{RunEnd, rest};
use crate::Chunking;

pub(super) struct FastCdcChunker {
    min_bytes: usize,
    avg_bytes: usize,
    max_bytes: usize,
    mask_small: u64,
    mask_large: u64,
}

impl FastCdcChunker {
    pub(super) fn new(chunking: &Chunking) -> Self {
        let avg_bytes = chunking.avg_bytes() as usize;
        let (mask_small, mask_large) = select_masks(avg_bytes, Normalization::Level1);
        Self {
            min_bytes: chunking.min_bytes() as usize,
            avg_bytes,
            max_bytes: chunking.max_bytes() as usize,
            mask_small,
            mask_large,
        }
    }

    pub(super) fn cut(&self, window: &[u8], end: RunEnd) -> Option<usize> {
        let Self { min_bytes, avg_bytes, max_bytes, mask_small, mask_large } = *self;
        let (_, length) =
            cut(window, min_bytes, avg_bytes, max_bytes, mask_small, mask_large, mask_small << 1, mask_large << 1);
        // A cut before the window's end hangs on bytes before it alone; one at its end may only be the end of the bytes.
        if length < window.len() || length == max_bytes { Some(length) } else { rest(window, end) }
    }
}
