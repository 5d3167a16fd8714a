//! What a store could not do.

use std::{fmt, io};

use super::Name;
use crate::error::Kind;

/// What is to be made of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// The object is not there.
    Absent,
    /// The store does not answer: try again later.
    Unavailable,
    /// The store refuses: rights, a read-only file system.
    Denied,
    /// No room is left.
    Full,
    /// The object is not what it should be, too short for instance.
    Damaged,
    /// What was asked for makes no sense.
    Invalid,
    /// A write may or may not have taken place.
    Unknown,
}

/// One operation on one object that did not succeed.
#[derive(Debug)]
pub struct StoreError {
    /// What was tried: `read`, `write` …
    pub op: &'static str,
    /// Which object.
    pub name: String,
    /// What is to be made of it.
    pub reaction: Reaction,
    /// The cause.
    pub source: io::Error,
}

impl StoreError {
    /// An error of the operating system, judged by what it is.
    pub(crate) fn from_io(op: &'static str, name: impl ToString, source: io::Error) -> Self {
        Self { op, name: name.to_string(), reaction: reaction_to(&source), source }
    }

    /// An error that the store itself has found.
    pub(crate) fn new(op: &'static str, name: impl ToString, reaction: Reaction, what: impl Into<String>) -> Self {
        Self { op, name: name.to_string(), reaction, source: io::Error::other(what.into()) }
    }

    pub(crate) fn absent(op: &'static str, name: &Name) -> Self {
        Self::new(op, name, Reaction::Absent, "it is not there")
    }

    /// How to react.
    pub fn kind(&self) -> Kind {
        match self.reaction {
            Reaction::Absent => Kind::Missing,
            Reaction::Unavailable | Reaction::Denied | Reaction::Full | Reaction::Unknown => Kind::Unavailable,
            Reaction::Damaged => Kind::Damaged,
            Reaction::Invalid => Kind::Invalid,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = match self.reaction {
            Reaction::Unknown => "; whether it took place is not known",
            _ => "",
        };
        write!(f, "cannot {} {}: {}{tail}", self.op, self.name, self.source)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A timeout or a failing disk is never "damaged": only bytes that were read can be.
fn reaction_to(error: &io::Error) -> Reaction {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reaction::Absent,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Reaction::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Reaction::Full,
        _ => Reaction::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn an_error_says_what_where_and_why() {
        let error = StoreError::from_io("write", Name::log(7), Errno::NOSPC.into());
        assert_eq!(error.to_string(), "cannot write log/00000000000000000007: No space left on device (os error 28)");
        assert_eq!(
            StoreError { reaction: Reaction::Unknown, ..error }.to_string(),
            "cannot write log/00000000000000000007: No space left on device (os error 28); whether it took place is not known"
        );
    }

    #[test]
    fn each_cause_has_its_reaction() {
        for (errno, reaction) in [
            (Errno::NOENT, Reaction::Absent),
            (Errno::NOTDIR, Reaction::Absent),
            (Errno::ACCESS, Reaction::Denied),
            (Errno::PERM, Reaction::Denied),
            (Errno::ROFS, Reaction::Denied),
            (Errno::NOSPC, Reaction::Full),
            (Errno::DQUOT, Reaction::Full),
            (Errno::FBIG, Reaction::Full),
            (Errno::IO, Reaction::Unavailable),
            (Errno::STALE, Reaction::Unavailable),
            (Errno::MFILE, Reaction::Unavailable),
        ] {
            assert_eq!(StoreError::from_io("write", "x", errno.into()).reaction, reaction, "{errno:?}");
        }
    }
}
