"""Section 17: what the log means. A record that breaks a rule is void: it is kept in `voids` and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .log import Entry, PackRow, VmIdentity


class Void(Exception):
    pass


@dataclass
class PackState:
    row: PackRow
    condemned: bool = False
    damaged: bool = False
    deleted: bool = False

    @property
    def usable(self) -> bool:
        return not (self.condemned or self.damaged or self.deleted)


@dataclass
class Point:
    id: bytes
    vm: VmIdentity
    vm_name: str | None
    number: int
    previous: bytes | None
    completeness: int | None
    time: int
    entry_number: int
    uses: list[int]
    live: bool = True
    held: bool = False


def require(condition: bool, reason: str) -> None:
    if not condition:
        raise Void(reason)


@dataclass
class State:
    head_number: int = 0
    head_hash: bytes = b""
    open_sessions: set[bytes] = field(default_factory=set)
    sessions: set[bytes] = field(default_factory=set)
    adopted_by: dict[bytes, bytes] = field(default_factory=dict)
    packs: list[PackState] = field(default_factory=list)
    registered_names: set[bytes] = field(default_factory=set)
    deleted_names: set[bytes] = field(default_factory=set)
    points: dict[bytes, Point] = field(default_factory=dict)
    chains: dict[bytes, list[bytes]] = field(default_factory=dict)
    pins: dict[bytes, set[bytes]] = field(default_factory=dict)
    slots: dict[bytes, bytes] = field(default_factory=dict)
    revoked_slots: set[bytes] = field(default_factory=set)
    epoch: int = 1
    voids: list[str] = field(default_factory=list)

    def apply(self, entry: Entry) -> None:
        for place, record in enumerate(entry.records):
            rule = getattr(self, f"_{record.name.lower()}")
            try:
                rule(record.fields, entry)
            except Void as reason:
                self.voids.append(f"log entry {entry.number}, record {place} ({record.name}): {reason}")
        self.head_number, self.head_hash = entry.number, entry.hash

    def live_points(self) -> list[Point]:
        return [point for point in self.points.values() if point.live]

    def roots(self) -> list[Point]:
        pinned = set().union(*(self.pins.get(session, set()) for session in self.open_sessions))
        return [point for point in self.points.values() if point.live or point.id in pinned]

    # Each rule checks everything first and changes the state only then.

    def _open(self, f: dict[str, Any], entry: Entry) -> None:
        session, adopts = f["session"], f["adopts"] or []
        require(session not in self.sessions, "its session is not new")
        for adopted in adopts:
            require(adopted in self.open_sessions, f"adopted session {adopted.hex()} is not open")
        self.sessions.add(session)
        self.open_sessions.add(session)
        for adopted in adopts:
            self.open_sessions.discard(adopted)
            self.adopted_by[adopted] = session

    def _require_open(self, session: bytes) -> None:
        require(session in self.open_sessions, f"session {session.hex()} is not open")

    def _require_new(self, new: list[PackRow]) -> None:
        names = [row.name for row in new]
        require(len(set(names)) == len(names), "a new pack appears twice")
        for name in names:
            require(name not in self.deleted_names, f"new pack {name.hex()} is deleted")
            require(name not in self.registered_names, f"new pack {name.hex()} is already registered")

    def _require_registered(self, ordinals: list[int]) -> None:
        for ordinal in ordinals:
            require(ordinal < len(self.packs), f"pack {ordinal} is not registered")

    def _register(self, new: list[PackRow]) -> None:
        self.packs.extend(PackState(row) for row in new)
        self.registered_names.update(row.name for row in new)

    def _commit(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_open(f["session"])
        self._require_new(f["new"])
        self._require_registered(f["uses"])
        for ordinal in f["uses"]:
            require(self.packs[ordinal].usable, f"pack {ordinal} is used, but condemned, damaged or deleted")
        chain = self.chains.get(f["vm"].key, [])
        require(f["number"] == len(chain) + 1, f"number {f['number']}, the VM's chain has {len(chain)}")
        require(f["previous"] == (chain[-1] if chain else None), "its previous point is not the last of the VM's chain")
        require(f["point"] not in self.points, "its point is not new")
        self._register(f["new"])
        self.chains.setdefault(f["vm"].key, []).append(f["point"])
        self.points[f["point"]] = Point(
            f["point"], f["vm"], f["vm_name"], f["number"], f["previous"], f["completeness"], entry.time, entry.number, f["uses"]
        )

    def _moved(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_open(f["session"])
        self._require_new(f["new"])
        self._require_registered(f["from"])
        self._register(f["new"])

    def _close(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_open(f["session"])
        self.open_sessions.discard(f["session"])

    _fence = _close

    def _pin(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_open(f["session"])
        self._require_live(f["point"])
        self.pins.setdefault(f["session"], set()).add(f["point"])

    def _require_live(self, point: bytes) -> None:
        require(point in self.points and self.points[point].live, f"point {point.hex()} is not live")

    def _forget(self, f: dict[str, Any], entry: Entry) -> None:
        for point in f["points"]:
            self._require_live(point)
            require(not self.points[point].held, f"point {point.hex()} is held")
        for point in f["points"]:
            self.points[point].live = False

    def _hold(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_live(f["point"])
        self.points[f["point"]].held = True

    def _release(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_live(f["point"])
        require(self.points[f["point"]].held, f"point {f['point'].hex()} is not held")
        self.points[f["point"]].held = False

    def _condemn(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_registered(f["packs"])
        for ordinal in f["packs"]:
            pack = self.packs[ordinal]
            require(not pack.condemned and not pack.deleted, f"pack {ordinal} is condemned or deleted already")
        for ordinal in f["packs"]:
            self.packs[ordinal].condemned = True

    def _delete(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_registered(f["packs"])
        for ordinal in f["packs"]:
            pack = self.packs[ordinal]
            require(pack.condemned and not pack.deleted, f"pack {ordinal} is not condemned, or deleted already")
        for name, owner in f["orphans"]:
            require(name not in self.registered_names, f"orphan {name.hex()} is registered")
            while owner in self.adopted_by:
                owner = self.adopted_by[owner]
            require(owner not in self.open_sessions, f"orphan {name.hex()} belongs to open session {owner.hex()}")
        for ordinal in f["packs"]:
            self.packs[ordinal].deleted = True
            self.deleted_names.add(self.packs[ordinal].row.name)
        self.deleted_names.update(name for name, _ in f["orphans"])

    def _damaged(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_registered(f["packs"])
        for ordinal in f["packs"]:
            self.packs[ordinal].damaged = True

    def _verified(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_registered(f["packs"])

    def _swept(self, f: dict[str, Any], entry: Entry) -> None:
        self._require_registered(f["packs"])
        for ordinal in f["packs"]:
            require(self.packs[ordinal].deleted, f"pack {ordinal} is not deleted")

    def _checkpoint(self, f: dict[str, Any], entry: Entry) -> None:
        pass

    def _keychange(self, f: dict[str, Any], entry: Entry) -> None:
        added, revoked = [slot for slot, _ in f["added"]], set(f["revoked"])
        require(len(set(added)) == len(added), "a slot is added twice")
        for slot in added:
            require(slot not in self.slots and slot not in self.revoked_slots, f"slot {slot.hex()} was added before")
        for slot in revoked:
            require(slot in self.slots, f"revoked slot {slot.hex()} is not present")
        require(len(self.slots) + len(added) - len(revoked) >= 1, "no slot remains")
        self.slots.update(f["added"])
        for slot in revoked:
            del self.slots[slot]
        self.revoked_slots |= revoked
        if f["new_epoch"] is not None:
            self.epoch = f["new_epoch"]
