import itertools
import struct
import tempfile
import unittest
from pathlib import Path

import zstandard
from blake3 import blake3

from ..errors import Damaged
from ..keys import decode_slot
from ..pack import decompress, padme
from ..parity import parity, parity_shards, shards_with_parity
from .tiny_writer import TinyWriter

PLAIN = b"plain " * 1000


class Frames(unittest.TestCase):
    def test_a_frame_of_the_stated_length_is_taken(self):
        self.assertEqual(decompress(zstandard.ZstdCompressor().compress(PLAIN), len(PLAIN), "f"), PLAIN)

    def test_every_other_zstd_frame_is_damaged(self):
        good = zstandard.ZstdCompressor().compress(PLAIN)
        unsized = zstandard.ZstdCompressor(write_content_size=False).compress(PLAIN)
        for stored, length in ((good, len(PLAIN) + 1), (good, 1), (unsized, len(PLAIN)), (good + good, len(PLAIN)),
                               (good + b"\0", len(PLAIN)), (good[:-1], len(PLAIN)), (b"no zstd", 7)):
            with self.assertRaises(Damaged):
                decompress(stored, length, "f")

    def test_padme_rounds_as_published(self):
        for length, wanted in ((8, 8), (9, 10), (1000, 1024), (1025, 1088), (1 << 20, 1 << 20), ((1 << 20) + 1, (1 << 20) + (1 << 15))):
            self.assertEqual(padme(length), wanted)


class Parity(unittest.TestCase):
    def test_the_parity_of_the_vector_is_that_of_its_shards(self):
        text = Path(__file__).parents[2].joinpath("vectors", "pack-parity.txt").read_text()
        digits = text.split("input:\n")[1].split("\n")
        pack = bytes.fromhex("".join(line.strip() for line in itertools.takewhile(lambda line: line.startswith(" "), digits)))
        shards = [pack[at : at + 1024] for at in range(0, len(pack), 1024)]
        self.assertEqual(parity(shards[1:-5] + shards[-2:-1], 3), shards[-5:-2])

    def test_a_pack_has_a_32nd_of_parity(self):
        self.assertEqual([parity_shards(shards, 16) for shards in (512, 64, 7)], [16, 2, 2])
        self.assertEqual((shards_with_parity(496, 16), shards_with_parity(5, 0)), (512, 5))


class Slots(unittest.TestCase):
    def test_parameters_beyond_the_limits_are_refused_before_any_stretching(self):
        with tempfile.TemporaryDirectory() as folder:
            TinyWriter(Path(folder))
            slots = [path.read_bytes() for path in Path(folder, "keys").glob("*-0")]
        self.assertEqual(len(slots), 3)
        for slot in slots:
            decode_slot(slot, "slot")
            for parameters in ((15, 1, 2), (1 << 22 | 1, 1, 1), (64, 0, 1), (64, 33, 1), (64, 1, 0), (1 << 20, 1, 17)):
                wrong = slot[:52] + struct.pack("<III", *parameters) + slot[64:992]
                with self.assertRaisesRegex(Damaged, "Argon2"):
                    decode_slot(wrong + blake3(wrong).digest(), "slot")


if __name__ == "__main__":
    unittest.main()
