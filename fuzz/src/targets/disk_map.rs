//! Disk maps: what is accepted has one encoding.

use repo_format::{
    ChunkerKind, Chunking, FormatError, MapGeometry, MapNode, MapRoot, MetadataChunk, MetadataKind, SegmentMap,
};

use crate::Outcome;

/// Inputs begin with the kind, as chunks do.
fn chunk(kind: MetadataKind, bytes: &[u8]) -> MetadataChunk {
    MetadataChunk::new(kind, bytes.get(1..).unwrap_or_default())
}

/// What was decoded encodes to the chunk it came from.
fn checked<T>(decoded: Result<T, FormatError>, chunk: &MetadataChunk, encode: impl Fn(&T) -> MetadataChunk) -> Outcome {
    if let Ok(value) = &decoded {
        assert!(encode(value) == *chunk, "one value, one encoding");
    }
    Outcome::of(&decoded)
}

/// A segment map of whatever length its extents have together.
pub fn segment_map(bytes: &[u8]) -> Outcome {
    let chunk = chunk(MetadataKind::SegmentMap, bytes);
    let chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 14 };
    let lengths = [1 << 14, 1 << 16, 1 << 20, 1 << 24, 5000];
    let outcomes = lengths.map(|length| {
        checked(SegmentMap::decode(&chunk, length, &chunking), &chunk, |map| {
            let sum: u64 = map.extents().iter().map(|extent| u64::from(extent.length())).sum();
            assert!(sum == length && SegmentMap::new(map.extents().to_vec()) == *map);
            map.encode()
        })
    });
    let [first, ..] = &outcomes;
    outcomes.iter().find(|outcome| **outcome == Outcome::Accepted).unwrap_or(first).clone()
}

/// A node of the level and with as many children as it says itself.
pub fn map_node(bytes: &[u8]) -> Outcome {
    let chunk = chunk(MetadataKind::MapNode, bytes);
    let level = bytes.get(1).copied().unwrap_or(0);
    let said = bytes.get(2).copied().unwrap_or(0);
    let outcome = checked(MapNode::decode(&chunk, level, said.into()), &chunk, MapNode::encode);
    let _ = MapNode::decode(&chunk, level, 256);
    outcome
}

/// A root.
pub fn map_root(bytes: &[u8]) -> Outcome {
    let chunk = chunk(MetadataKind::MapRoot, bytes);
    checked(MapRoot::decode(&chunk), &chunk, |root| {
        let geometry = MapGeometry::of(root.disk_bytes, root.segment_log2);
        assert_eq!(geometry.count_at(root.height), root.children.len() as u64);
        root.encode()
    })
}
