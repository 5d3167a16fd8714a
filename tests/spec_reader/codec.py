"""Section 1: integers, bytes, lists, records. `Cursor` reads, the `encode_*` functions write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from .errors import Damaged, Unsupported


class Cursor:
    """Reads one structure; `what` names it in errors. `end()` refuses bytes left over."""

    def __init__(self, data: bytes, what: str):
        self.data = data
        self.at = 0
        self.what = what

    def refuse(self, reason: str) -> Damaged:
        return Damaged(f"{self.what}: at byte {self.at}: {reason}")

    @property
    def remaining(self) -> int:
        return len(self.data) - self.at

    def take(self, length: int) -> bytes:
        if length > self.remaining:
            raise self.refuse(f"{length} bytes wanted, {self.remaining} left")
        start, self.at = self.at, self.at + length
        return bytes(self.data[start : self.at])

    def rest(self) -> bytes:
        return self.take(self.remaining)

    def end(self) -> None:
        if self.remaining:
            raise self.refuse(f"{self.remaining} bytes left over")

    def magic(self, magic: bytes) -> None:
        """A magic and the `format` that always follows it (sections 19.1 and 20)."""
        found = self.take(len(magic))
        if found != magic:
            raise self.refuse(f"magic {found!r}, must be {magic!r}")
        version = self.u16()
        if version > 1:
            raise Unsupported(f"{self.what}: format {version}, this reader knows 1")
        if version != 1:
            raise self.refuse(f"format {version}, must be 1")

    def reserved(self, length: int) -> None:
        if any(self.take(length)):
            raise self.refuse("a reserved byte is not 0")

    def zeros(self, length: int) -> None:
        if any(self.take(length)):
            raise self.refuse("padding is not 0")

    def _fixed(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def u8(self) -> int:
        return self._fixed(1)

    def u16(self) -> int:
        return self._fixed(2)

    def u32(self) -> int:
        return self._fixed(4)

    def u64(self) -> int:
        return self._fixed(8)

    def one_of(self, allowed: range | tuple[int, ...], name: str) -> int:
        """A `varint` or `u8` with few values (below 128 both look alike)."""
        value = self.varint()
        if value not in allowed:
            raise self.refuse(f"{name} {value} is not defined")
        return value

    def varint(self) -> int:
        value = 0
        for position in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                if byte == 0 and position > 0:
                    raise self.refuse("a varint that is not the shortest")
                if value >= 1 << 64:
                    raise self.refuse("a varint of 2^64 or more")
                return value
        raise self.refuse("a varint of more than 10 bytes")

    def id16(self) -> bytes:
        return self.take(16)

    def id32(self) -> bytes:
        return self.take(32)

    def bytes_(self) -> bytes:
        return self.take(self.varint())

    def text(self) -> str:
        return self._utf8(self.bytes_())

    def rest_text(self) -> str:
        return self._utf8(self.rest())

    def _utf8(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.refuse(f"text is not UTF-8: {error}") from None

    def list_(self, item: Callable[[Cursor], Any], item_bytes_min: int = 1) -> list:
        count = self.varint()
        if count * item_bytes_min > self.remaining:
            raise self.refuse(f"a list of {count} in {self.remaining} bytes")
        return [item(self) for _ in range(count)]


@dataclass(frozen=True)
class Field:
    """One row of a record's table. `value` reads the field's bytes to their end."""

    name: str
    value: Callable[[Cursor], Any]
    optional: bool = False


def read_record(data: bytes, fields: dict[int, Field], what: str) -> dict[str, Any]:
    cursor = Cursor(data, what)
    found: dict[str, Any] = {}
    last_tag = -1
    while cursor.remaining:
        tag = cursor.varint()
        if tag <= last_tag:
            raise cursor.refuse(f"tag {tag} after tag {last_tag}: not ascending")
        last_tag = tag
        value = cursor.bytes_()
        field = fields.get(tag)
        if field is not None:
            inner = Cursor(value, f"{what}, {field.name}")
            found[field.name] = field.value(inner)
            inner.end()
        elif tag % 2 == 0:
            raise Unsupported(f"{what}: tag {tag} is not known to this reader")
    for tag, field in fields.items():
        if field.name not in found:
            if not field.optional:
                raise Damaged(f"{what}: tag {tag} ({field.name}) is missing")
            found[field.name] = None
    return found


# Values of fields. The field's own length is the length of a text or of bytes: it is not written a second time.
def varint(cursor: Cursor) -> int:
    return cursor.varint()


def text(cursor: Cursor) -> str:
    return cursor.text()


def raw(cursor: Cursor) -> bytes:
    return cursor.bytes_()


def id16(cursor: Cursor) -> bytes:
    return cursor.id16()


def id32(cursor: Cursor) -> bytes:
    return cursor.id32()


def list_of_id16(cursor: Cursor) -> list[bytes]:
    return cursor.list_(Cursor.id16, 16)


def list_of_id32(cursor: Cursor) -> list[bytes]:
    return cursor.list_(Cursor.id32, 32)


def one_of(allowed: range | tuple[int, ...], name: str) -> Callable[[Cursor], int]:
    return lambda cursor: cursor.one_of(allowed, name)


def encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_bytes(data: bytes) -> bytes:
    return encode_varint(len(data)) + data


def encode_option(encoded: bytes | None) -> bytes:
    return b"\0" if encoded is None else b"\1" + encoded


def encode_list(items: list[bytes]) -> bytes:
    return encode_varint(len(items)) + b"".join(items)
