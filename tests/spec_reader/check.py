"""Reads everything there is and names every problem. Notes are what is odd but takes nothing from a restore."""

from __future__ import annotations

from dataclasses import dataclass, field

from blake3 import blake3

from .config import DATA
from .disk_map import EXTENT_BAD, EXTENT_DATA, walk
from .errors import Damaged, ReaderError
from .hashing import hash32, keyed
from .keys import read_slot_copy
from .metadata import read_stream
from .pack import Pack, expected_pack_bytes
from .parity import parity, parity_shards
from .repository import CONFIG_COPIES, Repository, read_config_copy
from .state import PackState, Point


@dataclass
class Report:
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    packs: int = 0
    frames: int = 0
    chunks: int = 0
    points: int = 0

    def attempt(self, step, *arguments):
        """Runs one step; what it refuses is a problem, and the check goes on."""
        try:
            return step(*arguments)
        except ReaderError as error:
            self.problems.append(str(error))
            return None


def check(repository: Repository) -> Report:
    report = Report()
    check_config(repository, report)
    check_slots(repository, report)
    report.notes += [f"void: {void}" for void in repository.state.voids]
    for ordinal, pack in enumerate(repository.state.packs):
        check_registered_pack(repository, ordinal, pack, report)
    for point in repository.state.roots():
        report.attempt(check_point, repository, point, report)
    return report


def check_config(repository: Repository, report: Report) -> None:
    copies = [report.attempt(read_config_copy, repository.store, name) for name in CONFIG_COPIES]
    if None not in copies and copies[0].raw != copies[1].raw:
        report.problems.append("config: its two copies are not the same")


def check_slots(repository: Repository, report: Report) -> None:
    for slot_id, recorded in repository.state.slots.items():
        for copy in (0, 1):
            slot = report.attempt(read_slot_copy, repository.store, slot_id, repository.config.repository_id, copy)
            if slot is not None and slot.object_hash != recorded:
                report.problems.append(f"keys/{slot_id.hex()}-{copy}: is not the object that the log has recorded")
    for opened in repository.slots:
        if opened.slot.id not in repository.state.slots:
            report.notes.append(f"key slot {opened.slot.id.hex()}: opens, but the log does not have it as present")


def check_registered_pack(repository: Repository, ordinal: int, pack: PackState, report: Report) -> None:
    if pack.deleted:
        return
    inner = Report()
    inner.attempt(check_pack, repository, pack, inner)
    # The log knows already that a damaged pack is damaged; whether that hurts is seen at the points.
    found = report.notes if pack.damaged else report.problems
    found += [f"(pack {ordinal}) {problem}" for problem in inner.problems]
    report.notes += inner.notes
    report.packs, report.frames, report.chunks = (
        report.packs + 1,
        report.frames + inner.frames,
        report.chunks + inner.chunks,
    )


def check_pack(repository: Repository, state: PackState, report: Report) -> None:
    row, config = state.row, repository.config
    pack = Pack(repository.store, config, repository.keys, row.name, row.pack_class, row.pack_bytes)
    report.attempt(check_pack_bytes, pack)
    footers = [report.attempt(pack.read_footer, copy) for copy in "AB"]
    if None not in footers and footers[0] != footers[1]:
        report.problems.append(f"{pack.what}: its two footers are not the same")
    directories = [report.attempt(pack.read_directory, copy) for copy in "AB"]
    sealed = [
        pack.store.read_at(pack.file, offset, pack.footer.directory_sealed_bytes) for offset in pack.footer.directory_offsets
    ]
    if sealed[0] != sealed[1]:
        report.problems.append(f"{pack.what}: its two directories are not the same bytes")
    full_bytes = config.pack_bytes(row.pack_class)
    wanted = expected_pack_bytes(pack.footer, full_bytes, config.parity_rate)
    if row.pack_bytes not in (full_bytes, wanted):
        report.notes.append(f"{pack.what}: {row.pack_bytes} bytes, neither full nor padded to {wanted}")
    if pack.footer.parity_shards != parity_shards(pack.footer.shards, config.parity_rate):
        report.notes.append(f"{pack.what}: {pack.footer.parity_shards} parity shards, not as many as the config asks for")
    report.attempt(check_parity, pack)
    for frame in next((one for one in directories if one is not None), []):
        report.attempt(check_frame, repository, pack, frame, report)


def check_pack_bytes(pack: Pack) -> None:
    """The name and the shard checks, in one pass over the file."""
    hasher, wrong = blake3(), []
    shards, shard_bytes = pack.footer.shards, pack.footer.shard_bytes
    for nth in range(shards):
        shard = pack.store.read_at(pack.file, nth * shard_bytes, shard_bytes)
        hasher.update(shard)
        if 0 < nth < shards - 1 and hash32(shard)[:12] != pack.footer.shard_checks[nth - 1]:
            wrong.append(nth)
    if wrong:
        raise Damaged(f"{pack.what}: shards {wrong} do not match their checks")
    if hasher.digest() != pack.name:
        raise Damaged(f"{pack.what}: its bytes are of pack {hasher.hexdigest()}")


def check_parity(pack: Pack) -> None:
    """The parity is what follows from the other shards."""
    footer, place = pack.footer, pack.footer.parity_place
    if not place:
        return
    shards = [pack.store.read_at(pack.file, nth * footer.shard_bytes, footer.shard_bytes) for nth in range(1, footer.shards - 1)]
    data = [shard for nth, shard in enumerate(shards, 1) if nth not in place]
    if parity(data, len(place)) != [shards[nth - 1] for nth in place]:
        raise Damaged(f"{pack.what}: its parity is not that of its other shards")


def check_frame(repository: Repository, pack: Pack, frame, report: Report) -> None:
    plain = pack.open_frame(frame)
    key = repository.keys.key("chunk id data" if pack.pack_class == DATA else "chunk id metadata")
    start = 0
    for chunk_id, length in frame.chunks:
        if keyed(key, plain[start : start + length]) != chunk_id:
            report.problems.append(f"{pack.what}, frame at {frame.offset}: chunk {chunk_id.hex()} has another hash")
        start += length
        report.chunks += 1
    report.frames += 1


def check_point(repository: Repository, point: Point, report: Report) -> None:
    what = f"restore point {point.id.hex()}"
    report.points += 1
    decoded = repository.restore_point(point)
    if point.completeness is not None and point.completeness != decoded.completeness:
        report.notes.append(f"{what}: its completeness is not the one that the log says")
    if decoded.vm_home is not None:
        report.attempt(check_home, repository, decoded.vm_home, f"{what}, VM home")
    bad_bytes = 0
    for disk in decoded.disks:
        bad_bytes += report.attempt(check_disk, repository, disk, f"{what}, disk {disk.name}", report) or 0
    if bad_bytes and decoded.completeness == 0:
        report.problems.append(f"{what}: has bad extents and says that it is whole")


def check_home(repository: Repository, chunk_id: bytes, what: str) -> None:
    home = repository.vm_home(chunk_id, what)
    for _ in read_stream(repository.chunks, home.document, f"{what}, document"):
        pass
    if home.nvram is not None:
        for _ in read_stream(repository.chunks, home.nvram.stream, f"{what}, NVRAM"):
            pass


def check_disk(repository: Repository, disk, what: str, report: Report) -> int:
    """The disk's bad bytes. Data chunks are looked up only: their contents were checked with their packs."""
    index = repository.chunks.index(DATA)
    root = repository.map_root(disk, what)
    if root.chunking != repository.config.chunking:
        report.notes.append(f"{what}: its map was made with other chunker parameters than the config's")
    bad_bytes = 0
    for extent in walk(root, repository.chunks.metadata, what):
        if extent.what == EXTENT_BAD:
            bad_bytes += extent.length
        elif extent.what == EXTENT_DATA:
            place = f"{what}, {extent.length} bytes at {extent.offset}: chunk {extent.chunk_id.hex()}"
            if extent.chunk_id not in index:
                report.problems.append(f"{place} is in no pack that can be read")
            elif index.length(extent.chunk_id) != extent.length:
                report.problems.append(f"{place} has {index.length(extent.chunk_id)} bytes")
    if bad_bytes != (disk.bad_bytes or 0):
        report.problems.append(f"{what}: {bad_bytes} bad bytes in its map, the point says {disk.bad_bytes or 0}")
    return bad_bytes
