//! What `serve` says once clients can come: the one result that is written before the run ends.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::Human;

/// `strongroom.serve/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServeResult {
    /// The restore point.
    pub point: String,
    /// Its VM.
    pub vm: String,
    /// Its time.
    pub time: String,
    /// Whether clients may write; what they write is never in the repository.
    pub writable: bool,
    /// File that keeps what they write; null: read-only, or kept in memory.
    pub overlay_file: Option<String>,
    /// The exports.
    pub uris: Vec<ServeUri>,
}

/// One export.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServeUri {
    /// The disk.
    pub disk: String,
    /// Its size.
    pub size_bytes: u64,
    /// Where it is, for nbdcopy, qemu and others.
    pub uri: String,
}

impl Human for ServeResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        self.uris.iter().try_for_each(|uri| writeln!(out, "{}", uri.uri))
    }
}
