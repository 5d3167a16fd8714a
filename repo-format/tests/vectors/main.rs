//! Every file of `tests/vectors` (at the root) holds: what it says is accepted gives what it says, what it says is refused
//! is refused in that way. SPEC.md section 22.
//!
//! A new kind of object: a module with `decode`, and a line in [`decode`]. What `decode` puts into [`Outputs`] is compared
//! with the file's `out.…` lines, all of them both ways.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod chunker;
mod config;
mod disk_map;
mod frame;
mod key_slot;
mod log_entry;
mod pack;
mod restore_point;
mod vector;
mod vm_home;

use std::{collections::BTreeSet, path::Path};

use repo_format::{ErrorKind, FormatError};

use self::vector::{Outputs, Vector};

const OBJECTS: [&str; 11] = [
    "chunker",
    "config",
    "frame",
    "key_slot",
    "log_entry",
    "map_node",
    "map_root",
    "pack",
    "restore_point",
    "segment_map",
    "vm_home",
];

fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    match vector.text("object") {
        "chunker" => Ok(chunker::decode(vector)),
        "config" => config::decode(vector),
        "frame" => frame::decode(vector),
        "key_slot" => key_slot::decode(vector),
        "log_entry" => log_entry::decode(vector),
        "map_node" => disk_map::map_node(vector),
        "map_root" => disk_map::map_root(vector),
        "pack" => pack::decode(vector),
        "restore_point" => restore_point::decode(vector),
        "segment_map" => disk_map::segment_map(vector),
        "vm_home" => vm_home::decode(vector),
        other => panic!("no such object: {other}"),
    }
}

fn all() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.iter().map(|path| Vector::read(path)).collect()
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Damaged => "damaged",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::WrongKey => "wrong_key",
        ErrorKind::Invalid => "invalid",
    }
}

/// What is wrong with this vector, if anything.
fn complaint(vector: &Vector) -> Option<String> {
    let found = decode(vector);
    match (vector.text("expect"), found) {
        ("ok", Ok(found)) => (found != vector.outputs()).then(|| format!("{found:#?}, not {:#?}", vector.outputs())),
        ("ok", Err(error)) => Some(format!("refused: {error}")),
        ("reject", Ok(_)) => Some("accepted".to_owned()),
        ("reject", Err(error)) => {
            let found = kind_name(error.kind);
            (found != vector.text("kind")).then(|| format!("{found}, not {}: {error}", vector.text("kind")))
        }
        (other, _) => Some(format!("expect: {other}?")),
    }
}

#[test]
fn every_vector_holds() {
    let complaints: Vec<String> =
        all().iter().filter_map(|vector| complaint(vector).map(|text| format!("{}: {text}", vector.name()))).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_object_has_vectors_of_both_kinds() {
    let found: BTreeSet<(String, String)> =
        all().iter().map(|vector| (vector.text("object").to_owned(), vector.text("expect").to_owned())).collect();
    for object in OBJECTS {
        assert!(found.contains(&(object.to_owned(), "ok".to_owned())), "{object}");
        // A chunker refuses nothing.
        assert!(object == "chunker" || found.contains(&(object.to_owned(), "reject".to_owned())), "{object}");
    }
}

#[test]
fn a_vector_is_named_after_its_object_and_makes_a_claim_of_its_own() {
    let mut claims = BTreeSet::new();
    for vector in all() {
        assert!(vector.name().starts_with(&format!("{}-", vector.text("object"))), "{}", vector.name());
        let claim = (vector.text("object").to_owned(), vector.text("claim").to_owned());
        assert!(claims.insert(claim), "{}: claimed twice", vector.name());
    }
}
