//! Fields of a message.

use zeroize::Zeroizing;

use super::{CallFailure, ControlError, MESSAGE_BYTES_MAX};

/// Longest text, in bytes: one is cut where it is only for people.
const TEXT_BYTES_MAX: usize = 32 << 10;
/// Most texts of a list.
const LIST_MAX: usize = 64;

pub(super) struct Encoder(Zeroizing<Vec<u8>>);

impl Encoder {
    pub(super) fn tag(tag: u8) -> Self {
        // Room for all of it: a buffer that grows leaves its old self behind unwiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        bytes.push(tag);
        Self(bytes)
    }

    pub(super) fn number(self, number: u32) -> Self {
        self.raw(&number.to_le_bytes())
    }

    pub(super) fn long(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.raw(&[flag.into()])
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX)).raw(text.as_bytes())
    }

    pub(super) fn list(self, texts: &[String]) -> Self {
        let count = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        texts.iter().fold(self.number(count), |encoder, text| encoder.text(text))
    }

    pub(super) fn failure(self, failure: &CallFailure) -> Self {
        self.text(&failure.function).number(failure.code).text(&failure.text).list(&failure.lines)
    }

    pub(super) fn bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        if self.0.len() + bytes.len() > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.0.len() + bytes.len()) * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        self
    }
}

pub(super) struct Decoder<'b>(&'b [u8]);

impl<'b> Decoder<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn tag(&mut self) -> Result<u8, ControlError> {
        let [tag] = self.array("its tag")?;
        Ok(tag)
    }

    pub(super) fn number(&mut self) -> Result<u32, ControlError> {
        self.array("a number").map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, ControlError> {
        self.array("a number").map(u64::from_le_bytes)
    }

    pub(super) fn flag(&mut self) -> Result<bool, ControlError> {
        match self.array("a flag")? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(ControlError::Malformed { what: "a flag is 0 or 1" }),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, ControlError> {
        let bytes = self.bytes()?;
        let text = str::from_utf8(bytes).map_err(|_| ControlError::Malformed { what: "a text is not UTF-8" })?;
        Ok(text.to_owned())
    }

    pub(super) fn list(&mut self) -> Result<Vec<String>, ControlError> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > LIST_MAX {
            return Err(ControlError::TooLong { what: "texts in a list", found: count, max: LIST_MAX });
        }
        (0..count).map(|_| self.text()).collect()
    }

    pub(super) fn failure(&mut self) -> Result<CallFailure, ControlError> {
        Ok(CallFailure { function: self.text()?, code: self.number()?, text: self.text()?, lines: self.list()? })
    }

    pub(super) fn end(self) -> Result<(), ControlError> {
        if self.0.is_empty() { Ok(()) } else { Err(ControlError::Malformed { what: "bytes behind its end" }) }
    }

    fn bytes(&mut self) -> Result<&'b [u8], ControlError> {
        const { assert!(TEXT_BYTES_MAX < MESSAGE_BYTES_MAX) };
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if length > TEXT_BYTES_MAX {
            return Err(ControlError::TooLong { what: "bytes in a text", found: length, max: TEXT_BYTES_MAX });
        }
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(ControlError::Malformed { what: "a text is cut" })?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ControlError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(ControlError::Malformed { what })?;
        self.0 = rest;
        Ok(*bytes)
    }
}
