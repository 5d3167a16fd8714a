//! Ordinals: the short names packs have inside the log.

use std::fmt;

use crate::{
    codec::{Put, Reader},
    error::FormatError,
};

/// The position of a pack in the order in which the log registered packs: from 0, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackOrdinal(pub u32);

impl fmt::Display for PackOrdinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack #{}", self.0)
    }
}

/// Writes a list of ordinals, which must ascend strictly.
pub(crate) fn put(out: &mut Vec<u8>, ordinals: &[PackOrdinal]) -> Result<(), FormatError> {
    if let Some([before, after]) = ordinals.array_windows().find(|[before, after]| before >= after) {
        let found = format_args!("{} after {}", after.0, before.0);
        return Err(FormatError::invalid("log record", "ordinals", found, "strictly ascending"));
    }
    out.put_count(ordinals.len());
    ordinals.iter().for_each(|ordinal| out.put_varint(u64::from(ordinal.0)));
    Ok(())
}

/// Reads a list of ordinals, which must ascend strictly.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<PackOrdinal>, FormatError> {
    let mut last: Option<PackOrdinal> = None;
    reader.list("ordinals", 1, |reader| {
        let ordinal = PackOrdinal(reader.varint_u32("ordinal")?);
        if let Some(before) = last.filter(|before| *before >= ordinal) {
            let found = format_args!("{} after {}", ordinal.0, before.0);
            return Err(reader.damaged("ordinals", found, "strictly ascending"));
        }
        last = Some(ordinal);
        Ok(ordinal)
    })
}
