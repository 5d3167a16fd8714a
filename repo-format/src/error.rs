//! What can be wrong with bytes.

/// What the operator, or the layer above, has to make of a [`FormatError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The bytes are not what a writer wrote.
    Damaged,
    /// The bytes may be right, but a newer program is needed to read them.
    Unsupported,
    /// This secret or key does not open this object.
    WrongKey,
    /// A value handed in by the caller is outside what the format can hold.
    Invalid,
}

/// One thing that is wrong with one object: what, where in it, what was found, what was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {field}: {found}, {wanted}")]
pub struct FormatError {
    /// How to react.
    pub kind: ErrorKind,
    /// The object, such as `pack directory`.
    pub what: &'static str,
    /// The place in it, such as `frame 12: plaintext length`.
    pub field: String,
    /// What is there.
    pub found: String,
    /// What would be right.
    pub wanted: String,
}

impl FormatError {
    /// Damage: the bytes are not what was written.
    pub fn damaged(what: &'static str, field: impl Into<String>, found: impl ToString, wanted: impl ToString) -> Self {
        Self {
            kind: ErrorKind::Damaged,
            what,
            field: field.into(),
            found: found.to_string(),
            wanted: wanted.to_string(),
        }
    }

    /// A newer format or an unknown feature that must be understood.
    pub fn unsupported(
        what: &'static str,
        field: impl Into<String>,
        found: impl ToString,
        wanted: impl ToString,
    ) -> Self {
        Self { kind: ErrorKind::Unsupported, ..Self::damaged(what, field, found, wanted) }
    }

    /// The secret does not open the object.
    pub fn wrong_key(
        what: &'static str,
        field: impl Into<String>,
        found: impl ToString,
        wanted: impl ToString,
    ) -> Self {
        Self { kind: ErrorKind::WrongKey, ..Self::damaged(what, field, found, wanted) }
    }

    /// The caller's value cannot be encoded.
    pub fn invalid(what: &'static str, field: impl Into<String>, found: impl ToString, wanted: impl ToString) -> Self {
        Self { kind: ErrorKind::Invalid, ..Self::damaged(what, field, found, wanted) }
    }
}
