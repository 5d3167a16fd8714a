#!/usr/bin/env python3
"""What a night by changed areas costs on disks of growing size with the same changed bytes: it must not follow the disk.

    cargo build --release -p strongroom
    benches/peers/growth.py --strongroom target/release/strongroom

Each disk is sparse and holds the same data; each night the same number of areas changes, spread over the disk.
Prints the median wall time of the nights; exit code 1 if the largest is more than --most times the smallest.
"""
import argparse, json, os, random, shutil, statistics, subprocess, sys, time
from pathlib import Path

GIB, MIB, AREA = 1 << 30, 1 << 20, 65536


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strongroom", default="target/release/strongroom")
    parser.add_argument("--sizes", default="2,8,32", help="GiB")
    parser.add_argument("--data", type=int, default=256, help="MiB of data on each disk")
    parser.add_argument("--changed", type=int, default=32, help="MiB changed each night, in areas of 64 KiB")
    parser.add_argument("--nights", type=int, default=7)
    parser.add_argument("--audit", default="", help="as for backup; default: the program's own")
    parser.add_argument("--most", type=float, default=1.3)
    parser.add_argument("--work", default="growth-work")
    args = parser.parse_args()
    work = Path(args.work).resolve()
    shutil.rmtree(work, ignore_errors=True)
    rounds = {int(size): [] for size in args.sizes.split(",")}
    places = {size: Disk(work / f"{size}", size * GIB, args) for size in rounds}
    # The sizes take turns, so that what else the machine does falls on all of them.
    for night in range(args.nights):
        for size, disk in places.items():
            rounds[size].append(disk.night(night))
    medians = {size: statistics.median(seconds) for size, seconds in rounds.items()}
    for size, seconds in rounds.items():
        read = places[size].read_bytes / MIB
        print(f"{size:4} GiB  median {medians[size]:6.3f} s  least {min(seconds):6.3f}  most {max(seconds):6.3f}  read {read:.1f} MiB a night")
    ratio = max(medians.values()) / min(medians.values())
    print(f"largest / smallest: {ratio:.2f}, at most {args.most}")
    shutil.rmtree(work)
    sys.exit(0 if ratio <= args.most else 1)


class Disk:
    """A sparse disk, its repository and its nights."""

    def __init__(self, folder, size, args):
        self.folder, self.size, self.args, self.read_bytes = folder, size, args, 0
        folder.mkdir(parents=True)
        self.image, self.random = folder / "disk.img", random.Random(1)
        self.env = dict(os.environ, STRONGROOM_REPOSITORY=str(folder / "repo"), STRONGROOM_PASSWORD="correct horse battery staple 7",
                        STRONGROOM_CACHE_DIR=str(folder / "cache"), STRONGROOM_STATE_DIR=str(folder / "state"))
        # Stretches of 1 MiB, spread over the disk.
        self.stretches = [at * (size // args.data) // MIB * MIB for at in range(args.data)]
        with open(self.image, "wb") as file:
            file.truncate(size)
            for at in self.stretches:
                file.seek(at)
                file.write(self.random.randbytes(MIB))
        self.run("init", "--no-recovery-key", "-q", "--kdf-memory", "32K")
        self.run("backup", "-q", "--vm", "vm", str(self.image))

    def run(self, *words):
        begin = time.monotonic()
        done = subprocess.run([Path(self.args.strongroom).resolve(), *words], env=self.env, capture_output=True, text=True)
        if done.returncode: sys.exit(f"strongroom {' '.join(words)}: exit {done.returncode}\n{done.stderr}{done.stdout}")
        return time.monotonic() - begin, done.stdout

    def night(self, number):
        count = self.args.changed * MIB // AREA
        slots = [at + slot * AREA for at in self.stretches for slot in range(MIB // AREA)]
        areas = sorted(self.random.sample(slots, count))
        with open(self.image, "r+b") as file:
            for at in areas:
                file.seek(at)
                file.write(self.random.randbytes(AREA))
            os.fsync(file.fileno())
        listed = self.folder / "areas.json"
        listed.write_text(json.dumps([{"start": at, "length": AREA} for at in areas]))
        audit = ["--audit", self.args.audit] if self.args.audit else []
        seconds, out = self.run("--json", "backup", "--vm", "vm", str(self.image), "--changed-areas", str(listed), "--parent", "vm", *audit)
        disk = json.loads(out)["result"]["disks"][0]
        if disk["read"] != "changed_areas": sys.exit(f"read whole: {disk}")
        self.read_bytes = disk["read_bytes"]
        return seconds


if __name__ == "__main__":
    main()
