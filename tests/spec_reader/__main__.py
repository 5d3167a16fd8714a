"""The command line."""

from __future__ import annotations

import argparse
import json
import sys

from . import keys
from .blocks import map_root_of
from .check import check
from .errors import Damaged, ReaderError, Usage
from .listing import as_text, describe_all
from .repository import Repository, open_repository
from .restore import restore_disk, restore_home
from .vm_home import ENCRYPTION, fingerprint


def complain(line: str) -> None:
    print(line, file=sys.stderr)


def read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Usage(f"{path}: {error.strerror}") from None


def secret_from(arguments: argparse.Namespace) -> keys.Secret:
    if arguments.password_file:
        written = read_file(arguments.password_file)  # one line end after the password does not belong to it
        return keys.password(written.removesuffix(b"\n").removesuffix(b"\r"))
    if arguments.key_file:
        return keys.key_file(read_file(arguments.key_file))
    return keys.recovery_key(read_file(arguments.recovery_key_file))


def command_list(repository: Repository, arguments: argparse.Namespace) -> int:
    described, problems = describe_all(repository)
    print(json.dumps(described, indent=2) if arguments.json else as_text(described))
    for line in [f"void: {void}" for void in described["void"]] + repository.chunks.unreadable() + problems:
        complain(line)
    return Damaged.exit_code if problems else 0


def command_restore(repository: Repository, arguments: argparse.Namespace) -> int:
    bad = restore_disk(repository, arguments.point, arguments.disk, arguments.out, arguments.zero_bad)
    for extent in bad:
        complain(f"zeros stand for {extent.length} bytes at {extent.offset}, which could not be read at backup")
    return 0


def command_restore_home(repository: Repository, arguments: argparse.Namespace) -> int:
    home = restore_home(repository, arguments.point, arguments.document_out, arguments.nvram_out)
    print(f"encryption: {ENCRYPTION[home.encryption]}")
    print(f"KMS key id: {home.kms_key_id}, provider: {home.kms_provider}")
    if home.bundle is not None:
        print(f"encryption.bundle: {fingerprint(home.bundle, repository.keys)}")
    if home.nvram is not None:
        print(f"NVRAM: {home.nvram.file_name}, {home.nvram.stream.length} bytes")
    return 0


def command_check(repository: Repository, arguments: argparse.Namespace) -> int:
    report = check(repository)
    for line in report.notes:
        complain(f"note: {line}")
    for line in report.problems:
        complain(f"problem: {line}")
    print(
        f"log: {repository.state.head_number} entries; {report.packs} packs, {report.frames} frames, "
        f"{report.chunks} chunks, {report.points} restore points: {len(report.problems)} problems"
    )
    return Damaged.exit_code if report.problems else 0


def command_blocks(repository: Repository, arguments: argparse.Namespace) -> int:
    for path in arguments.files:
        print(f"{map_root_of(path, repository.config.chunking, repository.keys).hex()}  {path}")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="spec_reader", description=__doc__)
    top.add_argument("--repo", default=".", metavar="DIR")
    secret = top.add_mutually_exclusive_group(required=True)
    secret.add_argument("--password-file", metavar="F")
    secret.add_argument("--key-file", metavar="F")
    secret.add_argument("--recovery-key-file", metavar="F")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("list", help="the live restore points")
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=command_list)

    one = commands.add_parser("restore", help="a disk as a raw, sparse file")
    one.add_argument("point", metavar="POINT-ID-PREFIX")
    one.add_argument("--disk", required=True, metavar="NAME")
    one.add_argument("--out", required=True, metavar="FILE")
    one.add_argument("--zero-bad", action="store_true", help="zeros where the disk could not be read at backup")
    one.set_defaults(run=command_restore)

    one = commands.add_parser("restore-home", help="the configuration document and the NVRAM")
    one.add_argument("point", metavar="POINT-ID-PREFIX")
    one.add_argument("--document-out", metavar="F")
    one.add_argument("--nvram-out", metavar="F")
    one.set_defaults(run=command_restore_home)

    one = commands.add_parser("check", help="read and check everything")
    one.set_defaults(run=command_check)

    one = commands.add_parser("blocks", help="the map root ids that raw images have in this repository")
    one.add_argument("files", nargs="+", metavar="FILE")
    one.set_defaults(run=command_blocks)
    return top


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        repository = open_repository(arguments.repo, secret_from(arguments))
        return arguments.run(repository, arguments)
    except ReaderError as error:
        complain(str(error))
        return error.exit_code
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}")
        return Usage.exit_code


if __name__ == "__main__":
    sys.exit(main())
