"""Section 16: log entries and the records in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator

from . import codec
from .codec import Cursor, Field, read_record
from .config import DATA, METADATA
from .errors import Damaged, Unsupported
from .hashing import hash32
from .keys import WorkingKeys
from .sealing import LOG_BODY, SEALING_BYTES, associated_data, open_sealed
from .store import Store

ENTRY_BYTES_MAX = 1 << 26
HEADER_BYTES = 100


@dataclass(frozen=True)
class PackRow:
    name: bytes
    pack_class: int
    pack_bytes: int


@dataclass(frozen=True)
class VmIdentity:
    """`key` is the field as it stands in the log: equal keys are one VM."""

    key: bytes
    name: str | None
    vcenter: bytes | None
    instance: bytes | None

    def __str__(self) -> str:
        return self.name if self.name is not None else f"{self.vcenter.hex()}/{self.instance.hex()}"


def vm_identity(cursor: Cursor) -> VmIdentity:
    key = bytes(cursor.data)
    if cursor.one_of((0, 1), "VM identity kind") == 0:
        return VmIdentity(key, cursor.text(), None, None)
    return VmIdentity(key, None, cursor.id16(), cursor.id16())


def _pack_row(cursor: Cursor) -> PackRow:
    name = cursor.id32()
    pack_class = cursor.u8()
    if pack_class not in (DATA, METADATA):
        raise cursor.refuse(f"pack class {pack_class} is not defined")
    return PackRow(name, pack_class, cursor.varint())


def _packs(cursor: Cursor) -> list[PackRow]:
    return cursor.list_(_pack_row, 34)


def _ordinals(cursor: Cursor) -> list[int]:
    found = cursor.list_(Cursor.varint)
    if any(later <= earlier for earlier, later in zip(found, found[1:])):
        raise cursor.refuse("ordinals are not strictly ascending")
    return found


def _slots_added(cursor: Cursor) -> list[tuple[bytes, bytes]]:
    return cursor.list_(lambda c: (c.id16(), c.id32()), 48)


def _orphans(cursor: Cursor) -> list[tuple[bytes, bytes]]:
    return cursor.list_(lambda c: (c.id32(), c.id16()), 48)


_completeness = codec.one_of((0, 1), "completeness")
_session = Field("session", codec.id16)
_point = Field("point", codec.id32)
_packs_named = Field("packs", _ordinals)

RECORDS: dict[int, tuple[str, dict[int, Field]]] = {
    2: (
        "Open",
        {
            0: _session,
            1: Field("host", codec.text, True),
            2: Field("adopts", codec.list_of_id16, True),
            3: Field("slot", codec.id16, True),
            5: Field("program_version", codec.text, True),
        },
    ),
    4: (
        "Commit",
        {
            0: _session,
            1: Field("vm_name", codec.text, True),
            2: Field("vm", vm_identity),
            3: Field("completeness", _completeness, True),
            4: Field("number", codec.varint),
            6: Field("previous", codec.id32, True),
            8: _point,
            10: Field("new", _packs),
            12: Field("uses", _ordinals),
        },
    ),
    6: ("Close", {0: _session}),
    8: (
        "KeyChange",
        {
            0: Field("added", _slots_added),
            2: Field("revoked", codec.list_of_id16),
            4: Field("new_epoch", codec.varint, True),
        },
    ),
    10: ("Pin", {0: _session, 2: _point}),
    12: ("Moved", {0: _session, 2: Field("new", _packs), 4: Field("from", _ordinals)}),
    14: ("Forget", {0: Field("points", codec.list_of_id32), 1: Field("reason", codec.text, True)}),
    16: ("Condemn", {0: _packs_named}),
    18: ("Delete", {0: _packs_named, 2: Field("orphans", _orphans)}),
    20: ("Fence", {0: _session}),
    21: ("Swept", {0: _packs_named, 2: Field("orphans", codec.list_of_id32)}),
    22: ("Damaged", {0: _packs_named, 1: Field("reason", codec.text, True)}),
    24: ("Hold", {0: _point, 2: Field("reason", codec.text), 4: Field("until", codec.varint, True)}),
    25: (
        "Checkpoint",
        {0: Field("at", codec.varint), 2: Field("digest", codec.id32), 4: Field("parts", codec.list_of_id32)},
    ),
    26: ("Release", {0: _point}),
    27: (
        "Verified",
        {0: _packs_named, 2: Field("how", codec.one_of((1, 2), "how")), 4: Field("slot", codec.id16, True)},
    ),
}


@dataclass(frozen=True)
class Record:
    name: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Entry:
    number: int
    hash: bytes
    time: int
    records: list[Record]


def decode_entry(raw: bytes, keys: WorkingKeys, repository_id: bytes, number: int, prev: bytes) -> Entry:
    what = f"log entry {number}"
    cursor = Cursor(raw, what)
    cursor.magic(b"SRMLOG01")
    cursor.reserved(2)
    epoch, found_repository = cursor.u32(), cursor.id16()
    found_number, found_prev, checkpoint = cursor.u64(), cursor.id32(), cursor.u64()
    cursor.id16()  # attempt: only tells a writer whether an entry is its own
    body_length = cursor.u32()
    sealed = cursor.take(body_length)
    if cursor.id32() != hash32(raw[: HEADER_BYTES + body_length]):
        raise Damaged(f"{what}: the checksum does not match")
    cursor.end()
    if found_repository != repository_id:
        raise Damaged(f"{what}: belongs to repository {found_repository.hex()}")
    if found_number != number:
        raise Damaged(f"{what}: says it is entry {found_number}")
    if found_prev != prev:
        raise Damaged(f"{what}: prev {found_prev.hex()}, must be {prev.hex()}")
    if checkpoint > number:
        raise Damaged(f"{what}: names checkpoint {checkpoint}, which is later")
    plain_length = max(body_length - SEALING_BYTES, 0)
    aad = associated_data(LOG_BODY, 0, epoch, plain_length, repository_id, hash32(raw[:HEADER_BYTES]))
    body = Cursor(open_sealed(keys.key("log seal", epoch), aad, sealed, what), f"{what}, body")
    time = body.varint()
    pairs = body.list_(lambda c: (c.varint(), c.bytes_()), 2)
    body.end()
    records = []
    for kind, payload in pairs:
        if kind in RECORDS:
            name, fields = RECORDS[kind]
            records.append(Record(name, read_record(payload, fields, f"{what}, {name}")))
        elif kind % 2 == 0:
            raise Unsupported(f"{what}: record kind {kind} is not known to this reader")
    return Entry(number, hash32(raw), time, records)


def read_log(store: Store, keys: WorkingKeys, repository_id: bytes, config_raw: bytes) -> Iterator[Entry]:
    """All entries from 1 to the head; a gap is refused."""
    prev, number = hash32(config_raw), 1
    while True:
        raw = store.read(f"log/{number:020}", ENTRY_BYTES_MAX)
        if raw is None:
            break
        entry = decode_entry(raw, keys, repository_id, number, prev)
        yield entry
        prev, number = entry.hash, number + 1
    if number == 1:
        raise Damaged("log: entry 1 is not there")
    later = [int(name) for name in store.names("log") if len(name) == 20 and name.isdecimal() and int(name) > number]
    if later:
        raise Damaged(f"log: entry {number} is not there, entry {min(later)} is")
