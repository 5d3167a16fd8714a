//! One vector as text.

use std::fmt::{Display, Write};

/// Hexadecimal digits on a line.
const LINE_DIGITS: usize = 120;

#[derive(Clone)]
pub struct VectorFile {
    name: String,
    text: String,
}

impl VectorFile {
    /// A vector of `object`; `name` is its claim in a word or two, `claim` in a sentence.
    pub fn new(object: &str, name: &str, claim: &str) -> Self {
        Self { name: format!("{object}-{name}"), text: format!("claim: {claim}\nobject: {object}\n") }
    }

    pub fn accepted(self) -> Self {
        self.field("expect", "ok")
    }

    /// `kind`: damaged, unsupported or wrong_key.
    pub fn rejected(self, kind: &str) -> Self {
        self.field("expect", "reject").field("kind", kind)
    }

    pub fn field(mut self, name: &str, value: impl Display) -> Self {
        let _ = writeln!(self.text, "{name}: {value}");
        self
    }

    /// One line if it is short, else lines of their own.
    pub fn hex(mut self, name: &str, bytes: &[u8]) -> Self {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if digits.len() <= LINE_DIGITS {
            return self.field(name, digits);
        }
        let _ = writeln!(self.text, "{name}:");
        let mut rest = &digits[..];
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(LINE_DIGITS));
            let _ = writeln!(self.text, " {line}");
            rest = more;
        }
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// `bytes` with `patch` at `at`.
pub fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .enumerate()
        .map(|(place, byte)| place.checked_sub(at).and_then(|offset| patch.get(offset)).copied().unwrap_or(*byte))
        .collect()
}
