//! Room for what a disk says: aligned as direct reading wants it, used again, wiped in between.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroize;

/// Bytes of a sector.
pub(super) const SECTOR_BYTES: u64 = 512;
/// Most that is asked of the library at once.
pub(super) const REQUEST_BYTES_MAX: usize = 1 << 20;
/// HotAdd reads without a cache: its buffers begin at a page.
const ALIGNMENT: usize = 4096;
/// Buffers that are kept for the next request.
const KEPT_MAX: usize = 16;

/// Buffers that were used and will be again.
#[derive(Clone, Default)]
pub(super) struct Pool {
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// So many whole sectors in memory. Wiped and given back when dropped.
pub(super) struct Buffer {
    room: Vec<u8>,
    begin: usize,
    length: usize,
    pool: Pool,
}

impl Pool {
    /// Room for `sectors`, zeroed. More than [`REQUEST_BYTES_MAX`] becomes just that.
    pub(super) fn take(&self, sectors: u64) -> Buffer {
        let wanted = usize::try_from(sectors.saturating_mul(SECTOR_BYTES)).unwrap_or(usize::MAX);
        let length = wanted.min(REQUEST_BYTES_MAX);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let room = kept.unwrap_or_else(|| vec![0; REQUEST_BYTES_MAX + ALIGNMENT]);
        let begin = room.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Buffer { room, begin, length, pool: self.clone() }
    }
}

impl Buffer {
    /// How many sectors it holds.
    pub(super) fn sectors(&self) -> u64 {
        self.length as u64 / SECTOR_BYTES
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.room.get(self.begin..self.begin + self.length).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.room.get_mut(self.begin..self.begin + self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        let room = std::mem::take(&mut self.room);
        let mut kept = self.pool.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_page_and_comes_back_wiped() {
        let pool = Pool::default();
        for sectors in [1, 7, 2048] {
            let mut buffer = pool.take(sectors);
            assert_eq!(buffer.bytes().as_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!((buffer.sectors(), buffer.bytes().len() as u64), (sectors, sectors * SECTOR_BYTES));
            assert!(buffer.bytes().iter().all(|byte| *byte == 0));
            buffer.bytes_mut().fill(0xaa);
        }
        assert_eq!(pool.kept.lock().unwrap().len(), 1);
    }
}
