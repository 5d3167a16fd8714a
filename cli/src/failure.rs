//! What went wrong: what happened, where, what to do. The same three texts for people and programs.

use std::{error::Error, fmt::Display};

use crate::exit::Exit;

/// Why a run did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the run ends.
    pub exit: Exit,
    /// What happened: lower case, no trailing stop.
    pub what: String,
    /// Where: ids and paths in full.
    pub place: String,
    /// What to do: a command or an act.
    pub advice: String,
    /// What lies behind it, outermost first.
    pub causes: Vec<String>,
}

impl Failure {
    /// A failure with its three texts.
    pub fn new(exit: Exit, what: impl Display, place: impl Display, advice: impl Display) -> Self {
        Self { exit, what: what.to_string(), place: place.to_string(), advice: advice.to_string(), causes: Vec::new() }
    }

    /// Something on the command line is wrong; nothing was changed.
    pub fn invalid(what: impl Display, advice: impl Display) -> Self {
        Self::new(Exit::Invalid, what, "the command line", advice)
    }

    /// A word of the contract that is not built.
    pub fn not_built(word: &str) -> Self {
        let what = format!("{word} is not built into this version of strongroom");
        Self::new(Exit::Unsupported, what, "the command line", "see what is there: strongroom help")
    }

    /// An error of the engine, with the advice that belongs to its kind.
    pub fn of(error: &(dyn Error + 'static), kind: engine::Kind, place: impl Display) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { causes, ..Self::new(Exit::of(kind), error, place, advice_for(kind)) }
    }

    /// The same with other advice.
    pub fn with_advice(self, advice: impl Display) -> Self {
        Self { advice: advice.to_string(), ..self }
    }
}

fn advice_for(kind: engine::Kind) -> &'static str {
    use engine::Kind;
    match kind {
        Kind::Damaged => "learn what it costs: strongroom verify --read-data",
        Kind::Missing => "see what is there: strongroom list",
        Kind::WrongKey => "check --password-file and --key-file, or open with --recovery-key-file FILE",
        Kind::NoRepository => "check --repo, or make a repository: strongroom init",
        Kind::Busy => "wait until the other run has ended, then run the same command again",
        Kind::Unavailable => "make the place reachable or free some room, then run the same command again",
        Kind::Unsupported => "use a newer strongroom",
        Kind::Invalid => "correct what is named and run the command again; nothing was changed",
        Kind::History => {
            "find out who replaced or rolled back the repository; only if that was you: --accept-rollback with the digest shown"
        }
        Kind::Interrupted => "run the same command again: what is finished is not done twice",
        Kind::Failed => "mend what is named and run the same command again: what is stored already is not stored twice",
        Kind::Bug => "please report this with the text above",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_kept_apart_from_what_happened() {
        let failure = Failure::of(&Outer(std::io::Error::other("inner")), engine::Kind::Failed, "here");
        assert_eq!(failure.what, "outer");
        assert_eq!(failure.causes, ["inner"]);
    }

    #[test]
    fn a_word_that_is_not_built_ends_with_14() {
        assert_eq!(Failure::not_built("prune").exit.code(), 14);
        assert_eq!(Failure::not_built("prune").what, "prune is not built into this version of strongroom");
    }
}
