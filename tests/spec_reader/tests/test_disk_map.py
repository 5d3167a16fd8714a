import unittest

from ..config import Chunking
from ..disk_map import EXTENT_BAD, EXTENT_DATA, EXTENT_HOLE, Extent, Root, build_root, decode_node, decode_root
from ..disk_map import decode_segment_map, encode_node, encode_root, encode_segment_map, level_counts, walk
from ..errors import Damaged
from ..hashing import hash32
from ..metadata import MAP_NODE, MAP_ROOT, SEGMENT_MAP

CHUNKING = Chunking(1, 12, 13, 13, 13)
SEGMENT = 1 << 13
ID = b"c" * 32


def decode(extents: list[tuple[int, int]], segment_bytes: int = SEGMENT) -> list[Extent]:
    listed = [Extent(0, length, kind, ID if kind == EXTENT_DATA else None) for length, kind in extents]
    return decode_segment_map(encode_segment_map(listed), 0, segment_bytes, SEGMENT, "map")


class Shapes(unittest.TestCase):
    def test_counts_follow_from_the_size(self):
        for segments, wanted in ((1, [1]), (256, [256]), (257, [257, 2]), (65536, [65536, 256]), (65537, [65537, 257, 2])):
            self.assertEqual(level_counts(segments * SEGMENT, 13), wanted)
            self.assertEqual(level_counts(segments * SEGMENT - SEGMENT + 1, 13), wanted)

    def test_a_disk_of_two_levels_is_walked_in_order(self):
        store, disk_bytes = {}, 600 * SEGMENT - 100

        def name_of(kind: int, payload: bytes) -> bytes:
            chunk_id = hash32(bytes([kind]) + payload)
            store[chunk_id, kind] = payload
            return chunk_id

        maps: list[bytes | None] = [None] * 600
        maps[3] = name_of(SEGMENT_MAP, encode_segment_map([Extent(0, SEGMENT, EXTENT_DATA, ID)]))
        maps[599] = name_of(SEGMENT_MAP, encode_segment_map([Extent(0, SEGMENT - 100, EXTENT_BAD, None)]))
        root_id = build_root(disk_bytes, CHUNKING, maps, name_of)
        root = decode_root(store[root_id, MAP_ROOT], "root")
        self.assertEqual((root.height, len(root.children)), (1, 3))
        self.assertIsNone(root.children[1])  # segments 256 to 511 are hole: their node is not stored

        extents = list(walk(root, lambda chunk_id, kind, what: store[chunk_id, kind], "disk"))
        self.assertEqual([one for one in extents if one.what != EXTENT_HOLE], [
            Extent(3 * SEGMENT, SEGMENT, EXTENT_DATA, ID), Extent(599 * SEGMENT, SEGMENT - 100, EXTENT_BAD, None),
        ])
        end = 0
        for one in extents:
            self.assertEqual(one.offset, end)
            end += one.length
        self.assertEqual(end, disk_bytes)


class Refusals(unittest.TestCase):
    def test_extents_sum_up_to_the_segment(self):
        decode([(4096, EXTENT_HOLE), (4096, EXTENT_DATA)])
        for extents in ([(4096, EXTENT_DATA)], [(SEGMENT, EXTENT_DATA), (1, EXTENT_HOLE)], [(4096, EXTENT_HOLE), (8192, EXTENT_DATA)]):
            with self.assertRaises(Damaged):
                decode(extents)

    def test_holes_do_not_follow_each_other(self):
        for kind in (EXTENT_HOLE, EXTENT_BAD):
            with self.assertRaisesRegex(Damaged, "follow each other"):
                decode([(4096, kind), (4096, kind)])

    def test_a_segment_of_one_hole_has_no_map(self):
        with self.assertRaisesRegex(Damaged, "no map"):
            decode([(SEGMENT, EXTENT_HOLE)])

    def test_a_chunk_beyond_max_is_refused(self):
        with self.assertRaisesRegex(Damaged, "at most"):
            decode([(SEGMENT + 1, EXTENT_DATA)], 2 * SEGMENT)

    def test_kind_3_and_length_0_are_refused(self):
        for extents in ([(SEGMENT, 3)], [(0, EXTENT_HOLE), (SEGMENT, EXTENT_DATA)]):
            with self.assertRaises(Damaged):
                decode(extents)

    def test_a_node_of_another_level_count_or_nothing_is_refused(self):
        node = encode_node(1, [ID, None])
        self.assertEqual(decode_node(node, 1, 2, "n"), [ID, None])
        for payload, level, count in ((node, 2, 2), (node, 1, 3), (encode_node(1, [None, None]), 1, 2)):
            with self.assertRaises(Damaged):
                decode_node(payload, level, count, "n")

    def test_a_root_of_another_shape_is_refused(self):
        good = Root(257 * SEGMENT, CHUNKING, 1, [ID, None])
        self.assertEqual(decode_root(encode_root(good), "r"), good)
        for disk_bytes, height, children in ((257 * SEGMENT, 0, [ID] * 257), (257 * SEGMENT, 1, [ID]), (0, 0, []), (1, 1, [ID])):
            with self.assertRaises(Damaged):
                decode_root(encode_root(Root(disk_bytes, CHUNKING, height, children)), "r")


if __name__ == "__main__":
    unittest.main()
