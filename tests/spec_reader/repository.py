"""Opens a repository: config, keys, log, state, chunks; in that order, each checked before the next."""

from __future__ import annotations

from dataclasses import dataclass

from .chunk_index import Chunks
from .config import Config, decode_config
from .disk_map import Root, decode_root
from .errors import Damaged, Usage, WrongKey
from .keys import OpenedSlot, Secret, WorkingKeys, unlock
from .log import read_log
from .metadata import MAP_ROOT, RESTORE_POINT, VM_HOME
from .points import Disk, RestorePoint, decode_point
from .state import Point, State
from .store import Store, first_good
from .vm_home import VmHome, decode_home

CONFIG_COPIES = ("config", "config.copy")


def read_config_copy(store: Store, name: str) -> Config:
    raw = store.read(name, 1 << 20)
    if raw is None:
        raise Damaged(f"{name}: is not there")
    return decode_config(raw, name)


@dataclass
class Repository:
    store: Store
    config: Config
    keys: WorkingKeys
    slots: list[OpenedSlot]
    state: State
    chunks: Chunks

    def find_point(self, prefix: str) -> Point:
        found = [point for point in self.state.live_points() if point.id.hex().startswith(prefix.lower())]
        if len(found) != 1:
            raise Usage(f"{prefix}: {len(found)} live restore points begin with this")
        return found[0]

    def restore_point(self, point: Point) -> RestorePoint:
        what = f"restore point {point.id.hex()}"
        decoded = decode_point(self.chunks.metadata(point.id, RESTORE_POINT, what), what)
        if decoded.vm.key != point.vm.key:
            raise Damaged(f"{what}: is of VM {decoded.vm}, the log says {point.vm}")
        return decoded

    def map_root(self, disk: Disk, what: str) -> Root:
        root = decode_root(self.chunks.metadata(disk.map_root, MAP_ROOT, what), what)
        if root.disk_bytes != disk.disk_bytes:
            raise Damaged(f"{what}: its map is of {root.disk_bytes} bytes, the point says {disk.disk_bytes}")
        return root

    def vm_home(self, chunk_id: bytes, what: str) -> VmHome:
        return decode_home(self.chunks.metadata(chunk_id, VM_HOME, what), self.keys, what)


def open_repository(folder: str, secret: Secret) -> Repository:
    store = Store(folder)
    if not store.folder.is_dir():
        raise Usage(f"{folder}: is not a folder")
    config = first_good([lambda name=name: read_config_copy(store, name) for name in CONFIG_COPIES])
    slots = unlock(store, config.repository_id, secret)
    keys = WorkingKeys(slots[0].keys)
    config.check_mac(keys.key("config mac"))

    state = State()
    for entry in read_log(store, keys, config.repository_id, config.raw):
        state.apply(entry)
    check_slots_used(slots, state)
    return Repository(store, config, keys, slots, state, Chunks(store, config, keys, state))


def check_slots_used(slots: list[OpenedSlot], state: State) -> None:
    """Section 7: a revoked slot is not used; section 16: the log knows the hash of every slot object."""
    usable = [opened.slot for opened in slots if opened.slot.id not in state.revoked_slots]
    if not usable:
        raise WrongKey(f"the log has revoked key slot {slots[0].slot.id.hex()}, which this secret opens")
    for slot in usable:
        recorded = state.slots.get(slot.id)
        if recorded is not None and recorded != slot.object_hash:
            raise Damaged(f"key slot {slot.id.hex()}: is not the object that the log has recorded")
