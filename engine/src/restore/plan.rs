//! Which chunks are wanted where, and in which order they are read: a window of the disks at a time.
//!
//! ```text
//! wanted, in disk order ──sort by id──► located ──sort by pack, frame, position──► groups: one frame each
//! ```
//!
//! A window holds 64 bytes for each place; however large the disk, no more than [`WINDOW_PLACES_MAX`] of them.

use repo_format::{ChunkId, PackOrdinal};

use crate::{index::Location, read_error::ReadError, repository::Reader};

/// Places in a window: 64 MiB of them, 64 GiB of disk at the default chunk size. Within a window no frame is read twice.
pub(crate) const WINDOW_PLACES_MAX: usize = 1 << 20;

/// A chunk that belongs at a place of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Want {
    pub(crate) id: ChunkId,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Which of the disks that are worked on.
    pub(crate) disk: u32,
}

/// A want, by its number in the window, and where its chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Placed {
    pub(crate) location: Location,
    pub(crate) want: u32,
}

/// A stretch of the work: what one frame is wanted for.
pub(crate) type Group<'w> = &'w [Placed];

/// Wants that are worked on together.
#[derive(Default)]
pub(crate) struct Window {
    wants: Vec<Want>,
}

impl Window {
    pub(crate) fn push(&mut self, want: Want) {
        self.wants.push(want);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.wants.len() >= WINDOW_PLACES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.wants.clear();
    }

    pub(crate) fn want(&self, number: u32) -> Option<&Want> {
        self.wants.get(usize::try_from(number).ok()?)
    }

    /// Sorts the wants by id and gives all that could be located, in reading order, and the numbers of the others.
    pub(crate) fn locate(&mut self, reader: &Reader) -> Result<(Vec<Placed>, Vec<u32>), ReadError> {
        self.wants.sort_unstable();
        let wants = &self.wants;
        let mut places = Places { wants, placed: Vec::with_capacity(wants.len()), missing: Vec::new(), next: 0 };
        let mut ids = wants.chunk_by(|a, b| a.id == b.id).filter_map(|same| same.first()).map(|want| want.id);
        reader.locate(&mut ids, &mut |id, location| places.found(id, location))?;
        let Places { mut placed, missing, .. } = places;
        placed.sort_unstable();
        Ok((placed, missing))
    }
}

/// Takes the answers for sorted wants, which most often come in the order of the questions.
struct Places<'w> {
    wants: &'w [Want],
    placed: Vec<Placed>,
    missing: Vec<u32>,
    next: usize,
}

impl Places<'_> {
    fn found(&mut self, id: ChunkId, location: Option<Location>) {
        let asked = self.wants.get(self.next).is_some_and(|want| want.id == id);
        let first = if asked { self.next } else { self.wants.partition_point(|want| want.id < id) };
        let mut number = first;
        while self.wants.get(number).is_some_and(|want| want.id == id) {
            // A window holds far fewer than 2^32 wants.
            let want = u32::try_from(number).unwrap_or(u32::MAX);
            match location {
                Some(location) => self.placed.push(Placed { location, want }),
                None => self.missing.push(want),
            }
            number += 1;
        }
        self.next = number;
    }
}

/// What lies in one pack.
pub(crate) fn pack_of(group: Group<'_>) -> Option<PackOrdinal> {
    group.first().map(|placed| placed.location.pack)
}

/// Whether two places are served by the same frame.
pub(crate) fn in_one_frame(a: &Placed, b: &Placed) -> bool {
    (a.location.pack, a.location.frame) == (b.location.pack, b.location.frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ChunkId {
        ChunkId::from_bytes([byte; 32])
    }

    fn at(pack: u32, frame: u32, position: u32) -> Location {
        Location { pack: PackOrdinal(pack), frame, position }
    }

    fn places(wants: &[Want], answers: &[(ChunkId, Option<Location>)]) -> (Vec<Placed>, Vec<u32>) {
        let mut places = Places { wants, placed: Vec::new(), missing: Vec::new(), next: 0 };
        answers.iter().for_each(|(id, location)| places.found(*id, *location));
        places.placed.sort_unstable();
        (places.placed, places.missing)
    }

    fn wants() -> Vec<Want> {
        let mut wants: Vec<Want> = [(3, 0), (1, 10), (2, 20), (1, 30)]
            .map(|(byte, offset)| Want { id: id(byte), offset, length: 10, disk: 0 })
            .to_vec();
        wants.sort_unstable();
        wants
    }

    #[test]
    fn a_chunk_wanted_twice_is_placed_twice_and_read_once() {
        let answers = [(id(1), Some(at(0, 7, 1))), (id(2), Some(at(0, 7, 0))), (id(3), Some(at(0, 2, 0)))];
        let (placed, missing) = places(&wants(), &answers);
        assert_eq!(missing, []);
        let frames: Vec<usize> = placed.chunk_by(in_one_frame).map(<[Placed]>::len).collect();
        assert_eq!(frames, [1, 3], "frame 2 before frame 7, whatever the order of the disk");
    }

    #[test]
    fn answers_may_come_in_any_order_and_may_be_no() {
        let answers = [(id(3), None), (id(1), Some(at(1, 0, 0))), (id(2), Some(at(0, 0, 0)))];
        let (placed, missing) = places(&wants(), &answers);
        assert_eq!(missing, [3]);
        assert_eq!(placed.iter().map(|placed| placed.want).collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[test]
    fn a_window_costs_64_bytes_a_place() {
        assert!(size_of::<Want>() + size_of::<Placed>() <= 64);
    }
}
