import unittest

from blake3 import blake3

from ..errors import Damaged, WrongKey
from ..keys import WorkingKeys, key_file, password
from ..recovery_key import ALPHABET, BECH32M, _checksum, decode_recovery_key, encode_recovery_key
from ..sealing import associated_data, open_sealed


class Derivation(unittest.TestCase):
    def test_a_working_key_has_its_purpose_as_context(self):
        material = bytes(range(32))
        wanted = blake3(material, derive_key_context="strongroom v1 chunk id data").digest()
        self.assertEqual(WorkingKeys({1: material}).key("chunk id data"), wanted)

    def test_an_epoch_the_slot_lacks_is_a_wrong_key(self):
        with self.assertRaisesRegex(WrongKey, "epoch 2"):
            WorkingKeys({1: bytes(32)}).key("data seal", 2)

    def test_a_password_is_taken_in_nfc(self):
        self.assertEqual(password("u\u0308".encode()), password("\u00fc".encode()))

    def test_a_short_key_file_is_refused(self):
        with self.assertRaises(WrongKey):
            key_file(bytes(31))


class RecoveryKeys(unittest.TestCase):
    def test_the_checksum_is_that_of_bip_350(self):
        for prefix, data in (("a", "lqfn3a"), ("?", "v759aa")):
            expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
            self.assertEqual(_checksum(expanded + [ALPHABET.index(c) for c in data]), BECH32M)

    def test_32_bytes_make_62_characters_and_come_back(self):
        written = encode_recovery_key(bytes(range(32)))
        self.assertEqual(len(written), 62)
        self.assertEqual(decode_recovery_key(written), bytes(range(32)))

    def test_case_spaces_and_line_ends_do_not_matter(self):
        written = encode_recovery_key(bytes(range(32))).upper()
        spaced = "\r\n".join(written[at : at + 8] + " " for at in range(0, 62, 8))
        self.assertEqual(decode_recovery_key(spaced), bytes(range(32)))

    def test_any_wrong_character_is_noticed(self):
        written = encode_recovery_key(bytes(range(32)))
        for at in range(62):
            wrong = written[:at] + ("q" if written[at] != "q" else "p") + written[at + 1 :]
            with self.assertRaises(WrongKey):
                decode_recovery_key(wrong)


class Sealing(unittest.TestCase):
    # draft-irtf-cfrg-xchacha-03, A.3.1
    KEY = bytes(range(0x80, 0xA0))
    SEALED = bytes(range(0x40, 0x58)) + bytes.fromhex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39"
        "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52e" "c0875924c1c7987947deafd8780acf49"
    )
    AAD = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")

    def test_the_published_vector_opens(self):
        self.assertTrue(open_sealed(self.KEY, self.AAD, self.SEALED, "v").startswith(b"Ladies and Gentlemen"))

    def test_another_associated_data_does_not(self):
        with self.assertRaisesRegex(Damaged, "does not authenticate"):
            open_sealed(self.KEY, self.AAD + b"\0", self.SEALED, "v")

    def test_the_associated_data_has_its_fields_in_place(self):
        aad = associated_data(1, 1, 2, 3, b"r" * 16, b"o" * 32)
        self.assertEqual(aad.hex(), "01000101" "02000000" "0300000000000000" + "72" * 16 + "6f" * 32)


if __name__ == "__main__":
    unittest.main()
