#!/usr/bin/env python3
"""Nights by a list of changed areas, beside peers that take such a list and peers that read the image whole; then forget and prune.

    cargo build --release
    benches/peers/install tools
    benches/peers/changed_nights.py --tools tools --strongroom target/release/strongroom --out results
    benches/peers/changed_nights.py --images images --tools tools --strongroom target/release/strongroom --out results

Without --images the script makes a disk itself, from --seed: text and noise in real stretches of zeros, and each night a share
of it changed in clusters of 64 KiB to 2 MiB. After --nights nights each program keeps the newest seven points; that step is
done --reps times, from a copy of the repository each time.

With --images (of make_images: vm1.base.raw, vm1.night1.raw, vm1.night1.cbt.json …) night 1 alone is measured, --reps times,
each from a copy of the repository as it is after the first backup.

Programs take turns. Seconds of a night are less those of `list` (opening the repository): with --images the one run right before it, else on the empty repository; those of forget and prune are whole, with as
many openings as a program's way takes. Writes OUT/changed_nights.json and .md; ends with 1 if a line of the table is missed, 2 if a program failed.
"""
import argparse, json, os, random, shutil, statistics, subprocess, sys, time, tomllib
from pathlib import Path

from run import HERE, MIB, OURS, Program, tree_bytes, warm

AREA, BLOCK, SEGMENT = 65536, 4096, 16 * MIB


class Nightly(Program):
    """A program of nights.toml: one image, always at the same place."""

    def __init__(self, name, commands, args):
        super().__init__(name, commands, args)
        self.keep, self.last, self.files, self.pairs = self.folder.with_name(name + ".keep"), None, set(), bool(args.images)
        if not self.version: self.failed = True

    def fill(self, text, **more):
        return super().fill(text, here=HERE, **more)

    def step(self, step, command, warm_path=None, **words):
        record = super().step(step, command, warm_path, **words)
        said = self.folder / "output"
        if record and self.name == OURS and "--json" in command and not record["exit"]:
            lines = [line for line in said.read_text().splitlines() if not line.startswith("warning")]
            record["result"] = json.loads("\n".join(lines))["result"]
            record["metadata"] = self.metadata_bytes()
        return record

    def metadata_bytes(self):
        """Bytes of our metadata packs and log entries that were not there before. A pack's class is byte 10 of it, in the clear."""
        found = {path: path.stat().st_size for kind in ("packs", "log") for path in (self.repo / kind).rglob("*") if path.is_file()}
        new, self.files = found.keys() - self.files, found.keys()
        of_metadata = lambda path: path.parent.name == "log" or path.open("rb").read(11)[10] == 2
        return sum(found[path] for path in new if of_metadata(path))

    def store(self, step, image, areas, tag):
        """The first backup, or a night after the one stored before."""
        place = self.stage / "vm1.raw"
        if place.exists(): place.unlink()
        os.link(image, place)
        shutil.copy(areas, self.stage / "areas.json")
        key = "night" if self.last else "backup"
        record = self.step(step, self.commands[key], warm_path=place, image="vm1.raw", map="areas.json", tag=tag, parent=self.last)
        self.last = tag
        return record

    def save(self):
        os.rename(self.folder, self.keep)

    def again(self):
        """The repository as it was saved, at its old place: some programs mind where it lies."""
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["cp", "-a", self.keep, self.folder], check=True)
        self.stored = tree_bytes(self.repo)
        warm(self.repo)

    def net(self, step):
        """The median of wall seconds, of a night less `list`: the one right before it, or the median of those on the empty repository."""
        walls = self.values(step, "wall")
        if not walls: return None
        if step != "night": return statistics.median(walls)
        opens = self.values("empty list", "wall")[-len(walls):]
        paired = [wall - opening for wall, opening in zip(walls, opens)] if len(opens) == len(walls) and self.pairs else None
        return statistics.median(paired) if paired else statistics.median(walls) - statistics.median(opens)


class MadeDisk:
    """A disk and its nights, from a seed."""

    def __init__(self, folder, size, share, seed):
        self.image, self.areas, self.size, self.share = folder / "disk.raw", folder / "areas.json", size, share
        self.random = random.Random(seed)
        words = [bytes(self.random.choices(b"etaoinshrdlu", k=self.random.randrange(2, 9))) for _ in range(4000)]
        self.text = b" ".join(self.random.choices(words, k=300_000))
        # Stretches of data, two thirds of the disk.
        self.stretches, at = [], 0
        with open(self.image, "wb") as file:
            file.truncate(size)
            while at < size:
                length = min(self.random.randrange(1, 32) * MIB, size - at)
                self.stretches.append(range(at, at + length))
                file.seek(at)
                for _ in range(0, length, AREA): file.write(self.content(AREA))
                at += length + self.random.randrange(0, 16) * MIB
        self.list([(stretch.start, len(stretch)) for stretch in self.stretches])

    def content(self, length):
        """Half text, half noise; no two pieces the same."""
        at, half = self.random.randrange(len(self.text) - length), length // 2
        return self.text[at:at + half] + self.random.randbytes(length - half)

    def list(self, areas):
        self.areas.write_text(json.dumps([{"start": start, "length": length} for start, length in areas]))

    def night(self):
        """Changes the image in clusters; most lie in the first third of the disk. In a cluster every second block on average changes."""
        changed, left = set(), int(self.size * self.share)
        with open(self.image, "r+b") as file:
            while left > 0:
                busy = self.random.random() < .7
                stretch = self.random.choice(self.stretches[:max(1, len(self.stretches) // 3)] if busy else self.stretches)
                length = AREA << self.random.randrange(6)
                start = self.random.randrange(stretch.start, max(stretch.start + 1, stretch.stop - length), BLOCK)
                for at in range(start, min(start + length, stretch.stop), BLOCK):
                    if self.random.random() < .5: continue
                    file.seek(at)
                    file.write(self.content(BLOCK))
                    changed.add(at // AREA)
                    left -= BLOCK
            os.fsync(file.fileno())
        areas = []
        for index in sorted(changed):
            if areas and sum(areas[-1]) == index * AREA: areas[-1] = (areas[-1][0], areas[-1][1] + AREA)
            else: areas.append((index * AREA, AREA))
        self.list(areas)


def each(programs, turn, do):
    for n in range(len(programs)):
        program = programs[(n + turn) % len(programs)]
        if not program.failed: do(program)


def measure_images(programs, args):
    folder = Path(args.images).resolve()
    for program in programs:
        if program.failed: continue
        program.begin()
        program.store("full", folder / "vm1.base.raw", folder / "vm1.base.alloc.json", "base")
        program.save()

    def night(program):
        program.again()
        # This machine's cores are not the same speed at all times: the opening is timed right before what it is taken from.
        program.step("empty list", program.commands["list"])
        program.last = "base"
        program.store("night", folder / "vm1.night1.raw", folder / "vm1.night1.cbt.json", "night1")
        shutil.rmtree(program.folder)

    for rep in range(args.reps): each(programs, rep, night)


def measure_nights(programs, args):
    made = Path(args.work).resolve() / "made"
    made.mkdir(parents=True, exist_ok=True)
    disk = MadeDisk(made, args.size * MIB, args.share, args.seed)
    for program in programs:
        if program.failed: continue
        program.begin()
    each(programs, 0, lambda program: program.store("full", disk.image, disk.areas, "base"))
    for night in range(1, args.nights + 1):
        disk.night()
        each(programs, night, lambda program: program.store("night", disk.image, disk.areas, f"night{night}"))
    each(programs, 0, lambda program: program.save())

    def forget(program):
        program.again()
        program.step("forget", program.commands["forget"], gone=args.nights + 1 - 7)
        shutil.rmtree(program.folder)

    for rep in range(args.reps): each(programs, rep, forget)


def judge(programs, args):
    """(what, ours, best peer, which, ratio, at most, passed)"""
    ours = next((program for program in programs if program.name == OURS and not program.failed), None)
    peers = [program for program in programs if program.name != OURS and not program.failed]
    if not ours or not peers: return []
    lines = []

    def compare(what, step, most):
        best = min((peer.net(step), peer.name) for peer in peers if peer.net(step) is not None)
        ratio = ours.net(step) / best[0]
        lines.append((what, f"{ours.net(step):.2f} s", f"{best[0]:.2f} s", best[1], f"{ratio:.2f}", f"{most}", ratio <= most))

    compare("night by its list", "night", .2)
    if not args.images:
        compare(f"forget and prune after {args.nights} nights", "forget", .5)
        rss = max(ours.values("forget", "rss_mib"))
        lines.append(("the same, resident", f"{rss:.0f} MiB", "", "", "", "512 MiB", rss <= 512))
    nights = [record for record in ours.steps if record["step"] == "night"]
    disks = [record["result"]["disks"][0] for record in nights]
    beyond = sum(disk["read_bytes"] - disk["audit"]["sampled_bytes"] - disk["changed_area_bytes"] for disk in disks)
    beyond /= 1024 * sum(disk["changed_areas"] for disk in disks)
    lines.append(("read beyond each run of changed areas, audit apart", f"{beyond:.1f} KiB", "", "", "", "128 KiB", beyond <= 128))
    # 512 KiB and 12 KiB for each segment that was touched.
    bounds = [512 * 1024 + 12 * 1024 * disk["changed_bytes"] / SEGMENT for disk in disks]
    share, worst = max((record["metadata"] / bound, record["metadata"]) for record, bound in zip(nights, bounds))
    lines.append(("metadata packs and log of a night, the worst", f"{worst / 1024:.0f} KiB", "", "", f"{share:.2f}", f"{worst / share / 1024:.0f} KiB", share <= 1))
    return lines


def table(programs, lines, args):
    out = ["|  | Strongroom | best peer | which | ratio | at most |  |", "|---|---|---|---|---|---|---|"]
    out += [f"| {' | '.join(line[:6])} | {'pass' if line[6] else '**MISS**'} |" for line in lines]
    steps = ["night"] if args.images else ["night", "forget"]
    heads = [word for step in steps for word in (f"{step}, s (raw, least…most)", f"{step}, CPU s", f"{step}, MiB grown", f"{step}, MiB resident")]
    out += ["", f"| program | version | list, s | {' | '.join(heads)} |", "|" + "---|" * (3 + len(heads))]
    for program in programs:
        if program.failed:
            out.append(f"| {program.name} | {program.version or 'not there'} | failed |")
            continue
        row = [program.name, program.version, f"{statistics.median(program.values('empty list', 'wall')):.2f}"]
        for step in steps:
            walls = program.values(step, "wall")
            median = lambda key: statistics.median(program.values(step, key))
            row += [f"{program.net(step):.2f} ({min(walls):.2f}…{max(walls):.2f})", f"{median('cpu'):.2f}", f"{median('stored') / MIB:.1f}", f"{max(program.values(step, 'rss_mib')):.0f}"]
        out.append(f"| {' | '.join(row)} |")
    noise = max((record["others_cores"] for program in programs for record in program.steps), default=0)
    out += ["", f"Everything else on the machine used at most {noise:.2f} cores during a step."]
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder of make_images; else the script makes a disk and its nights")
    parser.add_argument("--tools", default="tools"); parser.add_argument("--strongroom", default="target/release/strongroom")
    parser.add_argument("--programs", help="comma-separated, of nights.toml (default: all that are there)")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the made disk"); parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--share", type=float, default=.02, help="of the made disk that changes in a night"); parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reps", type=int, default=3); parser.add_argument("--list-reps", type=int, default=3); parser.add_argument("--out", default="results")
    parser.add_argument("--work", default="nights-work", help="repositories; on the disk to measure")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    known = tomllib.loads((HERE / "nights.toml").read_text())
    programs = [Nightly(name, known[name], args) for name in (args.programs.split(",") if args.programs else known)]
    for program in programs:
        if program.failed: print(f"{program.name}: not there, left out", flush=True)
    programs = [program for program in programs if not program.failed]
    (measure_images if args.images else measure_nights)(programs, args)
    lines = judge(programs, args)
    text = table(programs, lines, args)
    out = Path(args.out); out.mkdir(parents=True, exist_ok=True)
    (out / "changed_nights.md").write_text(text)
    (out / "changed_nights.json").write_text(json.dumps({program.name: dict(version=program.version, steps=program.steps) for program in programs}, indent=1))
    print("\n" + text)
    shutil.rmtree(args.work)
    sys.exit(2 if any(program.failed for program in programs) else 1 if any(not line[6] for line in lines) else 0)


if __name__ == "__main__":
    main()
