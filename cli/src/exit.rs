//! The numbers a run ends with; part of the contract with scripts.

use std::process::ExitCode;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Not done; no new promise was made.
    Failed,
    /// What was named is not there.
    Missing,
    /// The command line is wrong or a consent is missing; nothing was changed.
    Invalid,
    /// Done, but a person is needed.
    Attention,
    /// Bytes are missing or not what they were.
    Damaged,
    /// What would come out is not what was asked for; nothing was written.
    Refused,
    /// Not reachable or full: try later.
    Unavailable,
    /// Nothing there that is a repository.
    NoRepository,
    /// The same VM is being backed up, or another writer has taken over.
    Superseded,
    /// No key slot opens.
    WrongKey,
    /// The log does not continue what is known.
    History,
    /// A newer Strongroom is needed, or the word is not built.
    Unsupported,
    /// A defect of this program.
    Bug,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::Missing => 1,
            Self::Invalid => 2,
            Self::Attention => 3,
            Self::Damaged => 4,
            Self::Refused => 5,
            Self::Unavailable => 6,
            Self::NoRepository => 10,
            Self::Superseded => 11,
            Self::WrongKey => 12,
            Self::History => 13,
            Self::Unsupported => 14,
            Self::Bug => 101,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The word that programs read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Attention => "attention",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::NoRepository => "no_repository",
            Self::Superseded => "superseded",
            Self::WrongKey => "wrong_key",
            Self::History => "history",
            Self::Unsupported => "unsupported",
            Self::Bug => "bug",
            Self::Interrupted | Self::Terminated => "interrupted",
        }
    }

    /// How an error of the engine ends the run.
    pub fn of(kind: engine::Kind) -> Self {
        use engine::Kind;
        match kind {
            Kind::Damaged => Self::Damaged,
            Kind::Missing => Self::Missing,
            Kind::WrongKey => Self::WrongKey,
            Kind::NoRepository => Self::NoRepository,
            Kind::Busy => Self::Superseded,
            Kind::Unavailable => Self::Unavailable,
            Kind::Unsupported => Self::Unsupported,
            Kind::Invalid => Self::Invalid,
            Kind::History => Self::History,
            Kind::Interrupted => crate::signals::interrupted_exit(),
            Kind::Failed => Self::Failed,
            Kind::Bug => Self::Bug,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_contract() {
        let table = [
            (Exit::Done, 0, "done"),
            (Exit::Failed, 1, "failed"),
            (Exit::Missing, 1, "missing"),
            (Exit::Invalid, 2, "invalid"),
            (Exit::Attention, 3, "attention"),
            (Exit::Damaged, 4, "damaged"),
            (Exit::Refused, 5, "refused"),
            (Exit::Unavailable, 6, "unavailable"),
            (Exit::NoRepository, 10, "no_repository"),
            (Exit::Superseded, 11, "superseded"),
            (Exit::WrongKey, 12, "wrong_key"),
            (Exit::History, 13, "history"),
            (Exit::Unsupported, 14, "unsupported"),
            (Exit::Bug, 101, "bug"),
            (Exit::Interrupted, 130, "interrupted"),
            (Exit::Terminated, 143, "interrupted"),
        ];
        for (exit, code, word) in table {
            assert_eq!((exit.code(), exit.word()), (code, word));
        }
    }

    #[test]
    fn every_reaction_of_the_engine_has_its_number() {
        use engine::Kind;
        let table = [
            (Kind::Damaged, 4),
            (Kind::Missing, 1),
            (Kind::WrongKey, 12),
            (Kind::NoRepository, 10),
            (Kind::Busy, 11),
            (Kind::Unavailable, 6),
            (Kind::Unsupported, 14),
            (Kind::Invalid, 2),
            (Kind::History, 13),
            (Kind::Interrupted, 130),
            (Kind::Failed, 1),
            (Kind::Bug, 101),
        ];
        for (kind, code) in table {
            assert_eq!(Exit::of(kind).code(), code);
        }
    }
}
