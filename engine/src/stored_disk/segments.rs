//! What each segment of a served disk holds and where that lies, as far as it was asked for.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use repo_format::{ChunkId, Extent};

use crate::{
    index::Location,
    map_walk::{Found, MapWalk, Visitor},
    read_error::ReadError,
    repository::Reader,
};

/// Places kept, of all segments together: 64 bytes each.
const PLACES_MAX: usize = 1 << 20;

/// A stretch of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where it lies on the disk.
    pub(crate) range: Range<u64>,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Hole,
    /// It could not be read when it was backed up.
    Bad,
    /// A chunk, and where the index says it lies.
    Chunk {
        id: ChunkId,
        location: Option<Location>,
    },
    /// The map of it cannot be read.
    Lost {
        id: ChunkId,
        why: Arc<str>,
    },
}

/// The segments of one disk.
pub(crate) struct Segments<'r> {
    reader: &'r Reader,
    walk: MapWalk<'r>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    segments: HashMap<u64, (u64, Arc<Vec<Place>>)>,
    places: usize,
    clock: u64,
}

impl<'r> Segments<'r> {
    pub(crate) fn new(reader: &'r Reader, walk: MapWalk<'r>) -> Self {
        Self { reader, walk, kept: Mutex::default() }
    }

    /// The segments that `range` touches.
    pub(crate) fn touched(&self, range: &Range<u64>) -> Range<u64> {
        let log2 = u32::from(self.walk.root().segment_log2).min(63);
        range.start >> log2..(range.end.saturating_sub(1) >> log2) + 1
    }

    /// What segment `index` holds, in the order of the disk.
    pub(crate) fn segment(&self, index: u64) -> Result<Arc<Vec<Place>>, ReadError> {
        {
            let mut kept = self.lock();
            kept.clock += 1;
            let now = kept.clock;
            if let Some((used, places)) = kept.segments.get_mut(&index) {
                *used = now;
                return Ok(Arc::clone(places));
            }
        }
        let mut gather = Gather { walk: &self.walk, places: Vec::new() };
        self.walk.for_each_segment(index..index + 1, &mut gather)?;
        let mut places = gather.places;
        self.locate(&mut places)?;
        let places = Arc::new(places);
        let mut kept = self.lock();
        let used = kept.clock;
        if kept.segments.insert(index, (used, Arc::clone(&places))).is_none() {
            kept.places += places.len();
            kept.shrink();
        }
        Ok(places)
    }

    /// Asks the index for all chunks of a segment in one go.
    fn locate(&self, places: &mut [Place]) -> Result<(), ReadError> {
        let id_of = |place: &Place| match place.what {
            What::Chunk { id, .. } => Some(id),
            _ => None,
        };
        let ids: Vec<ChunkId> = places.iter().filter_map(id_of).collect();
        let mut found = HashMap::with_capacity(ids.len());
        self.reader.locate(&mut ids.into_iter(), &mut |id, location| {
            found.insert(id, location);
        })?;
        for place in places {
            if let What::Chunk { id, location } = &mut place.what {
                *location = found.get(id).copied().flatten();
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Lets go of the half that was not used for longest: seldom, so it may look at all of them.
    fn shrink(&mut self) {
        if self.places <= PLACES_MAX {
            return;
        }
        let mut uses: Vec<u64> = self.segments.values().map(|(used, _)| *used).collect();
        uses.sort_unstable();
        let middle = uses.get(uses.len() / 2).copied().unwrap_or_default();
        self.segments.retain(|_, (used, _)| *used >= middle);
        self.places = self.segments.values().map(|(_, places)| places.len()).sum();
    }
}

struct Gather<'w, 'r> {
    walk: &'w MapWalk<'r>,
    places: Vec<Place>,
}

impl Visitor for Gather<'_, '_> {
    type Error = ReadError;

    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), ReadError> {
        let range = self.walk.bytes_of(&segments);
        match found {
            Found::Hole => self.places.push(Place { range, what: What::Hole }),
            Found::Unreadable { id, error } => {
                self.places.push(Place { range, what: What::Lost { id, why: error.to_string().into() } });
            }
            Found::Map { map, .. } => {
                let mut at = range.start;
                for extent in map.extents() {
                    let range = at..at + u64::from(extent.length());
                    at = range.end;
                    let what = match extent {
                        Extent::Hole { .. } => What::Hole,
                        Extent::Bad { .. } => What::Bad,
                        Extent::Data(chunk) => What::Chunk { id: chunk.id, location: None },
                    };
                    self.places.push(Place { range, what });
                }
            }
        }
        Ok(())
    }
}
