"""Sections 5 and 7: from a secret to the repository keys, from those to the working keys."""

from __future__ import annotations

import hmac
import unicodedata
from dataclasses import dataclass

from argon2.low_level import Type, hash_secret_raw

from .codec import Cursor
from .errors import Damaged, Unsupported, WrongKey
from .hashing import derive_key, hash32
from .recovery_key import decode_recovery_key
from .sealing import KEY_SLOT, associated_data, open_sealed
from .store import Store, first_good

SLOT_BYTES = 1024
PASSWORD, KEY_FILE, RECOVERY_KEY = 1, 2, 3


class WorkingKeys:
    def __init__(self, repository_keys: dict[int, bytes]):
        self.repository_keys = repository_keys
        self._derived: dict[tuple[str, int], bytes] = {}

    def key(self, purpose: str, epoch: int = 1) -> bytes:
        if (purpose, epoch) not in self._derived:
            if epoch not in self.repository_keys:
                raise WrongKey(f"this secret's slot holds no key of epoch {epoch}")
            derived = derive_key("strongroom v1 " + purpose, self.repository_keys[epoch])
            self._derived[purpose, epoch] = derived
        return self._derived[purpose, epoch]


@dataclass(frozen=True)
class Secret:
    kind: int
    value: bytes


def password(written: bytes) -> Secret:
    try:
        normal = unicodedata.normalize("NFC", written.decode("utf-8"))
    except UnicodeDecodeError:
        raise WrongKey("password: is not UTF-8") from None
    if not normal:
        raise WrongKey("password: is empty")
    return Secret(PASSWORD, normal.encode("utf-8"))


def key_file(content: bytes) -> Secret:
    if not 32 <= len(content) <= 65536:
        raise WrongKey(f"key file: {len(content)} bytes, must be 32 to 65536")
    return Secret(KEY_FILE, content)


def recovery_key(written: bytes) -> Secret:
    return Secret(RECOVERY_KEY, decode_recovery_key(written.decode("utf-8", "replace")))


@dataclass(frozen=True)
class Slot:
    raw: bytes
    id: bytes
    kind: int
    repository_id: bytes
    created: int
    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    commitment: bytes
    label: str

    @property
    def object_hash(self) -> bytes:
        return hash32(self.raw)


def decode_slot(raw: bytes, what: str) -> Slot:
    cursor = Cursor(raw, what)
    cursor.magic(b"SRMKSLOT")
    if len(raw) != SLOT_BYTES:
        raise Damaged(f"{what}: {len(raw)} bytes, must be {SLOT_BYTES}")
    if hash32(raw[:992]) != raw[992:]:
        raise Damaged(f"{what}: the checksum does not match")
    kind = cursor.u8()
    cursor.reserved(1)
    repository_id, slot_id, created = cursor.id16(), cursor.id16(), cursor.u64()
    memory_kib, passes, lanes = cursor.u32(), cursor.u32(), cursor.u32()
    salt, commitment = cursor.id32(), cursor.id32()
    label_length = cursor.u8()
    if label_length > 63:
        raise cursor.refuse(f"a label of {label_length} bytes, at most 63")
    label = Cursor(cursor.take(label_length), f"{what}, label").rest_text()
    cursor.zeros(63 - label_length)
    cursor.take(24 + 512 + 16)
    cursor.reserved(248)
    if kind == PASSWORD:
        if not (1 <= lanes <= 16 and 1 <= passes <= 32 and 8 * lanes <= memory_kib <= 4 << 20):
            raise Damaged(f"{what}: Argon2 with {memory_kib} KiB, {passes} passes, {lanes} lanes is beyond the limits")
    elif kind in (KEY_FILE, RECOVERY_KEY):
        if memory_kib or passes or lanes:
            raise Damaged(f"{what}: Argon2 parameters must be 0")
    else:
        raise Unsupported(f"{what}: slot kind {kind} is not known to this reader")
    return Slot(raw, slot_id, kind, repository_id, created, memory_kib, passes, lanes, salt, commitment, label)


def stretch(slot: Slot, secret: Secret) -> bytes:
    if secret.kind == PASSWORD:
        return hash_secret_raw(
            secret.value, slot.salt, slot.passes, slot.memory_kib, slot.lanes, hash_len=64, type=Type.ID, version=0x13
        )
    purpose = "key file" if secret.kind == KEY_FILE else "recovery key"
    return derive_key(f"strongroom v1 {purpose}", slot.salt + secret.value, 64)


def open_slot(slot: Slot, secret: Secret, what: str) -> dict[int, bytes] | None:
    """The repository keys by epoch, or None if this secret does not open this slot."""
    if secret.kind != slot.kind:
        return None
    stretched = stretch(slot, secret)
    if not hmac.compare_digest(stretched[32:], slot.commitment):
        return None
    aad = associated_data(KEY_SLOT, 0, 0, 512, slot.repository_id, hash32(slot.raw[:192]))
    cursor = Cursor(open_sealed(stretched[:32], aad, slot.raw[192:744], what), f"{what}, keys")
    count = cursor.u32()
    if not 1 <= count <= 14:
        raise cursor.refuse(f"{count} keys, must be 1 to 14")
    keys = {}
    for epoch in range(1, count + 1):
        found = cursor.u32()
        if found != epoch:
            raise cursor.refuse(f"epoch {found}, must be {epoch}")
        keys[epoch] = cursor.id32()
    cursor.zeros(cursor.remaining)
    return keys


def read_slot(store: Store, slot_id: bytes, repository_id: bytes) -> Slot:
    return first_good([lambda copy=copy: read_slot_copy(store, slot_id, repository_id, copy) for copy in (0, 1)])


def read_slot_copy(store: Store, slot_id: bytes, repository_id: bytes, copy: int) -> Slot:
    name = f"keys/{slot_id.hex()}-{copy}"
    raw = store.read(name, 1 << 20)
    if raw is None:
        raise Damaged(f"{name}: is not there")
    slot = decode_slot(raw, name)
    if slot.id != slot_id:
        raise Damaged(f"{name}: holds slot {slot.id.hex()}")
    if slot.repository_id != repository_id:
        raise Damaged(f"{name}: belongs to repository {slot.repository_id.hex()}")
    return slot


def slot_ids(store: Store) -> list[bytes]:
    ids = set()
    for name in store.names("keys"):
        stem, _, copy = name.partition("-")
        if len(stem) == 32 and copy in ("0", "1") and not set(stem) - set("0123456789abcdef"):
            ids.add(bytes.fromhex(stem))
    return sorted(ids)


@dataclass(frozen=True)
class OpenedSlot:
    slot: Slot
    keys: dict[int, bytes]


def unlock(store: Store, repository_id: bytes, secret: Secret) -> list[OpenedSlot]:
    """Every slot that the secret opens, the one with most epochs first: an old, revoked slot may have the same password."""
    opened, problems, tried = [], [], 0
    for slot_id in slot_ids(store):
        try:
            slot = read_slot(store, slot_id, repository_id)
            tried += slot.kind == secret.kind
            keys = open_slot(slot, secret, f"key slot {slot_id.hex()}")
        except (Damaged, Unsupported) as error:
            problems.append(error)
            continue
        if keys is not None:
            opened.append(OpenedSlot(slot, keys))
    if not opened and problems and not tried:
        raise type(problems[0])("no key slot can be used: " + "; ".join(map(str, problems)))
    if not opened:
        also = "".join(f"; {problem}" for problem in problems)
        raise WrongKey(f"this secret opens none of the {tried} key slots of its kind{also}")
    return sorted(opened, key=lambda one: -len(one.keys))
