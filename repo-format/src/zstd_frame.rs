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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_kit::{damage, noise, prose};

    fn compressed(plain: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(plain, 3).unwrap()
    }

    #[test]
    fn a_frame_of_every_width_of_content_size_is_accepted() {
        for length in [1, 255, 256, 65_791, 65_792, 300_000] {
            assert_eq!(check(&compressed(&prose(length)), length), Ok(()), "{length}");
            assert_eq!(check(&compressed(&noise(length, 1)), length), Ok(()), "{length}");
        }
    }

    #[test]
    fn a_content_size_missing_or_other_than_the_plain_length_is_refused() {
        assert_eq!(damage(check(&compressed(&prose(1000)), 999)), "zstd content size");
        assert_eq!(damage(check(&compressed(&prose(1000)), 1001)), "zstd content size");
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        compressor.include_contentsize(false).unwrap();
        assert_eq!(damage(check(&compressor.compress(&prose(1000)).unwrap(), 1000)), "zstd content size");
    }

    #[test]
    fn bytes_before_or_after_the_frame_are_refused() {
        let frame = compressed(&prose(1000));
        let empty = compressed(&[]);
        let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &1_u32.to_le_bytes(), b"x"].concat();
        for after in [&[0][..], &frame, &empty, &skippable] {
            assert_eq!(damage(check(&[&frame[..], after].concat(), 1000)), "zstd frame");
        }
        assert_eq!(damage(check(&[&skippable[..], &frame].concat(), 1000)), "zstd magic");
        assert_eq!(damage(check(&frame[..frame.len() - 1], 1000)), "zstd frame");
    }

    #[test]
    fn a_dictionary_is_refused() {
        let mut frame = compressed(&prose(1000));
        frame[4] |= 1;
        assert_eq!(damage(check(&frame, 1000)), "zstd dictionary");
    }

    #[test]
    fn a_window_above_8_mib_is_refused() {
        let header = |window: u8| [&MAGIC.to_le_bytes()[..], &[0b1000_0000, window], &9_u32.to_le_bytes()].concat();
        assert_eq!(damage(check(&header(13 << 3), 9)), "zstd frame");
        assert_eq!(damage(check(&header((13 << 3) | 1), 9)), "zstd window");
        assert_eq!(damage(check(&header(0xff), 9)), "zstd window");
    }
}
