//! Removes from the store what Delete entries name. May be repeated; what is gone already is gone.

use repo_format::{PackName, PackOrdinal};

use super::PruneError;
use crate::{
    log::{PackStatus, decide_swept},
    problem::Problem,
    repository::Writer,
    store::{Deleted, Name},
};

/// Names asked for in one call.
const BATCH: usize = 1000;

/// What has left the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) packs: u64,
    pub(super) bytes: u64,
    /// Kept by the store for now.
    pub(super) retained: u64,
}

/// Removes deleted packs and `orphans`, then says so in the log.
pub(super) fn sweep(
    writer: &mut Writer,
    orphans: &[PackName],
    problems: &mut Vec<Problem>,
) -> Result<Swept, PruneError> {
    let due = |pack: &crate::log::PackState| pack.status == PackStatus::Deleted && !pack.swept;
    let packs: Vec<(PackOrdinal, PackName, u64)> = writer
        .state()
        .packs()
        .filter(|(_, pack)| due(pack))
        .map(|(ordinal, pack)| (ordinal, pack.name, pack.bytes))
        .collect();
    let mut swept = Swept::default();
    let mut gone_packs = Vec::new();
    for batch in packs.chunks(BATCH) {
        let names: Vec<Name> = batch.iter().map(|(_, name, _)| Name::pack(*name)).collect();
        for ((ordinal, _, bytes), result) in batch.iter().zip(writer.environment().store.delete_many(&names)) {
            if is_gone(result, &mut swept, problems) {
                gone_packs.push(*ordinal);
                swept.bytes += bytes;
            }
        }
    }
    let mut gone_orphans = Vec::new();
    for batch in orphans.chunks(BATCH) {
        let names: Vec<Name> = batch.iter().map(|pack| Name::pack(*pack)).collect();
        for (pack, result) in batch.iter().zip(writer.environment().store.delete_many(&names)) {
            if is_gone(result, &mut swept, problems) {
                gone_orphans.push(*pack);
            }
        }
    }
    writer.append(&mut |state| decide_swept(state, &gone_packs, &gone_orphans))?;
    Ok(swept)
}

fn is_gone(
    result: (Name, Result<Deleted, crate::store::StoreError>),
    swept: &mut Swept,
    problems: &mut Vec<Problem>,
) -> bool {
    match result {
        (_, Ok(Deleted::Gone)) => {
            swept.packs += 1;
            true
        }
        (_, Ok(Deleted::Retained)) => {
            swept.retained += 1;
            false
        }
        (name, Err(error)) => {
            problems.push(Problem::new(&name, format_args!("is not removed yet: {error}")));
            false
        }
    }
}
