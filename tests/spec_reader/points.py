"""Section 14: restore points."""

from __future__ import annotations

from dataclasses import dataclass

from . import codec
from .codec import Cursor, Field, read_record
from .errors import Damaged
from .log import VmIdentity, vm_identity

CONSISTENCY = ("unknown", "crash", "file system", "application", "powered off")
COMPLETENESS = ("whole", "incomplete")


def _list_of_bytes(cursor: Cursor) -> list[bytes]:
    return cursor.list_(Cursor.bytes_)


@dataclass(frozen=True)
class Audit:
    one_in: int
    segments: int
    misses: int


def _audit(cursor: Cursor) -> Audit:
    audit = Audit(cursor.varint(), cursor.varint(), cursor.varint())
    cursor.end()
    return audit


POINT_FIELDS = {
    0: Field("vm", vm_identity),
    1: Field("program_version", codec.text, True),
    2: Field("vm_name", codec.text),
    3: Field("tag", codec.text, True),
    4: Field("disks", _list_of_bytes),
    5: Field("host", codec.text, True),
    6: Field("vm_home", codec.id32, True),
    8: Field("started", codec.varint),
    10: Field("finished", codec.varint),
    12: Field("consistency", codec.one_of(range(5), "consistency")),
    14: Field("completeness", codec.one_of(range(2), "completeness")),
}

DISK_FIELDS = {
    0: Field("name", codec.text),
    1: Field("uuid", codec.text, True),
    2: Field("disk_bytes", codec.varint),
    3: Field("data_bytes", codec.varint, True),
    4: Field("map_root", codec.id32),
    5: Field("bad_bytes", codec.varint, True),
    7: Field("read_bytes", codec.varint, True),
    9: Field("novel_bytes", codec.varint, True),
    11: Field("stored_bytes", codec.varint, True),
    13: Field("changed_bytes", codec.varint, True),
    15: Field("change_id", codec.text, True),
    17: Field("base", codec.id32, True),
    19: Field("audit", _audit, True),
}


@dataclass(frozen=True)
class Disk:
    name: str
    uuid: str | None
    disk_bytes: int
    data_bytes: int | None
    map_root: bytes
    bad_bytes: int | None
    read_bytes: int | None
    novel_bytes: int | None
    stored_bytes: int | None
    changed_bytes: int | None
    change_id: str | None
    base: bytes | None
    audit: Audit | None


@dataclass(frozen=True)
class RestorePoint:
    vm: VmIdentity
    program_version: str | None
    vm_name: str
    tag: str | None
    disks: list[Disk]
    host: str | None
    vm_home: bytes | None
    started: int
    finished: int
    consistency: int
    completeness: int


def decode_point(payload: bytes, what: str) -> RestorePoint:
    fields = read_record(payload, POINT_FIELDS, what)
    fields["disks"] = [
        Disk(**read_record(disk, DISK_FIELDS, f"{what}, disk {nth}")) for nth, disk in enumerate(fields["disks"])
    ]
    names = [disk.name for disk in fields["disks"]]
    if len(set(names)) != len(names):
        raise Damaged(f"{what}: two disks have the same name")
    return RestorePoint(**fields)
