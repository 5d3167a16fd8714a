"""The files of a repository: read only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, TypeVar

from .errors import Damaged, ReaderError, Unsupported

T = TypeVar("T")


class Store:
    def __init__(self, folder: str):
        self.folder = Path(folder)

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """All bytes of an object, or None if it is absent."""
        size = self.size(name)
        if size is None:
            return None
        if size > bytes_max:
            raise Damaged(f"{name}: {size} bytes, at most {bytes_max}")
        return self.read_at(name, 0, size)

    def size(self, name: str) -> int | None:
        try:
            return (self.folder / name).stat().st_size
        except FileNotFoundError:
            return None

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        try:
            with open(self.folder / name, "rb") as file:
                file.seek(offset)
                data = file.read(length)
        except FileNotFoundError:
            raise Damaged(f"{name}: is not there") from None
        except OSError as error:
            raise Damaged(f"{name}: {error.strerror}") from None
        if len(data) != length:
            raise Damaged(f"{name}: {length} bytes wanted at {offset}, {len(data)} found")
        return data

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.folder / folder))
        except FileNotFoundError:
            return []


def first_good(attempts: list[Callable[[], T]]) -> T:
    """Section 19.6: one copy may be bad if another is good."""
    errors: list[ReaderError] = []
    for attempt in attempts:
        try:
            return attempt()
        except (Damaged, Unsupported) as error:
            errors.append(error)
    kind = Unsupported if any(isinstance(error, Unsupported) for error in errors) else Damaged
    raise kind("; ".join(str(error) for error in errors))
