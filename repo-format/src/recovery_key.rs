//! The recovery key: 32 random bytes as text to print and lock away. SPEC.md section 7.

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use zeroize::Zeroizing;

use crate::FormatError;

const WHAT: &str = "recovery key";
const PREFIX: &str = "srk";

/// Characters of the text: prefix, `1`, 52 digits, 6 of checksum.
const TEXT_CHARS: usize = 62;

/// A secret that opens a key slot of kind 3.
pub struct RecoveryKey(Zeroizing<[u8; 32]>);

impl RecoveryKey {
    /// A key from fresh random bytes.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text to print, in lower case.
    #[expect(clippy::expect_used, reason = "prefix and length are fixed and within bech32's limits")]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_CHARS));
        let prefix = Hrp::parse(PREFIX).expect("a prefix of letters");
        bech32::encode_lower_to_fmt::<Bech32m, String>(&mut text, prefix, &*self.0).expect("62 characters");
        text
    }

    /// Reads the text back; case, spaces and line ends do not matter. The error shows nothing of the text.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut clean = Zeroizing::new(String::with_capacity(text.len()));
        clean.extend(text.chars().filter(|c| !matches!(c, ' ' | '\r' | '\n')).map(|c| c.to_ascii_lowercase()));
        if clean.chars().count() != TEXT_CHARS {
            let found = format_args!("{} characters", clean.chars().count());
            return Err(FormatError::invalid(WHAT, "length", found, format_args!("{TEXT_CHARS} without spaces")));
        }
        if !clean.starts_with("srk1") {
            return Err(FormatError::invalid(WHAT, "prefix", "another prefix", "must begin with srk1"));
        }
        let mistyped = || FormatError::invalid(WHAT, "checksum", "does not match", "a mistyped character is likely");
        let checked = CheckedHrpstring::new::<Bech32m>(&clean).map_err(|_| mistyped())?;
        let mut secret = Zeroizing::new([0; 32]);
        for (to, from) in secret.iter_mut().zip(checked.byte_iter()) {
            *to = from;
        }
        let key = Self(secret);
        // 52 digits hold 260 bits: the last four must be zero, so that a key has one text.
        if *key.to_text() != *clean {
            return Err(FormatError::invalid(WHAT, "last digit", "more than 32 bytes", "32 bytes"));
        }
        Ok(key)
    }
}
