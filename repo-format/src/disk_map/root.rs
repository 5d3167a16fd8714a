//! The root: disk bytes varint | chunker, min, avg, max, segment log2 u8 each | height u8 | list of children.

use super::{MapGeometry, children};
use crate::{
    chunk::{MetadataChunk, MetadataKind},
    codec::{Put, Reader},
    config::{Chunking, read_chunker},
    error::FormatError,
    ids::ChunkId,
};

const WHAT: &str = "map root";
const SEGMENT_LOG2_MAX: u8 = 26;

/// The map of one disk. It is stored even for a disk of zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRoot {
    /// Length of the disk.
    pub disk_bytes: u64,
    /// How its segments were cut into chunks.
    pub chunking: Chunking,
    /// Length of its segments.
    pub segment_log2: u8,
    /// Levels of nodes below.
    pub height: u8,
    /// Segment maps for height 0, nodes of level `height` otherwise; `None` is all hole.
    pub children: Vec<Option<ChunkId>>,
}

impl MapRoot {
    /// The shape of the map.
    pub fn geometry(&self) -> MapGeometry {
        MapGeometry::of(self.disk_bytes, self.segment_log2)
    }

    /// The root as a metadata chunk.
    pub fn encode(&self) -> MetadataChunk {
        let mut payload = Vec::new();
        payload.put_varint(self.disk_bytes);
        let Chunking { chunker, min_log2, avg_log2, max_log2 } = self.chunking;
        payload.extend_from_slice(&[chunker.to_wire(), min_log2, avg_log2, max_log2, self.segment_log2, self.height]);
        children::put(&mut payload, &self.children);
        MetadataChunk::new(MetadataKind::MapRoot, &payload)
    }

    /// Reads a root; height and number of children must follow from the size of the disk.
    pub fn decode(chunk: &MetadataChunk) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, chunk.payload_of(MetadataKind::MapRoot)?);
        let disk_bytes = reader.varint("disk bytes")?;
        if disk_bytes == 0 {
            return Err(reader.damaged("disk bytes", 0, "at least 1"));
        }
        let chunker = read_chunker(&mut reader)?;
        let [min_log2, avg_log2, max_log2] = reader.array("chunk sizes")?;
        let chunking = Chunking { chunker, min_log2, avg_log2, max_log2 };
        chunking.check().map_err(|error| reader.damaged(&error.field, error.found, error.wanted))?;
        let segment_log2 = reader.u8("segment log2")?;
        if !(max_log2..=SEGMENT_LOG2_MAX).contains(&segment_log2) {
            return Err(reader.damaged("segment log2", segment_log2, format_args!("{max_log2} … {SEGMENT_LOG2_MAX}")));
        }
        let geometry = MapGeometry::of(disk_bytes, segment_log2);
        let height = reader.u8("height")?;
        if height != geometry.height() {
            return Err(reader.damaged("height", height, geometry.height()));
        }
        let children = children::read(&mut reader, geometry.count_at(height))?;
        reader.end()?;
        Ok(Self { disk_bytes, chunking, segment_log2, height, children })
    }
}
