#!/usr/bin/env python3
"""Strongroom beside restic, rustic and borg, in one run over the same VM images.

    cargo build --release
    cargo run --release -p strongroom-benches --bin make_images -- --out images --host-files
    benches/peers/install tools
    benches/peers/run.py --images images --tools tools --strongroom target/release/strongroom --out results

Steps, each done by every program before the next begins, in an order that turns round by round:
  init, empty list   a fresh repository; the time of `list` is the price of the password and is taken off every other time
  full               VM 1 (median of --reps, each into a fresh repository; the last is kept)
  vm2, vm3 ...       other VMs into the same repository
  night1, night2 ... nights of VM 1, the whole image read
  unchanged          the last night again, the whole image read
  restore            the last night of VM 1 (median of --reps): wall time and the sync after it; then compared byte for byte
  verify             everything read back and authenticated (median of --reps)
Images and repositories are read into the page cache before each step, for all alike. Stored bytes are the growth of the repository.
Measured per step: wall time, CPU (user + system), peak resident memory (of the largest process; 21 MiB or less are run.py itself), sync after it, and how many cores everyone else used meanwhile.
Writes OUT/results.json and OUT/table.md. Ends with 1 if a line of the acceptance table is missed, 2 if a program failed
or brought back other bytes.
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys, time, tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "strongroom"
MIB = 1 << 20


def machine_busy():
    """CPU seconds that everything on the machine has used so far."""
    ticks = [int(word) for word in open("/proc/stat").readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def tree_bytes(folder):
    return sum(path.lstat().st_size for path in Path(folder).rglob("*") if not path.is_dir())


def warm(path):
    paths = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for one in paths:
        with open(one, "rb", buffering=0) as file:
            while file.read(4 * MIB):
                pass


class Program:
    def __init__(self, name, commands, args):
        self.name, self.commands, self.args = name, commands, args
        self.folder = Path(args.work).resolve() / name
        self.repo, self.cache, self.stage, self.out = (self.folder / part for part in ("repo", "cache", "stage", "out"))
        self.stored, self.steps, self.failed = 0, [], False
        self.version = subprocess.run(["bash", "-c", self.fill(commands["version"])], capture_output=True, text=True).stdout.strip().split("\n")[0]

    def fill(self, text, **more):
        words = dict(repo=self.repo, cache=self.cache, out=self.out, tools=Path(self.args.tools).resolve(),
                     strongroom=Path(self.args.strongroom).resolve(), **more)
        return re.sub(r"\{(\w+)\}", lambda match: str(words[match[1]]), text)

    def fresh(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in (self.cache, self.stage, self.out): folder.mkdir(parents=True)
        self.stored = 0

    def show(self, vm, name):
        """Puts an image where its VM's disk always lies, as a nightly job sees it."""
        source, target = Path(self.args.images).resolve() / f"{name}.raw", self.stage / f"vm{vm}.raw"
        if target.exists():
            if target.samefile(source): return target
            target.unlink()
        try: os.link(source, target)
        except OSError: subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)
        return target

    def step(self, step, command, warm_path=None, **words):
        """Runs one command in bash and keeps what it cost."""
        if self.failed: return None
        env = dict(os.environ, **{key: self.fill(value) for key, value in self.commands["env"].items()})
        script = f"set -e -o pipefail; {self.fill(command, **words)}"
        if warm_path: warm(warm_path)
        subprocess.run(["sync"])
        said = self.folder / "output"
        with open(said, "wb") as output:
            busy, begin = machine_busy(), time.monotonic()
            child = subprocess.Popen(["bash", "-c", script], cwd=self.stage, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            _, status, used = os.wait4(child.pid, 0)
            wall = time.monotonic() - begin
            child.returncode = os.waitstatus_to_exitcode(status)
        others = max(0, machine_busy() - busy - used.ru_utime - used.ru_stime) / max(wall, .05)
        begin = time.monotonic()
        subprocess.run(["sync"])
        record = dict(step=step, exit=child.returncode, wall=round(wall, 3), cpu=round(used.ru_utime + used.ru_stime, 2),
                      rss_mib=round(used.ru_maxrss / 1024, 1), sync_after=round(time.monotonic() - begin, 3), others_cores=round(others, 2))
        now = tree_bytes(self.repo)
        record["stored"], self.stored = now - self.stored, now
        self.steps.append(record)
        print(f"{time.strftime('%T')} {self.name:14} {step:12} {wall:7.2f} s  cpu {record['cpu']:7.2f}  rss {record['rss_mib']:6.1f} MiB  "
              f"stored {record['stored'] / MIB:8.1f} MiB  sync {record['sync_after']:.2f}  others {others:.2f}", flush=True)
        if child.returncode:
            self.failed = True
            print(f"!! {self.name}, {step}: exit {child.returncode}\n{said.read_text(errors='replace')[-2000:]}", flush=True)
        return record

    def begin(self):
        self.fresh()
        self.step("init", self.commands["init"])
        for _ in range(self.args.list_reps): self.step("empty list", self.commands["list"])

    def backup(self, step, vm, image, key="backup", command=None):
        path = self.show(vm, image)
        return self.step(step, command or self.commands[key], warm_path=path, image=path.name, vm=f"vm{vm}", tag=image.replace(".", "-"))

    def restore(self, vm, image):
        record = self.step("restore", self.commands["restore"], warm_path=self.repo, image=f"vm{vm}.raw", vm=f"vm{vm}", tag=image.replace(".", "-"))
        if record and not record["exit"]:
            original = Path(self.args.images) / f"{image}.raw"
            record["equal"] = subprocess.run(["cmp", "-s", self.out / f"vm{vm}.raw", original]).returncode == 0
            if not record["equal"]: print(f"!! {self.name}: the restored image differs", flush=True)
        shutil.rmtree(self.out); self.out.mkdir()

    # What the tables ask for.
    def values(self, step, key): return [record[key] for record in self.steps if record["step"] == step and not record["exit"]]

    def unlock(self): return statistics.median(self.values("empty list", "wall") or [0])

    def seconds(self, step):
        """Median wall time less the price of the password; restore with the sync after it."""
        walls = self.values(step, "wall")
        if step == "restore": walls = [sum(pair) for pair in zip(walls, self.values(step, "sync_after"))]
        return statistics.median(walls) - self.unlock() if walls else None

    def growth(self, step):
        stored = self.values(step, "stored")
        return statistics.median(stored) if stored else None

    def rss(self): return max((record["rss_mib"] for record in self.steps), default=0)


def run(programs, args):
    manifest = json.loads((Path(args.images) / "manifest.json").read_text())["images"]
    others = sorted({image["vm"] for image in manifest} - {1})
    nights = sorted(image["night"] for image in manifest if image["vm"] == 1 and image["night"])[:args.nights]
    last = f"vm1.night{nights[-1]}" if nights else "vm1.base"
    turn = 0

    def each(do):
        nonlocal turn
        turn += 1
        for n in range(len(programs)): do(programs[(n + turn) % len(programs)])

    for _ in range(args.reps):
        each(lambda program: (program.begin(), program.backup("full", 1, "vm1.base")))
    for vm in others: each(lambda program: program.backup(f"vm{vm}", vm, f"vm{vm}.base"))
    for night in nights: each(lambda program: program.backup(f"night{night}", 1, f"vm1.night{night}"))
    each(lambda program: program.backup("unchanged", 1, last, key="again"))
    for _ in range(args.reps): each(lambda program: program.restore(1, last))
    for _ in range(args.reps): each(lambda program: program.step("verify", program.commands["verify"], warm_path=program.repo))
    return [f"vm{vm}" for vm in others], [f"night{night}" for night in nights]


def variants(program, args):
    """What other settings of ours cost on the first full backup: the median of --reps fresh repositories each."""
    kept, folder = program.steps, program.folder
    found = []
    for name, command in program.commands.get("variants", {}).items():
        program.steps, program.failed = [], False
        for _ in range(args.reps):
            program.begin()
            program.backup("full", 1, "vm1.base", command=command)
        found.append(dict(name=name, seconds=program.seconds("full"), stored=program.growth("full"), failed=program.failed))
    program.steps = kept
    shutil.rmtree(folder, ignore_errors=True)
    return found


def judge(programs, others, nights):
    """The acceptance table: (what, ours, best peer, its name, ratio, must be at most, passed)."""
    ours = next((program for program in programs if program.name == OURS), None)
    peers = [program for program in programs if program.name != OURS]
    if not ours or not peers: return []
    lines = []

    def compare(what, value, limit, scale, unit):
        mine = value(ours)
        best = min(((value(peer), peer.name) for peer in peers if value(peer) is not None), default=None)
        if mine is None or best is None: lines.append((what, "-", "-", "-", None, limit, False)); return
        ratio = mine / best[0] if best[0] > 0 else float("inf")
        lines.append((what, f"{mine / scale:.2f} {unit}", f"{best[0] / scale:.2f} {unit}", best[1], ratio, limit, ratio <= limit))

    time_of = lambda step: lambda program: program.seconds(step)
    size_of = lambda step: lambda program: program.growth(step)
    compare("first full backup, time", time_of("full"), .65, 1, "s")
    compare("first full backup, stored", size_of("full"), 1, MIB, "MiB")
    for step in others: compare(f"{step}, stored", size_of(step), 1, MIB, "MiB")
    for step in nights:
        compare(f"{step} full read, time", time_of(step), .25, 1, "s")
        compare(f"{step}, newly stored", size_of(step), .6, MIB, "MiB")
    compare("unchanged disk full read, time", time_of("unchanged"), .25, 1, "s")
    compare("restore with sync, time", time_of("restore"), .85, 1, "s")
    compare("verify everything, time", time_of("verify"), .65, 1, "s")
    lines.append(("peak resident memory", f"{ours.rss():.0f} MiB", "512 MiB", "the limit", ours.rss() / 512, 1, ours.rss() <= 512))
    equal = [same for program in programs for same in program.values("restore", "equal")]
    lines.append(("restored bytes equal", f"{sum(equal)} of {len(equal)}", "all", "", None, None, bool(equal) and all(equal)))
    return lines


def table(programs, others, nights, lines, found, args):
    bytes_ = (Path(args.images) / "vm1.base.raw").stat().st_size
    noise = max((record["others_cores"] for program in programs for record in program.steps if record["wall"] > .5), default=0)
    out = [f"VM images of {bytes_ / 2**30:.2f} GiB; {os.cpu_count()} cores; median of {args.reps} for full, restore and verify. Seconds less the time of an "
           f"empty `list`; restore with the sync after it; sizes in MiB. Everything else on the machine used at most {noise:.2f} cores during a step.", ""]

    def rows(head, body):
        out.extend(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)])
        out.extend("| " + " | ".join(row) + " |" for row in body)
        out.append("")

    if lines:
        rows(["", "Strongroom", "best peer", "which", "ratio", "at most", ""],
             [[what, mine, best, who, f"{ratio:.2f}" if ratio is not None else "", f"{limit}" if limit else "", "pass" if good else "**MISS**"]
              for what, mine, best, who, ratio, limit, good in lines])
    number = lambda value, scale=1, digits=2: "-" if value is None else f"{value / scale:.{digits}f}"
    spread = lambda program, step: f"{number(program.seconds(step))} ({min(program.values(step, 'wall')):.2f}…{max(program.values(step, 'wall')):.2f})" if program.values(step, "wall") else "-"
    steps = ["full", *others, *nights, "unchanged", "restore", "verify"]
    rows(["seconds (raw wall, least…most)", *steps, "empty list"], [[program.name, *[spread(program, step) for step in steps], number(program.unlock())] for program in programs])
    cpu = lambda program, step: number(statistics.median(program.values(step, "cpu"))) if program.values(step, "cpu") else "-"
    rows(["CPU seconds", *steps], [[program.name, *[cpu(program, step) for step in steps]] for program in programs])
    steps = ["full", *others, *nights, "unchanged"]
    rows(["MiB stored", *steps, "in all", "peak RSS"],
         [[program.name, *[number(program.growth(step), MIB, 1) for step in steps], number(program.stored, MIB, 1), f"{program.rss():.0f}"] for program in programs])
    if found:
        rows(["Strongroom with", "full, s", "MiB stored"], [[one["name"], "failed" if one["failed"] else number(one["seconds"]), number(one["stored"], MIB, 1)] for one in found])
    for program in programs:
        for record in program.steps:
            if record["exit"] or not record.get("equal", True):
                out.extend([f"**{program.name} failed at {record['step']}**: " + (f"exit {record['exit']}" if record["exit"] else "the restored image differs"), ""])
    rows(["program", "version"], [[program.name, program.version] for program in programs])
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of make_images (vm1.base.raw, vm1.night1.raw, manifest.json)")
    parser.add_argument("--tools", default="tools", help="folder that install filled")
    parser.add_argument("--strongroom", default="target/release/strongroom")
    parser.add_argument("--programs", help="comma-separated, of peers.toml (default: all)")
    parser.add_argument("--out", default="results"); parser.add_argument("--work", default="peers-work", help="repositories; on the disk to measure")
    parser.add_argument("--reps", type=int, default=3); parser.add_argument("--list-reps", type=int, default=3)
    parser.add_argument("--nights", type=int, help="only the first N nights")
    parser.add_argument("--variants", action="store_true", help="also what zstd levels and threads cost us")
    args = parser.parse_args()
    known = tomllib.loads((HERE / "peers.toml").read_text())
    names = args.programs.split(",") if args.programs else list(known)
    if unknown := [name for name in names if name not in known]: parser.error(f"unknown: {unknown}; known: {list(known)}")
    programs = [Program(name, known[name], args) for name in names]
    others, nights = run(programs, args)
    lines = judge(programs, others, nights)
    ours = next((program for program in programs if program.name == OURS), None)
    final = {program.name: (program.stored, program.steps, program.failed) for program in programs}
    found = variants(ours, args) if ours and args.variants else []
    if ours: ours.stored, ours.steps, ours.failed = final[OURS]
    text = table(programs, others, nights, lines, found, args)
    out = Path(args.out); out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text)
    acceptance = [dict(zip(("what", "ours", "best", "peer", "ratio", "limit", "passed"), line)) for line in lines]
    (out / "results.json").write_text(json.dumps(dict(
        images=str(args.images), reps=args.reps, cores=os.cpu_count(), acceptance=acceptance, variants=found,
        programs={program.name: dict(version=program.version, unlock=program.unlock(), steps=program.steps) for program in programs}), indent=1))
    print("\n" + text)
    shutil.rmtree(args.work, ignore_errors=True)
    bad = any(record["exit"] or not record.get("equal", True) for program in programs for record in program.steps)
    sys.exit(2 if bad else 1 if any(not line[-1] for line in lines) else 0)


if __name__ == "__main__":
    main()
