"""Section 11, parity: a Reed-Solomon code over GF(2^16)."""

from __future__ import annotations

from functools import cache

POLYNOMIAL = 0x1002D
BASIS = (
    0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
    0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E,
)  # fmt: skip
BLOCK, HALF = 64, 32


def parity_shards(shards: int, rate: int) -> int:
    return max(2, -(-(shards - 2) * rate // 512)) if rate else 0


def shards_with_parity(others: int, rate: int) -> int:
    shards = others
    while shards - parity_shards(shards, rate) < others:
        shards += 1
    return shards


@cache
def tables() -> tuple[list[int], list[int]]:
    """Logarithms of words, and the words of logarithms."""
    elements = [0]
    for vector in BASIS:
        elements += [element ^ vector for element in elements]
    words = [0] * 65536
    for word, element in enumerate(elements):
        words[element] = word
    logarithms, powers, element = [0] * 65536, [0] * 65535, 1
    for exponent in range(65535):
        powers[exponent] = words[element]
        logarithms[words[element]] = exponent
        element <<= 1
        if element >> 16:
            element ^= POLYNOMIAL
    return logarithms, powers


def coefficient(j: int, y: int, m: int) -> int:
    """L_j(y)."""
    logarithms, powers = tables()
    exponent = sum(logarithms[y ^ v] - logarithms[j ^ v] for v in range(m) if v != j)
    return powers[exponent % 65535]


def bytes_of_products(factor: int) -> list[bytes]:
    """For the low and the high byte of a word: the low and the high byte of its product with `factor`."""
    logarithms, powers = tables()
    found = []
    for shift in (0, 8):
        products = [0]
        for bit in range(8):
            product = powers[(logarithms[factor] + logarithms[1 << shift + bit]) % 65535]
            products += [product ^ other for other in products]
        found += [bytes(product & 255 for product in products), bytes(product >> 8 for product in products)]
    return found


def parity(data: list[bytes], count: int) -> list[bytes]:
    """The parity shards of `data`."""
    m = 1 << (count - 1).bit_length()
    length = len(data[0])
    sums = [[0, 0] for _ in range(count)]
    for k, shard in enumerate(data):
        low, high = (b"".join(shard[at + half : at + half + HALF] for at in range(0, length, BLOCK)) for half in (0, HALF))
        for j, total in enumerate(sums):
            low_low, low_high, high_low, high_high = bytes_of_products(coefficient(j, m + k, m))
            total[0] ^= number(low.translate(low_low)) ^ number(high.translate(high_low))
            total[1] ^= number(low.translate(low_high)) ^ number(high.translate(high_high))
    planes = [[half.to_bytes(length // 2, "little") for half in total] for total in sums]
    return [b"".join(low[at : at + HALF] + high[at : at + HALF] for at in range(0, length // 2, HALF)) for low, high in planes]


def number(plane: bytes) -> int:
    return int.from_bytes(plane, "little")
