import random
import unittest

from Crypto.Cipher import AES

from ..chunker import BLOCK, BlockChunker, data_runs
from ..config import Chunking

CHUNKING = Chunking(1, 13, 14, 16, 20)


class Fixed(BlockChunker):
    """Cuts where the test says: p is looked up by the block's first byte."""

    def p(self, block: bytes) -> int:
        return {0: 1 << 63, 1: 0, 2: self._before_avg}[block[0]]


def lengths(pattern: list[int], address: int = 0, tail: int = 0) -> list[int]:
    run = b"".join(bytes([value]) * BLOCK for value in pattern) + b"\1" * tail
    return list(Fixed(CHUNKING, bytes(16), bytes(16)).cut(memoryview(run), address))


class Cuts(unittest.TestCase):
    def test_nothing_is_cut_below_min(self):
        self.assertEqual(lengths([1, 0, 1, 0]), [3 * BLOCK, BLOCK])

    def test_at_min_a_block_below_t1_cuts(self):
        self.assertEqual(lengths([0, 1, 0]), [2 * BLOCK, BLOCK])

    def test_a_block_between_t1_and_t2_cuts_from_avg_on(self):
        self.assertEqual(lengths([2, 2, 2, 2, 0]), [4 * BLOCK, BLOCK])

    def test_at_max_the_cut_is_at_a_multiple_of_half_of_max(self):
        self.assertEqual(lengths([0] * 20), [16 * BLOCK, 4 * BLOCK])
        self.assertEqual(lengths([0] * 20, address=3 * BLOCK), [13 * BLOCK, 7 * BLOCK])

    def test_a_tail_shorter_than_a_block_ends_with_the_run(self):
        self.assertEqual(lengths([0, 0], tail=100), [2 * BLOCK + 100])

    def test_a_cut_depends_on_content_alone(self):
        image = random.Random(7).randbytes(1 << 19)
        chunker = BlockChunker(CHUNKING, b"a" * 32, b"b" * 32)
        cuts, shifted = [], []
        for data, found in ((image, cuts), (image[8 * BLOCK :], shifted)):
            end = len(image) - len(data)
            for length in chunker.cut(memoryview(data), end):
                end += length
                found.append(end)
        self.assertGreater(len(set(cuts) & set(shifted)), len(shifted) // 2)

    def test_p_is_aes_of_the_tag(self):
        block = bytes(range(256)) * 16
        gcm = AES.new(b"a" * 16, AES.MODE_GCM, nonce=bytes(12))
        gcm.update(block)
        wanted = AES.new(b"b" * 16, AES.MODE_ECB).encrypt(gcm.digest())[:8]
        self.assertEqual(BlockChunker(CHUNKING, b"a" * 32, b"b" * 32).p(block), int.from_bytes(wanted, "little"))


class Cells(unittest.TestCase):
    def test_runs_begin_and_end_at_cells(self):
        segment = bytes(8192) + b"\0" * 4095 + b"x" + b"y" * 100
        self.assertEqual(list(data_runs(memoryview(segment), 4096)), [(False, 0, 8192), (True, 8192, 12388)])

    def test_a_short_last_cell_of_zeros_is_a_hole(self):
        self.assertEqual(list(data_runs(memoryview(b"x" * 4096 + bytes(5)), 4096)), [(True, 0, 4096), (False, 4096, 4101)])


if __name__ == "__main__":
    unittest.main()
