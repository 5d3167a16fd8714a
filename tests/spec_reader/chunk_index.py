"""Where every chunk lies, from the directories of the registered packs; reads chunks and checks their ids."""

from __future__ import annotations

from collections import OrderedDict

from .config import DATA, METADATA, Config
from .errors import Damaged
from .hashing import keyed
from .keys import WorkingKeys
from .pack import Frame, Pack
from .state import State
from .store import Store

DIRECTORIES_CACHED = 32
FRAMES_CACHED = 16


class Lru(OrderedDict):
    def __init__(self, entries_max: int):
        super().__init__()
        self.entries_max = entries_max

    def recall(self, key, make):
        if key in self:
            self.move_to_end(key)
        else:
            self[key] = make()
            if len(self) > self.entries_max:
                self.popitem(last=False)
        return self[key]


class ChunkIndex:
    """A place is (ordinal, frame, chunk) packed into one integer, since there are many of them."""

    def __init__(self, store: Store, config: Config, keys: WorkingKeys, state: State, pack_class: int):
        self.store, self.config, self.keys, self.state = store, config, keys, state
        self.pack_class = pack_class
        self.id_key = keys.key("chunk id data" if pack_class == DATA else "chunk id metadata")
        self.unreadable: list[str] = []
        self._first: dict[bytes, int] = {}
        self._others: dict[bytes, list[int]] = {}
        self._directories = Lru(DIRECTORIES_CACHED)
        self._frames = Lru(FRAMES_CACHED)
        self._load()

    def _load(self) -> None:
        ours = [o for o, pack in enumerate(self.state.packs) if pack.row.pack_class == self.pack_class]
        for ordinal in sorted(ours, key=lambda o: (not self.state.packs[o].usable, o)):
            pack_state = self.state.packs[ordinal]
            try:
                _, frames = self._open_pack(ordinal)
            except Damaged as error:
                if not pack_state.deleted:
                    self.unreadable.append(str(error))
                continue
            for nth, frame in enumerate(frames):
                for position, (chunk_id, _) in enumerate(frame.chunks):
                    place = ordinal << 48 | nth << 24 | position
                    if self._first.setdefault(chunk_id, place) != place:
                        self._others.setdefault(chunk_id, []).append(place)

    def _open_pack(self, ordinal: int) -> tuple[Pack, list[Frame]]:
        def make():
            row = self.state.packs[ordinal].row
            pack = Pack(self.store, self.config, self.keys, row.name, row.pack_class, row.pack_bytes)
            return pack, pack.directory()

        return self._directories.recall(ordinal, make)

    def __contains__(self, chunk_id: bytes) -> bool:
        return chunk_id in self._first

    def read(self, chunk_id: bytes, what: str) -> bytes:
        if chunk_id not in self._first:
            hint = "".join(f"; {problem}" for problem in self.unreadable)
            raise Damaged(f"{what}: chunk {chunk_id.hex()} is in no registered pack{hint}")
        problems = []
        for place in [self._first[chunk_id], *self._others.get(chunk_id, [])]:
            try:
                return self._read_at(chunk_id, place)
            except Damaged as error:
                problems.append(str(error))
        raise Damaged(f"{what}: " + "; ".join(problems))

    def length(self, chunk_id: bytes) -> int:
        place = self._first[chunk_id]
        _, frames = self._open_pack(place >> 48)
        return frames[place >> 24 & 0xFFFFFF].chunks[place & 0xFFFFFF][1]

    def _read_at(self, chunk_id: bytes, place: int) -> bytes:
        ordinal, nth, position = place >> 48, place >> 24 & 0xFFFFFF, place & 0xFFFFFF
        pack, frames = self._open_pack(ordinal)
        frame = frames[nth]
        plain = self._frames.recall((ordinal, nth), lambda: pack.open_frame(frame))
        start = sum(length for _, length in frame.chunks[:position])
        chunk = plain[start : start + frame.chunks[position][1]]
        if keyed(self.id_key, chunk) != chunk_id:
            raise Damaged(f"{pack.what}, frame at {frame.offset}: chunk {chunk_id.hex()} has another hash")
        return chunk


class Chunks:
    """The two classes of chunks; each index is built when it is first needed."""

    def __init__(self, store: Store, config: Config, keys: WorkingKeys, state: State):
        self._make = lambda pack_class: ChunkIndex(store, config, keys, state, pack_class)
        self._indexes: dict[int, ChunkIndex] = {}

    def index(self, pack_class: int) -> ChunkIndex:
        if pack_class not in self._indexes:
            self._indexes[pack_class] = self._make(pack_class)
        return self._indexes[pack_class]

    def metadata(self, chunk_id: bytes, kind: int, what: str) -> bytes:
        """The payload of a metadata chunk, after its id and its kind were checked (section 12)."""
        chunk = self.index(METADATA).read(chunk_id, what)
        if chunk[0] != kind:
            raise Damaged(f"{what}: chunk {chunk_id.hex()} is of kind {chunk[0]}, must be {kind}")
        return chunk[1:]

    def data(self, chunk_id: bytes, length: int, what: str) -> bytes:
        chunk = self.index(DATA).read(chunk_id, what)
        if len(chunk) != length:
            raise Damaged(f"{what}: chunk {chunk_id.hex()} has {len(chunk)} bytes, the map says {length}")
        return chunk

    def unreadable(self) -> list[str]:
        return [problem for index in self._indexes.values() for problem in index.unreadable]
