//! What `copy` gives.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Human,
    human::{clean, short},
};
use crate::units::size;

/// What `copy` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CopyResult {
    /// Nothing was written.
    pub dry_run: bool,
    /// Points copied, or to be copied.
    pub copied: Vec<CopiedLine>,
    /// Points that were there already.
    pub skipped: Vec<SkippedLine>,
    /// Points left out.
    pub failed: Vec<UncopiedLine>,
    /// Bytes of the packs that were written.
    pub sent_bytes: u64,
    /// For a dry run: data on the disks of what would be copied, at most.
    pub data_bytes: Option<u64>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// A point that was copied.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CopiedLine {
    /// Its VM.
    pub vm: String,
    /// The point copied from.
    pub original: String,
    /// The copy; null for a dry run.
    pub point: Option<String>,
    /// Bytes of the packs written for it; null for a dry run.
    pub stored_bytes: Option<u64>,
}

/// A point that was there already.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SkippedLine {
    /// Its VM.
    pub vm: String,
    /// The point copied from.
    pub original: String,
    /// The copy; null for a dry run.
    pub copy: Option<String>,
}

/// A point left out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UncopiedLine {
    /// Its VM.
    pub vm: String,
    /// The point.
    pub original: String,
    /// Why.
    pub what: String,
}

impl Human for CopyResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in &self.copied {
            match (&line.point, line.stored_bytes) {
                (Some(point), Some(bytes)) => {
                    writeln!(
                        out,
                        "{}  {}  copied as {}, {} sent",
                        short(&line.original),
                        clean(&line.vm),
                        short(point),
                        size(bytes)
                    )?;
                }
                _ => writeln!(out, "{}  {}  would be copied", short(&line.original), clean(&line.vm))?,
            }
        }
        for line in &self.failed {
            writeln!(out, "{}  {}  not copied: {}", short(&line.original), clean(&line.vm), clean(&line.what))?;
        }
        match self.data_bytes {
            Some(bytes) => writeln!(
                out,
                "{} to copy (at most {} to read), {} there already",
                self.copied.len(),
                size(bytes),
                self.skipped.len()
            ),
            None => writeln!(
                out,
                "{} copied, {} there already, {} sent in {:.1} s",
                self.copied.len(),
                self.skipped.len(),
                size(self.sent_bytes),
                self.elapsed_seconds
            ),
        }
    }
}
