"""Section 9: segments, cells, and the chunker `block`."""

from __future__ import annotations

from typing import Iterator

from Crypto.Cipher import AES

from .config import Chunking

BLOCK = 4096


class BlockChunker:
    def __init__(self, chunking: Chunking, cut_hash_key: bytes, cut_prf_key: bytes):
        self.min, self.avg, self.max = 1 << chunking.min_log2, 1 << chunking.avg_log2, 1 << chunking.max_log2
        self._cut_hash_key = cut_hash_key[:16]
        self._prf = AES.new(cut_prf_key[:16], AES.MODE_ECB)
        blocks_avg = self.avg // BLOCK
        self._before_avg = (1 << 63) // blocks_avg
        self._from_avg = min((1 << 66) // blocks_avg, 1 << 63)

    def p(self, block: bytes) -> int:
        gcm = AES.new(self._cut_hash_key, AES.MODE_GCM, nonce=bytes(12), mac_len=16)
        gcm.update(block)
        return int.from_bytes(self._prf.encrypt(gcm.digest())[:8], "little")

    def cut(self, run: memoryview, address: int) -> Iterator[int]:
        """The lengths of the chunks of one data run that begins at `address` on the disk."""
        start = 0
        while start < len(run):
            length = self._chunk_length(run[start:], address + start)
            yield length
            start += length

    def _chunk_length(self, rest: memoryview, address: int) -> int:
        for length in range(max(BLOCK, self.min), min(self.max, len(rest)) + 1, BLOCK):
            limit = self._before_avg if length < self.avg else self._from_avg
            if self.p(bytes(rest[length - BLOCK : length])) < limit:
                return length
        if len(rest) < self.max:
            return len(rest)
        half = self.max // 2
        return (address + self.max) // half * half - address


def data_runs(segment: memoryview, cell_bytes: int) -> Iterator[tuple[bool, int, int]]:
    """Maximal stretches of a segment as (is data, start, end); cells of zeros make holes."""
    zeros = bytes(cell_bytes)
    start, is_data = 0, None
    for at in range(0, len(segment), cell_bytes):
        cell = segment[at : at + cell_bytes]
        found = cell != zeros[: len(cell)]
        if is_data is not None and found != is_data:
            yield is_data, start, at
            start = at
        is_data = found
    if is_data is not None:
        yield is_data, start, len(segment)
