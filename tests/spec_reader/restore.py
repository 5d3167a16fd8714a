"""Brings a disk or a VM home back into files. A file appears under its name only when it is whole."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import BinaryIO, Iterator

from .disk_map import EXTENT_BAD, EXTENT_DATA, Extent, walk
from .errors import Damaged, Usage
from .metadata import Stream, read_stream
from .repository import Repository


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    if os.path.lexists(path):
        raise Usage(f"{path}: exists already; nothing is overwritten")
    unfinished = path + ".unfinished"
    try:
        with open(unfinished, "wb") as file:
            yield file
        os.rename(unfinished, path)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise


def restore_disk(repository: Repository, prefix: str, disk_name: str, out: str, zero_bad: bool) -> list[Extent]:
    """The bad extents that were left as zeros, which happens only if `zero_bad` says so."""
    point = repository.restore_point(repository.find_point(prefix))
    disks = {disk.name: disk for disk in point.disks}
    if disk_name not in disks:
        raise Usage(f"{disk_name}: the disks of this point are {', '.join(map(repr, disks))}")
    what = f"disk {disk_name}"
    root = repository.map_root(disks[disk_name], what)

    bad = [one for one in walk(root, repository.chunks.metadata, what) if one.what == EXTENT_BAD]
    if bad and not zero_bad:
        listed = "; ".join(f"{one.length} bytes at {one.offset}" for one in bad)
        raise Damaged(f"{what}: could not be read when it was backed up: {listed} (--zero-bad restores the rest)")
    with whole_file(out) as file:
        file.truncate(root.disk_bytes)
        for extent in walk(root, repository.chunks.metadata, what):
            if extent.what == EXTENT_DATA:
                place = f"{what}, {extent.length} bytes at {extent.offset}"
                file.seek(extent.offset)
                file.write(repository.chunks.data(extent.chunk_id, extent.length, place))
    return bad


def restore_home(repository: Repository, prefix: str, document_out: str | None, nvram_out: str | None):
    """Writes what was asked for and returns the home."""
    point = repository.restore_point(repository.find_point(prefix))
    if point.vm_home is None:
        raise Usage(f"{prefix}: this restore point has no VM home")
    home = repository.vm_home(point.vm_home, "VM home")
    if nvram_out and home.nvram is None:
        raise Usage(f"{prefix}: this VM home has no NVRAM")
    if document_out:
        write_stream(repository, home.document, document_out, "VM home, document")
    if nvram_out:
        write_stream(repository, home.nvram.stream, nvram_out, "VM home, NVRAM")
    return home


def write_stream(repository: Repository, stream: Stream, out: str, what: str) -> None:
    with whole_file(out) as file:
        for piece in read_stream(repository.chunks, stream, what):
            file.write(piece)
