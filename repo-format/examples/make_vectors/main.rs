//! Writes the test vectors: `cargo run -p repo-format --example make_vectors tests/vectors`. The same bytes every time.
//!
//! What a reader must refuse is made here from SPEC.md alone, since the library does not write it.

mod chunker;
mod config;
mod disk_map;
mod file;
mod frame;
mod key_slot;
mod log_entry;
mod pack;
mod parity;
mod restore_point;
mod vm_home;
mod wire;

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("make_vectors FOLDER")?);
    let mut files = vec![];
    files.extend(config::all()?);
    files.extend(key_slot::all()?);
    files.extend(chunker::all());
    files.extend(frame::all());
    files.extend(pack::all());
    files.extend(disk_map::all());
    files.extend(restore_point::all());
    files.extend(vm_home::all());
    files.extend(log_entry::all());
    for file in files {
        std::fs::write(folder.join(format!("{}.txt", file.name())), file.text())?;
    }
    Ok(())
}
