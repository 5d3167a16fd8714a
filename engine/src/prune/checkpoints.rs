//! Parts of checkpoints that newer ones have taken the place of.

use std::{collections::HashSet, ops::ControlFlow};

use repo_format::{CheckpointPart, Digest, PART_BYTES_MAX};

use super::PruneError;
use crate::{
    problem::Problem,
    repository::Writer,
    store::{Listed, Name, NameKind, Prefix},
};

/// Removes parts that were the growing end of a checkpoint and that neither of the newest two names. No checkpoint to come will
/// name them: the part at its end is longer, and whole parts, which it may name again, are left alone.
pub(super) fn remove_superseded(writer: &Writer, problems: &mut Vec<Problem>) -> Result<(), PruneError> {
    let [older, newest] = writer.state().checkpoints() else { return Ok(()) };
    let (older, newest) = (&older.checkpoint, &newest.checkpoint);
    let named: HashSet<Digest> = older.parts.iter().chain(&newest.parts).copied().collect();
    let store = writer.environment().store.as_ref();
    let mut unnamed = Vec::new();
    store.list(Prefix::CheckpointParts, &mut |Listed { name, .. }| {
        if let NameKind::CheckpointPart(part) = name.kind()
            && !named.contains(&part)
        {
            unnamed.push(part);
        }
        ControlFlow::Continue(())
    })?;
    let repository = writer.config().repository;
    let before = older.at.min(newest.at);
    for part in unnamed {
        let name = Name::checkpoint_part(part);
        let Ok(Some(bytes)) = store.get(&name, PART_BYTES_MAX as u64) else { continue };
        let Ok(found) = CheckpointPart::decode(&bytes, &part, &repository) else { continue };
        let last = found.first.saturating_add(found.entries.len() as u64).saturating_sub(1);
        if found.is_whole || last > before {
            continue;
        }
        for (name, result) in store.delete_many(&[name]) {
            if let Err(error) = result {
                problems.push(Problem::new(&name, format_args!("is not removed yet: {error}")));
            }
        }
    }
    Ok(())
}
