//! The map of a disk with some of its segments' maps replaced. Only nodes above those segments are read and made anew;
//! all others stay, by their ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use repo_format::{CHILDREN_MAX, ChunkId, Extent, MapNode, MapRoot, SegmentMap};

use crate::{
    frame_writer::{FrameWriter, WriteError},
    map_walk::MapWalk,
    pipeline::BaseMaps,
    read_error::ReadError,
};

const FAN_OUT: u64 = CHILDREN_MAX as u64;

/// Level and number of a node; level 0 are the segment maps.
type Place = (u8, u64);

/// A map that is being changed.
pub(crate) struct MapEdit<'r> {
    walk: &'r MapWalk<'r>,
    root: MapRoot,
    /// The nodes above the segments that may change.
    nodes: BTreeMap<Place, Vec<Option<ChunkId>>>,
    /// Those of them that have changed.
    changed: BTreeSet<Place>,
}

impl<'r> MapEdit<'r> {
    /// Opens the nodes above `segments`, which ascend.
    pub(crate) fn open(walk: &'r MapWalk<'r>, segments: impl IntoIterator<Item = u64>) -> Result<Self, ReadError> {
        let mut edit = Self { walk, root: walk.root().clone(), nodes: BTreeMap::new(), changed: BTreeSet::new() };
        for segment in segments {
            for level in (1..=edit.root.height).rev() {
                edit.open_node(level, index_at(level, segment))?;
            }
        }
        Ok(edit)
    }

    fn open_node(&mut self, level: u8, index: u64) -> Result<(), ReadError> {
        if self.nodes.contains_key(&(level, index)) {
            return Ok(());
        }
        let children = match self.child((level, index)) {
            Some(id) => self.walk.node(id, level, index)?.children,
            None => vec![None; self.root.geometry().children_of(level, index)],
        };
        self.nodes.insert((level, index), children);
        Ok(())
    }

    /// The id that the node above has for `place`; `None` is all hole.
    fn child(&self, (level, index): Place) -> Option<ChunkId> {
        let (children, at) = if level == self.root.height {
            (&self.root.children, index)
        } else {
            (self.nodes.get(&(level + 1, index / FAN_OUT))?, index % FAN_OUT)
        };
        children.get(usize::try_from(at).ok()?).copied().flatten()
    }

    /// Puts another id for `place` into the node above.
    fn put(&mut self, (level, index): Place, id: Option<ChunkId>) {
        let above = (level + 1, index / FAN_OUT);
        let (children, at) = if level == self.root.height {
            (Some(&mut self.root.children), index)
        } else {
            (self.nodes.get_mut(&above), index % FAN_OUT)
        };
        let slot = children.and_then(|children| children.get_mut(usize::try_from(at).ok()?));
        if let Some(slot) = slot.filter(|slot| **slot != id) {
            *slot = id;
            self.changed.insert(above);
        }
    }

    /// Replaces the map of `segment`, one of those that were opened.
    pub(crate) fn replace(&mut self, segment: u64, map: Option<ChunkId>) {
        self.put((0, segment), map);
    }

    /// Stores the nodes that have changed, and the root; gives its id.
    pub(crate) fn finish(mut self, metadata: &mut FrameWriter) -> Result<ChunkId, WriteError> {
        for level in 1..=self.root.height {
            let places: Vec<Place> = self.changed.range((level, 0)..=(level, u64::MAX)).copied().collect();
            for place in places {
                let node = MapNode { level, children: self.nodes.remove(&place).unwrap_or_default() };
                let id = if node.is_hole() { None } else { Some(metadata.store_metadata(&node.encode())?.0) };
                self.put(place, id);
            }
        }
        Ok(metadata.store_metadata(&self.root.encode())?.0)
    }

    fn segment_range(&self, index: u64) -> Range<u64> {
        self.walk.bytes_of(&(index..index + 1))
    }
}

impl BaseMaps for MapEdit<'_> {
    fn segment_map(&self, index: u64) -> Result<SegmentMap, ReadError> {
        match self.child((0, index)) {
            Some(id) => self.walk.segment_map(id, index),
            None => {
                let range = self.segment_range(index);
                let length = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
                Ok(SegmentMap::new(vec![Extent::Hole { length }]))
            }
        }
    }
}

/// The node of `level` above `segment`.
fn index_at(level: u8, segment: u64) -> u64 {
    (0..level).fold(segment, |index, _| index / FAN_OUT)
}
