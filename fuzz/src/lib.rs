//! A target per decoder. Each is a plain function of bytes that panics if a claim does not hold.
//!
//! `drive` runs them under a stable compiler; `cargo-fuzz/` wraps the same functions for libFuzzer. Keys are known here, and
//! sealing is done a second time ([`seal`]), so mutated bytes reach the decoders below the seal.

mod mutator;
mod seal;
mod seeds;
mod targets;
mod vectors;

use repo_format::FormatError;

pub use mutator::Mutator;
pub use seeds::seeds;
pub use targets::{
    chunker::chunker_block, chunker::chunker_fastcdc, disk_map::map_node, disk_map::map_root, disk_map::segment_map,
    frame::frame, frame::frame_round_trip, log::log_body, log::log_entry, metadata::metadata_chunk,
    metadata::restore_point, metadata::vm_home, metadata::vm_identity, nbd::nbd_client, nbd::nbd_server,
    pack::pack_directory, pack::pack_footer, pack::pack_head, pack::pack_round_trip, public::config, public::key_slot,
    public::key_slot_content, public::recovery_key, soap::soap_fault, soap::soap_xml, splice::splice,
    vsphere::helper_control, vsphere::vm_home_from_config,
};
pub use vectors::inputs_of_vectors;

/// What a decoder made of the bytes. The driver keeps inputs whose outcome is new: that leads it into every branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Decoded, and every claim held.
    Accepted,
    /// Refused at this place.
    Refused(String),
}

impl Outcome {
    pub(crate) fn of<T>(result: &Result<T, FormatError>) -> Self {
        match result {
            Ok(_) => Self::Accepted,
            Err(error) => Self::refused(error),
        }
    }

    pub(crate) fn refused(error: &FormatError) -> Self {
        // Numbers would make every refusal a new one.
        let field: String = error.field.chars().filter(|digit| !digit.is_ascii_digit()).take(60).collect();
        Self::Refused(format!("{}: {field}: {}", error.what, error.wanted.len()))
    }
}

/// A target: a name, the function, and the `object:` of the test vectors whose inputs it begins with.
pub struct Target {
    /// As given on the command line.
    pub name: &'static str,
    /// What is run.
    pub run: fn(&[u8]) -> Outcome,
    /// Whose vectors it reads, if they are its input as they are.
    pub vectors: Option<&'static str>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "chunker_block", run: chunker_block, vectors: None },
    Target { name: "chunker_fastcdc", run: chunker_fastcdc, vectors: None },
    Target { name: "config", run: config, vectors: Some("config") },
    Target { name: "frame", run: frame, vectors: None },
    Target { name: "frame_round_trip", run: frame_round_trip, vectors: None },
    Target { name: "helper_control", run: helper_control, vectors: None },
    Target { name: "key_slot", run: key_slot, vectors: Some("key_slot") },
    Target { name: "key_slot_content", run: key_slot_content, vectors: None },
    Target { name: "log_body", run: log_body, vectors: None },
    Target { name: "log_entry", run: log_entry, vectors: Some("log_entry") },
    Target { name: "map_node", run: map_node, vectors: Some("map_node") },
    Target { name: "map_root", run: map_root, vectors: Some("map_root") },
    Target { name: "metadata_chunk", run: metadata_chunk, vectors: Some("restore_point") },
    Target { name: "nbd_client", run: nbd_client, vectors: None },
    Target { name: "nbd_server", run: nbd_server, vectors: None },
    Target { name: "pack_directory", run: pack_directory, vectors: None },
    Target { name: "pack_footer", run: pack_footer, vectors: Some("pack") },
    Target { name: "pack_head", run: pack_head, vectors: Some("pack") },
    Target { name: "pack_round_trip", run: pack_round_trip, vectors: None },
    Target { name: "recovery_key", run: recovery_key, vectors: None },
    Target { name: "restore_point", run: restore_point, vectors: Some("restore_point") },
    Target { name: "segment_map", run: segment_map, vectors: Some("segment_map") },
    Target { name: "soap_fault", run: soap_fault, vectors: None },
    Target { name: "soap_xml", run: soap_xml, vectors: None },
    Target { name: "splice", run: splice, vectors: None },
    Target { name: "vm_home", run: vm_home, vectors: Some("vm_home") },
    Target { name: "vm_home_from_config", run: vm_home_from_config, vectors: None },
    Target { name: "vm_identity", run: vm_identity, vectors: None },
];
