//! Which restore points, disks and byte ranges damage costs: walks the maps of the points and asks for each chunk
//! whether some pack still gives it.
//!
//! Memory: a window of places, the damage itself, and the names of maps found whole, so that what many points share is
//! looked at once.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
};

use repo_format::{ChunkId, Extent, MetadataKind, PackOrdinal};

use super::{VerifyError, mending::Mending};
use crate::{
    index::Location,
    log::PointState,
    map_walk::{Found, MapWalk, Visitor},
    monitor::Monitor,
    problem::{Costs, Part, Problem, is_loss},
    read_error::ReadError,
    repository::Reader,
    restore::{
        RestoreHomeError,
        plan::{Placed, Want, Window},
        read_home, read_point, read_stream,
    },
};

/// Maps remembered as whole: 16 bytes of each name. More are looked at again, not less.
const WHOLE_MAPS_MAX: usize = 4 << 20;

/// What of a pack cannot be had.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// Everything.
    All,
    /// Some frames or chunks; none if only unused bytes are damaged.
    Parts(LostParts),
}

/// Frames and chunks of one pack that cannot be had.
#[derive(Clone, Debug, Default)]
pub(super) struct LostParts {
    pub(super) frames: BTreeSet<u32>,
    /// Frame and position.
    pub(super) chunks: BTreeSet<(u32, u32)>,
}

impl Lost {
    fn covers(&self, location: Location) -> bool {
        match self {
            Self::All => true,
            Self::Parts(LostParts { frames, chunks }) => {
                frames.contains(&location.frame) || chunks.contains(&(location.frame, location.position))
            }
        }
    }
}

/// All that is known to be wrong with packs, and what it costs.
#[derive(Clone, Default)]
pub(super) struct Damage {
    problems: Vec<(Problem, Costs)>,
    packs: HashMap<PackOrdinal, (usize, Lost)>,
    numbers: HashMap<(String, String), usize>,
    pub(super) mending: Mending,
}

impl Damage {
    pub(super) fn add(&mut self, pack: PackOrdinal, problem: Problem, lost: Lost) {
        let number = self.number(problem);
        self.packs.insert(pack, (number, lost));
    }

    pub(super) fn has(&self, pack: PackOrdinal) -> bool {
        self.packs.contains_key(&pack)
    }

    /// The problem that makes a chunk at `location` unreadable.
    fn at(&self, location: Location) -> Option<usize> {
        let (number, lost) = self.packs.get(&location.pack)?;
        lost.covers(location).then_some(*number)
    }

    /// Each problem is said once.
    fn number(&mut self, problem: Problem) -> usize {
        let key = (problem.object.clone(), problem.what.clone());
        let next = self.problems.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.problems.push((problem, Costs::default()));
        }
        number
    }

    /// If the index has never seen a chunk, it was in a pack whose directory could never be read: one of these.
    fn unseen(&mut self) -> usize {
        let gone = self.packs.values().filter(|(_, lost)| matches!(lost, Lost::All)).map(|(number, _)| *number);
        let gone: BTreeSet<usize> = gone.collect();
        if let (1, Some(only)) = (gone.len(), gone.first()) {
            return *only;
        }
        let what = match gone.len() {
            0 => "chunks are in no pack".to_owned(),
            packs => format!("chunks are in no pack that can be read; {packs} packs cannot"),
        };
        self.number(Problem::new("chunks", what))
    }

    fn cost(&mut self, number: usize, point: &PointState, part: Part, range: Option<Range<u64>>) {
        if let Some((_, costs)) = self.problems.get_mut(number) {
            costs.add(point.id, &point.vm_name, part, range);
        }
    }

    fn into_problems(self) -> Vec<Problem> {
        self.problems.into_iter().map(|(problem, costs)| Problem { costs: costs.into_costs(), ..problem }).collect()
    }
}

/// Walks `points` and gives all problems with their costs; what no point needs costs nothing.
pub(super) fn walk(
    reader: &Reader,
    points: &[&PointState],
    damage: Damage,
    monitor: &dyn Monitor,
) -> Result<Vec<Problem>, VerifyError> {
    let mut walk = Walk::new(reader, damage, monitor);
    points.iter().try_for_each(|point| walk.point(point))?;
    Ok(walk.damage.into_problems())
}

/// All packs that hold something of `points`.
pub(super) fn packs_of(
    reader: &Reader,
    points: &[&PointState],
    monitor: &dyn Monitor,
) -> Result<HashSet<PackOrdinal>, VerifyError> {
    let mut walk = Walk::new(reader, Damage::default(), monitor);
    points.iter().try_for_each(|point| walk.point(point))?;
    Ok(walk.packs)
}

struct Walk<'v> {
    reader: &'v Reader,
    /// All packs have been tried for one that does not open.
    tried_all: bool,
    monitor: &'v dyn Monitor,
    damage: Damage,
    window: Window,
    /// Packs that were needed.
    packs: HashSet<PackOrdinal>,
    /// Maps and nodes under which everything can be had.
    whole: HashSet<u128>,
    /// Those of the point at hand, which become whole if it loses nothing.
    visited: Vec<u128>,
    losses: u64,
}

/// Names are keyed hashes: 16 bytes of one are as good as all.
fn key(id: &ChunkId) -> u128 {
    id.as_bytes().first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}

impl<'v> Walk<'v> {
    fn new(reader: &'v Reader, damage: Damage, monitor: &'v dyn Monitor) -> Self {
        let (packs, whole, visited) = (HashSet::new(), HashSet::new(), Vec::new());
        Self { reader, tried_all: false, monitor, damage, window: Window::default(), packs, whole, visited, losses: 0 }
    }

    /// The problem of a chunk that the index does not know: packs that do not open are not in it, so look for those.
    fn unseen(&mut self) -> Result<usize, VerifyError> {
        if !std::mem::replace(&mut self.tried_all, true) {
            for (ordinal, pack) in super::quick::packs(self.reader) {
                match self.reader.pack(ordinal) {
                    Err(error) if is_loss(error.kind()) && !self.damage.has(ordinal) => {
                        self.damage.add(ordinal, Problem::new(format_args!("pack {}", pack.name), error), Lost::All);
                    }
                    Err(error) if !is_loss(error.kind()) => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(self.damage.unseen())
    }

    fn point(&mut self, point: &PointState) -> Result<(), VerifyError> {
        self.visited.clear();
        self.losses = 0;
        self.need(&point.id)?;
        let record = match read_point(self.reader, point.id) {
            Ok(record) => record,
            Err(error) => return self.unreadable(point, Part::Point, None, point.id, error),
        };
        if let Some(home) = record.vm_home {
            self.home(point, home)?;
        }
        let names: Vec<&str> = record.disks.iter().map(|disk| disk.name.as_str()).collect();
        for (number, disk) in (0_u32..).zip(&record.disks) {
            if self.skips(&disk.map_root) {
                continue;
            }
            match MapWalk::open(self.reader, disk.map_root) {
                Ok(map) => {
                    self.visited(&disk.map_root)?;
                    let mut visitor = DiskVisitor { walk: self, map: &map, point, names: &names, disk: number };
                    map.for_each_segment(0..map.segment_count(), &mut visitor)?;
                }
                Err(error) => {
                    let part = Part::Disk(disk.name.clone());
                    self.unreadable(point, part, Some(0..disk.bytes), disk.map_root, error)?;
                }
            }
        }
        self.look_up(point, &names)?;
        if self.losses == 0 {
            let room = WHOLE_MAPS_MAX.saturating_sub(self.whole.len());
            self.whole.extend(self.visited.drain(..).take(room));
        }
        Ok(())
    }

    /// A home that this point shares with others is read again: it is small.
    fn home(&mut self, point: &PointState, id: ChunkId) -> Result<(), VerifyError> {
        self.need(&id)?;
        let home = match read_home(self.reader, id) {
            Ok(home) => home,
            Err(error) => return self.unreadable(point, Part::Home, None, id, error),
        };
        let streams = [Some(&home.document), home.nvram.as_ref().map(|nvram| &nvram.content)];
        for stream in streams.into_iter().flatten() {
            let losses = self.losses;
            for piece in &stream.pieces {
                self.need(&piece.id)?;
                if let Err(error) = self.reader.metadata(piece.id, MetadataKind::StreamPiece) {
                    self.unreadable(point, Part::Home, None, piece.id, error)?;
                }
            }
            if self.losses > losses {
                continue;
            }
            match read_stream(self.reader, "stream of a VM home", stream) {
                Ok(_) => {}
                Err(RestoreHomeError::Read(error)) if !is_loss(error.kind()) => return Err(error.into()),
                Err(error) => {
                    let number = self.damage.number(Problem::new("VM home", error));
                    self.losses += 1;
                    self.damage.cost(number, point, Part::Home, None);
                }
            }
        }
        Ok(())
    }

    fn skips(&self, id: &ChunkId) -> bool {
        self.whole.contains(&key(id))
    }

    fn visited(&mut self, id: &ChunkId) -> Result<(), ReadError> {
        if self.visited.len() < WHOLE_MAPS_MAX {
            self.visited.push(key(id));
        }
        self.need(id)
    }

    /// Remembers which pack a metadata chunk came from.
    fn need(&mut self, id: &ChunkId) -> Result<(), ReadError> {
        let packs = &mut self.packs;
        self.reader
            .locate(&mut std::iter::once(*id), &mut |_, location| packs.extend(location.map(|location| location.pack)))
    }

    /// Something of the metadata cannot be read: finds out what is to blame.
    fn unreadable(
        &mut self,
        point: &PointState,
        part: Part,
        range: Option<Range<u64>>,
        id: ChunkId,
        error: ReadError,
    ) -> Result<(), VerifyError> {
        if !is_loss(error.kind()) {
            return Err(error.into());
        }
        let places = self.reader.locate_all(&id)?;
        let number = match places.iter().find_map(|location| self.damage.at(*location)) {
            Some(number) => number,
            None => match places.first().and_then(|location| self.reader.state().pack(location.pack)) {
                Some(pack) => self.damage.number(Problem::new(format_args!("pack {}", pack.name), error)),
                None => self.unseen()?,
            },
        };
        self.losses += 1;
        self.damage.cost(number, point, part, range);
        Ok(())
    }

    /// Looks the chunks of the window up in the directories of their packs.
    fn look_up(&mut self, point: &PointState, names: &[&str]) -> Result<(), VerifyError> {
        if self.window.is_empty() {
            return Ok(());
        }
        let mut window = std::mem::take(&mut self.window);
        let (placed, missing) = window.locate(self.reader)?;
        for number in missing {
            let Some(want) = window.want(number) else { continue };
            let problem = self.unseen()?;
            self.lose(point, names, want, problem);
        }
        for in_pack in placed.chunk_by(|a, b| a.location.pack == b.location.pack) {
            if self.monitor.interrupted() {
                return Err(VerifyError::Interrupted);
            }
            let Some(first) = in_pack.first() else { continue };
            self.packs.insert(first.location.pack);
            for Placed { location, want } in in_pack {
                let Some(want) = window.want(*want) else { continue };
                if let Some(problem) = self.flaw_at(*location, want)?
                    && !self.is_elsewhere(*location, want)?
                {
                    self.lose(point, names, want, problem);
                }
            }
        }
        window.clear();
        self.window = window;
        Ok(())
    }

    /// What keeps a chunk from being read where the index says that it lies. (The reader keeps open directories.)
    fn flaw_at(&mut self, location: Location, want: &Want) -> Result<Option<usize>, VerifyError> {
        if let Some(problem) = self.damage.at(location) {
            return Ok(Some(problem));
        }
        let Some(object) = self.reader.state().pack(location.pack).map(|pack| format!("pack {}", pack.name)) else {
            return Ok(Some(self.unseen()?));
        };
        let pack = match self.reader.pack(location.pack) {
            Ok(pack) => pack,
            Err(error) if is_loss(error.kind()) => {
                self.damage.add(location.pack, Problem::new(object, error), Lost::All);
                return Ok(self.damage.at(location));
            }
            Err(error) => return Err(error.into()),
        };
        let place = usize::try_from(location.frame).ok().zip(usize::try_from(location.position).ok());
        let found = place.and_then(|(frame, position)| pack.directory().frame(frame)?.chunks.get(position));
        if found.is_some_and(|found| found.id == want.id && found.length == want.length) {
            return Ok(None);
        }
        Ok(Some(self.damage.number(Problem::new(object, "a chunk is not where the index says, or has another length"))))
    }

    fn is_elsewhere(&mut self, not_here: Location, want: &Want) -> Result<bool, VerifyError> {
        for location in self.reader.locate_all(&want.id)? {
            if location != not_here && self.flaw_at(location, want)?.is_none() {
                self.packs.insert(location.pack);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lose(&mut self, point: &PointState, names: &[&str], want: &Want, problem: usize) {
        self.losses += 1;
        let name = usize::try_from(want.disk).ok().and_then(|disk| names.get(disk)).copied().unwrap_or_default();
        let range = want.offset..want.offset + u64::from(want.length);
        self.damage.cost(problem, point, Part::Disk(name.to_owned()), Some(range));
    }
}

struct DiskVisitor<'d, 'v> {
    walk: &'d mut Walk<'v>,
    map: &'d MapWalk<'d>,
    point: &'d PointState,
    names: &'d [&'d str],
    disk: u32,
}

impl Visitor for DiskVisitor<'_, '_> {
    type Error = VerifyError;

    fn skips(&mut self, id: &ChunkId) -> bool {
        self.walk.skips(id)
    }

    fn node(&mut self, id: &ChunkId) -> Result<(), VerifyError> {
        Ok(self.walk.visited(id)?)
    }

    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), VerifyError> {
        if self.walk.monitor.interrupted() {
            return Err(VerifyError::Interrupted);
        }
        let bytes = self.map.bytes_of(&segments);
        match found {
            Found::Hole => {}
            Found::Unreadable { id, error } => {
                let name =
                    usize::try_from(self.disk).ok().and_then(|disk| self.names.get(disk)).copied().unwrap_or_default();
                self.walk.unreadable(self.point, Part::Disk(name.to_owned()), Some(bytes), id, error)?;
            }
            Found::Map { id, map } => {
                self.walk.visited(&id)?;
                let mut offset = bytes.start;
                for extent in map.extents() {
                    if let Extent::Data(chunk) = extent {
                        self.walk.window.push(Want { id: chunk.id, offset, length: chunk.length, disk: self.disk });
                    }
                    offset += u64::from(extent.length());
                }
                if self.walk.window.is_full() {
                    self.walk.look_up(self.point, self.names)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pack: u32, frame: u32, position: u32) -> Location {
        Location { pack: PackOrdinal(pack), frame, position }
    }

    #[test]
    fn damage_costs_what_lies_in_its_frames_and_nothing_else() {
        let mut damage = Damage::default();
        let parts = LostParts { frames: [3].into(), chunks: [(5, 1)].into() };
        damage.add(PackOrdinal(7), Problem::new("pack a", "frame 3"), Lost::Parts(parts));
        damage.add(PackOrdinal(8), Problem::new("pack b", "is missing"), Lost::All);
        assert_eq!(damage.at(at(7, 3, 9)), Some(0));
        assert_eq!(damage.at(at(7, 5, 1)), Some(0));
        assert_eq!((damage.at(at(7, 5, 0)), damage.at(at(7, 4, 1)), damage.at(at(9, 3, 9))), (None, None, None));
        assert_eq!(damage.at(at(8, 0, 0)), Some(1));
    }

    #[test]
    fn a_chunk_that_no_index_has_seen_is_blamed_on_the_one_pack_that_cannot_be_read() {
        let mut damage = Damage::default();
        damage.add(PackOrdinal(1), Problem::new("pack a", "is missing"), Lost::All);
        assert_eq!(damage.unseen(), 0);
        damage.add(PackOrdinal(2), Problem::new("pack b", "is missing"), Lost::All);
        let number = damage.unseen();
        assert_eq!(number, 2);
        assert_eq!(damage.problems[number].0.what, "chunks are in no pack that can be read; 2 packs cannot");
        assert_eq!(damage.unseen(), number, "said once");
    }
}
