"""A repository made by `tiny_writer`, read whole, and read after damage."""

import contextlib
import io
import json
import random
import shutil
import tempfile
import unittest
from pathlib import Path

from blake3 import blake3

from ..__main__ import main
from ..codec import encode_list
from ..disk_map import EXTENT_BAD, EXTENT_DATA, Extent, Root, encode_root, encode_segment_map
from ..recovery_key import encode_recovery_key
from .tiny_writer import CHUNKING, KEY_FILE, PASSWORD, RECOVERY, TinyWriter, record

DOCUMENT, NVRAM = b"<vm/>" * 3000, bytes(range(256)) * 40


def image(seed: int) -> bytes:
    r = random.Random(seed)
    return r.randbytes(90_000) + bytes(150_000) + r.randbytes(40_000) + b"text " * 8000 + bytes(70_001)


class Repositories(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = Path(tempfile.mkdtemp())
        cls.made = cls.top / "made"
        writer = cls.writer = TinyWriter(cls.made)
        cls.image = image(1)
        cls.later_image = cls.image[:100_000] + b"new" * 5000 + cls.image[115_000:]
        session = writer.open_session()
        data, metadata = [], []
        home = writer.vm_home(DOCUMENT, NVRAM, metadata)
        root = cls.root = writer.map_disk(cls.image, data, metadata)
        cls.point = writer.commit(session, "vm", {"disk-0": (len(cls.image), root, 0)}, data, metadata, home)
        data, metadata = [], []
        root = writer.map_disk(cls.later_image, data, metadata)
        cls.later_point = writer.commit(session, "vm", {"disk-0": (len(cls.image), root, 0)}, data, metadata)
        cls.bad_point = cls.commit_bad_disk(writer, session)
        writer.close(session)
        writer.append([(6, record({0: session})), (99, b"an odd kind of the future")])  # the Close is void

        cls.password_file = cls.write("password", PASSWORD.encode() + b"\n")
        cls.key_file = cls.write("key", KEY_FILE)
        cls.recovery_file = cls.write("recovery", encode_recovery_key(RECOVERY).encode())

    @classmethod
    def write(cls, name: str, content: bytes) -> str:
        (cls.top / name).write_bytes(content)
        return str(cls.top / name)

    @classmethod
    def commit_bad_disk(cls, writer: TinyWriter, session: bytes) -> bytes:
        chunk = b"z" * 4096
        chunk_id = blake3(chunk, key=writer.keys.key("chunk id data")).digest()
        extents = [Extent(0, 4096, EXTENT_BAD, None), Extent(4096, 4096, EXTENT_DATA, chunk_id)]
        segment = writer.metadata_chunk(1, encode_segment_map(extents))
        root = writer.metadata_chunk(3, encode_root(Root(8192, CHUNKING, 0, [segment[0]])))
        return writer.commit(session, "other", {"d": (8192, root[0], 4096)}, [(chunk_id, chunk)], [segment, root])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def setUp(self):
        self.out = Path(tempfile.mkdtemp(dir=self.top))
        self.repository = self.made

    def run_reader(self, *arguments: str, secret: tuple[str, str] | None = None) -> tuple[int, str, str]:
        secret = secret or ("--key-file", self.key_file)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--repo", str(self.repository), *secret, *map(str, arguments)])
        return code, out.getvalue(), err.getvalue()

    def copy(self) -> Path:
        self.repository = self.out / "copy"
        shutil.copytree(self.made, self.repository)
        return self.repository

    def spoil(self, name: str, at: int) -> None:
        path = self.repository / name
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    def packs(self, pack_class: int) -> list[str]:
        return [f"packs/{name.hex()[:2]}/{name.hex()}" for name, cls, _ in self.writer.packs if cls == pack_class]

    def restore(self, point: bytes, disk: str = "disk-0", *more: str) -> tuple[int, bytes | None, str]:
        out = self.out / "disk"
        code, _, err = self.run_reader("restore", point.hex()[:12], "--disk", disk, "--out", out, *more)
        return code, out.read_bytes() if out.exists() else None, err

    # what comes back

    def test_each_kind_of_secret_opens_it(self):
        for flag, file in (
            ("--password-file", self.password_file), ("--key-file", self.key_file), ("--recovery-key-file", self.recovery_file)
        ):
            self.assertEqual(self.run_reader("list", secret=(flag, file))[0], 0)

    def test_another_secret_is_a_wrong_key(self):
        for flag, content in (("--password-file", b"no"), ("--key-file", bytes(32))):
            code, _, err = self.run_reader("list", secret=(flag, self.write("wrong", content)))
            self.assertEqual(code, 12, err)

    def test_list_names_the_points(self):
        code, out, err = self.run_reader("list", "--json")
        listed = json.loads(out)
        self.assertEqual((code, len(listed["points"])), (0, 3), err)
        self.assertEqual([point["number"] for point in listed["points"]], [1, 2, 1])
        self.assertEqual(listed["points"][0]["disks"][0]["disk_bytes"], len(self.image))
        self.assertEqual(len(listed["void"]), 1)

    def test_disks_come_back(self):
        for point, wanted in ((self.point, self.image), (self.later_point, self.later_image)):
            self.assertEqual(self.restore(point), (0, wanted, ""))
            (self.out / "disk").unlink()

    def test_holes_are_sparse(self):
        self.restore(self.point)
        status = (self.out / "disk").stat()
        self.assertLess(status.st_blocks * 512, status.st_size - 100_000)

    def test_blocks_finds_the_root_again(self):
        (self.out / "image").write_bytes(self.image)
        self.assertEqual(self.run_reader("blocks", self.out / "image")[1].split()[0], self.root.hex())

    def test_a_vm_home_comes_back(self):
        code, out, err = self.run_reader(
            "restore-home", self.point.hex(), "--document-out", self.out / "vmx", "--nvram-out", self.out / "nvram"
        )
        self.assertEqual(code, 0, err)
        self.assertEqual(((self.out / "vmx").read_bytes(), (self.out / "nvram").read_bytes()), (DOCUMENT, NVRAM))
        self.assertNotIn("the bundle", out)

    def test_check_finds_nothing_wrong(self):
        code, out, err = self.run_reader("check")
        self.assertEqual(code, 0, err)
        self.assertIn("void", err)
        self.assertEqual(err.count("note"), 1, err)

    def test_bad_extents_are_refused_unless_zeros_are_asked_for(self):
        code, found, err = self.restore(self.bad_point, "d")
        self.assertEqual((code, found), (4, None))
        self.assertIn("4096 bytes at 0", err)
        code, found, _ = self.restore(self.bad_point, "d", "--zero-bad")
        self.assertEqual((code, found), (0, bytes(4096) + b"z" * 4096))

    def test_nothing_is_overwritten(self):
        (self.out / "disk").write_bytes(b"mine")
        self.assertEqual(self.restore(self.point)[:2], (2, b"mine"))

    def test_an_unknown_point_is_a_usage_error(self):
        self.assertEqual(self.restore(bytes(32))[0], 2)

    # one copy is enough

    def test_one_copy_of_config_slot_and_footer_is_enough(self):
        self.copy()
        self.spoil("config", 50)
        for path in self.repository.glob("keys/*-0"):
            self.spoil(f"keys/{path.name}", 300)
        for name in self.packs(1) + self.packs(2):
            self.spoil(name, 70)
        self.assertEqual(self.restore(self.point)[:2], (0, self.image))
        self.assertEqual(self.run_reader("check")[0], 4)

    def test_directory_b_stands_in_for_directory_a(self):
        self.copy()
        for name in self.packs(1) + self.packs(2):
            pack = (self.repository / name).read_bytes()
            self.spoil(name, int.from_bytes(pack[72:80], "little") + 100)
        self.assertEqual(self.restore(self.point)[:2], (0, self.image))

    # what is refused

    def test_a_spoiled_frame_is_named_and_leaves_no_file(self):
        self.copy()
        self.spoil(self.packs(1)[0], 1024 + 200)
        code, found, err = self.restore(self.point)
        self.assertEqual((code, found), (4, None))
        self.assertIn("does not authenticate", err)
        self.assertEqual(list(self.out.glob("disk*")), [])

    def test_check_notices_a_flip_in_the_padding(self):
        self.copy()
        pack = (self.repository / self.packs(1)[-1]).read_bytes()
        self.spoil(self.packs(1)[-1], int.from_bytes(pack[80:88], "little") - 1)
        code, _, err = self.run_reader("check")
        self.assertEqual(code, 4)
        self.assertIn("shards [", err)

    def test_a_missing_pack_is_named(self):
        self.copy()
        (self.repository / self.packs(1)[0]).unlink()
        code, _, err = self.restore(self.point)
        self.assertEqual(code, 4)
        self.assertIn("is not there", err)

    def test_a_gap_in_the_log_is_refused(self):
        self.copy()
        (self.repository / f"log/{3:020}").unlink()
        code, _, err = self.run_reader("list")
        self.assertEqual(code, 4)
        self.assertIn("entry 3 is not there", err)

    def test_every_flipped_byte_of_an_entry_is_noticed(self):
        self.copy()
        name = f"log/{2:020}"
        for at in range(0, len((self.repository / name).read_bytes()), 7):
            self.spoil(name, at)
            self.assertEqual(self.run_reader("list")[0], 4, at)
            self.spoil(name, at)

    def test_a_config_with_another_mac_is_refused(self):
        self.copy()
        config = bytearray((self.repository / "config").read_bytes())
        config[64] ^= 1
        config[104:] = blake3(bytes(config[:104])).digest()
        for name in ("config", "config.copy"):
            (self.repository / name).write_bytes(config)
        code, _, err = self.run_reader("list")
        self.assertEqual(code, 4)
        self.assertIn("MAC", err)

    def test_newer_formats_and_features_are_unsupported(self):
        self.copy()
        for at, word in ((8, "format 2"), (12, "required features")):
            config = bytearray((self.made / "config").read_bytes())
            config[at] = 2
            config[104:] = blake3(bytes(config[:104])).digest()
            for name in ("config", "config.copy"):
                (self.repository / name).write_bytes(config)
            code, _, err = self.run_reader("list")
            self.assertEqual(code, 14)
            self.assertIn(word, err)


class Changes(unittest.TestCase):
    """Repositories that were written in an unusual way."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.writer = TinyWriter(self.folder / "repository")
        (self.folder / "key").write_bytes(KEY_FILE)

    def run_reader(self, *arguments: str) -> tuple[int, str]:
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            flags = ["--repo", str(self.writer.folder), "--key-file", str(self.folder / "key")]
            code = main(flags + [str(argument) for argument in arguments])
        return code, err.getvalue()

    def commit_home(self, **how) -> bytes:
        session, metadata = self.writer.open_session(), []
        home = self.writer.vm_home(DOCUMENT, NVRAM, metadata, **how)
        return self.writer.commit(session, "vm", {}, [], metadata, home)

    def test_a_home_with_another_binding_hands_out_nothing(self):
        point = self.commit_home(spoil=b"!")
        code, err = self.run_reader("restore-home", point.hex(), "--document-out", self.folder / "vmx")
        self.assertEqual(code, 4)
        self.assertIn("binding", err)
        self.assertFalse((self.folder / "vmx").exists())

    def test_a_file_name_outside_its_alphabet_is_refused(self):
        for name in ("../nvram", "..", "", "a" * 129, "a\n"):
            point = self.commit_home(file_name=name)
            code, err = self.run_reader("restore-home", point.hex(), "--document-out", self.folder / "vmx")
            self.assertEqual((code, "alphabet" in err), (4, True), err)

    def test_a_revoked_slot_is_not_used(self):
        slot_ids = sorted({path.name[:32] for path in (self.writer.folder / "keys").iterdir()})
        self.writer.append([(8, record({0: encode_list([]), 2: encode_list([bytes.fromhex(i) for i in slot_ids[:2]])}))])
        codes = set()
        for flag, secret in (("--key-file", KEY_FILE), ("--password-file", PASSWORD.encode())):
            (self.folder / "secret").write_bytes(secret)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                codes.add(main(["--repo", str(self.writer.folder), flag, str(self.folder / "secret"), "list"]))
        self.assertIn(12, codes)

    def test_an_even_kind_of_the_future_is_unsupported(self):
        self.writer.append([(98, b"")])
        self.assertEqual(self.run_reader("list")[0], 14)


if __name__ == "__main__":
    unittest.main()
