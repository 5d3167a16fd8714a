use super::*;
use crate::codec::Put;
use crate::test_kit::{broken, chunk_id, damage};
use crate::{ChunkRef, ChunkerKind, Chunking, FormatError, MetadataChunk, MetadataKind};

const CHUNKING: Chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 14, avg_log2: 16, max_log2: 18 };
const SEGMENT_BYTES: u64 = 1 << 20;

fn data(length: u32) -> Extent {
    Extent::Data(ChunkRef { id: chunk_id(7), length })
}

fn hole(length: u32) -> Extent {
    Extent::Hole { length }
}

fn bad(length: u32) -> Extent {
    Extent::Bad { length }
}

fn mixed() -> SegmentMap {
    SegmentMap::new(vec![data(1 << 18), hole(1 << 18), bad(1 << 18), hole(1 << 17), data(1 << 17)])
}

/// A segment map of exactly these extents, merged or not.
fn decode_raw(extents: &[(u64, Option<u8>)]) -> Result<SegmentMap, FormatError> {
    let mut payload = Vec::new();
    for (value, id) in extents {
        payload.put_varint(*value);
        if let Some(fill) = id {
            payload.extend_from_slice(&[*fill; 32]);
        }
    }
    SegmentMap::decode(&MetadataChunk::new(MetadataKind::SegmentMap, &payload), SEGMENT_BYTES, &CHUNKING)
}

#[test]
fn a_segment_map_reads_back() {
    assert_eq!(SegmentMap::decode(&mixed().encode(), SEGMENT_BYTES, &CHUNKING), Ok(mixed()));
    assert_eq!(mixed().extents().iter().map(|extent| u64::from(extent.length())).sum::<u64>(), SEGMENT_BYTES);
}

#[test]
fn neighbours_of_one_kind_become_one_extent_and_chunks_do_not() {
    let map = SegmentMap::new(vec![hole(1), hole(2), hole(0), bad(3), bad(4), data(5), data(5), hole(6)]);
    assert_eq!(map.extents(), [hole(3), bad(7), data(5), data(5), hole(6)]);
}

#[test]
fn a_segment_of_holes_is_a_hole_and_one_of_bad_cells_is_not() {
    assert!(SegmentMap::new(vec![hole(1), hole(2)]).is_hole());
    assert!(!SegmentMap::new(vec![bad(1)]).is_hole());
    assert!(!SegmentMap::new(vec![hole(1), data(2)]).is_hole());
}

#[test]
fn lengths_that_do_not_sum_up_to_the_segment_are_refused() {
    for segment_bytes in [SEGMENT_BYTES - 1, SEGMENT_BYTES + 1, 0, 1 << 18] {
        let decoded = SegmentMap::decode(&mixed().encode(), segment_bytes, &CHUNKING);
        assert_eq!(damage(decoded), "extent lengths");
    }
    assert_eq!(damage(decode_raw(&[])), "extent lengths");
}

#[test]
fn extents_outside_the_rules_are_refused() {
    const HALF: u64 = SEGMENT_BYTES / 2;
    assert!(decode_raw(&[(HALF * 4 + 1, None), (HALF * 4 + 2, None)]).is_ok());
    assert_eq!(damage(decode_raw(&[(HALF * 4 + 1, None), (HALF * 4 + 1, None)])), "extents", "two holes");
    assert_eq!(damage(decode_raw(&[(HALF * 4 + 2, None), (HALF * 4 + 2, None)])), "extents", "two bad ones");
    assert_eq!(damage(decode_raw(&[(HALF * 4 + 3, None)])), "extent", "what is invalid");
    assert_eq!(damage(decode_raw(&[(0, Some(1))])), "extent length", "empty");
    assert_eq!(damage(decode_raw(&[(1, None)])), "extent length", "empty");
    assert_eq!(damage(decode_raw(&[(u64::MAX, None)])), "extent length", "beyond 2^32");
    assert_eq!(damage(decode_raw(&[((1 << 20) + 4, Some(1))])), "chunk length", "above max");
    assert_eq!(damage(decode_raw(&[(1 << 20, None)])), "chunk id", "missing");
    assert_eq!(damage(decode_raw(&[(SEGMENT_BYTES * 4 + 1, None)])), "extents", "one hole");
}

#[test]
fn holes_and_bad_extents_that_are_not_whole_cells_are_refused() {
    const CELL: u64 = 1 << 14;
    let of = |first: u64, what: u64, segment_bytes: u64| {
        let mut payload = Vec::new();
        payload.put_varint(first * 4);
        payload.extend_from_slice(&[7; 32]);
        payload.put_varint((segment_bytes - first) * 4 + what);
        SegmentMap::decode(&MetadataChunk::new(MetadataKind::SegmentMap, &payload), segment_bytes, &CHUNKING)
    };
    for what in [1, 2] {
        assert!(of(CELL, what, 3 * CELL).is_ok());
        assert!(of(CELL, what, CELL + 5).is_ok(), "the end of the disk");
        assert_eq!(damage(of(CELL - 1, what, 3 * CELL)), "extent");
        assert_eq!(damage(of(CELL + 512, what, 3 * CELL)), "extent");
    }
    assert!(
        decode_raw(&[(CELL * 4 + 1, None), (5 * 4, Some(1)), ((CELL - 5) * 4, Some(2)), (62 * CELL * 4 + 2, None)])
            .is_ok()
    );
    assert_eq!(
        damage(decode_raw(&[(CELL * 4 + 1, None), (5 * 4, Some(1)), ((63 * CELL - 5) * 4 + 2, None)])),
        "extent"
    );
    assert_eq!(damage(decode_raw(&[((CELL + 1) * 4 + 1, None), ((63 * CELL - 1) * 4 + 2, None)])), "extent");
}

#[test]
fn a_broken_segment_map_is_refused_or_another_but_never_panics() {
    let chunk = mixed().encode();
    for payload in broken(&chunk.bytes()[1..]) {
        let chunk = MetadataChunk::new(MetadataKind::SegmentMap, &payload);
        if let Ok(map) = SegmentMap::decode(&chunk, SEGMENT_BYTES, &CHUNKING) {
            assert!(map.encode() == chunk && map != mixed());
        }
    }
}

#[test]
fn the_kind_of_a_chunk_must_be_the_expected_one() {
    let node = MapNode { level: 1, children: vec![Some(chunk_id(1))] };
    assert_eq!(damage(SegmentMap::decode(&node.encode(), SEGMENT_BYTES, &CHUNKING)), "kind");
    assert_eq!(damage(MapRoot::decode(&node.encode())), "kind");
    assert_eq!(damage(MapNode::decode(&mixed().encode(), 1, 1)), "kind");
}

#[test]
fn a_node_reads_back_with_one_and_with_256_children() {
    for count in [1, 256] {
        let children = (0..count).map(|index| (index % 3 == 0).then(|| chunk_id(1))).collect();
        let node = MapNode { level: 8, children };
        assert_eq!(MapNode::decode(&node.encode(), 8, count), Ok(node));
    }
}

#[test]
fn a_node_of_another_level_or_count_is_refused() {
    let node = |level| MapNode { level, children: vec![Some(chunk_id(1)), None] }.encode();
    assert!(MapNode::decode(&node(2), 2, 2).is_ok());
    assert_eq!(damage(MapNode::decode(&node(2), 1, 2)), "level");
    assert_eq!(damage(MapNode::decode(&node(0), 0, 2)), "level");
    assert_eq!(damage(MapNode::decode(&node(9), 9, 2)), "level");
    assert_eq!(damage(MapNode::decode(&node(2), 2, 1)), "children");
    assert_eq!(damage(MapNode::decode(&node(2), 2, 3)), "children");
    let empty = MapNode { level: 1, children: vec![] };
    assert_eq!(damage(MapNode::decode(&empty.encode(), 1, 0)), "children");
    let long = MapNode { level: 1, children: vec![Some(chunk_id(1)); 257] };
    assert_eq!(damage(MapNode::decode(&long.encode(), 1, 257)), "children");
}

#[test]
fn a_node_that_is_all_hole_is_refused() {
    let node = MapNode { level: 1, children: vec![None, None] };
    assert!(node.is_hole());
    assert_eq!(damage(MapNode::decode(&node.encode(), 1, 2)), "children");
}

#[test]
fn a_child_is_0_or_1_and_nothing_follows_the_children() {
    let with = |payload: &[u8]| MapNode::decode(&MetadataChunk::new(MetadataKind::MapNode, payload), 1, 1);
    let good = [&[1, 1, 1][..], &[9; 32]].concat();
    assert!(with(&good).is_ok());
    assert_eq!(damage(with(&[&[1, 1, 2][..], &[9; 32]].concat())), "child");
    assert_eq!(damage(with(&[&good[..], &[0]].concat())), "end");
}

fn root(disk_bytes: u64, children: usize) -> MapRoot {
    let height = MapGeometry::of(disk_bytes, 24).height();
    MapRoot { disk_bytes, chunking: CHUNKING, segment_log2: 24, height, children: vec![None; children] }
}

#[test]
fn roots_read_back_for_disks_of_every_height() {
    let segment = 1_u64 << 24;
    for (disk_bytes, height, children) in [
        (1, 0, 1),
        (segment, 0, 1),
        (segment + 1, 0, 2),
        (256 * segment, 0, 256),
        (256 * segment + 1, 1, 2),
        (65_536 * segment, 1, 256),
        (65_536 * segment + 1, 2, 2),
        (u64::MAX, 4, 256),
    ] {
        let mut root = root(disk_bytes, children);
        assert_eq!(root.height, height);
        assert_eq!(MapRoot::decode(&root.encode()).as_ref(), Ok(&root), "a disk of zeros");
        root.children[children - 1] = Some(chunk_id(1));
        assert_eq!(MapRoot::decode(&root.encode()), Ok(root));
    }
}

#[test]
fn a_root_that_does_not_follow_from_the_size_of_the_disk_is_refused() {
    let good = root(3 << 24, 3);
    let refused = |root: MapRoot| damage(MapRoot::decode(&root.encode()));
    assert_eq!(refused(MapRoot { disk_bytes: 0, ..good.clone() }), "disk bytes");
    assert_eq!(refused(MapRoot { height: 1, ..good.clone() }), "height");
    assert_eq!(refused(MapRoot { children: vec![None; 2], ..good.clone() }), "children");
    assert_eq!(refused(MapRoot { children: vec![None; 4], ..good.clone() }), "children");
    assert_eq!(refused(MapRoot { segment_log2: 17, ..good.clone() }), "segment log2");
    assert_eq!(refused(MapRoot { segment_log2: 27, ..good.clone() }), "segment log2");
    assert_eq!(refused(MapRoot { segment_log2: 25, ..good.clone() }), "children");
    let min_above_avg = Chunking { min_log2: 17, ..CHUNKING };
    MapRoot::decode(&MapRoot { chunking: min_above_avg, ..good.clone() }.encode()).unwrap_err();
    let mut payload = good.encode().bytes()[1..].to_vec();
    let chunker = payload.iter().position(|byte| *byte == 14).unwrap() - 1;
    payload[chunker] = 3;
    assert_eq!(damage(MapRoot::decode(&MetadataChunk::new(MetadataKind::MapRoot, &payload))), "chunker");
}

#[test]
fn a_broken_root_is_refused_or_another_but_never_panics() {
    let mut root = root(3 << 24, 3);
    root.children[1] = Some(chunk_id(1));
    let chunk = root.encode();
    for payload in broken(&chunk.bytes()[1..]) {
        let chunk = MetadataChunk::new(MetadataKind::MapRoot, &payload);
        if let Ok(other) = MapRoot::decode(&chunk) {
            assert!(other.encode() == chunk && other != root);
        }
    }
}

#[test]
fn the_geometry_adds_up() {
    let geometry = MapGeometry::of((257 << 24) + 5, 24);
    assert_eq!((geometry.segments(), geometry.height()), (258, 1));
    assert_eq!((geometry.count_at(0), geometry.count_at(1), geometry.count_at(2)), (258, 2, 1));
    assert_eq!((geometry.children_of(1, 0), geometry.children_of(1, 1), geometry.children_of(1, 2)), (256, 2, 0));
    assert_eq!((geometry.segment_bytes(0), geometry.segment_bytes(257), geometry.segment_bytes(258)), (1 << 24, 5, 0));
    assert_eq!(geometry.segment_bytes(u64::MAX), 0);
}

#[test]
fn a_map_whose_place_is_not_known_is_read_all_the_same_but_not_one_that_fits_nowhere() {
    assert_eq!(SegmentMap::decode_anywhere(&mixed().encode(), &CHUNKING), Ok(mixed()));
    for payload in [&[][..], &[3], &[0]] {
        let chunk = MetadataChunk::new(MetadataKind::SegmentMap, payload);
        assert!(SegmentMap::decode_anywhere(&chunk, &CHUNKING).is_err(), "{payload:?}");
    }
    let node = MapNode { level: 2, children: vec![None, Some(chunk_id(1))] };
    assert_eq!(MapNode::decode_anywhere(&node.encode(), 2), Ok(node.clone()));
    assert_eq!(damage(MapNode::decode_anywhere(&node.encode(), 1)), "level");
    let wide = MapNode { level: 2, children: vec![Some(chunk_id(1)); 257] };
    assert_eq!(damage(MapNode::decode_anywhere(&wide.encode(), 2)), "children");
}
