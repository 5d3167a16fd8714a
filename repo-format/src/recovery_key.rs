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

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        RecoveryKey::from_random(std::array::from_fn(|i| u8::try_from(7 * i).unwrap())).to_text().to_string()
    }

    fn kind_of_error(text: &str) -> crate::ErrorKind {
        RecoveryKey::parse(text).err().unwrap().kind
    }

    #[test]
    fn the_text_reads_back_in_any_case_and_grouping() {
        let text = text();
        assert_eq!(text.len(), 62);
        assert!(text.starts_with("srk1"));
        let grouped: Vec<String> =
            text.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
        for variant in
            [text.clone(), text.to_uppercase(), grouped.join(" "), grouped.join("\r\n"), format!(" {text}\n")]
        {
            assert_eq!(*RecoveryKey::parse(&variant).ok().unwrap().to_text(), text);
        }
    }

    #[test]
    fn one_mistyped_character_is_noticed() {
        let text = text();
        for place in 4..text.len() {
            for digit in "qpzry9x8gf2tvdw0s3jn54khce6mua7lbio1".chars() {
                let mut mistyped: Vec<char> = text.chars().collect();
                if mistyped[place] != digit {
                    mistyped[place] = digit;
                    let mistyped: String = mistyped.into_iter().collect();
                    assert_eq!(kind_of_error(&mistyped), crate::ErrorKind::Invalid);
                }
            }
        }
    }

    #[test]
    fn other_prefixes_checksums_lengths_and_characters_are_refused() {
        let text = text();
        let other = bech32::encode::<Bech32m>(Hrp::parse("sro").unwrap(), &[1; 32]).unwrap();
        let older = bech32::encode::<bech32::Bech32>(Hrp::parse("srk").unwrap(), &[1; 32]).unwrap();
        let short = bech32::encode::<Bech32m>(Hrp::parse("srk").unwrap(), &[1; 31]).unwrap();
        let dashed = text.replacen("srk1", "srk-1", 1);
        for wrong in
            [&other, &older, &short, &dashed, &text[..61], &format!("{text}q"), "", "ß", &text.replace('s', "ſ")]
        {
            assert_eq!(kind_of_error(wrong), crate::ErrorKind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn bits_behind_the_key_must_be_zero() {
        // 33 bytes have as many digits as 260 bits and one more: take a text whose last digit carries other bits.
        use bech32::{ByteIterExt, Fe32, Fe32IterExt};
        let prefix = Hrp::parse(PREFIX).unwrap();
        let mut digits: Vec<Fe32> = [1_u8; 32].into_iter().bytes_to_fes().collect();
        let right: String = digits.iter().copied().with_checksum::<Bech32m>(&prefix).chars().collect();
        assert!(RecoveryKey::parse(&right).is_ok());
        let last = digits.last_mut().unwrap();
        *last = Fe32::try_from(last.to_u8() ^ 1).unwrap();
        let wrong: String = digits.iter().copied().with_checksum::<Bech32m>(&prefix).chars().collect();
        assert_eq!(kind_of_error(&wrong), crate::ErrorKind::Invalid);
    }

    #[test]
    fn an_error_shows_nothing_of_the_text() {
        let text = text();
        for wrong in [&text[..61], &text.replacen("srk", "xyz", 1), &text.replace('q', "p")] {
            let shown = RecoveryKey::parse(wrong).err().unwrap().to_string();
            assert!(
                !text.as_bytes()[4..].windows(6).any(|part| shown.as_bytes().windows(6).any(|found| found == part))
            );
        }
    }
}
