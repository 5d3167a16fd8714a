//! Writes the test vectors: `cargo run -p repo-format --example make_vectors tests/vectors`. The same bytes every time.
//!
//! What a reader must refuse is made here from SPEC.md alone, since the library does not write it.

mod chunker;
mod config;
mod file;
mod key_slot;

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("make_vectors FOLDER")?);
    let mut files = vec![];
    files.extend(config::all()?);
    files.extend(key_slot::all()?);
    files.extend(chunker::all());
    for file in files {
        std::fs::write(folder.join(format!("{}.txt", file.name())), file.text())?;
    }
    Ok(())
}
