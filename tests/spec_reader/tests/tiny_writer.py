"""Writes a small repository from SPEC.md: 1 KiB shards, 8 KiB chunks, toy Argon2. Randomness is seeded."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from Crypto.Cipher import ChaCha20_Poly1305

from ..blocks import map_root_of
from ..codec import encode_bytes, encode_list, encode_option, encode_varint
from ..config import DATA, METADATA, Chunking
from ..keys import WorkingKeys

SHARD = 1024
PACK = 64 * SHARD
FRAME_MAX = 1 << 14
CHUNKING = Chunking(1, 12, 13, 13, 16)
PASSWORD = "schlüssel"
KEY_FILE = bytes(range(64))
RECOVERY = bytes(range(32))


def record(fields: dict[int, bytes]) -> bytes:
    return b"".join(encode_varint(tag) + encode_bytes(value) for tag, value in sorted(fields.items()))


def text(written: str) -> bytes:
    return encode_bytes(written.encode())


def ordinals(numbers: list[int]) -> bytes:
    return encode_list([encode_varint(number) for number in numbers])


def pack_rows(rows: list[tuple[bytes, int, int]]) -> bytes:
    return encode_list([name + bytes([cls]) + encode_varint(size) for name, cls, size in rows])


class TinyWriter:
    def __init__(self, folder: Path, seed: int = 1):
        self.folder = folder
        self.random = random.Random(seed)
        self.repository_id = self.random.randbytes(16)
        self.repository_keys = {1: self.random.randbytes(32)}
        self.keys = WorkingKeys(self.repository_keys)
        self.known: set[bytes] = set()
        self.packs: list[tuple[bytes, int, int]] = []
        self.chains: dict[bytes, list[bytes]] = {}
        self.time = 1_700_000_000_000
        self.number = 0
        self._write_config()
        added = [self.add_slot(1, PASSWORD.encode()), self.add_slot(2, KEY_FILE), self.add_slot(3, RECOVERY)]
        self.append([(8, record({0: encode_list([a + b for a, b in added]), 2: encode_list([])}))])

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def seal(self, key: bytes, kind: int, codec: int, epoch: int, plain_length: int, object_id: bytes, x: bytes) -> bytes:
        aad = b"\x01\0" + bytes([kind, codec]) + struct.pack("<IQ", epoch, plain_length) + self.repository_id + object_id
        assert len(aad) == 64
        nonce = self.random.randbytes(24)
        cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
        cipher.update(aad)
        ciphertext, tag = cipher.encrypt_and_digest(x)
        return nonce + ciphertext + tag

    def _write_config(self) -> None:
        c = CHUNKING
        body = b"SRMCONFG" + struct.pack("<HHQQ", 1, 0, 0, 0) + self.repository_id
        body += bytes([c.chunker, c.min_log2, c.avg_log2, c.max_log2]) + struct.pack("<III", PACK, PACK, FRAME_MAX)
        body += bytes([10, c.segment_log2, 0, 0]) + struct.pack("<Q", self.time)
        body += blake3(body, key=self.keys.key("config mac")).digest()
        self.config = body + blake3(body).digest()
        self.put("config", self.config)
        self.put("config.copy", self.config)

    def add_slot(self, kind: int, secret: bytes) -> tuple[bytes, bytes]:
        slot_id, salt = self.random.randbytes(16), self.random.randbytes(32)
        parameters = (0, 0, 0)
        if kind == 1:
            parameters = (32, 1, 2)
            stretched = hash_secret_raw(secret, salt, 1, 32, 2, hash_len=64, type=Type.ID, version=19)
        else:
            context = {2: "strongroom v1 key file", 3: "strongroom v1 recovery key"}[kind]
            stretched = blake3(salt + secret, derive_key_context=context).digest(length=64)
        label = b"test"
        head = b"SRMKSLOT" + struct.pack("<HBB", 1, kind, 0) + self.repository_id + slot_id
        head += struct.pack("<QIII", self.time, *parameters) + salt + stretched[32:]
        head += bytes([len(label)]) + label.ljust(63, b"\0")
        keys = b"".join(struct.pack("<I", epoch) + key for epoch, key in self.repository_keys.items())
        plain = (struct.pack("<I", len(self.repository_keys)) + keys).ljust(512, b"\0")
        slot = head + self.seal(stretched[:32], 6, 0, 0, 512, blake3(head).digest(), plain) + bytes(248)
        slot += blake3(slot).digest()
        assert len(head) == 192 and len(slot) == 1024
        for copy in (0, 1):
            self.put(f"keys/{slot_id.hex()}-{copy}", slot)
        return slot_id, blake3(slot).digest()

    def append(self, records: list[tuple[int, bytes]]) -> None:
        self.number += 1
        self.time += 1000
        prev = self.config if self.number == 1 else self.last_entry
        body = encode_varint(self.time) + encode_list([encode_varint(kind) + encode_bytes(p) for kind, p in records])
        header = b"SRMLOG01" + struct.pack("<HHI", 1, 0, 1) + self.repository_id + struct.pack("<Q", self.number)
        header += blake3(prev).digest() + bytes(8) + self.random.randbytes(16) + struct.pack("<I", len(body) + 40)
        assert len(header) == 100
        entry = header + self.seal(self.keys.key("log seal"), 5, 0, 1, len(body), blake3(header).digest(), body)
        self.last_entry = entry + blake3(entry).digest()
        self.put(f"log/{self.number:020}", self.last_entry)

    def open_session(self) -> bytes:
        session = self.random.randbytes(16)
        self.append([(2, record({0: session, 1: text("host")}))])
        return session

    def metadata_chunk(self, kind: int, payload: bytes) -> tuple[bytes, bytes]:
        chunk = bytes([kind]) + payload
        return blake3(chunk, key=self.keys.key("chunk id metadata")).digest(), chunk

    def write_packs(self, pack_class: int, chunks: list[tuple[bytes, bytes]], session: bytes) -> list[tuple[bytes, int, int]]:
        """Packs of the chunks that are not known yet, registered in the order of the answer by the caller."""
        rows, frames = [], []
        for chunk_id, chunk in chunks:
            if chunk_id in self.known:
                continue
            self.known.add(chunk_id)
            if not frames or sum(len(c) for _, c in frames[-1]) + len(chunk) > FRAME_MAX:
                if len(frames) == 2:
                    rows.append(self._write_pack(pack_class, frames, session))
                    frames = []
                frames.append([])
            frames[-1].append((chunk_id, chunk))
        if frames:
            rows.append(self._write_pack(pack_class, frames, session))
        return rows

    def _write_pack(self, pack_class: int, frames: list[list[tuple[bytes, bytes]]], session: bytes):
        salt = self.random.randbytes(32)
        rows, body = [], b""
        for nth, frame in enumerate(frames):
            plain = b"".join(chunk for _, chunk in frame)
            listed = b"".join(i + struct.pack("<Q", len(c)) for i, c in frame)
            object_id = blake3(listed, key=self.keys.key("frame id")).digest()
            codec = nth % 2
            stored = zstandard.ZstdCompressor(write_content_size=True).compress(plain) if codec else plain
            purpose = "data seal" if pack_class == DATA else "metadata seal"
            sealed = self.seal(self.keys.key(purpose), pack_class, codec, 1, len(plain), object_id, stored)
            body += sealed
            chunks = encode_list([i + encode_varint(len(c)) for i, c in frame])
            rows.append(encode_varint(len(sealed)) + encode_varint(len(plain)) + bytes([codec]) + chunks)
        listed = encode_list(rows)
        sealed_bytes = -(-(len(listed) + 40) // SHARD) * SHARD
        directory = self.seal(
            self.keys.key("directory seal"), 2 + pack_class, 0, 1, sealed_bytes - 40, salt, listed.ljust(sealed_bytes - 40, b"\0")
        )
        parts = 2 * SHARD + len(body) + 2 * sealed_bytes
        exponent = parts.bit_length() - 1
        unit = 1 << exponent - exponent.bit_length()
        size = min(PACK, -(-(-(-parts // unit) * unit) // SHARD) * SHARD)
        shards = size // SHARD
        padding = self.random.randbytes(size - parts)
        inner = body + directory + padding + directory
        footer = b"SRMPACK1" + struct.pack("<HBBI", 1, pack_class, 0, 1) + session + salt
        footer += struct.pack(
            "<IIQQII", shards, 0, SHARD + len(body), size - SHARD - sealed_bytes, sealed_bytes, SHARD
        )
        footer += b"".join(blake3(inner[at : at + SHARD]).digest()[:12] for at in range(0, len(inner), SHARD))
        footer = (footer + blake3(footer).digest()).ljust(SHARD, b"\0")
        pack = footer + inner + footer
        assert len(pack) == size
        name = blake3(pack).digest()
        self.put(f"packs/{name.hex()[:2]}/{name.hex()}", pack)
        return name, pack_class, size

    def map_disk(self, image: bytes, data: list, metadata: list) -> bytes:
        path = self.folder / "tmp" / "image"
        self.put("tmp/image", image)
        kept = {DATA: data, METADATA: metadata}
        return map_root_of(str(path), CHUNKING, self.keys, lambda cls, i, chunk: kept[cls].append((i, chunk)))

    def stream(self, content: bytes, metadata: list) -> bytes:
        pieces = [content[at : at + 5000] for at in range(0, len(content), 5000)]
        rows = []
        for piece in pieces:
            chunk_id, chunk = self.metadata_chunk(6, piece)
            metadata.append((chunk_id, chunk))
            rows.append(encode_varint(len(piece)) + chunk_id)
        return encode_varint(len(content)) + blake3(content).digest() + encode_list(rows)

    def vm_home(self, document: bytes, nvram: bytes, metadata: list, file_name: str = "vm.nvram", spoil: bytes = b"") -> bytes:
        bundle = b"the bundle"
        bound = encode_option(text("key-1")) + encode_option(text("kms")) + encode_option(encode_bytes(bundle))
        bound += encode_option(blake3(nvram).digest())
        binding = blake3(bound + spoil, key=self.keys.key("vm home binding")).digest()
        fields = {0: self.stream(document, metadata), 2: b"\1", 4: text("key-1"), 6: text("kms"), 8: encode_bytes(bundle), 20: binding}
        fields |= {10: text("p-1") + text("VM Encryption") + b"\1", 12: text("efi"), 14: b"\1", 16: b"\1"}
        fields |= {18: text(file_name) + self.stream(nvram, metadata)}
        fields |= {22: encode_list([encode_bytes(record({0: text("disk-0"), 2: text("key-1")}))]), 101: b"from the future"}
        chunk_id, chunk = self.metadata_chunk(5, record(fields))
        metadata.append((chunk_id, chunk))
        return chunk_id

    def commit(self, session: bytes, vm: str, disks: dict[str, tuple[int, bytes, int]], data: list, metadata: list,
               home: bytes | None = None) -> bytes:
        """`disks`: name → (bytes, map root, bad bytes). Returns the point's id."""
        identity = b"\0" + text(vm)
        rows = []
        for name, (size, root, bad) in disks.items():
            fields = {0: text(name), 2: encode_varint(size), 4: root}
            rows.append(encode_bytes(record(fields | ({5: encode_varint(bad)} if bad else {}))))
        incomplete = b"\1" if any(bad for _, _, bad in disks.values()) else b"\0"
        fields = {0: identity, 2: text(vm), 4: encode_list(rows), 8: encode_varint(self.time), 10: encode_varint(self.time)}
        fields |= {12: b"\1", 14: incomplete} | ({6: home} if home else {})
        point, chunk = self.metadata_chunk(4, record(fields))
        metadata.append((point, chunk))
        uses = list(range(len(self.packs)))
        new = self.write_packs(DATA, data, session) + self.write_packs(METADATA, metadata, session)
        chain = self.chains.setdefault(identity, [])
        fields = {0: session, 1: text(vm), 2: identity, 3: incomplete, 4: encode_varint(len(chain) + 1), 8: point}
        fields |= {10: pack_rows(new), 12: ordinals(uses)} | ({6: chain[-1]} if chain else {})
        self.append([(4, record(fields))])
        chain.append(point)
        self.packs += new
        return point

    def close(self, session: bytes) -> None:
        self.append([(6, record({0: session}))])
