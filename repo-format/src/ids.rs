//! The names of things: one type per kind of id, so that none stands where another is meant.

use std::{fmt, str::FromStr};

/// Text that is not an id: wrong length or not hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an id of {wanted} hexadecimal digits")]
pub struct IdTextError {
    found: String,
    wanted: usize,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdTextError;

            fn from_str(text: &str) -> Result<Self, IdTextError> {
                let wrong = || IdTextError { found: text.to_owned(), wanted: 2 * $bytes };
                let mut bytes = [0; $bytes];
                if text.len() != 2 * $bytes || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
                    *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

id_type!(
    /// Keyed BLAKE3 of a chunk's bytes: the chunk's name under one repository's key.
    ChunkId, 32
);
id_type!(
    /// BLAKE3 of all bytes of a pack: its name in the store.
    PackName, 32
);
id_type!(
    /// Random id of a repository.
    RepositoryId, 16
);
id_type!(
    /// Random id of one run of a writer.
    SessionId, 16
);
id_type!(
    /// Random id of a key slot.
    SlotId, 16
);
id_type!(
    /// Random id of one attempt to append to the log.
    AttemptId, 16
);
id_type!(
    /// Random salt of a pack: makes its bytes, and hence its name, unique.
    Salt, 32
);
id_type!(
    /// Plain BLAKE3 of an object that is not a pack: a log entry, a slot, a content.
    Digest, 32
);

impl Digest {
    /// The BLAKE3 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl PackName {
    /// The name a pack of these bytes has.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = SessionId::from_bytes(std::array::from_fn(|i| u8::try_from(i * 16).unwrap()));
        assert_eq!(id.to_string(), "00102030405060708090a0b0c0d0e0f0");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn text_of_another_length_or_alphabet_is_no_id() {
        assert!("00".parse::<SlotId>().is_err());
        assert!("+0102030405060708090a0b0c0d0e0f0".parse::<SlotId>().is_err());
    }
}
