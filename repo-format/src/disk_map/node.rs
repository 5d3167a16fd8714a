//! A node: level u8 | list of children.

use super::{CHILDREN_MAX, children};
use crate::{
    chunk::{MetadataChunk, MetadataKind},
    codec::Reader,
    error::FormatError,
    ids::ChunkId,
};

const WHAT: &str = "map node";
const LEVEL_MAX: u8 = 8;

/// Up to 256 children of one level. A node that is all hole is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapNode {
    /// 1 above segment maps, up to 8.
    pub level: u8,
    /// Segment maps or nodes of the level below; `None` is all hole.
    pub children: Vec<Option<ChunkId>>,
}

impl MapNode {
    /// Whether all of it is a hole; then the parent says so and the node is not stored.
    pub fn is_hole(&self) -> bool {
        self.children.iter().all(Option::is_none)
    }

    /// The node as a metadata chunk.
    pub fn encode(&self) -> MetadataChunk {
        let mut payload = vec![self.level];
        children::put(&mut payload, &self.children);
        MetadataChunk::new(MetadataKind::MapNode, &payload)
    }

    /// Reads a node that must be of `level` with `children` children.
    pub fn decode(chunk: &MetadataChunk, level: u8, children: usize) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, chunk.payload_of(MetadataKind::MapNode)?);
        let found = reader.u8("level")?;
        if found != level || !(1..=LEVEL_MAX).contains(&found) {
            return Err(reader.damaged("level", found, level));
        }
        if !(1..=CHILDREN_MAX).contains(&children) {
            return Err(reader.damaged("children", children, format_args!("1 … {CHILDREN_MAX}")));
        }
        let children = children::read(&mut reader, children as u64)?;
        reader.end()?;
        let node = Self { level, children };
        if node.is_hole() {
            return Err(FormatError::damaged(WHAT, "children", "all hole", "such a node is not stored"));
        }
        Ok(node)
    }

    /// Reads a node of `level` whose place on a disk is not known, hence not how many children it should have.
    pub fn decode_anywhere(chunk: &MetadataChunk, level: u8) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, chunk.payload_of(MetadataKind::MapNode)?);
        reader.u8("level")?;
        let children = reader.count("children", 1)?;
        Self::decode(chunk, level, children)
    }
}
