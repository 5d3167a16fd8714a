//! Walks everything that a live or pinned point needs and notes the names: level by level from the roots down, each map once.
//!
//! What a map names is remembered from prune to prune ([`super::notes`]), so that only maps are read that are new since the
//! last one. Points that were forgotten fall out by themselves: every walk begins at the roots of those that are there.
//!
//! **Invariant:** memory grows neither with the disks nor with their number: lists are sorted files, and maps are read in the
//! order in which they lie in packs, so many at a time.

use std::collections::HashSet;

use repo_format::{ChunkId, Extent, MapNode, MapRoot, MetadataChunk, MetadataKind, SegmentMap};

use super::{
    PruneError,
    needed::{Needed, NeededBuilder},
    notes::{Note, NoteBook, NoteWriter},
    sorted::{Sorted, SortedBuilder},
};
use crate::{
    entropy::random,
    index::{IndexEntry, Location},
    monitor::Monitor,
    read_error::ReadError,
    repository::Reader,
    restore::read_home,
};

/// Maps of one level in memory before they go to a file: 44 bytes each.
const GATHERED_MAX: usize = 1 << 16;
/// Maps that are read in one go, in the order in which they lie in packs: 56 bytes each.
const READ_AT_ONCE: usize = 1 << 18;

/// What is walked, in the order of the walk: what each names comes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Home,
    Root,
    Node(u8),
    SegmentMap,
}

const LEVELS: u8 = 8;

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Home, Self::Root].into_iter().chain((1..=LEVELS).rev().map(Self::Node)).chain([Self::SegmentMap])
    }

    fn of_level(level: u8) -> Self {
        if level == 0 { Self::SegmentMap } else { Self::Node(level) }
    }
}

/// What a walk has found.
pub(super) struct Marked<'r> {
    /// The names of everything that the points need.
    pub(super) needed: Needed,
    reader: &'r Reader,
    notes: NoteBook<'r>,
    written: NoteWriter<'r>,
    /// Every map, root and home met.
    walked: Vec<Sorted>,
}

impl Marked<'_> {
    /// Remembers what was read, and forgets what these points do not need.
    pub(super) fn remember(self) -> Needed {
        let Self { needed, reader, mut notes, written, walked } = self;
        let name = || {
            let random: [u8; 16] = random(reader.environment().entropy.as_ref());
            random.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        notes.take_in(written, &name(), &walked, &name());
        needed
    }
}

/// The names of all chunks that `points` need.
///
/// **Invariant:** what cannot be read ends the walk. Nobody may decide what is not needed while part of what is needed is
/// unknown.
pub(super) fn mark<'r>(
    reader: &'r Reader,
    points: &[ChunkId],
    monitor: &dyn Monitor,
) -> Result<Marked<'r>, PruneError> {
    let catalog = reader.catalog()?;
    let notes = NoteBook::open(reader.keys(), &catalog.notes_folder());
    let written = notes.writer()?;
    let needed = NeededBuilder::new(reader.keys(), &catalog.runs_folder())?;
    let mut walk = Walk { reader, points, monitor, needed, fronts: Vec::new(), notes, written };
    for (number, point) in (0_u32..).zip(points) {
        walk.begin_point(number, *point)?;
    }
    let mut walked = Vec::new();
    for kind in Kind::all() {
        if let Some(place) = walk.fronts.iter().position(|(found, _)| *found == kind) {
            let front = walk.fronts.swap_remove(place).1.finish()?;
            walk.front(kind, &front)?;
            walked.push(front);
        }
    }
    let Walk { needed, notes, written, .. } = walk;
    Ok(Marked { needed: needed.finish()?, reader, notes, written, walked })
}

struct Walk<'r, 'w> {
    reader: &'r Reader,
    points: &'w [ChunkId],
    monitor: &'w dyn Monitor,
    needed: NeededBuilder<'r>,
    /// What is still to be walked, by kind. An entry's `position` is the number of a point that needs it.
    fronts: Vec<(Kind, SortedBuilder<'r>)>,
    notes: NoteBook<'r>,
    written: NoteWriter<'r>,
}

impl Walk<'_, '_> {
    fn begin_point(&mut self, number: u32, point: ChunkId) -> Result<(), PruneError> {
        if self.monitor.interrupted() {
            return Err(PruneError::Interrupted);
        }
        self.needed.add(point)?;
        let record = self.reader.restore_point(point).map_err(|source| PruneError::Unreadable { point, source })?;
        record.vm_home.iter().try_for_each(|id| self.add(Kind::Home, *id, number))?;
        record.disks.iter().try_for_each(|disk| self.add(Kind::Root, disk.map_root, number))
    }

    fn add(&mut self, kind: Kind, id: ChunkId, point: u32) -> Result<(), PruneError> {
        let entry = IndexEntry { id, pack: 0, frame: 0, position: point };
        if let Some((_, front)) = self.fronts.iter_mut().find(|(found, _)| *found == kind) {
            return Ok(front.add(entry)?);
        }
        let mut front = SortedBuilder::new(self.reader.keys(), &self.reader.catalog()?.runs_folder(), GATHERED_MAX)?;
        front.add(entry)?;
        self.fronts.push((kind, front));
        Ok(())
    }

    /// Walks all of one kind: from notes, and what nobody remembers from its packs.
    fn front(&mut self, kind: Kind, front: &Sorted) -> Result<(), PruneError> {
        let mut unknown = Vec::new();
        for entry in front.names() {
            self.needed.add(entry.id)?;
            match self.notes.find(&entry.id) {
                Some(note) => self.spread(&note, entry.position)?,
                None => unknown.push((self.place(&entry.id)?, entry)),
            }
            if unknown.len() >= READ_AT_ONCE {
                self.read(kind, &mut unknown)?;
            }
        }
        self.read(kind, &mut unknown)
    }

    fn place(&self, id: &ChunkId) -> Result<Option<Location>, PruneError> {
        Ok(self.reader.index()?.locate(id, &|pack| self.reader.state().usable(pack)))
    }

    fn read(&mut self, kind: Kind, unknown: &mut Vec<(Option<Location>, IndexEntry)>) -> Result<(), PruneError> {
        unknown.sort_unstable();
        for (_, entry) in unknown.drain(..) {
            if self.monitor.interrupted() {
                return Err(PruneError::Interrupted);
            }
            let note = read_map(self.reader, kind, entry.id).map_err(|source| {
                let number = usize::try_from(entry.position).unwrap_or(usize::MAX);
                // Every entry comes from a point of the list.
                let point = self.points.get(number).copied().unwrap_or(entry.id);
                PruneError::Unreadable { point, source }
            })?;
            self.written.add(&entry.id, &note)?;
            self.spread(&note, entry.position)?;
        }
        Ok(())
    }

    fn spread(&mut self, note: &Note, point: u32) -> Result<(), PruneError> {
        let below = Kind::of_level(note.level);
        note.maps.iter().try_for_each(|map| self.add(below, *map, point))?;
        note.chunks.iter().try_for_each(|chunk| Ok(self.needed.add(*chunk)?))
    }
}

/// What a map, root or home names. Whether it fits its place on a disk is for `verify` to say: its names are known either way.
fn read_map(reader: &Reader, kind: Kind, id: ChunkId) -> Result<Note, ReadError> {
    let wrong = |source| ReadError::Chunk { id, source };
    let chunk = |kind| -> Result<MetadataChunk, ReadError> { reader.metadata(id, kind) };
    let note = match kind {
        Kind::Home => {
            let home = read_home(reader, id)?;
            let streams = std::iter::once(&home.document).chain(home.nvram.as_ref().map(|nvram| &nvram.content));
            let chunks = streams.flat_map(|stream| &stream.pieces).map(|piece| piece.id).collect();
            Note { chunks, ..Note::default() }
        }
        Kind::Root => {
            let root = MapRoot::decode(&chunk(MetadataKind::MapRoot)?).map_err(wrong)?;
            Note { level: root.height, maps: distinct(root.children), ..Note::default() }
        }
        Kind::Node(level) => {
            let node = MapNode::decode_anywhere(&chunk(MetadataKind::MapNode)?, level).map_err(wrong)?;
            Note { level: level.saturating_sub(1), maps: distinct(node.children), ..Note::default() }
        }
        Kind::SegmentMap => {
            let chunking = &reader.config().chunking;
            let map = SegmentMap::decode_anywhere(&chunk(MetadataKind::SegmentMap)?, chunking).map_err(wrong)?;
            let chunks = map.extents().iter().map(|extent| match extent {
                Extent::Data(chunk) => Some(chunk.id),
                Extent::Hole { .. } | Extent::Bad { .. } => None,
            });
            Note { chunks: distinct(chunks.collect()), ..Note::default() }
        }
    };
    Ok(note)
}

fn distinct(ids: Vec<Option<ChunkId>>) -> Vec<ChunkId> {
    let mut seen = HashSet::new();
    ids.into_iter().flatten().filter(|id| seen.insert(*id)).collect()
}
