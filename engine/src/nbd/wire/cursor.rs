//! Takes fields off the front of bytes.

use super::{NAME_BYTES_MAX, WireError};

pub(super) struct Cursor<'b> {
    what: &'static str,
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    /// `what` names the message in errors.
    pub(super) fn new(what: &'static str, bytes: &'b [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.rest.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.short(N)),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn magic(&mut self, wanted: u64) -> Result<(), WireError> {
        match self.u64()? {
            found if found == wanted => Ok(()),
            found => Err(WireError::new(self.what, format_args!("magic {found:016x}"), format_args!("{wanted:016x}"))),
        }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'b [u8], WireError> {
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.short(length)),
        }
    }

    /// A name behind its 32-bit length.
    pub(super) fn name(&mut self) -> Result<String, WireError> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > NAME_BYTES_MAX {
            return Err(WireError::new(
                "name",
                format_args!("{length} bytes"),
                format_args!("at most {NAME_BYTES_MAX}"),
            ));
        }
        text(self.bytes(length)?)
    }

    pub(super) fn rest(self) -> &'b [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(WireError::new(self.what, format_args!("{left} bytes longer than its content"), "no more")),
        }
    }

    fn short(&self, wanted: usize) -> WireError {
        WireError::new(self.what, format_args!("cut: {} bytes are left", self.rest.len()), format_args!("{wanted}"))
    }
}

/// Text of a name.
pub(super) fn text(bytes: &[u8]) -> Result<String, WireError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(WireError::new("name", format_args!("{:?}", String::from_utf8_lossy(bytes)), "UTF-8")),
    }
}

/// Writes a name behind its length. Names of this program are short; a longer one is cut by the peer's refusal, not here.
pub(super) fn put_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}
