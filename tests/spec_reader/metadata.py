"""Section 12: kinds of metadata chunks, and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from blake3 import blake3

from .chunk_index import Chunks
from .codec import Cursor
from .errors import Damaged

SEGMENT_MAP, MAP_NODE, MAP_ROOT, RESTORE_POINT, VM_HOME, PIECE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Stream:
    length: int
    content_hash: bytes
    pieces: list[tuple[int, bytes]]


def stream(cursor: Cursor) -> Stream:
    length, content_hash = cursor.varint(), cursor.id32()
    pieces = cursor.list_(lambda c: (c.varint(), c.id32()), 33)
    if sum(piece_length for piece_length, _ in pieces) != length:
        raise cursor.refuse("the pieces do not sum up to the stream's length")
    return Stream(length, content_hash, pieces)


def read_stream(chunks: Chunks, one: Stream, what: str) -> Iterator[bytes]:
    """The pieces in order. Refuses at the end if the whole has another hash: use nothing before."""
    hasher = blake3()
    for length, chunk_id in one.pieces:
        piece = chunks.metadata(chunk_id, PIECE, what)
        if len(piece) != length:
            raise Damaged(f"{what}: piece {chunk_id.hex()} has {len(piece)} bytes, must be {length}")
        hasher.update(piece)
        yield piece
    if hasher.digest() != one.content_hash:
        raise Damaged(f"{what}: its content has another hash than the stream says")
