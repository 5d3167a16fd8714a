//! Results of the commands that decide what stays.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Human, ProblemLine,
    human::{clean, short, show_problems, table},
};
use crate::units::size;

/// What `forget` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ForgetResult {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Points that stay.
    pub keep: Vec<FateLine>,
    /// Points that go.
    pub forget: Vec<FateLine>,
    /// About how many bytes a prune gives back for them; null if that was not asked for.
    pub freed_bytes: Option<u64>,
    /// What the prune that followed has done.
    pub prune: Option<PruneResult>,
}

/// A point and why it stays.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FateLine {
    /// The point.
    pub id: String,
    /// Time of its log entry, RFC 3339 in UTC.
    pub time: String,
    /// Its VM.
    pub vm: String,
    /// Why it stays; empty: it goes.
    pub reasons: Vec<String>,
}

/// What `hold` and `release` give.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HoldResult {
    /// The points, and whether each is held now.
    pub points: Vec<HeldLine>,
}

/// A point and whether it is held.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldLine {
    /// The point.
    pub id: String,
    /// Its VM.
    pub vm: String,
    /// Why it is held; null: it is not.
    pub held: Option<String>,
    /// Whether this run has changed that.
    pub changed: bool,
}

/// What `prune` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PruneResult {
    /// Nothing was changed.
    pub dry_run: bool,
    /// What was found and is to be done.
    pub plan: PrunePlanLine,
    /// What was done; null for a dry run.
    pub done: Option<PruneDoneLine>,
    /// Trouble with single objects.
    pub problems: Vec<ProblemLine>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// What a prune is to do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PrunePlanLine {
    /// Packs that are there.
    pub packs: u64,
    /// Their bytes.
    pub packs_bytes: u64,
    /// Packs of which nothing is needed: to be given up now and removed after the grace.
    pub dead_packs: u64,
    /// Packs given up so long ago that they are removed now.
    pub delete_packs: u64,
    /// Packs given up, their grace not over.
    pub waiting_packs: u64,
    /// Packs to be rewritten.
    pub repack_packs: u64,
    /// Of them small ones that are gathered into whole ones.
    pub small_packs: u64,
    /// Bytes to be read and written again for that.
    pub repack_bytes: u64,
    /// Packs of runs that ended without a restore point.
    pub orphan_packs: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Bytes that come back in all, once every grace is over.
    pub freed_bytes: u64,
}

/// What a prune has done.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PruneDoneLine {
    /// Packs given up.
    pub condemned_packs: u64,
    /// Packs deleted in the log, orphans among them.
    pub deleted_packs: u64,
    /// Objects that have left the store.
    pub removed_packs: u64,
    /// Their bytes, orphans not counted.
    pub removed_bytes: u64,
    /// Objects that the store keeps for now (object lock, rights).
    pub retained_packs: u64,
    /// Bytes of packs written anew.
    pub repacked_bytes: u64,
    /// Sessions of others that had fallen silent and were ended.
    pub fenced_sessions: u64,
    /// Chunks that live and pinned points need.
    pub needed_chunks: u64,
}

impl Human for ForgetResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |line: &FateLine| {
            let fate = if line.reasons.is_empty() { "forget" } else { "keep" };
            vec![
                short(&line.id).to_owned(),
                line.time.clone(),
                line.vm.clone(),
                fate.to_owned(),
                line.reasons.join(", "),
            ]
        };
        let mut lines: Vec<&FateLine> = self.keep.iter().chain(&self.forget).collect();
        lines.sort_by(|a, b| (&a.vm, &a.time).cmp(&(&b.vm, &b.time)));
        let header = ["ID", "Time", "VM", "", "Why it stays"];
        writeln!(out, "{}", table(&header, lines.into_iter().map(row).collect(), &[]).trim_fmt())?;
        let (would, freed) = match self.dry_run {
            true => ("would be ", "would free"),
            false => ("", "frees"),
        };
        let freed =
            self.freed_bytes.map(|bytes| format!("; a prune {freed} about {}", size(bytes))).unwrap_or_default();
        writeln!(out, "{} points stay, {} {would}forgotten{freed}", self.keep.len(), self.forget.len())?;
        match &self.prune {
            Some(prune) => prune.show(out),
            None => Ok(()),
        }
    }
}

impl Human for HoldResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        self.points.iter().try_for_each(|line| {
            let state = match (&line.held, line.changed) {
                (Some(reason), _) => format!("held: {}", clean(reason)),
                (None, true) => "released".to_owned(),
                (None, false) => "was not held".to_owned(),
            };
            writeln!(out, "{}  {}  {state}", short(&line.id), clean(&line.vm))
        })
    }
}

impl Human for PruneResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let plan = &self.plan;
        writeln!(out, "{} packs, {}", plan.packs, size(plan.packs_bytes))?;
        let mut line = |what: &str, packs: u64, rest: String| match packs {
            0 => Ok(()),
            _ => writeln!(out, "  {packs:>6} {what}{rest}"),
        };
        line("hold nothing that is needed", plan.dead_packs, String::new())?;
        let gathered = match plan.small_packs {
            0 => String::new(),
            small => format!(", {small} of them small ones that are gathered"),
        };
        line("to be rewritten", plan.repack_packs, format!(" ({}{gathered})", size(plan.repack_bytes)))?;
        line("given up before, to be removed now", plan.delete_packs, String::new())?;
        line("given up before, waiting for their grace", plan.waiting_packs, String::new())?;
        line("left by runs that ended without a point", plan.orphan_packs, format!(" ({})", size(plan.orphan_bytes)))?;
        match &self.done {
            None => writeln!(out, "would free {} once every grace is over", size(plan.freed_bytes))?,
            Some(done) => {
                let rewritten = match done.repacked_bytes {
                    0 => String::new(),
                    bytes => format!(", {} rewritten", size(bytes)),
                };
                writeln!(
                    out,
                    "{} packs removed ({}), {} given up{rewritten} in {:.1} s",
                    done.removed_packs,
                    size(done.removed_bytes),
                    done.condemned_packs,
                    self.elapsed_seconds
                )?;
                if done.fenced_sessions > 0 {
                    writeln!(out, "{} silent sessions ended", done.fenced_sessions)?;
                }
                if done.retained_packs > 0 {
                    writeln!(out, "{} packs are kept by the store for now", done.retained_packs)?;
                }
            }
        }
        show_problems(&self.problems, out)
    }
}
