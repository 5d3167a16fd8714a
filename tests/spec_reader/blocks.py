"""Makes the disk map of a raw image anew and names its root: equal to the map root of the point that holds that disk."""

from __future__ import annotations

import os
from typing import Callable

from .chunker import BlockChunker, data_runs
from .config import CHUNKER_BLOCK, DATA, METADATA, Chunking
from .disk_map import EXTENT_DATA, EXTENT_HOLE, Extent, build_root, encode_segment_map
from .errors import Unsupported, Usage
from .hashing import keyed
from .keys import WorkingKeys
from .metadata import SEGMENT_MAP

Keep = Callable[[int, bytes, bytes], None]  # class, chunk id, bytes


def map_root_of(path: str, chunking: Chunking, keys: WorkingKeys, keep: Keep = lambda *_: None) -> bytes:
    """The id of the map root of a raw image. `keep` sees every chunk of it."""
    if chunking.chunker != CHUNKER_BLOCK:
        raise Unsupported("blocks: this repository cuts with fastcdc, which this reader does not have")
    chunker = BlockChunker(chunking, keys.key("cut hash"), keys.key("cut prf"))
    data_key, metadata_key = keys.key("chunk id data"), keys.key("chunk id metadata")

    def name_of(kind: int, payload: bytes) -> bytes:
        chunk = bytes([kind]) + payload
        chunk_id = keyed(metadata_key, chunk)
        keep(METADATA, chunk_id, chunk)
        return chunk_id

    def segment_map(segment: memoryview, offset: int) -> bytes | None:
        extents = []
        for is_data, start, end in data_runs(segment, 1 << chunking.min_log2):
            if not is_data:
                extents.append(Extent(offset + start, end - start, EXTENT_HOLE, None))
                continue
            for length in chunker.cut(segment[start:end], offset + start):
                chunk = bytes(segment[start : start + length])
                chunk_id = keyed(data_key, chunk)
                keep(DATA, chunk_id, chunk)
                extents.append(Extent(offset + start, length, EXTENT_DATA, chunk_id))
                start += length
        if len(extents) == 1 and extents[0].what == EXTENT_HOLE:
            return None
        return name_of(SEGMENT_MAP, encode_segment_map(extents))

    disk_bytes = os.path.getsize(path)
    if disk_bytes == 0:
        raise Usage(f"{path}: an empty file is no disk")
    segment_bytes = 1 << chunking.segment_log2
    with open(path, "rb") as file:
        maps = [segment_map(memoryview(file.read(segment_bytes)), at) for at in range(0, disk_bytes, segment_bytes)]
    return build_root(disk_bytes, chunking, maps, name_of)
