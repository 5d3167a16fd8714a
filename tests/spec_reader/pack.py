"""Sections 10 and 11: packs, their directories, their frames."""

from __future__ import annotations

from dataclasses import dataclass

import zstandard

from .codec import Cursor
from .config import DATA, METADATA, Config, footer_bytes
from .errors import Damaged
from .hashing import hash32, keyed
from .keys import WorkingKeys
from .parity import shards_with_parity
from .sealing import DATA_DIRECTORY, DATA_FRAME, METADATA_DIRECTORY, METADATA_FRAME, SEALING_BYTES
from .sealing import associated_data, open_sealed
from .store import Store, first_good

STORED, ZSTD = 0, 1
ZSTD_WINDOW_MAX = 1 << 23


def pack_file(name: bytes) -> str:
    return f"packs/{name.hex()[:2]}/{name.hex()}"


@dataclass(frozen=True)
class Footer:
    pack_class: int
    epoch: int
    session: bytes
    salt: bytes
    shards: int
    parity_shards: int
    shard_bytes: int
    directory_offsets: tuple[int, int]
    directory_sealed_bytes: int
    shard_checks: tuple[bytes, ...]

    @property
    def parity_place(self) -> range:
        """The numbers of the parity shards: those before directory B."""
        end = self.directory_offsets[1] // self.shard_bytes
        return range(end - self.parity_shards, end)

    @property
    def pack_bytes(self) -> int:
        return self.shards * self.shard_bytes


@dataclass(frozen=True)
class Frame:
    offset: int
    sealed_length: int
    plain_length: int
    codec: int
    chunks: tuple[tuple[bytes, int], ...]


def decode_footer(shard: bytes, config: Config, pack_bytes: int, what: str) -> Footer:
    """`shard` is the first or the last shard of a pack of `pack_bytes`."""
    cursor = Cursor(shard, what)
    cursor.magic(b"SRMPACK1")
    pack_class = cursor.u8()
    if pack_class not in (DATA, METADATA):
        raise cursor.refuse(f"class {pack_class} is not defined")
    cursor.reserved(1)
    epoch, session, salt = cursor.u32(), cursor.id16(), cursor.id32()
    shards, parity_shards = cursor.u32(), cursor.u32()
    offset_a, offset_b, sealed_bytes, shard_bytes = cursor.u64(), cursor.u64(), cursor.u32(), cursor.u32()
    if shard_bytes != config.shard_bytes:
        raise cursor.refuse(f"shards of {shard_bytes} bytes, the config says {config.shard_bytes}")
    if parity_shards > shards // 3:
        raise cursor.refuse(f"{parity_shards} parity shards, at most a third of {shards}")
    if shards * shard_bytes != pack_bytes:
        raise cursor.refuse(f"{shards} shards, the pack has {pack_bytes} bytes")
    if shards < 3 or pack_bytes > config.pack_bytes(pack_class) or footer_bytes(shards) > shard_bytes:
        raise cursor.refuse(f"{shards} shards are not allowed")
    checks = tuple(cursor.take(12) for _ in range(shards - 2))
    checked = cursor.at
    if cursor.id32() != hash32(shard[:checked]):
        raise Damaged(f"{what}: the checksum does not match")
    cursor.zeros(cursor.remaining)
    if sealed_bytes == 0 or sealed_bytes % shard_bytes:
        raise Damaged(f"{what}: a directory of {sealed_bytes} bytes is not a multiple of the shard")
    parity_at = offset_b - parity_shards * shard_bytes
    if offset_a < shard_bytes or offset_a + sealed_bytes > parity_at or offset_b + sealed_bytes != pack_bytes - shard_bytes:
        raise Damaged(f"{what}: directories at {offset_a} and {offset_b} are not where they must be")
    return Footer(pack_class, epoch, session, salt, shards, parity_shards, shard_bytes, (offset_a, offset_b), sealed_bytes, checks)


def decode_directory(plain: bytes, footer: Footer, config: Config, what: str) -> list[Frame]:
    cursor = Cursor(plain, what)
    offset = footer.shard_bytes

    def frame(entry: Cursor) -> Frame:
        nonlocal offset
        sealed_length, plain_length, codec = entry.varint(), entry.varint(), entry.u8()
        chunks = tuple(entry.list_(lambda c: (c.id32(), c.varint()), 33))
        if codec not in (STORED, ZSTD):
            raise entry.refuse(f"codec {codec} is not defined")
        if not chunks or any(length < 1 for _, length in chunks):
            raise entry.refuse("a frame without chunks, or an empty chunk")
        if sum(length for _, length in chunks) != plain_length:
            raise entry.refuse("the chunks do not sum up to the plain length")
        if plain_length > config.frame_bytes_max:
            raise entry.refuse(f"plain length {plain_length}, at most {config.frame_bytes_max}")
        stored_length = sealed_length - SEALING_BYTES
        if stored_length < 1 or (codec == STORED and stored_length != plain_length):
            raise entry.refuse(f"sealed length {sealed_length} for plain length {plain_length}")
        found = Frame(offset, sealed_length, plain_length, codec, chunks)
        offset += sealed_length
        return found

    frames = cursor.list_(frame, 4)
    if cursor.remaining >= footer.shard_bytes:
        raise cursor.refuse("more padding than a shard needs")
    cursor.zeros(cursor.remaining)
    if offset != footer.directory_offsets[0]:
        raise Damaged(f"{what}: frames end at {offset}, directory A begins at {footer.directory_offsets[0]}")
    return frames


class Pack:
    """A pack that the log has registered, opened by either of its copies."""

    def __init__(self, store: Store, config: Config, keys: WorkingKeys, name: bytes, pack_class: int, pack_bytes: int):
        self.store, self.config, self.keys = store, config, keys
        self.name, self.pack_class, self.pack_bytes = name, pack_class, pack_bytes
        self.file = pack_file(name)
        self.what = f"pack {name.hex()}"
        size = store.size(self.file)
        if size is None:
            raise Damaged(f"{self.what}: is not there")
        if size != pack_bytes:
            raise Damaged(f"{self.what}: {size} bytes, the log says {pack_bytes}")
        self.footer = first_good([lambda: self.read_footer("A"), lambda: self.read_footer("B")])

    def read_footer(self, copy: str) -> Footer:
        what = f"{self.what}, footer {copy}"
        shard_bytes = self.config.shard_bytes
        if self.pack_bytes % shard_bytes or self.pack_bytes < 3 * shard_bytes:
            raise Damaged(f"{what}: {self.pack_bytes} bytes are not a pack's")
        offset = 0 if copy == "A" else self.pack_bytes - shard_bytes
        footer = decode_footer(self.store.read_at(self.file, offset, shard_bytes), self.config, self.pack_bytes, what)
        if footer.pack_class != self.pack_class:
            raise Damaged(f"{what}: class {footer.pack_class}, the log says {self.pack_class}")
        return footer

    def directory(self) -> list[Frame]:
        return first_good([lambda: self.read_directory("A"), lambda: self.read_directory("B")])

    def read_directory(self, copy: str) -> list[Frame]:
        what = f"{self.what}, directory {copy}"
        footer = self.footer
        sealed = self.store.read_at(self.file, footer.directory_offsets[copy == "B"], footer.directory_sealed_bytes)
        kind = DATA_DIRECTORY if self.pack_class == DATA else METADATA_DIRECTORY
        plain_length = len(sealed) - SEALING_BYTES
        aad = associated_data(kind, 0, footer.epoch, plain_length, self.config.repository_id, footer.salt)
        plain = open_sealed(self.keys.key("directory seal", footer.epoch), aad, sealed, what)
        return decode_directory(plain, footer, self.config, what)

    def open_frame(self, frame: Frame) -> bytes:
        what = f"{self.what}, frame at {frame.offset}"
        listed = b"".join(chunk_id + length.to_bytes(8, "little") for chunk_id, length in frame.chunks)
        kind, purpose = (DATA_FRAME, "data seal") if self.pack_class == DATA else (METADATA_FRAME, "metadata seal")
        aad = associated_data(
            kind,
            frame.codec,
            self.footer.epoch,
            frame.plain_length,
            self.config.repository_id,
            keyed(self.keys.key("frame id"), listed),
        )
        sealed = self.store.read_at(self.file, frame.offset, frame.sealed_length)
        stored = open_sealed(self.keys.key(purpose, self.footer.epoch), aad, sealed, what)
        return stored if frame.codec == STORED else decompress(stored, frame.plain_length, what)


def decompress(stored: bytes, plain_length: int, what: str) -> bytes:
    try:
        header = zstandard.get_frame_parameters(stored)
        if header.content_size != plain_length:
            raise Damaged(f"{what}: the zstd frame holds {header.content_size} bytes, must be {plain_length}")
        if header.dict_id:
            raise Damaged(f"{what}: the zstd frame wants a dictionary")
        plain = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX).decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what}: {error}") from None
    if len(plain) != plain_length:
        raise Damaged(f"{what}: decompresses to {len(plain)} bytes, must be {plain_length}")
    return plain


def padme(length: int) -> int:
    exponent = length.bit_length() - 1
    unit = 1 << (exponent - exponent.bit_length())
    return -(-length // unit) * unit


def expected_pack_bytes(footer: Footer, full_bytes: int, parity_rate: int) -> int:
    """The size of a pack that was closed early; a full one has `full_bytes`."""
    frames_and_directory_a = footer.directory_offsets[0] - footer.shard_bytes + footer.directory_sealed_bytes
    parts = 2 * footer.shard_bytes + frames_and_directory_a + footer.directory_sealed_bytes
    shards = shards_with_parity(-(-padme(parts) // footer.shard_bytes), parity_rate)
    return min(full_bytes, shards * footer.shard_bytes)
