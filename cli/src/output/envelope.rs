//! The document around every result.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{exit::Exit, failure::Failure};

/// One run as programs read it. The number in `schema` rises only when a field goes away or changes its meaning.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Envelope<R> {
    /// `strongroom.COMMAND/1`
    pub schema: String,
    /// Version of the program.
    pub strongroom: String,
    /// The repository, if it was opened.
    pub repository: Option<RepositoryLine>,
    /// In one word.
    pub outcome: Outcome,
    /// The exit code of the program.
    pub exit_code: u8,
    /// What a person should know.
    pub warnings: Vec<WarningLine>,
    /// Why it failed.
    pub error: Option<ErrorLine>,
    /// What the command gives; null if it did not get that far.
    pub result: Option<R>,
}

/// A run in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Ok,
    /// Done, but a person is needed.
    Attention,
    /// Not done.
    Failed,
}

/// The repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RepositoryLine {
    /// Its id.
    pub id: String,
    /// The head of its log.
    pub head: HeadLine,
}

/// The head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HeadLine {
    /// Number of the newest entry.
    pub seq: u64,
    /// BLAKE3 of the newest entry.
    pub digest: String,
}

impl HeadLine {
    /// As the engine knows it.
    pub fn of(head: engine::LogHead) -> Self {
        Self { seq: head.number, digest: head.digest.to_string() }
    }

    /// Number and the ends of the digest.
    pub fn short(&self) -> String {
        let (begin, end) = (self.digest.get(..4), self.digest.get(self.digest.len().saturating_sub(4)..));
        format!("{} {}..{}", self.seq, begin.unwrap_or_default(), end.unwrap_or_default())
    }
}

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WarningLine {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// An error: the same texts that people read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorLine {
    /// The reaction it calls for.
    pub kind: String,
    /// What happened.
    pub error: String,
    /// Where.
    #[serde(rename = "where")]
    pub place: String,
    /// What to do.
    #[serde(rename = "try")]
    pub advice: String,
    /// What lies behind it.
    pub caused_by: Vec<String>,
}

impl ErrorLine {
    /// The document form of a failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            kind: failure.exit.word().to_owned(),
            error: failure.what.clone(),
            place: failure.place.clone(),
            advice: failure.advice.clone(),
            caused_by: failure.causes.clone(),
        }
    }
}

/// How a run ended.
pub struct Ending<'e> {
    /// The command.
    pub command: &'e str,
    /// The repository, if it was opened.
    pub repository: Option<&'e RepositoryLine>,
    /// The exit code.
    pub exit: Exit,
    /// Warnings.
    pub warnings: &'e [WarningLine],
    /// Why it failed.
    pub failure: Option<&'e Failure>,
}

/// Streams the document: it is never held as text.
pub fn write<R: Serialize>(ending: &Ending<'_>, result: Option<&R>, out: &mut dyn Write) -> io::Result<()> {
    let envelope = Envelope {
        schema: format!("strongroom.{}/1", ending.command),
        strongroom: env!("CARGO_PKG_VERSION").to_owned(),
        repository: ending.repository.cloned(),
        outcome: match ending.exit {
            Exit::Done => Outcome::Ok,
            Exit::Attention => Outcome::Attention,
            _ => Outcome::Failed,
        },
        exit_code: ending.exit.code(),
        warnings: ending.warnings.to_vec(),
        error: ending.failure.map(ErrorLine::of),
        result,
    };
    serde_json::to_writer(&mut *out, &envelope)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_whole_document() {
        let failure = Failure::new(Exit::Missing, "no VM \"a\"", "/r", "strongroom list");
        let ending =
            Ending { command: "list", repository: None, exit: Exit::Missing, warnings: &[], failure: Some(&failure) };
        let mut out = Vec::new();
        write::<()>(&ending, None, &mut out).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["schema"], "strongroom.list/1");
        assert_eq!(document["outcome"], "failed");
        assert_eq!(document["exit_code"], 1);
        assert_eq!(document["error"]["kind"], "missing");
        assert_eq!(document["error"]["where"], "/r");
        assert_eq!(document["error"]["try"], "strongroom list");
        assert!(document["result"].is_null());
    }
}
