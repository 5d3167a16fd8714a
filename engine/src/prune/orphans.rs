//! Packs that no log entry registers: what crashed runs have left.

use std::ops::ControlFlow;

use repo_format::{Orphan, PackName};

use super::PruneError;
use crate::{
    log::SessionStatus,
    problem::Problem,
    repository::Reader,
    session::read_head,
    store::{Listed, Name, NameKind, Prefix},
};

/// What lies in the store and is registered nowhere.
#[derive(Default)]
pub(super) struct Unregistered {
    /// Their owners have ended: they may go.
    pub(super) orphans: Vec<(Orphan, u64)>,
    /// A Delete entry names them, yet they are there.
    pub(super) deleted: Vec<PackName>,
    /// Packs of which nobody knows whose they are.
    pub(super) problems: Vec<Problem>,
}

/// Packs in the store that the replayed head does not register. A listing that shows too little only means that less is
/// removed.
pub(super) fn list_unregistered(reader: &Reader) -> Result<Vec<(PackName, u64)>, PruneError> {
    let state = reader.state();
    let mut names: Vec<(PackName, u64)> = Vec::new();
    reader.environment().store.list(Prefix::Packs, &mut |Listed { name, bytes }| {
        if let NameKind::Pack(pack) = name.kind()
            && state.ordinal_of(&pack).is_none()
        {
            names.push((pack, bytes));
        }
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// Whose they are, and what may become of them, as the replayed head has it.
pub(super) fn judge_unregistered(reader: &Reader, listed: Vec<(PackName, u64)>) -> Result<Unregistered, PruneError> {
    let state = reader.state();
    let mut found = Unregistered::default();
    for (pack, bytes) in listed.into_iter().filter(|(pack, _)| state.ordinal_of(pack).is_none()) {
        if state.deleted_orphans().contains_key(&pack) {
            found.deleted.push(pack);
            continue;
        }
        let head = read_head(reader, pack).map_err(PruneError::Session)?;
        if head.is_none() && reader.environment().store.size(&Name::pack(pack))?.is_none() {
            // Another prune has removed it since the listing.
            continue;
        }
        let owner = head.and_then(|head| Some((head.session, state.final_owner(&head.session)?)));
        match owner.and_then(|(session, owner)| Some((session, state.session(&owner)?.status))) {
            Some((_, SessionStatus::Open)) => {}
            Some((owner, _)) => found.orphans.push((Orphan { pack, owner }, bytes)),
            None => found.problems.push(Problem::new(
                format_args!("pack {pack}"),
                "is registered nowhere and its head names no session of this repository: it is left where it is",
            )),
        }
    }
    Ok(found)
}
