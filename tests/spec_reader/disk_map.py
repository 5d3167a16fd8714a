"""Section 13: from a map root to the extents of a disk, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator

from .codec import Cursor, encode_list, encode_varint
from .config import Chunking
from .errors import Damaged
from .metadata import MAP_NODE, MAP_ROOT, SEGMENT_MAP

EXTENT_DATA, EXTENT_HOLE, EXTENT_BAD = 0, 1, 2
FANOUT = 256
LEVEL_MAX = 8

Fetch = Callable[[bytes, int, str], bytes]  # chunk id, kind, what → payload


@dataclass(frozen=True)
class Extent:
    offset: int
    length: int
    what: int
    chunk_id: bytes | None


@dataclass(frozen=True)
class Root:
    disk_bytes: int
    chunking: Chunking
    height: int
    children: list[bytes | None]


def level_counts(disk_bytes: int, segment_log2: int) -> list[int]:
    """c(0) … c(h): how many segments, and how many nodes on each level below the root."""
    counts = [(disk_bytes + (1 << segment_log2) - 1) >> segment_log2]
    while counts[-1] > FANOUT:
        counts.append(-(-counts[-1] // FANOUT))
    return counts


def _child(cursor: Cursor) -> bytes | None:
    present = cursor.u8()
    if present > 1:
        raise cursor.refuse(f"a child begins with {present}, must be 0 or 1")
    return cursor.id32() if present else None


def _encode_children(children: list[bytes | None]) -> bytes:
    return encode_list([b"\0" if child is None else b"\1" + child for child in children])


def decode_root(payload: bytes, what: str) -> Root:
    cursor = Cursor(payload, what)
    disk_bytes = cursor.varint()
    chunking = Chunking(cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8())
    height = cursor.u8()
    children = cursor.list_(_child)
    cursor.end()
    if disk_bytes < 1:
        raise Damaged(f"{what}: a disk of 0 bytes")
    refusal = chunking.refusal()
    if refusal:
        raise Damaged(f"{what}: {refusal}")
    counts = level_counts(disk_bytes, chunking.segment_log2)
    if height != len(counts) - 1 or len(children) != counts[-1]:
        raise Damaged(
            f"{what}: height {height} and {len(children)} children, must be {len(counts) - 1} and {counts[-1]}"
        )
    return Root(disk_bytes, chunking, height, children)


def encode_root(root: Root) -> bytes:
    c = root.chunking
    parameters = bytes([c.chunker, c.min_log2, c.avg_log2, c.max_log2, c.segment_log2, root.height])
    return encode_varint(root.disk_bytes) + parameters + _encode_children(root.children)


def decode_node(payload: bytes, level: int, children_count: int, what: str) -> list[bytes | None]:
    cursor = Cursor(payload, what)
    found_level = cursor.u8()
    children = cursor.list_(_child)
    cursor.end()
    if found_level != level or not 1 <= level <= LEVEL_MAX:
        raise Damaged(f"{what}: level {found_level}, must be {level}")
    if len(children) != children_count:
        raise Damaged(f"{what}: {len(children)} children, must be {children_count}")
    if all(child is None for child in children):
        raise Damaged(f"{what}: a node that is all hole is not stored")
    return children


def encode_node(level: int, children: list[bytes | None]) -> bytes:
    return bytes([level]) + _encode_children(children)


def decode_segment_map(payload: bytes, offset: int, segment_bytes: int, chunk_bytes_max: int, what: str) -> list[Extent]:
    """`offset` is the segment's place on the disk."""
    cursor = Cursor(payload, what)
    extents: list[Extent] = []
    end = offset + segment_bytes
    while cursor.remaining:
        value = cursor.varint()
        length, kind = value >> 2, value & 3
        if kind == 3:
            raise cursor.refuse("an extent that is neither data, hole nor bad")
        if length < 1 or length > end - offset:
            raise cursor.refuse(f"an extent of {length} bytes, {end - offset} are left of the segment")
        if kind == EXTENT_DATA and length > chunk_bytes_max:
            raise cursor.refuse(f"a chunk of {length} bytes, at most {chunk_bytes_max}")
        if kind != EXTENT_DATA and extents and extents[-1].what == kind:
            raise cursor.refuse("two holes or two bad extents follow each other")
        extents.append(Extent(offset, length, kind, cursor.id32() if kind == EXTENT_DATA else None))
        offset += length
    if offset != end:
        raise cursor.refuse(f"extents do not sum up: {end - offset} bytes of the segment are missing")
    if len(extents) == 1 and extents[0].what == EXTENT_HOLE:
        raise cursor.refuse("a segment that is one hole has no map")
    return extents


def encode_segment_map(extents: list[Extent]) -> bytes:
    return b"".join(encode_varint(one.length * 4 + one.what) + (one.chunk_id or b"") for one in extents)


def walk(root: Root, fetch: Fetch, what: str) -> Iterator[Extent]:
    """All extents of the disk in order; a missing child is one hole."""
    counts = level_counts(root.disk_bytes, root.chunking.segment_log2)
    segment_bytes = 1 << root.chunking.segment_log2

    def below(level: int, first: int, children: list[bytes | None]) -> Iterator[Extent]:
        """Children `first`, `first` + 1, … of `level`: 0 for segment maps."""
        span = segment_bytes * FANOUT**level
        for index, child in enumerate(children, first):
            offset = index * span
            length = min(span, root.disk_bytes - offset)
            place = f"{what}, {'segment' if level == 0 else f'level {level} node'} {index}"
            if child is None:
                yield Extent(offset, length, EXTENT_HOLE, None)
            elif level == 0:
                payload = fetch(child, SEGMENT_MAP, place)
                yield from decode_segment_map(payload, offset, length, 1 << root.chunking.max_log2, place)
            else:
                count = min(FANOUT, counts[level - 1] - index * FANOUT)
                node = decode_node(fetch(child, MAP_NODE, place), level, count, place)
                yield from below(level - 1, index * FANOUT, node)

    yield from below(root.height, 0, root.children)


def build_root(
    disk_bytes: int, chunking: Chunking, segment_maps: list[bytes | None], name_of: Callable[[int, bytes], bytes]
) -> bytes:
    """The id of the root above `segment_maps` (their ids). `name_of(kind, payload)` names, and may store, a chunk."""
    children, height = segment_maps, 0
    while len(children) > FANOUT:
        height += 1
        groups = [children[start : start + FANOUT] for start in range(0, len(children), FANOUT)]
        children = [
            name_of(MAP_NODE, encode_node(height, group)) if any(child is not None for child in group) else None
            for group in groups
        ]
    return name_of(MAP_ROOT, encode_root(Root(disk_bytes, chunking, height, children)))
