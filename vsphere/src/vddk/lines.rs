//! The last lines that the library said. An error of its own is a number and five words; the reason stands above it.

use std::{
    collections::VecDeque,
    error, fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Lines that are kept.
pub(super) const LINES_MAX: usize = 50;
/// Longest line that is kept, in bytes.
const LINE_BYTES_MAX: usize = 400;
/// Lines about improving somebody's products.
const NOISE: [&str; 2] = ["CEIP", "PhoneHome"];

/// A place for lines, written by many threads.
#[derive(Default)]
pub(super) struct LastLines {
    lines: Mutex<VecDeque<String>>,
}

impl LastLines {
    /// Keeps a line, unless it is noise.
    pub(super) fn push(&self, line: &str) {
        if NOISE.iter().any(|noise| line.contains(noise)) {
            return;
        }
        let end = (0..=line.len().min(LINE_BYTES_MAX)).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        let mut lines = self.lock();
        lines.push_back(line.get(..end).unwrap_or_default().to_owned());
        while lines.len() > LINES_MAX {
            lines.pop_front();
        }
    }

    /// What is kept, oldest first.
    pub(super) fn all(&self) -> LibraryLines {
        LibraryLines(self.lock().iter().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines of the library that came before an error, oldest first: the cause below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryLines(
    /// The lines.
    pub Vec<String>,
);

impl fmt::Display for LibraryLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the library said:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl error::Error for LibraryLines {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_noise_is_not() {
        let lines = LastLines::default();
        (0..60).for_each(|number| lines.push(&format!("line {number}")));
        lines.push("PhoneHome: nobody asked");
        lines.push(&"é".repeat(LINE_BYTES_MAX));
        let kept = lines.all().0;
        assert_eq!(kept.len(), LINES_MAX);
        assert_eq!(kept[0], "line 11");
        assert_eq!(kept[LINES_MAX - 1].len(), LINE_BYTES_MAX);
    }
}
