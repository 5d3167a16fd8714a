//! What opens a key slot.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::{FormatError, RecoveryKey};

const KEY_FILE_BYTES_MIN: usize = 32;
const KEY_FILE_BYTES_MAX: usize = 65536;

/// What kind of secret opens a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// Something a person remembers; stretched by Argon2id.
    Password,
    /// All bytes of a file.
    KeyFile,
    /// 32 random bytes, printed as text.
    RecoveryKey,
}

impl SlotKind {
    pub(super) const fn to_wire(self) -> u8 {
        match self {
            Self::Password => 1,
            Self::KeyFile => 2,
            Self::RecoveryKey => 3,
        }
    }

    pub(super) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Password),
            2 => Some(Self::KeyFile),
            3 => Some(Self::RecoveryKey),
            _ => None,
        }
    }

    /// As a person calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::KeyFile => "key file",
            Self::RecoveryKey => "recovery key",
        }
    }
}

/// A secret that may open a slot.
pub enum SlotSecret {
    /// A password, as it was typed; its NFC form is what counts.
    Password(Zeroizing<String>),
    /// All bytes of a key file.
    KeyFile(Zeroizing<Vec<u8>>),
    /// A recovery key.
    RecoveryKey(RecoveryKey),
}

impl SlotSecret {
    /// A password that is not empty.
    pub fn password(password: Zeroizing<String>) -> Result<Self, FormatError> {
        Self::Password(password).checked()
    }

    /// The bytes of a key file, 32 … 65536.
    pub fn key_file(bytes: Zeroizing<Vec<u8>>) -> Result<Self, FormatError> {
        Self::KeyFile(bytes).checked()
    }

    /// What kind it is.
    pub const fn kind(&self) -> SlotKind {
        match self {
            Self::Password(_) => SlotKind::Password,
            Self::KeyFile(_) => SlotKind::KeyFile,
            Self::RecoveryKey(_) => SlotKind::RecoveryKey,
        }
    }

    fn checked(self) -> Result<Self, FormatError> {
        self.bytes()?;
        Ok(self)
    }

    /// The bytes that are stretched: of a password, those of its NFC form.
    pub(super) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        match self {
            Self::Password(password) if password.is_empty() => {
                Err(FormatError::invalid("password", "length", "empty", "at least one character"))
            }
            Self::Password(password) => {
                // NFC makes UTF-8 at most three times as long: the buffer never moves and leaves no copy.
                let mut normal = String::with_capacity(password.len().saturating_mul(3));
                normal.extend(password.nfc());
                Ok(Zeroizing::new(normal.into_bytes()))
            }
            Self::KeyFile(bytes) if !(KEY_FILE_BYTES_MIN..=KEY_FILE_BYTES_MAX).contains(&bytes.len()) => {
                let wanted = format_args!("{KEY_FILE_BYTES_MIN} … {KEY_FILE_BYTES_MAX}");
                Err(FormatError::invalid("key file", "length", format_args!("{} bytes", bytes.len()), wanted))
            }
            Self::KeyFile(bytes) => Ok(bytes.clone()),
            Self::RecoveryKey(key) => Ok(Zeroizing::new(key.secret().to_vec())),
        }
    }
}
