//! A run of the program that has ended.

use std::{os::unix::process::ExitStatusExt, process::Output};

use serde_json::Value;

/// What a run left.
#[derive(Debug)]
pub struct Run {
    /// The command line, for messages.
    pub line: String,
    /// Exit code, or 128 and the signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// From what the system says.
    pub fn of(line: String, output: Output) -> Self {
        let status = output.status;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let text = |bytes| String::from_utf8(bytes).unwrap_or_else(|_| panic!("{line}: output is not UTF-8"));
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr), line: line.clone() }
    }

    /// It ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\nstdout: {}\nstderr: {}", self.line, self.stdout, self.stderr);
        self
    }

    /// It failed with this code and one error of three labels that says all these words.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        let run = self.ends(code);
        let count = |label: &str| run.stderr.lines().filter(|line| line.starts_with(label)).count();
        for label in ["error: ", "where: ", "  try: "] {
            assert_eq!(count(label), 1, "{}: label {label:?}\n{}", run.line, run.stderr);
        }
        let error = run.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(!error.ends_with('.'), "{}: a trailing stop: {error}", run.line);
        for word in words {
            assert!(run.stderr.contains(word), "{}: {word:?} is not in\n{}", run.line, run.stderr);
        }
        run
    }

    /// The document on standard output.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}\n{}", self.line, self.stdout, self.stderr))
    }

    /// The document's `result`.
    #[track_caller]
    pub fn result(&self) -> Value {
        self.document()["result"].clone()
    }
}
