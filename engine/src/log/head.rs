//! The head of a log: what a client remembers, prints and compares.

use std::{fmt, str::FromStr};

use repo_format::Digest;

/// The newest entry of a log: its number and the BLAKE3 of all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Number of the entry; 0 before the first.
    pub number: u64,
    /// Digest of the entry; of `config` before the first.
    pub digest: Digest,
}

impl fmt::Display for LogHead {
    /// Short, for reports: `12 6f0a..c41b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.to_string();
        let (first, last) = (digest.get(..4).unwrap_or_default(), digest.get(60..).unwrap_or_default());
        write!(f, "{} {first}..{last}", self.number)
    }
}

impl LogHead {
    /// Whole, for comparing and remembering: `12 6f0a…`.
    pub fn to_full_text(self) -> String {
        format!("{} {}", self.number, self.digest)
    }
}

impl FromStr for LogHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a log head");
        let (number, digest) = text.trim().split_once(' ').ok_or_else(wrong)?;
        Ok(Self { number: number.parse().map_err(|_| wrong())?, digest: digest.parse().map_err(|_| wrong())? })
    }
}
