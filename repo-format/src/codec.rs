//! The notations of SPEC.md section 1: cursor to read, functions to write.
//!
//! **Invariant:** a [`Reader`] never allocates more than the bytes it was given could hold.

use crate::error::FormatError;

/// Reads one object front to back; every error names the object and the field.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn damaged(&self, field: &str, found: impl ToString, wanted: impl ToString) -> FormatError {
        FormatError::damaged(self.what, field, found, wanted)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, field: &str, length: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| {
            self.damaged(field, format_args!("{} bytes left", self.rest.len()), format_args!("{length} wanted"))
        })?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], FormatError> {
        let bytes = self.take(field, N)?;
        bytes.try_into().map_err(|_| self.damaged(field, bytes.len(), N))
    }

    pub(crate) fn u8(&mut self, field: &str) -> Result<u8, FormatError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &str) -> Result<u16, FormatError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &str) -> Result<u32, FormatError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &str) -> Result<u64, FormatError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A byte, u16 … that must have one value.
    pub(crate) fn reserved(&mut self, field: &str, length: usize) -> Result<(), FormatError> {
        match self.take(field, length)?.iter().find(|byte| **byte != 0) {
            None => Ok(()),
            Some(byte) => Err(self.damaged(field, byte, "reserved, must be 0")),
        }
    }

    pub(crate) fn magic(&mut self, magic: &[u8; 8]) -> Result<(), FormatError> {
        let found = self.array::<8>("magic")?;
        if &found == magic {
            return Ok(());
        }
        Err(self.damaged("magic", found.escape_ascii(), format_args!("must be {}", magic.escape_ascii())))
    }

    /// The format version; a greater one than ours is unsupported, not damaged.
    pub(crate) fn format(&mut self) -> Result<(), FormatError> {
        match self.u16("format")? {
            crate::FORMAT => Ok(()),
            0 => Err(self.damaged("format", 0, "at least 1")),
            found => Err(FormatError::unsupported(
                self.what,
                "format",
                found,
                format_args!("this program reads {}", crate::FORMAT),
            )),
        }
    }

    pub(crate) fn varint(&mut self, field: &str) -> Result<u64, FormatError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8(field)?;
            if (shift == 63 && byte > 1) || (shift > 0 && byte == 0) {
                return Err(self.damaged(field, "a varint too long", "shortest form below 2^64"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged(field, "a varint too long", "at most 10 bytes"))
    }

    pub(crate) fn varint_u32(&mut self, field: &str) -> Result<u32, FormatError> {
        let value = self.varint(field)?;
        u32::try_from(value).map_err(|_| self.damaged(field, value, "below 2^32"))
    }

    /// A count of items that need at least `item_bytes_min` bytes each.
    pub(crate) fn count(&mut self, field: &str, item_bytes_min: usize) -> Result<usize, FormatError> {
        let count = self.varint(field)?;
        let most = self.rest.len() / item_bytes_min.max(1);
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| self.damaged(field, format_args!("{count} items"), format_args!("at most {most} fit")))
    }

    pub(crate) fn bytes(&mut self, field: &str) -> Result<&'a [u8], FormatError> {
        let length = self.count(field, 1)?;
        self.take(field, length)
    }

    pub(crate) fn text(&mut self, field: &str) -> Result<String, FormatError> {
        let bytes = self.bytes(field)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| self.damaged(field, error, "UTF-8"))
    }

    pub(crate) fn option<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            found => Err(self.damaged(field, found, "0 or 1")),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        field: &str,
        item_bytes_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let count = self.count(field, item_bytes_min)?;
        (0..count).map(|_| read(self)).collect()
    }

    /// Ends the object: nothing may be left over.
    pub(crate) fn end(self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.damaged("end", format_args!("{left} bytes left over"), "none")),
        }
    }
}

/// A `record`: tagged fields, of which unknown odd ones are skipped.
pub(crate) struct RecordReader<'a> {
    what: &'static str,
    fields: Vec<(u64, &'a [u8])>,
}

impl<'a> RecordReader<'a> {
    /// Splits `bytes` into fields; `known` are the tags this program understands.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8], known: &[u64]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(what, bytes);
        let mut fields: Vec<(u64, &'a [u8])> = Vec::new();
        while !reader.is_empty() {
            let tag = reader.varint("tag")?;
            if let Some((last, _)) = fields.last()
                && *last >= tag
            {
                return Err(reader.damaged("tag", format_args!("{tag} after {last}"), "strictly ascending"));
            }
            if tag % 2 == 0 && !known.contains(&tag) {
                return Err(FormatError::unsupported(what, "tag", tag, "a newer program is needed"));
            }
            fields.push((tag, reader.bytes("field")?));
        }
        Ok(Self { what, fields })
    }

    /// Reads field `tag` whole, if it is there.
    pub(crate) fn optional<T>(
        &self,
        tag: u64,
        field: &str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        let Some((_, bytes)) = self.fields.iter().find(|(found, _)| *found == tag) else { return Ok(None) };
        let mut reader = Reader::new(self.what, bytes);
        let value = read(&mut reader)?;
        match reader.remaining() {
            0 => Ok(Some(value)),
            left => Err(reader.damaged(field, format_args!("{left} bytes left over"), "none")),
        }
    }

    /// Reads field `tag` whole; it must be there.
    pub(crate) fn required<T>(
        &self,
        tag: u64,
        field: &str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, FormatError>,
    ) -> Result<T, FormatError> {
        self.optional(tag, field, read)?
            .ok_or_else(|| FormatError::damaged(self.what, field, "missing", format_args!("field {tag}")))
    }
}

/// Writing side of the same notations.
pub(crate) trait Put {
    fn put_varint(&mut self, value: u64);
    fn put_bytes(&mut self, bytes: &[u8]);
    fn put_text(&mut self, text: &str) {
        self.put_bytes(text.as_bytes());
    }
    fn put_count(&mut self, count: usize);
}

impl Put for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.push(value.to_le_bytes()[0]);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.extend_from_slice(bytes);
    }

    fn put_count(&mut self, count: usize) {
        // usize is at most 64 bits on every target.
        self.put_varint(count as u64);
    }
}

/// Writes a `record`; asserts that tags ascend, so a slip in an encoder fails its first test.
#[derive(Default)]
pub(crate) struct RecordWriter {
    bytes: Vec<u8>,
    last_tag: Option<u64>,
}

impl RecordWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a field whose value `write` makes.
    pub(crate) fn field(&mut self, tag: u64, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        assert!(self.last_tag.is_none_or(|last| last < tag), "tags ascend");
        self.last_tag = Some(tag);
        let mut value = Vec::new();
        write(&mut value);
        self.bytes.put_varint(tag);
        self.bytes.put_bytes(&value);
        self
    }

    /// Adds a field if there is a value.
    pub(crate) fn optional<T>(&mut self, tag: u64, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) -> &mut Self {
        if let Some(value) = value {
            self.field(tag, |out| write(out, value));
        }
        self
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_back_at_every_width() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                out.put_varint(value);
                let mut reader = Reader::new("test", &out);
                assert_eq!(reader.varint("value"), Ok(value));
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn a_varint_longer_than_needed_is_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]] {
            assert!(Reader::new("test", bytes).varint("value").is_err());
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_allocation() {
        let mut out = Vec::new();
        out.put_varint(u64::MAX);
        assert!(Reader::new("test", &out).list("items", 32, |reader| reader.u8("item")).is_err());
    }

    #[test]
    fn unknown_odd_fields_are_skipped_and_unknown_even_ones_stop_the_reader() {
        let odd = RecordWriter::new().field(0, |out| out.push(7)).field(5, |out| out.push(1)).finish();
        let record = RecordReader::new("test", &odd, &[0]).unwrap();
        assert_eq!(record.required(0, "field", |reader| reader.u8("field")), Ok(7));
        let even = RecordWriter::new().field(6, |out| out.push(1)).finish();
        assert_eq!(RecordReader::new("test", &even, &[0]).err().unwrap().kind, crate::ErrorKind::Unsupported);
    }
}
