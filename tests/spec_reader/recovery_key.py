"""The text of a recovery key: bech32m (BIP 350) with prefix `srk` around 32 bytes."""

from __future__ import annotations

from .errors import WrongKey

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M = 0x2BC830A3
PREFIX = "srk"


def _checksum(values: list[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> bit & 1:
                state ^= generator
    return state


_EXPANDED_PREFIX = [ord(letter) >> 5 for letter in PREFIX] + [0] + [ord(letter) & 31 for letter in PREFIX]


def decode_recovery_key(written: str) -> bytes:
    letters = "".join(written.split()).lower()
    if len(letters) != 62 or not letters.startswith(PREFIX + "1"):
        raise WrongKey("recovery key: must be 62 characters that begin with srk1")
    values = [ALPHABET.find(letter) for letter in letters[len(PREFIX) + 1 :]]
    if min(values) < 0:
        raise WrongKey("recovery key: a character that never occurs in one")
    if _checksum(_EXPANDED_PREFIX + values) != BECH32M:
        raise WrongKey("recovery key: the checksum does not match, a character is wrong")
    number = 0
    for value in values[:-6]:
        number = number << 5 | value
    if number & 0xF:
        raise WrongKey("recovery key: padding bits are not 0")
    return (number >> 4).to_bytes(32, "big")


def encode_recovery_key(secret: bytes) -> str:
    number = int.from_bytes(secret, "big") << 4
    values = [number >> shift & 31 for shift in range(255, -1, -5)]
    check = _checksum(_EXPANDED_PREFIX + values + [0] * 6) ^ BECH32M
    values += [check >> shift & 31 for shift in range(25, -1, -5)]
    return PREFIX + "1" + "".join(ALPHABET[value] for value in values)
