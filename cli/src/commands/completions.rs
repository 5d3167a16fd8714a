//! `strongroom completions`

use super::Done;
use crate::{
    args::{self, CompletionsArgs},
    failure::Failure,
    output::CompletionsResult,
};

/// The script of a shell.
pub fn run(args: &CompletionsArgs) -> Result<Done, Failure> {
    let mut script = Vec::new();
    args::completions(args.shell, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(Done::with(CompletionsResult { shell: args.shell.name().to_owned(), script }))
}
