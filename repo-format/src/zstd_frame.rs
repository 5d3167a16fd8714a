//! What is demanded of a zstd frame before it is decompressed (SPEC.md section 10; RFC 8878 section 3.1.1).
//!
//! ```text
//! magic 4 | descriptor 1 | window 0…1 | dictionary id 0…4 | content size 0…8 | blocks … | checksum 0…4
//! ```

use crate::{codec::Reader, error::FormatError};

const WHAT: &str = "frame";
const MAGIC: u32 = 0xfd2f_b528;
const WINDOW_BYTES_MAX: u64 = 1 << 23;

/// Refuses all but exactly one frame, without a dictionary, that states `plain_bytes` as its content size.
pub(crate) fn check(stored: &[u8], plain_bytes: usize) -> Result<(), FormatError> {
    let mut reader = Reader::new(WHAT, stored);
    let magic = reader.u32("zstd magic")?;
    if magic != MAGIC {
        return Err(reader.damaged("zstd magic", format_args!("{magic:08x}"), format_args!("{MAGIC:08x}")));
    }
    let descriptor = reader.u8("zstd descriptor")?;
    if descriptor & 0b11 != 0 {
        return Err(reader.damaged("zstd dictionary", "named", "none"));
    }
    let single_segment = descriptor & 0b10_0000 != 0;
    if !single_segment {
        let byte = reader.u8("zstd window")?;
        let base = 1_u64 << (10 + u32::from(byte >> 3));
        let window = base + base / 8 * u64::from(byte & 0b111);
        if window > WINDOW_BYTES_MAX {
            return Err(reader.damaged("zstd window", window, format_args!("at most {WINDOW_BYTES_MAX}")));
        }
    }
    let content_bytes = match (descriptor >> 6, single_segment) {
        (0, false) => return Err(reader.damaged("zstd content size", "missing", plain_bytes)),
        (0, true) => u64::from(reader.u8("zstd content size")?),
        (1, _) => u64::from(reader.u16("zstd content size")?) + 256,
        (2, _) => u64::from(reader.u32("zstd content size")?),
        _ => reader.u64("zstd content size")?,
    };
    if usize::try_from(content_bytes) != Ok(plain_bytes) {
        return Err(reader.damaged("zstd content size", content_bytes, plain_bytes));
    }
    let whole = zstd::zstd_safe::find_frame_compressed_size(stored);
    if whole != Ok(stored.len()) {
        return Err(reader.damaged("zstd frame", "cut short or followed by bytes", "one whole zstd frame"));
    }
    Ok(())
}
