//! What a person should know about a backup that went well enough.

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// Good to know.
    Say,
    /// Somebody should look at it: the run ends with *attention*.
    Attention,
}

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub kind: NoteKind,
    /// For programs: `full_read`, `not_quiesced`, …
    pub code: &'static str,
    /// For people, the VM's name first.
    pub text: String,
}

impl Note {
    pub(super) fn say(code: &'static str, text: impl Into<String>) -> Self {
        Self { kind: NoteKind::Say, code, text: text.into() }
    }

    pub(super) fn attention(code: &'static str, text: impl Into<String>) -> Self {
        Self { kind: NoteKind::Attention, code, text: text.into() }
    }
}
