"""Section 8: the parameters of a repository."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from .codec import Cursor
from .errors import Damaged, Unsupported
from .hashing import hash32, keyed

CONFIG_BYTES = 136
CHUNKER_BLOCK, CHUNKER_FASTCDC = 1, 2
DATA, METADATA = 1, 2


@dataclass(frozen=True)
class Chunking:
    """What decides the cut points and the shape of disk maps; stands in the config and in every map root."""

    chunker: int
    min_log2: int
    avg_log2: int
    max_log2: int
    segment_log2: int

    def refusal(self) -> str | None:
        if self.chunker not in (CHUNKER_BLOCK, CHUNKER_FASTCDC):
            return f"chunker {self.chunker} is not defined"
        if not (12 <= self.min_log2 <= self.avg_log2 <= self.max_log2 <= 21 and 13 <= self.avg_log2 <= 20):
            return f"chunk sizes 2^{self.min_log2}, 2^{self.avg_log2}, 2^{self.max_log2} are not allowed"
        if not self.max_log2 <= self.segment_log2 <= 26:
            return f"segment size 2^{self.segment_log2} is not allowed"
        return None


@dataclass(frozen=True)
class Config:
    raw: bytes
    repository_id: bytes
    chunking: Chunking
    data_pack_bytes: int
    metadata_pack_bytes: int
    frame_bytes_max: int
    shard_bytes: int
    parity_rate: int
    single_writer: bool
    created: int

    def pack_bytes(self, pack_class: int) -> int:
        return self.data_pack_bytes if pack_class == DATA else self.metadata_pack_bytes

    def check_mac(self, key: bytes) -> None:
        if not hmac.compare_digest(keyed(key, self.raw[:72]), self.raw[72:104]):
            raise Damaged("config: the MAC is wrong: it was not written by a holder of the keys")


def decode_config(raw: bytes, what: str) -> Config:
    cursor = Cursor(raw, what)
    cursor.magic(b"SRMCONFG")
    if len(raw) != CONFIG_BYTES:
        raise Damaged(f"{what}: {len(raw)} bytes, must be {CONFIG_BYTES}")
    if hash32(raw[:104]) != raw[104:]:
        raise Damaged(f"{what}: the checksum does not match")
    cursor.reserved(2)
    required = cursor.u64()
    if required:
        bits = [bit for bit in range(64) if required >> bit & 1]
        raise Unsupported(f"{what}: required features {bits} are not known to this reader")
    cursor.u64()  # optional features mean nothing to a reader
    repository_id = cursor.id16()
    chunker, min_log2, avg_log2, max_log2 = cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8()
    data_pack_bytes, metadata_pack_bytes, frame_bytes_max = cursor.u32(), cursor.u32(), cursor.u32()
    shard_log2, segment_log2, flags = cursor.u8(), cursor.u8(), cursor.u8()
    if flags > 1:
        raise cursor.refuse(f"flags {flags:#x}: only bit 0 is defined")
    parity_rate = cursor.u8()
    if parity_rate > 64:
        raise cursor.refuse(f"parity rate {parity_rate}, at most 64")
    created = cursor.u64()

    chunking = Chunking(chunker, min_log2, avg_log2, max_log2, segment_log2)
    refusal = chunking.refusal()
    if refusal:
        raise Damaged(f"{what}: {refusal}")
    if not 10 <= shard_log2 <= 20:
        raise Damaged(f"{what}: shard size 2^{shard_log2} is not allowed")
    shard_bytes = 1 << shard_log2
    for pack_bytes in (data_pack_bytes, metadata_pack_bytes):
        shards = pack_bytes // shard_bytes
        least = 16 if parity_rate else 8
        if pack_bytes % shard_bytes or shards < least or pack_bytes > 1 << 28 or footer_bytes(shards) > shard_bytes:
            raise Damaged(f"{what}: pack size {pack_bytes} is not allowed")
    if not 1 << max_log2 < frame_bytes_max <= min(1 << 22, data_pack_bytes // 2, metadata_pack_bytes // 2):
        raise Damaged(f"{what}: frame bytes max {frame_bytes_max} is not allowed")
    return Config(
        raw,
        repository_id,
        chunking,
        data_pack_bytes,
        metadata_pack_bytes,
        frame_bytes_max,
        shard_bytes,
        parity_rate,
        flags == 1,
        created,
    )


def footer_bytes(shards: int) -> int:
    return 96 + 12 * (shards - 2) + 32
