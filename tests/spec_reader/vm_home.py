"""Section 15: what surrounds the disks, handed out only if its binding is right."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from . import codec
from .codec import Cursor, Field, encode_bytes, encode_option, read_record
from .errors import Damaged
from .hashing import keyed
from .keys import WorkingKeys
from .metadata import Stream, stream

ENCRYPTION = ("clear", "whole", "incomplete")


@dataclass(frozen=True)
class StoragePolicy:
    id: str
    name: str
    encrypts: int


@dataclass(frozen=True)
class Nvram:
    file_name: str
    stream: Stream


def storage_policy(cursor: Cursor) -> StoragePolicy:
    return StoragePolicy(cursor.text(), cursor.text(), cursor.one_of(range(3), "encrypts"))


def nvram(cursor: Cursor) -> Nvram:
    file_name = cursor.text()
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", file_name, re.ASCII) or not file_name.strip("."):
        raise cursor.refuse(f"file name {file_name!r} is outside its alphabet")
    return Nvram(file_name, stream(cursor))


HOME_FIELDS = {
    0: Field("document", stream),
    1: Field("name", codec.text, True),
    2: Field("encryption", codec.one_of(range(3), "encryption")),
    3: Field("instance_uuid", codec.text, True),
    4: Field("kms_key_id", codec.text, True),
    5: Field("bios_uuid", codec.text, True),
    6: Field("kms_provider", codec.text, True),
    7: Field("guest_id", codec.text, True),
    8: Field("bundle", codec.raw, True),
    9: Field("hardware_version", codec.text, True),
    10: Field("storage_policy", storage_policy, True),
    12: Field("firmware", codec.text, True),
    14: Field("secure_boot", codec.one_of((0, 1), "secure boot"), True),
    16: Field("vtpm", codec.one_of((0, 1), "vTPM"), True),
    18: Field("nvram", nvram, True),
    20: Field("binding", codec.id32),
    22: Field("disks", lambda cursor: cursor.list_(Cursor.bytes_)),
}

HOME_DISK_FIELDS = {
    0: Field("name", codec.text),
    2: Field("kms_key_id", codec.text, True),
    4: Field("kms_provider", codec.text, True),
    6: Field("storage_policy", storage_policy, True),
}


@dataclass(frozen=True)
class HomeDisk:
    name: str
    kms_key_id: str | None
    kms_provider: str | None
    storage_policy: StoragePolicy | None


@dataclass(frozen=True)
class VmHome:
    document: Stream
    name: str | None
    encryption: int
    instance_uuid: str | None
    kms_key_id: str | None
    bios_uuid: str | None
    kms_provider: str | None
    guest_id: str | None
    bundle: bytes | None
    hardware_version: str | None
    storage_policy: StoragePolicy | None
    firmware: str | None
    secure_boot: int | None
    vtpm: int | None
    nvram: Nvram | None
    binding: bytes
    disks: list[HomeDisk]

    def computed_binding(self, key: bytes) -> bytes:
        bound = b"".join(
            encode_option(None if part is None else encode_bytes(part))
            for part in (
                None if self.kms_key_id is None else self.kms_key_id.encode(),
                None if self.kms_provider is None else self.kms_provider.encode(),
                self.bundle,
            )
        )
        bound += encode_option(None if self.nvram is None else self.nvram.stream.content_hash)
        return keyed(key, bound)


def decode_home(payload: bytes, keys: WorkingKeys, what: str) -> VmHome:
    fields = read_record(payload, HOME_FIELDS, what)
    fields["disks"] = [
        HomeDisk(**read_record(disk, HOME_DISK_FIELDS, f"{what}, disk {nth}")) for nth, disk in enumerate(fields["disks"])
    ]
    home = VmHome(**fields)
    if not hmac.compare_digest(home.computed_binding(keys.key("vm home binding")), home.binding):
        raise Damaged(f"{what}: its binding is wrong: key id, provider, bundle and NVRAM do not belong together")
    return home


def fingerprint(secret: bytes, keys: WorkingKeys) -> str:
    """All that is ever shown of a secret."""
    return f"{len(secret)} bytes, {keyed(keys.key('fingerprint'), secret).hex()[:8]}"
