//! A frame as it is kept inside its seal: to be decompressed, or sealed anew in another pack, compressed as it was.
//!
//! The nonce is fresh, so that the old pack and the new one have nothing in common that would show where a frame begins.

use super::{
    CheckedFrame, Class, Codec, Decompressor, FormatError, FrameEntry, Keyring, OpenFrame, SealedFrame, WHAT,
    decompress, envelope, to_usize,
};

/// What lies inside the seal of a frame whose tag was right: what its writer has sealed as these chunks.
pub struct StoredFrame<'s> {
    class: Class,
    entry: &'s FrameEntry,
    stored: &'s [u8],
}

/// Checks the tag of a frame and decrypts it in place; `sealed` is used up.
pub fn unseal_frame<'s>(
    class: Class,
    epoch: u32,
    entry: &'s FrameEntry,
    sealed: &'s mut [u8],
    keys: &Keyring,
) -> Result<StoredFrame<'s>, FormatError> {
    entry.check()?;
    if sealed.len() != to_usize(entry.sealed_bytes) {
        return Err(FormatError::damaged(WHAT, "sealed length", sealed.len(), entry.sealed_bytes));
    }
    let stored = envelope::open_in_place(keys, &entry.header(class, epoch, keys), sealed)?;
    Ok(StoredFrame { class, entry, stored })
}

impl StoredFrame<'_> {
    /// The chunks, in the memory of `buffer`.
    pub fn decompress(&self, mut buffer: Vec<u8>, decompressor: &mut Decompressor) -> Result<OpenFrame, FormatError> {
        let plain_bytes = to_usize(self.entry.plain_bytes);
        match self.entry.codec {
            Codec::Stored => {
                buffer.clear();
                buffer.extend_from_slice(self.stored);
            }
            Codec::Zstd => decompress(&mut decompressor.zstd, self.stored, plain_bytes, &mut buffer)?,
        }
        if buffer.len() != plain_bytes {
            return Err(FormatError::damaged(WHAT, "plain length", buffer.len(), plain_bytes));
        }
        Ok(OpenFrame { class: self.class, bytes: buffer, places: self.entry.places() })
    }

    /// Its line in the directory it comes from.
    pub fn entry(&self) -> &FrameEntry {
        self.entry
    }

    /// Seals it under the newest key, opens that again and compares.
    pub fn reseal(
        &self,
        keys: &Keyring,
        random: [u8; 24],
        decompressor: &mut Decompressor,
    ) -> Result<CheckedFrame, FormatError> {
        let frame = SealedFrame::new(self.class, self.entry.clone(), self.stored, keys, random)?;
        self.is_held_by(&frame, keys, decompressor)?;
        Ok(CheckedFrame(frame))
    }

    fn is_held_by(
        &self,
        frame: &SealedFrame,
        keys: &Keyring,
        decompressor: &mut Decompressor,
    ) -> Result<(), FormatError> {
        let buffer = &mut decompressor.sealed;
        buffer.clear();
        buffer.extend_from_slice(&frame.bytes);
        let stored = envelope::open_in_place(keys, &frame.entry.header(frame.class, frame.epoch, keys), buffer)?;
        if stored != self.stored || frame.entry != *self.entry {
            return Err(FormatError::damaged(WHAT, "bytes just sealed", "others", "what was sealed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compression, Compressor, FrameBuilder, open_frame};
    use super::*;
    use crate::HashedChunk;
    use crate::test_kit::{damage, keys_of_two_epochs, noise, prose};

    fn sealed(keys: &Keyring, compression: Compression) -> SealedFrame {
        let mut builder = FrameBuilder::new(Class::Data, 1 << 20);
        for chunk in [prose(4000), noise(300, 1)] {
            builder.push(HashedChunk::of_data(&chunk, keys)).unwrap();
        }
        let mut compressor = Compressor::new(compression).unwrap();
        builder.take().unwrap().seal(keys, &mut compressor, [5; 24]).unwrap()
    }

    #[test]
    fn a_frame_sealed_again_holds_the_same_under_another_nonce() {
        let keys = keys_of_two_epochs();
        let mut decompressor = Decompressor::new().unwrap();
        for compression in [Compression::Stored, Compression::Zstd(3)] {
            let old = sealed(&keys, compression);
            let mut bytes = old.bytes().to_vec();
            let stored = unseal_frame(Class::Data, old.epoch(), old.entry(), &mut bytes, &keys).unwrap();
            let new = stored.reseal(&keys, [6; 24], &mut decompressor).unwrap().into_sealed();
            assert_eq!((new.entry(), new.epoch()), (old.entry(), keys.epoch()));
            assert!(new.bytes().windows(16).all(|part| !old.bytes().windows(16).any(|other| other == part)));
            let mut bytes = new.bytes().to_vec();
            let again =
                open_frame(Class::Data, new.epoch(), new.entry(), &mut bytes, &keys, &mut decompressor).unwrap();
            assert_eq!(again.bytes(), stored.decompress(Vec::new(), &mut decompressor).unwrap().bytes());
        }
    }

    #[test]
    fn a_frame_sealed_again_wrongly_is_caught() {
        let keys = keys_of_two_epochs();
        let mut decompressor = Decompressor::new().unwrap();
        let old = sealed(&keys, Compression::Zstd(3));
        let mut bytes = old.bytes().to_vec();
        let stored = unseal_frame(Class::Data, old.epoch(), old.entry(), &mut bytes, &keys).unwrap();
        for at in [0, 24, old.bytes().len() - 1] {
            let mut flipped = old.clone();
            flipped.bytes[at] ^= 1;
            assert!(stored.is_held_by(&flipped, &keys, &mut decompressor).is_err(), "byte {at}");
        }
        let mut other = stored.stored.to_vec();
        other[9] ^= 1;
        let other = SealedFrame::new(Class::Data, old.entry().clone(), &other, &keys, [7; 24]).unwrap();
        assert_eq!(damage(stored.is_held_by(&other, &keys, &mut decompressor)), "bytes just sealed");
    }
}
