//! Walks the map of a disk from its root, in the order of the disk. At any time one node per level is in memory.

use std::ops::Range;

use repo_format::{ChunkId, MapGeometry, MapNode, MapRoot, MetadataKind, SegmentMap};

use crate::{problem::is_loss, read_error::ReadError, repository::Reader};

const FANOUT: u64 = 256;

/// What the map says of some segments.
pub enum Found {
    /// All of them are zero.
    Hole,
    /// One segment, and its map.
    Map {
        /// Name of the map.
        id: ChunkId,
        /// The map.
        map: SegmentMap,
    },
    /// The map, or a node above, cannot be read: what these segments hold is lost.
    Unreadable {
        /// Name of what cannot be read.
        id: ChunkId,
        /// Why.
        error: ReadError,
    },
}

/// Someone who wants to know what a disk holds.
pub trait Visitor {
    /// What ends the walk.
    type Error: From<ReadError>;

    /// Whether to pass over the segments under the map or node `id`.
    fn skips(&mut self, id: &ChunkId) -> bool {
        let _ = id;
        false
    }

    /// A node has been read and its children follow.
    fn node(&mut self, id: &ChunkId) -> Result<(), Self::Error> {
        let _ = id;
        Ok(())
    }

    /// The next segments, in ascending order; more than one only for [`Found::Hole`] and [`Found::Unreadable`].
    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), Self::Error>;
}

/// The map of one disk, open at its root.
pub struct MapWalk<'r> {
    reader: &'r Reader,
    root: MapRoot,
    geometry: MapGeometry,
}

impl<'r> MapWalk<'r> {
    /// Reads the root `id`.
    pub fn open(reader: &'r Reader, id: ChunkId) -> Result<Self, ReadError> {
        let chunk = reader.metadata(id, MetadataKind::MapRoot)?;
        let root = MapRoot::decode(&chunk).map_err(|source| ReadError::Chunk { id, source })?;
        let geometry = root.geometry();
        Ok(Self { reader, root, geometry })
    }

    /// The root.
    pub fn root(&self) -> &MapRoot {
        &self.root
    }

    /// How many segments the disk has.
    pub fn segment_count(&self) -> u64 {
        self.geometry.segments()
    }

    /// The bytes of the disk that these segments are.
    pub fn bytes_of(&self, segments: &Range<u64>) -> Range<u64> {
        let byte = |segment: u64| segment.saturating_mul(1 << self.root.segment_log2.min(63)).min(self.root.disk_bytes);
        byte(segments.start)..byte(segments.end)
    }

    /// Shows `visitor` what every segment in `wanted` holds.
    pub fn for_each_segment<V: Visitor>(&self, wanted: Range<u64>, visitor: &mut V) -> Result<(), V::Error> {
        self.descend(self.root.height, 0, &self.root.children, &wanted, visitor)
    }

    /// `children` are of `level`, and the first of them is number `first` of it.
    fn descend<V: Visitor>(
        &self,
        level: u8,
        first: u64,
        children: &[Option<ChunkId>],
        wanted: &Range<u64>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let span = segments_under(level);
        for (index, child) in (first..).zip(children) {
            let start = index.saturating_mul(span).max(wanted.start);
            let end = index.saturating_add(1).saturating_mul(span).min(self.geometry.segments()).min(wanted.end);
            if start >= end {
                continue;
            }
            match child {
                None => visitor.segments(start..end, Found::Hole)?,
                Some(id) if visitor.skips(id) => {}
                Some(id) if level == 0 => {
                    let found = match self.segment_map(*id, index) {
                        Ok(map) => Found::Map { id: *id, map },
                        Err(error) => unreadable(*id, error)?,
                    };
                    visitor.segments(start..end, found)?;
                }
                Some(id) => match self.node(*id, level, index) {
                    Ok(node) => {
                        visitor.node(id)?;
                        let below = index.saturating_mul(FANOUT);
                        self.descend(level - 1, below, &node.children, wanted, visitor)?;
                    }
                    Err(error) => visitor.segments(start..end, unreadable(*id, error)?)?,
                },
            }
        }
        Ok(())
    }

    /// Map `id` of segment `index`.
    pub(crate) fn segment_map(&self, id: ChunkId, index: u64) -> Result<SegmentMap, ReadError> {
        let chunk = self.reader.metadata(id, MetadataKind::SegmentMap)?;
        SegmentMap::decode(&chunk, self.geometry.segment_bytes(index), &self.root.chunking)
            .map_err(|source| ReadError::Chunk { id, source })
    }

    /// Node `id`, number `index` of `level`.
    pub(crate) fn node(&self, id: ChunkId, level: u8, index: u64) -> Result<MapNode, ReadError> {
        let chunk = self.reader.metadata(id, MetadataKind::MapNode)?;
        MapNode::decode(&chunk, level, self.geometry.children_of(level, index))
            .map_err(|source| ReadError::Chunk { id, source })
    }
}

/// How many segments a child of `level` covers, unless the disk ends before.
fn segments_under(level: u8) -> u64 {
    FANOUT.checked_pow(u32::from(level)).unwrap_or(u64::MAX)
}

/// A loss is shown to the visitor; whatever may be right a minute later ends the walk.
fn unreadable(id: ChunkId, error: ReadError) -> Result<Found, ReadError> {
    if is_loss(error.kind()) { Ok(Found::Unreadable { id, error }) } else { Err(error) }
}
