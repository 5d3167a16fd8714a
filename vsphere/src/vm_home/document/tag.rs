//! Writes one tag of ours.

use std::fmt::Display;

use quick_xml::escape::escape;

use super::PREFIX;

/// A tag that is being written.
pub(super) struct Tag<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Tag<'o> {
    /// Begins it.
    pub(super) fn new(out: &'o mut Vec<u8>, name: &str) -> Self {
        out.extend_from_slice(format!("<{PREFIX}:{name}").as_bytes());
        Self { out }
    }

    /// With an attribute. White space is written as references: a reader makes spaces of it otherwise.
    pub(super) fn is(self, name: &str, value: impl Display) -> Self {
        let value = value.to_string();
        let value = escape(value.as_str()).replace('\n', "&#10;").replace('\t', "&#9;");
        self.out.extend_from_slice(format!(" {name}=\"{value}\"").as_bytes());
        self
    }

    /// With an attribute if there is a value.
    pub(super) fn may(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.is(name, value),
            None => self,
        }
    }

    /// Elements follow, then [`end`].
    pub(super) fn open(self) {
        self.out.push(b'>');
    }

    /// Nothing follows.
    pub(super) fn close(self) {
        self.out.extend_from_slice(b"/>");
    }
}

/// Ends an element.
pub(super) fn end(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(format!("</{PREFIX}:{name}>").as_bytes());
}
