//! `strongroom generate`: files made of the program itself.

use super::Done;
use crate::{args::GenerateWhat, exit::Exit, failure::Failure, output};

/// Schemas of all documents.
pub fn run(what: &GenerateWhat) -> Result<Done, Failure> {
    let GenerateWhat::Schemas { dir } = what;
    let files = output::write_schemas(dir).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("schemas cannot be written: {error}"),
            dir.display(),
            "name a folder that can be written",
        )
    })?;
    Ok(Done::with(output::GenerateResult { files }))
}
