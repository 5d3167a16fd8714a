use crate::{
    file::VectorFile,
    wire::{hex, list, varint},
};

const ID: [u8; 32] = [0x77; 32];
const CELL: u64 = 1 << 14;

fn data(length: u64) -> Vec<u8> {
    [&varint(length * 4)[..], &ID].concat()
}

fn hole(length: u64) -> Vec<u8> {
    varint(length * 4 + 1)
}

fn bad(length: u64) -> Vec<u8> {
    varint(length * 4 + 2)
}

pub fn all() -> Vec<VectorFile> {
    [segment_maps(), nodes(), roots()].concat()
}

/// A map of a segment of `cells` cells and `more` bytes.
fn segment(file: VectorFile, segment_bytes: u64, extents: &[Vec<u8>]) -> VectorFile {
    file.field("segment_bytes", segment_bytes)
        .field("chunker", "block")
        .field("min_log2", 14)
        .field("avg_log2", 16)
        .field("max_log2", 18)
        .hex("input", &[&[1][..], &extents.concat()].concat())
}

fn segment_maps() -> Vec<VectorFile> {
    let accepted = |name, claim, bytes, extents: &[Vec<u8>], out: &str| {
        segment(VectorFile::new("segment_map", name, claim).accepted(), bytes, extents).field("out.extents", out)
    };
    let damaged = |name, claim, bytes, extents: &[Vec<u8>]| {
        segment(VectorFile::new("segment_map", name, claim).rejected("damaged"), bytes, extents)
    };
    let id = hex(&ID);
    let long = [&[0x85, 0x80, 0x84, 0x00][..]].concat();
    vec![
        accepted(
            "extents",
            "data, holes and bad extents follow each other",
            6 * CELL,
            &[data(5000), data(CELL - 5000), hole(CELL), bad(CELL), hole(CELL), data(2 * CELL)],
            &format!("data:{id}:5000 data:{id}:11384 hole:16384 bad:16384 hole:16384 data:{id}:32768"),
        ),
        accepted(
            "largest_chunk",
            "a chunk may be as long as max",
            1 << 18,
            &[data(1 << 18)],
            &format!("data:{id}:262144"),
        ),
        accepted("bad", "a segment may be one bad extent", CELL, &[bad(CELL)], "bad:16384"),
        accepted(
            "end_of_disk",
            "the last cell of a disk may be short",
            CELL + 5,
            &[data(CELL), hole(5)],
            &format!("data:{id}:16384 hole:5"),
        ),
        damaged("one_hole", "a segment that is one hole has no map", CELL, &[hole(CELL)]),
        damaged("empty", "extents fill the segment", CELL, &[]),
        damaged("sum_below", "extents do not end before the segment", 3 * CELL, &[data(CELL), hole(CELL)]),
        damaged("sum_above", "extents do not end behind the segment", CELL, &[data(CELL), hole(CELL)]),
        damaged("two_holes", "two holes never follow each other", 3 * CELL, &[data(CELL), hole(CELL), hole(CELL)]),
        damaged("two_bad", "two bad extents never follow each other", 2 * CELL, &[bad(CELL), bad(CELL)]),
        damaged("what_3", "no extent is of kind 3", CELL, &[varint(CELL * 4 + 3)]),
        damaged("length_0", "an extent has at least one byte", CELL, &[data(CELL), hole(0)]),
        damaged("data_0", "a chunk in a map has at least one byte", CELL, &[data(CELL), data(0)]),
        damaged("data_large", "a chunk is no longer than max", (1 << 18) + CELL, &[data((1 << 18) + CELL)]),
        damaged("cell", "a hole begins at a cell", 2 * CELL, &[data(CELL + 1), hole(CELL - 1)]),
        damaged("no_id", "data has a chunk id", CELL, &[varint(CELL * 4), vec![0x77; 31]]),
        damaged("varint", "a varint in a map is the shortest", CELL, &[long]),
        wrong_kind(),
    ]
}

fn wrong_kind() -> VectorFile {
    VectorFile::new("segment_map", "kind", "a chunk of another kind is no segment map")
        .rejected("damaged")
        .field("segment_bytes", CELL)
        .field("chunker", "block")
        .field("min_log2", 14)
        .field("avg_log2", 16)
        .field("max_log2", 18)
        .hex("input", &[&[2][..], &data(CELL)].concat())
}

fn child(there: bool) -> Vec<u8> {
    if there { [&[1][..], &ID].concat() } else { vec![0] }
}

fn children(pattern: &[bool]) -> Vec<u8> {
    list(&pattern.iter().map(|there| child(*there)).collect::<Vec<_>>())
}

fn shown(pattern: &[bool]) -> String {
    pattern.iter().map(|there| if *there { hex(&ID) } else { "-".to_owned() }).collect::<Vec<_>>().join(" ")
}

fn nodes() -> Vec<VectorFile> {
    let given = |file: VectorFile, level: u8, count: usize, payload: &[u8]| {
        file.field("level", level).field("children", count).hex("input", &[&[2][..], payload].concat())
    };
    let accepted = |name, claim, level: u8, pattern: &[bool]| {
        let payload = [&[level][..], &children(pattern)].concat();
        given(VectorFile::new("map_node", name, claim).accepted(), level, pattern.len(), &payload)
            .field("out.children", shown(pattern))
    };
    let damaged = |name, claim, level: u8, count: usize, payload: &[u8]| {
        given(VectorFile::new("map_node", name, claim).rejected("damaged"), level, count, payload)
    };
    let two = [&[1][..], &children(&[true, false])].concat();
    let mut full = [false; 256];
    full.iter_mut().step_by(51).for_each(|there| *there = true);
    let long = [&[1][..], &children(&[true; 257])].concat();
    vec![
        accepted("two", "a child is a map or a hole", 1, &[true, false]),
        accepted("full", "a node has up to 256 children", 8, &full),
        damaged("level", "a node has the level its place demands", 2, 2, &two),
        damaged("level_0", "no node has level 0", 0, 2, &[&[0][..], &children(&[true, false])].concat()),
        damaged("level_9", "no node has level 9", 9, 2, &[&[9][..], &children(&[true, false])].concat()),
        damaged("fewer", "a node has all children its place demands", 1, 3, &two),
        damaged("more", "a node has no more children than its place demands", 1, 1, &two),
        damaged("children_257", "a node has at most 256 children", 1, 257, &long),
        damaged(
            "hole",
            "a node that is all hole is not stored",
            1,
            2,
            &[&[1][..], &children(&[false, false])].concat(),
        ),
        damaged("child_2", "a child is 0 or 1", 1, 2, &[1, 2, 2, 0]),
        damaged("left_over", "nothing follows the children of a node", 1, 2, &[&two[..], &[0]].concat()),
        VectorFile::new("map_node", "kind", "a chunk of another kind is no node")
            .rejected("damaged")
            .field("level", 1)
            .field("children", 2)
            .hex("input", &[&[3][..], &two].concat()),
    ]
}

/// A root of a disk in segments of 2^`segment_log2`.
struct Root {
    disk_bytes: u64,
    chunker: u8,
    logs: [u8; 4],
    height: u8,
    children: Vec<bool>,
}

impl Root {
    fn payload(&self) -> Vec<u8> {
        let Self { disk_bytes, chunker, logs, height, children: pattern } = self;
        [&varint(*disk_bytes)[..], &[*chunker], logs, &[*height], &children(pattern)].concat()
    }

    fn accepted(&self, name: &str, claim: &str) -> VectorFile {
        let [min, avg, max, segment] = self.logs;
        VectorFile::new("map_root", name, claim)
            .accepted()
            .hex("input", &[&[3][..], &self.payload()].concat())
            .field("out.disk_bytes", self.disk_bytes)
            .field("out.chunker", if self.chunker == 1 { "block" } else { "fastcdc" })
            .field("out.min_log2", min)
            .field("out.avg_log2", avg)
            .field("out.max_log2", max)
            .field("out.segment_log2", segment)
            .field("out.height", self.height)
            .field("out.children", shown(&self.children))
    }

    fn damaged(&self, name: &str, claim: &str) -> VectorFile {
        damaged_root(name, claim, &self.payload())
    }
}

fn damaged_root(name: &str, claim: &str, payload: &[u8]) -> VectorFile {
    VectorFile::new("map_root", name, claim).rejected("damaged").hex("input", &[&[3][..], payload].concat())
}

fn roots() -> Vec<VectorFile> {
    const LOGS: [u8; 4] = [14, 16, 18, 24];
    let root = |disk_bytes, height, children: &[bool]| Root {
        disk_bytes,
        chunker: 1,
        logs: LOGS,
        height,
        children: children.to_vec(),
    };
    let three = || root((2 << 24) + 1, 0, &[true, false, true]);
    let with_logs = |logs| Root { logs, ..three() };
    let left_over = [&three().payload()[..], &[0]].concat();
    vec![
        three().accepted("three", "a small disk's root holds segment maps"),
        Root { chunker: 2, ..root(1, 0, &[false]) }
            .accepted("one_byte", "a disk has at least one byte, a root even if it is zero"),
        root(256 << 24, 0, &[true; 256]).accepted("height_0", "256 segments need no nodes"),
        root((256 << 24) + 1, 1, &[true, false]).accepted("height_1", "257 segments need nodes of level 1"),
        root((65_536 << 24) + 1, 2, &[false, true]).accepted("height_2", "65537 segments need nodes of level 2"),
        root(u64::MAX, 4, &[false; 256]).accepted("largest", "the largest disk has height 4"),
        root(0, 0, &[]).damaged("bytes_0", "no disk has 0 bytes"),
        Root { height: 1, ..three() }.damaged("height", "the height follows from the size of the disk"),
        root((2 << 24) + 1, 0, &[true, false]).damaged("fewer", "a root has all children the size of the disk demands"),
        root(2 << 24, 0, &[true, false, true])
            .damaged("more", "a root has no more children than the size of the disk demands"),
        Root { chunker: 0, ..three() }.damaged("chunker_0", "no chunker is 0"),
        Root { chunker: 3, ..three() }.damaged("chunker_3", "no chunker is 3"),
        with_logs([17, 16, 18, 24]).damaged("min_above_avg", "min is not above avg"),
        with_logs([14, 16, 18, 17]).damaged("segment_small", "a segment holds the largest chunk"),
        with_logs([14, 16, 18, 27]).damaged("segment_large", "a segment has at most 64 MiB"),
        damaged_root("left_over", "nothing follows the children of a root", &left_over),
        VectorFile::new("map_root", "kind", "a chunk of another kind is no root")
            .rejected("damaged")
            .hex("input", &[&[1][..], &three().payload()].concat()),
    ]
}
