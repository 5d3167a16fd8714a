//! Verification: the restore walk without a target, so that what it proves is what a restore does.
//!
//! | depth | what is looked at |
//! |---|---|
//! | quick | log, config and key slot copies; every pack is there with its length; maps of all live points, and every chunk they name is in the directory of a pack |
//! | read data | in addition whole packs: name, both footers and directories, shards, every frame opened, every chunk hashed again |
//! | without key | names, checksums and the chain of the log: what a storage host can check that holds no key |

mod costs;
mod mending;
mod objects;
mod quick;
mod read_data;
#[cfg(test)]
mod tests;
mod without_key;

use std::{collections::HashSet, sync::Arc};

use repo_format::{ChunkId, PackName, PackOrdinal, VerifiedHow};

use crate::{
    catalog::CatalogError,
    error::Kind,
    log::{LogError, decide_verified},
    mender::{MendedFrom, Mender, WriteBack},
    monitor::{Event, Monitor},
    problem::Problem,
    read_error::ReadError,
    repository::{Reader, Writer},
    store::StoreError,
};

use costs::Damage;
use mending::Mending;
use quick::PackToRead;

pub use without_key::verify_without_key;

/// How much of the packs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Directories only.
    Quick,
    /// Whole packs.
    ReadData(Share),
}

/// Which of the packs are read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All.
    Whole,
    /// At least this many hundredths of their bytes: those verified longest ago.
    Percent(u8),
}

/// What to verify, and how.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// How deep.
    pub depth: Depth,
    /// Only what these restore points need; empty: everything.
    pub points: Vec<ChunkId>,
    /// Threads that read and check packs.
    pub threads: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// All of it; empty: none.
    pub problems: Vec<Problem>,
    /// Packs read whole.
    pub packs_checked: u64,
    /// Packs that are there by the log, or by the store where there is no key.
    pub packs_total: u64,
    /// Bytes of packs read whole.
    pub bytes_read: u64,
    /// Restore points whose maps were walked.
    pub points_checked: u64,
    /// Packs that were damaged and are mended: what was wrong with each, and what it was mended from.
    pub mended: Vec<(Problem, MendedFrom)>,
    /// When the pack that was not read for longest was read: `None` for never, or if there is no pack.
    pub oldest_verified_ms: Option<u64>,
}

/// Why a verification was not finished. What is wrong with the repository is no error but a [`Problem`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No such restore point is live.
    #[error("no restore point {point}")]
    Point {
        /// What was asked for.
        point: ChunkId,
    },
    /// There is no repository.
    #[error("{place} is no repository: {what}")]
    NoRepository {
        /// Where was looked.
        place: String,
        /// What is missing.
        what: String,
    },
    /// The repository cannot be read right now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log cannot be read on, or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read right now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ages of earlier verifications cannot be kept.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Somebody asked to stop. What was read counts.
    #[error("interrupted; the packs read so far count as verified")]
    Interrupted,
}

impl VerifyError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Point { .. } => Kind::Missing,
            Self::NoRepository { .. } => Kind::NoRepository,
            Self::Read(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Catalog(_) => Kind::Unavailable,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// Looks before what is missed counts as damage although others go on removing.
const LOOKS_MAX: usize = 5;

/// Verifies a repository with its keys.
///
/// A prune may remove packs meanwhile that are no longer needed. So what is missed counts only if the log, read on, does not
/// say that something was removed; else there is another look. Packs that were found good are not read again.
pub fn verify(
    reader: &mut Reader,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
) -> Result<VerifyReport, VerifyError> {
    Ok(examine(reader, options, None, monitor)?.report)
}

/// Verifies, and mends in passing what the parity of a pack makes up for.
pub fn verify_and_mend(
    writer: &mut Writer,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
) -> Result<VerifyReport, VerifyError> {
    let mender = Mender {
        store: Arc::clone(&writer.environment().store),
        keys: Arc::clone(writer.keys()),
        other: None,
        write_back: WriteBack::Yes,
    };
    let examined = examine(&mut writer.0, options, Some(&mender), monitor)?;
    log_mended(writer, &examined.mended)?;
    Ok(examined.report)
}

/// What was mended bears its name: the log says so.
pub(crate) fn log_mended(writer: &mut Writer, packs: &[PackOrdinal]) -> Result<(), VerifyError> {
    let slot = writer.slot();
    writer.append(&mut |state| decide_verified(state, packs, VerifiedHow::Name, slot))?;
    writer.remember_head();
    Ok(())
}

/// A verification and what a repair goes on from.
pub(crate) struct Examined {
    pub(crate) report: VerifyReport,
    /// Packs mended, ascending.
    pub(crate) mended: Vec<PackOrdinal>,
    /// Packs seen twice to be damaged or missing, which could not be mended, ascending. Empty without a mender.
    pub(crate) bad: Vec<PackOrdinal>,
    /// What the packs were found to lack.
    damage: Damage,
}

/// What the damage that was found costs by now, when something may have been stored again.
pub(crate) fn losses(reader: &Reader, examined: &Examined, monitor: &dyn Monitor) -> Result<Vec<Problem>, VerifyError> {
    let points = quick::chosen_points(reader, &[])?;
    costs::walk(reader, &points, examined.damage.clone(), monitor)
}

/// Verifies; a mender is asked for each damaged pack that was read or looked for.
pub(crate) fn examine(
    reader: &mut Reader,
    options: &VerifyOptions,
    mender: Option<&Mender>,
    monitor: &dyn Monitor,
) -> Result<Examined, VerifyError> {
    let mut read = ReadPacks::default();
    for _ in 1..LOOKS_MAX {
        let examined = look(reader, options, mender, monitor, &mut read)?;
        if examined.report.problems.is_empty() || !removed_since(reader)? {
            return Ok(examined);
        }
    }
    look(reader, options, mender, monitor, &mut read)
}

/// Reads the log on. Has somebody given up or removed packs, or log copies, since it was read?
fn removed_since(reader: &mut Reader) -> Result<bool, VerifyError> {
    let removable = |reader: &Reader| {
        let gone = reader.state().packs().filter(|(_, pack)| quick::may_be_gone(pack)).count();
        (gone, reader.state().checkpoints().last().map(|newest| newest.entry_number))
    };
    let before = removable(reader);
    reader.refresh()?;
    Ok(removable(reader) != before)
}

/// What was read of packs in all looks.
#[derive(Default)]
struct ReadPacks {
    /// Packs to read, chosen at the first look; `None` before it.
    due: Option<HashSet<PackName>>,
    /// Of them those that are as they should be.
    good: HashSet<PackName>,
    bytes: u64,
    mended: Vec<PackOrdinal>,
    /// Them as a report names them.
    said: Vec<(Problem, MendedFrom)>,
}

fn look(
    reader: &Reader,
    options: &VerifyOptions,
    mender: Option<&Mender>,
    monitor: &dyn Monitor,
    read: &mut ReadPacks,
) -> Result<Examined, VerifyError> {
    let points = quick::chosen_points(reader, &options.points)?;
    // First: what a prune beside this removes later was there when it was looked for.
    let mut damage = quick::check_presence(reader, mender)?;
    let mut report = VerifyReport { packs_total: quick::packs(reader).count() as u64, ..VerifyReport::default() };
    if let Depth::ReadData(share) = options.depth {
        let mut packs = quick::packs_to_read(reader, &damage);
        if !options.points.is_empty() {
            let needed = costs::packs_of(reader, &points, monitor)?;
            packs.retain(|pack| needed.contains(&pack.ordinal));
        }
        let packs = read.still_due(packs, share, reader)?;
        let bytes = packs.iter().map(|pack| pack.bytes).sum();
        monitor.event(&Event::Phase { name: "read packs", total_bytes: bytes });
        read_data::read(reader, &packs, options.threads, mender, monitor, &mut damage)?;
        read.bytes += bytes;
        report.bytes_read = read.bytes;
        report.packs_checked = (read.good.len() + packs.len()) as u64;
        read.good.extend(packs.iter().filter(|pack| !damage.has(pack.ordinal)).map(|pack| pack.name));
    }
    monitor.event(&Event::Phase { name: "walk maps", total_bytes: 0 });
    report.points_checked = points.len() as u64;
    let Mending { mended, bad, said } = damage.take_mending();
    read.mended.extend(mended);
    read.said.extend(said);
    report.mended.clone_from(&read.said);
    let costs = costs::walk(reader, &points, damage.clone(), monitor)?;
    // Last: the whole log is read for it, which takes longer the longer the log is.
    let mut problems = objects::check(reader)?;
    problems.extend(costs);
    report.problems = problems;
    report.oldest_verified_ms = read_data::oldest_verified(reader)?;
    Ok(Examined { report, mended: read.mended.clone(), bad, damage })
}

impl ReadPacks {
    /// Of `packs` those that are to be read in this look.
    fn still_due(
        &mut self,
        packs: Vec<PackToRead>,
        share: Share,
        reader: &Reader,
    ) -> Result<Vec<PackToRead>, VerifyError> {
        let mut packs = match (&self.due, share) {
            (Some(due), Share::Percent(_)) => packs.into_iter().filter(|pack| due.contains(&pack.name)).collect(),
            (None, _) | (_, Share::Whole) => {
                read_data::chosen(packs, share, &|name| read_data::last_verified(reader, name))?
            }
        };
        self.due.get_or_insert_with(|| packs.iter().map(|pack| pack.name).collect());
        packs.retain(|pack| !self.good.contains(&pack.name));
        Ok(packs)
    }
}
