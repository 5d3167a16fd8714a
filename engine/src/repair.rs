//! The repair conductor. It only adds: nothing is removed but a damaged copy, by the right bytes of the same name.
//!
//! ```text
//! copies of config and key slots ─► every pack read: parity, the other repository's copy ─► what stays damaged is marked
//!   ─► what points lose is fetched from the other repository, chunk by chunk ─► what is lost all the same is named
//! ```
//!
//! What is marked is no target of deduplication: the next backup that still has the content stores it again.

mod error;
mod fetch;
mod objects;
mod rebuild;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use repo_format::{ChunkId, Compression, PackName, PackOrdinal};

use crate::{
    log::{LogHead, decide_damaged},
    mender::{MendedFrom, Mender, WriteBack},
    monitor::{Event, Monitor},
    problem::{Part, Problem},
    repository::{Reader, Writer},
    store::Store,
    verify::{Depth, Examined, Share, VerifyOptions, examine, log_mended, losses},
};

pub use error::RepairError;
pub use rebuild::{RebuildError, RebuildReport, rebuild_index, rebuild_log};

/// A root gives nodes, nodes give maps, maps give chunks.
const LOOKS_MAX: u32 = 8;

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairMode {
    /// Everything that can be mended is.
    Mend,
    /// It is found out what would be mended; nothing is written.
    Plan,
}

/// How to repair.
#[derive(Clone, Copy, Debug)]
pub struct RepairOptions {
    /// Whether anything is written.
    pub mode: RepairMode,
    /// Threads that read packs and disks.
    pub threads: usize,
    /// What frames of fetched chunks are compressed with.
    pub compression: Compression,
    /// Memory for opened frames of the other repository.
    pub cache_bytes: u64,
}

/// What else there is to repair from.
#[derive(Clone, Default)]
pub struct RepairSources<'r> {
    /// A copy of this repository, file by file.
    pub copy: Option<Arc<dyn Store>>,
    /// A repository that holds the same restore points, under whatever keys.
    pub other: Option<&'r Reader>,
}

/// What something was mended from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealedFrom {
    /// A pack: its own parity, or its copy elsewhere.
    Pack(MendedFrom),
    /// The second copy of the same object in this repository.
    Twin,
    /// Content read from the other repository, sealed anew.
    OtherRepository,
}

/// Something that is whole again, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// The object, or the part of a restore point.
    pub object: String,
    /// What was wrong with it.
    pub what: String,
    /// What it was mended from.
    pub from: HealedFrom,
}

/// What a repair has found and done.
#[derive(Clone, Debug)]
pub struct RepairReport {
    /// What was wrong when it began.
    pub findings: Vec<Problem>,
    /// What is whole again.
    pub healed: Vec<Healed>,
    /// What is still wrong. Without a cost: no restore point needs it, or there is another copy.
    pub lost: Vec<Problem>,
    /// Packs marked in the log: no targets of deduplication any more.
    pub marked: Vec<PackName>,
    /// Bytes of the packs written with what was fetched.
    pub stored_bytes: u64,
    /// Packs read.
    pub packs_checked: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Head of the log.
    pub head: LogHead,
}

impl RepairReport {
    /// Whether a restore point has lost something.
    pub fn is_anything_lost(&self) -> bool {
        self.lost.iter().any(|problem| !problem.costs.is_empty())
    }
}

/// Repairs a repository whose log can be read.
pub fn repair(
    writer: &mut Writer,
    sources: &RepairSources<'_>,
    options: &RepairOptions,
    monitor: &dyn Monitor,
) -> Result<RepairReport, RepairError> {
    let twins = objects::mend_copies(writer, options.mode)?;
    let examined = examine_packs(writer, sources, options, monitor)?;
    let mut marked = Vec::new();
    if options.mode == RepairMode::Mend {
        log_mended(writer, &examined.mended)?;
        marked = mark(writer, &examined.bad)?;
    }
    let findings_of_twins = twins.len();
    let mut healed = twins;
    healed.extend(examined.report.mended.iter().map(mended_pack));
    let mut left = without(examined.report.problems.clone(), &healed);
    let findings = findings(&examined, healed.get(..findings_of_twins).unwrap_or_default(), &left);
    let mut stored_bytes = 0;
    if let Some(other) = sources.other {
        monitor.event(&Event::Phase { name: "fetch from the other repository", total_bytes: 0 });
        // A map that is whole again shows what lies under it: look again, as long as that brings something.
        for _ in 0..LOOKS_MAX {
            let Some(fetched) = fetch::fetch(writer, other, &examined.bad, &left, options, monitor)? else { break };
            stored_bytes += fetched.stored_bytes;
            left = match options.mode {
                RepairMode::Mend => without(losses(writer, &examined, monitor)?, &healed),
                RepairMode::Plan => less(left, &fetched.parts),
            };
            let parts = fetched.parts.iter().map(|(point, part)| fetched_part(writer, *point, part));
            let new: Vec<Healed> = parts.filter(|part| !healed.contains(part)).collect();
            if new.is_empty() {
                break;
            }
            healed.extend(new);
            if options.mode == RepairMode::Plan {
                break;
            }
        }
    }
    writer.remember_head();
    Ok(RepairReport {
        findings,
        healed,
        lost: left,
        marked,
        stored_bytes,
        packs_checked: examined.report.packs_checked,
        bytes_read: examined.report.bytes_read,
        head: writer.head(),
    })
}

fn examine_packs(
    writer: &mut Writer,
    sources: &RepairSources<'_>,
    options: &RepairOptions,
    monitor: &dyn Monitor,
) -> Result<Examined, RepairError> {
    let write_back = match options.mode {
        RepairMode::Mend => WriteBack::Yes,
        RepairMode::Plan => WriteBack::No,
    };
    let (store, keys) = (Arc::clone(&writer.environment().store), Arc::clone(writer.keys()));
    let mender = Mender { store, keys, other: sources.copy.clone(), write_back };
    let verify = VerifyOptions { depth: Depth::ReadData(Share::Whole), points: Vec::new(), threads: options.threads };
    Ok(examine(&mut writer.0, &verify, Some(&mender), monitor)?)
}

/// Writes down which packs are damaged, and gives their names.
fn mark(writer: &mut Writer, bad: &[PackOrdinal]) -> Result<Vec<PackName>, RepairError> {
    let appended = writer.append(&mut |state| decide_damaged(state, bad, "seen twice by repair"))?;
    let packs = appended.records.iter().filter_map(|record| match record {
        repo_format::Record::Damaged(damaged) => Some(&damaged.packs),
        _ => None,
    });
    Ok(packs.flatten().filter_map(|pack| writer.state().pack(*pack)).map(|pack| pack.name).collect())
}

fn mended_pack((problem, from): &(Problem, MendedFrom)) -> Healed {
    Healed { object: problem.object.clone(), what: problem.what.clone(), from: HealedFrom::Pack(*from) }
}

fn fetched_part(reader: &Reader, point: ChunkId, part: &Part) -> Healed {
    let vm = reader.state().point(&point).map(|point| point.vm_name.clone()).unwrap_or_default();
    let part = match part {
        Part::Point => "the record of the point".to_owned(),
        Part::Home => "the VM home".to_owned(),
        Part::Disk(name) => name.clone(),
    };
    let what = "content was missing here".to_owned();
    Healed { object: format!("{vm} {point}: {part}"), what, from: HealedFrom::OtherRepository }
}

/// All that was wrong: what was mended, and what is left.
fn findings(examined: &Examined, twins: &[Healed], left: &[Problem]) -> Vec<Problem> {
    let twins = twins.iter().map(|twin| Problem::new(&twin.object, &twin.what));
    let mended = examined.report.mended.iter().map(|(problem, _)| problem.clone());
    twins.chain(mended).chain(left.iter().cloned()).collect()
}

/// In a dry run, what would be mended is still there. What lies under a map in it is not looked at then.
fn without(problems: Vec<Problem>, healed: &[Healed]) -> Vec<Problem> {
    let is_healed = |problem: &Problem| healed.iter().any(|healed| healed.object == problem.object);
    problems.into_iter().filter(|problem| !is_healed(problem)).collect()
}

/// The problems less what `parts` would bring back.
fn less(problems: Vec<Problem>, parts: &BTreeSet<(ChunkId, Part)>) -> Vec<Problem> {
    let left = |mut problem: Problem| {
        problem.costs.retain(|cost| !parts.contains(&(cost.point, cost.part.clone())));
        problem
    };
    problems.into_iter().map(left).collect()
}
