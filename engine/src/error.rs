//! What an error asks the operator to do.

use repo_format::ErrorKind;

/// The reaction that an error calls for. The command line turns each into one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Stored bytes are not what was written.
    Damaged,
    /// Something that was asked for by name is not there.
    Missing,
    /// The secret opens nothing here.
    WrongKey,
    /// There is no repository at this place.
    NoRepository,
    /// Another process is at it.
    Busy,
    /// The store does not answer, refuses, or is full: try again later or make room.
    Unavailable,
    /// A newer program is needed.
    Unsupported,
    /// What was asked for makes no sense.
    Invalid,
    /// The history of the repository does not continue the one that this client remembers.
    History,
    /// The operator stopped the run.
    Interrupted,
    /// It was tried and did not work.
    Failed,
    /// The program contradicts itself.
    Bug,
}

impl From<ErrorKind> for Kind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Damaged => Self::Damaged,
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::WrongKey => Self::WrongKey,
            ErrorKind::Invalid => Self::Invalid,
        }
    }
}
