//! The proof that packs may go: in their own sealed directories and in those of the packs that stay.

use std::collections::BTreeSet;

use repo_format::{ChunkId, PackOrdinal};

use super::{PruneError, needed::Needed};
use crate::{
    index::Location,
    problem::{Problem, is_loss},
    repository::Reader,
};

/// Of `candidates` those of which every needed chunk has a copy in a usable pack outside `candidates`, confirmed in its
/// sealed directory. Ascending. What keeps a candidate because it cannot be read goes to `problems`.
pub(super) fn dispensable(
    reader: &Reader,
    needed: &Needed,
    candidates: &BTreeSet<PackOrdinal>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<PackOrdinal>, PruneError> {
    let mut dispensable = Vec::new();
    for pack in candidates {
        let directory = match reader.pack(*pack) {
            Ok(pack) => pack,
            Err(error) if is_loss(error.kind()) => {
                problems.push(Problem::new(format_args!("{pack}"), format_args!("is kept: {error}")));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut chunks = directory.directory().frames().iter().flat_map(|frame| &frame.chunks);
        let mut kept = false;
        while let Some(chunk) = chunks.next().filter(|_| !kept) {
            kept = needed.contains(&chunk.id) && !lies_elsewhere(reader, &chunk.id, candidates)?;
        }
        if !kept {
            dispensable.push(*pack);
        }
    }
    Ok(dispensable)
}

fn lies_elsewhere(reader: &Reader, id: &ChunkId, candidates: &BTreeSet<PackOrdinal>) -> Result<bool, PruneError> {
    for location in reader.index()?.locate_all(id) {
        let counts = reader.state().usable(location.pack) && !candidates.contains(&location.pack);
        if counts && confirms(reader, id, location)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn confirms(reader: &Reader, id: &ChunkId, location: Location) -> Result<bool, PruneError> {
    let pack = match reader.pack(location.pack) {
        Ok(pack) => pack,
        Err(error) if is_loss(error.kind()) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let frame = usize::try_from(location.frame).ok().and_then(|at| pack.directory().frame(at));
    let position = usize::try_from(location.position).ok();
    Ok(frame.zip(position).and_then(|(frame, at)| frame.chunks.get(at)).is_some_and(|chunk| chunk.id == *id))
}
