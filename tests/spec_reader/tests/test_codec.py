import unittest

from .. import codec
from ..codec import Cursor, Field, encode_bytes, encode_varint, read_record
from ..errors import Damaged, Unsupported

FIELDS = {0: Field("number", codec.varint), 2: Field("name", codec.text, True)}


def row(tag: int, value: bytes) -> bytes:
    return encode_varint(tag) + encode_bytes(value)


class Varints(unittest.TestCase):
    def test_every_value_comes_back(self):
        for value in (0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1):
            cursor = Cursor(encode_varint(value), "v")
            self.assertEqual(cursor.varint(), value)
            cursor.end()

    def test_only_the_shortest_form_is_taken(self):
        for encoded in (b"\x80\x00", b"\xff\x00", b"\x81\x80\x00"):
            with self.assertRaisesRegex(Damaged, "shortest"):
                Cursor(encoded, "v").varint()

    def test_2_to_the_64_is_refused(self):
        for encoded in (b"\x80" * 9 + b"\x02", b"\xff" * 9 + b"\x7f", b"\xff" * 10 + b"\x01"):
            with self.assertRaises(Damaged):
                Cursor(encoded, "v").varint()

    def test_a_count_beyond_the_bytes_is_refused_first(self):
        with self.assertRaisesRegex(Damaged, "a list of"):
            Cursor(encode_varint(2**60) + b"ab", "v").list_(Cursor.u8)


class Records(unittest.TestCase):
    def test_fields_come_back(self):
        found = read_record(row(0, b"\x05") + row(2, b"\x02" + "ä".encode()), FIELDS, "r")
        self.assertEqual(found, {"number": 5, "name": "ä"})

    def test_an_optional_field_may_be_missing(self):
        self.assertIsNone(read_record(row(0, b"\x05"), FIELDS, "r")["name"])

    def test_another_field_may_not(self):
        with self.assertRaisesRegex(Damaged, "number.*missing"):
            read_record(row(2, b"\x01a"), FIELDS, "r")

    def test_an_unknown_odd_tag_is_skipped(self):
        read_record(row(0, b"\x05") + row(7, b"?"), FIELDS, "r")

    def test_an_unknown_even_tag_is_unsupported(self):
        with self.assertRaises(Unsupported):
            read_record(row(0, b"\x05") + row(8, b"?"), FIELDS, "r")

    def test_tags_must_ascend(self):
        for tags in ((2, 0), (0, 0)):
            with self.assertRaisesRegex(Damaged, "ascending"):
                read_record(b"".join(row(tag, b"\x00") for tag in tags), FIELDS, "r")

    def test_bytes_left_over_in_a_field_are_refused(self):
        with self.assertRaisesRegex(Damaged, "left over"):
            read_record(row(0, b"\x05\x00"), FIELDS, "r")

    def test_text_must_be_utf_8(self):
        with self.assertRaisesRegex(Damaged, "UTF-8"):
            read_record(row(0, b"\x05") + row(2, b"\x01\xff"), FIELDS, "r")


if __name__ == "__main__":
    unittest.main()
