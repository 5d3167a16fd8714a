//! Walks everything that a live or pinned point needs, each map once, and notes the names.

use std::{collections::HashSet, ops::Range};

use repo_format::{ChunkId, Extent, Stream};

use super::{
    PruneError,
    needed::{Needed, NeededBuilder},
};
use crate::{
    map_walk::{Found, MapWalk, Visitor},
    monitor::Monitor,
    read_error::ReadError,
    repository::Reader,
    restore::read_home,
};

/// The names of all chunks that `points` need.
///
/// **Invariant:** what cannot be read ends the walk. Nobody may decide what is not needed while part of what is needed is
/// unknown.
pub(super) fn mark(
    reader: &Reader,
    points: impl Iterator<Item = ChunkId>,
    monitor: &dyn Monitor,
) -> Result<Needed, PruneError> {
    let mut needed = NeededBuilder::new(reader.keys(), &reader.catalog()?.runs_folder())?;
    let mut seen = HashSet::new();
    for point in points {
        let unreadable = |source| PruneError::Unreadable { point, source };
        mark_point(reader, point, &mut needed, &mut seen, monitor).map_err(|error| match error {
            MarkError::Read(source) => unreadable(source),
            MarkError::Interrupted => PruneError::Interrupted,
        })?;
    }
    Ok(needed.finish()?)
}

enum MarkError {
    Read(ReadError),
    Interrupted,
}

impl From<ReadError> for MarkError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

fn mark_point(
    reader: &Reader,
    point: ChunkId,
    needed: &mut NeededBuilder<'_>,
    seen: &mut HashSet<[u8; 16]>,
    monitor: &dyn Monitor,
) -> Result<(), MarkError> {
    needed.add(point)?;
    let record = reader.restore_point(point)?;
    if let Some(id) = record.vm_home
        && is_new(seen, &id)
    {
        needed.add(id)?;
        let home = read_home(reader, id)?;
        let streams = std::iter::once(&home.document).chain(home.nvram.as_ref().map(|nvram| &nvram.content));
        streams.flat_map(|stream: &Stream| &stream.pieces).try_for_each(|piece| needed.add(piece.id))?;
    }
    for disk in &record.disks {
        needed.add(disk.map_root)?;
        if !is_new(seen, &disk.map_root) {
            continue;
        }
        let walk = MapWalk::open(reader, disk.map_root)?;
        let mut marker = Marker { needed, seen, monitor };
        walk.for_each_segment(0..walk.segment_count(), &mut marker)?;
    }
    Ok(())
}

/// 128 bits of a keyed hash: two names never meet in them.
fn is_new(seen: &mut HashSet<[u8; 16]>, id: &ChunkId) -> bool {
    id.as_bytes().first_chunk::<16>().is_none_or(|short| seen.insert(*short))
}

struct Marker<'a, 'k> {
    needed: &'a mut NeededBuilder<'k>,
    seen: &'a mut HashSet<[u8; 16]>,
    monitor: &'a dyn Monitor,
}

impl Visitor for Marker<'_, '_> {
    type Error = MarkError;

    /// A map or node that was walked once is not read again: its chunks are noted.
    fn skips(&mut self, id: &ChunkId) -> bool {
        !is_new(self.seen, id)
    }

    fn node(&mut self, id: &ChunkId) -> Result<(), MarkError> {
        Ok(self.needed.add(*id)?)
    }

    fn segments(&mut self, _segments: Range<u64>, found: Found) -> Result<(), MarkError> {
        if self.monitor.interrupted() {
            return Err(MarkError::Interrupted);
        }
        match found {
            Found::Hole => Ok(()),
            Found::Unreadable { error, .. } => Err(error.into()),
            Found::Map { id, map } => {
                self.needed.add(id)?;
                let chunks = map.extents().iter().filter_map(|extent| match extent {
                    Extent::Data(chunk) => Some(chunk.id),
                    Extent::Hole { .. } | Extent::Bad { .. } => None,
                });
                chunks.into_iter().try_for_each(|chunk| self.needed.add(chunk)).map_err(MarkError::from)
            }
        }
    }
}
