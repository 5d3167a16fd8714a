use repo_format::{ChunkId, ChunkerKind, Chunking, Extent, FormatError, MapNode, MapRoot, MetadataChunk, SegmentMap};

use crate::vector::{Outputs, Vector, outputs};

pub fn segment_map(vector: &Vector) -> Result<Outputs, FormatError> {
    let chunking = Chunking {
        chunker: ChunkerKind::Block,
        min_log2: vector.number("min_log2"),
        avg_log2: vector.number("avg_log2"),
        max_log2: vector.number("max_log2"),
    };
    let chunk = MetadataChunk::from_bytes(vector.hex("input"))?;
    let map = SegmentMap::decode(&chunk, vector.number("segment_bytes"), &chunking)?;
    assert!(map.encode() == chunk, "{}: another encoding", vector.name());
    let extents = map.extents().iter().map(|extent| match extent {
        Extent::Data(chunk) => format!("data:{}:{}", chunk.id, chunk.length),
        Extent::Hole { length } => format!("hole:{length}"),
        Extent::Bad { length } => format!("bad:{length}"),
    });
    Ok(outputs([("extents", extents.collect::<Vec<_>>().join(" "))]))
}

pub fn map_node(vector: &Vector) -> Result<Outputs, FormatError> {
    let chunk = MetadataChunk::from_bytes(vector.hex("input"))?;
    let node = MapNode::decode(&chunk, vector.number("level"), vector.number("children"))?;
    assert!(node.encode() == chunk, "{}: another encoding", vector.name());
    Ok(outputs([("children", children(&node.children))]))
}

pub fn map_root(vector: &Vector) -> Result<Outputs, FormatError> {
    let chunk = MetadataChunk::from_bytes(vector.hex("input"))?;
    let root = MapRoot::decode(&chunk)?;
    assert!(root.encode() == chunk, "{}: another encoding", vector.name());
    let chunker = match root.chunking.chunker {
        ChunkerKind::Block => "block",
        ChunkerKind::FastCdc => "fastcdc",
    };
    Ok(outputs([
        ("disk_bytes", root.disk_bytes.to_string()),
        ("chunker", chunker.to_owned()),
        ("min_log2", root.chunking.min_log2.to_string()),
        ("avg_log2", root.chunking.avg_log2.to_string()),
        ("max_log2", root.chunking.max_log2.to_string()),
        ("segment_log2", root.segment_log2.to_string()),
        ("height", root.height.to_string()),
        ("children", children(&root.children)),
    ]))
}

/// An id, or a dash for a hole.
fn children(children: &[Option<ChunkId>]) -> String {
    let shown = children.iter().map(|child| child.map_or_else(|| "-".to_owned(), |id| id.to_string()));
    shown.collect::<Vec<_>>().join(" ")
}
