//! Buffers that the kernel copies into and out of at full speed.
//!
//! Large vectors begin 16 bytes behind a page (the allocator's header), the page cache on one. Copying between the two, AMD
//! Zen 3 reaches 1.9 GiB/s a core; with both on a multiple of 64, 7.9. So what is read often begins on such an address,
//! and what is written in bulk goes through one that does (`store/local/fs.rs`).

use std::ops::Range;

use crate::store::{Name, Store, StoreError};

/// Addresses that the kernel copies to begin on a multiple of this.
pub(crate) const ALIGNMENT: usize = 64;

/// How many bytes of `buffer` lie before its first aligned address.
pub(crate) fn lead(buffer: &[u8]) -> usize {
    // The standard library may decline to say (it never does for bytes); then reading is slow, not wrong.
    Some(buffer.as_ptr().align_offset(ALIGNMENT)).filter(|lead| *lead < ALIGNMENT).unwrap_or(0)
}

/// Reads `range` of an object into `buffer`, which is emptied first, and gives what was read.
pub(crate) fn read_range<'b>(
    store: &dyn Store,
    name: &Name,
    range: Range<u64>,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b mut [u8], StoreError> {
    buffer.clear();
    // Room first: growing while it is read would move the buffer. A wrong length must not become a huge allocation; beyond
    // the bound the store reserves what the object really has.
    let bytes = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    buffer.reserve(bytes.min(ROOM_BYTES_MAX) + ALIGNMENT);
    buffer.resize(lead(buffer), 0);
    let start = buffer.len();
    store.get_range(name, range, buffer)?;
    Ok(buffer.get_mut(start..).unwrap_or_default())
}

/// The longest read that room is made for before it is known whether there is so much.
const ROOM_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_reaches_the_next_aligned_address() {
        let buffer = vec![0u8; 4 * ALIGNMENT];
        for skip in 0..ALIGNMENT {
            let rest = &buffer[skip..];
            assert!(rest[lead(rest)..].as_ptr().addr().is_multiple_of(ALIGNMENT), "skip {skip}");
        }
    }
}
