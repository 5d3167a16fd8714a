//! What `repair` gives.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Human, ProblemLine,
    human::{clean, show_problems},
};
use crate::units::size;

/// `strongroom.repair/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct RepairResult {
    /// Nothing was written.
    pub dry_run: bool,
    /// What was wrong.
    pub findings: Vec<ProblemLine>,
    /// What is whole again, or would be.
    pub healed: Vec<HealedLine>,
    /// What is still wrong. Without costs: no restore point needs it, or there is another copy.
    pub lost: Vec<ProblemLine>,
    /// Packs marked as damaged: the next backup stores again what it finds of them.
    pub marked: Vec<String>,
    /// Bytes of the packs written with what was fetched from the other repository.
    pub stored_bytes: u64,
    /// Packs read.
    pub packs_checked: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// What was made anew; null if nothing was.
    pub rebuilt: Option<RebuiltLine>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// Something that is whole again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HealedLine {
    /// The object, or the part of a restore point.
    pub object: String,
    /// What was wrong with it.
    pub what: String,
    /// `parity`, `other_copy` (the same pack in a copy of the repository), `twin` (the second copy of the same object),
    /// `other_repository` (content read there).
    pub from: String,
}

/// What was made anew.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RebuiltLine {
    /// The log was lost, and is written anew; what had been forgotten is back. False: only the local index.
    pub log: bool,
    /// Packs found.
    pub packs: u64,
    /// Restore points found; 0 where only the index was made anew.
    pub points: u64,
}

/// Shows what was mended.
pub fn show_healed(healed: &[HealedLine], out: &mut dyn Write) -> io::Result<()> {
    for line in healed {
        let from = match line.from.as_str() {
            "parity" => "its parity",
            "other_copy" => "its copy in the other repository",
            "twin" => "its second copy",
            _ => "the other repository",
        };
        writeln!(out, "{}: {}; mended from {from}", clean(&line.object), clean(&line.what))?;
    }
    Ok(())
}

impl Human for RepairResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(rebuilt) = &self.rebuilt {
            let what = if rebuilt.log { "log written anew" } else { "index made anew" };
            write!(out, "{what}: {} packs", rebuilt.packs)?;
            if rebuilt.log {
                write!(out, ", {} restore points; what had been forgotten before is back", rebuilt.points)?;
            }
            writeln!(out)?;
            return show_problems(&self.lost, out);
        }
        show_healed(&self.healed, out)?;
        show_problems(&self.lost, out)?;
        let done = if self.dry_run { "would be mended" } else { "mended" };
        writeln!(
            out,
            "{} found, {} {done}, {} not; {} packs ({}) read in {:.1} s",
            self.findings.len(),
            self.healed.len(),
            self.lost.len(),
            self.packs_checked,
            size(self.read_bytes),
            self.elapsed_seconds
        )
    }
}
