#!/usr/bin/env python3
"""What the chunk size costs over many nights: bytes stored, night by night, for each size.

    cargo run --release -p strongroom-benches --bin make_images -- --out images30 --vms 1 --size 1G --nights 30 --host-files
    benches/peers/nights.py --images images30 --strongroom target/release/strongroom

Writes OUT/nights.json and OUT/nights.md. Times are of one run each and only say whether a size is much slower.
"""
import argparse, json, os, shutil, subprocess, sys, time
from pathlib import Path

MIB = 1 << 20


def stored(repo):
    return sum(path.lstat().st_size for path in repo.rglob("*") if path.is_file())


def series(sizes, images, args):
    """[(image, MiB grown, seconds)] of one chunk size."""
    work = Path(args.work).resolve() / sizes.replace(",", "-")
    shutil.rmtree(work, ignore_errors=True)
    (work / "stage").mkdir(parents=True)
    repo = work / "repo"
    env = dict(os.environ, STRONGROOM_REPOSITORY=str(repo), STRONGROOM_PASSWORD="correct horse battery staple 7",
               STRONGROOM_CACHE_DIR=str(work / "cache"), STRONGROOM_STATE_DIR=str(work / "state"))

    def strongroom(*words):
        begin = time.monotonic()
        done = subprocess.run([Path(args.strongroom).resolve(), *words], env=env, capture_output=True, text=True)
        if done.returncode: sys.exit(f"strongroom {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}{done.stdout}")
        return time.monotonic() - begin

    strongroom("init", "--no-recovery-key", "-q", "--chunk-size", sizes, *args.init.split())
    rows, before = [], stored(repo)
    for image in images:
        seconds = strongroom("backup", "-q", "--vm", "vm1", "--tag", image.stem.replace(".", "-"), "--disk", f"disk0={image.resolve()}")
        now = stored(repo)
        rows.append((image.stem, (now - before) / MIB, seconds))
        before = now
        print(f"{sizes:16} {image.stem:14} {rows[-1][1]:9.2f} MiB  {seconds:6.2f} s", flush=True)
    if args.verify: strongroom("verify", "-q", "--read-data")
    shutil.rmtree(work)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True); parser.add_argument("--strongroom", default="target/release/strongroom")
    parser.add_argument("--chunk-size", action="append", help="least,average,greatest; may be given again (default: 32 and 64 KiB averages)")
    parser.add_argument("--init", default="", help="more options for init, such as '--chunker fastcdc'")
    parser.add_argument("--out", default="results"); parser.add_argument("--work", default="nights-work")
    parser.add_argument("--verify", action="store_true", help="verify --read-data at the end of each series")
    args = parser.parse_args()
    folder, images = Path(args.images), []
    while (image := folder / (f"vm1.night{len(images)}.raw" if images else "vm1.base.raw")).exists(): images.append(image)
    if not images: parser.error(f"{folder}: no vm1.base.raw")
    all_sizes = args.chunk_size or ["8K,32K,128K", "16K,64K,256K"]
    found = {sizes: series(sizes, images, args) for sizes in all_sizes}

    lines = ["| MiB stored | " + " | ".join(all_sizes) + " |", "|" + "---|" * (1 + len(all_sizes))]
    row = lambda name, values: lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    for n, image in enumerate(images): row(image.stem, [found[sizes][n][1] for sizes in all_sizes])
    row("all nights", [sum(grown for _, grown, _ in found[sizes][1:]) for sizes in all_sizes])
    row("in all", [sum(grown for _, grown, _ in found[sizes]) for sizes in all_sizes])
    row("in all, seconds", [sum(seconds for *_, seconds in found[sizes]) for sizes in all_sizes])
    out = Path(args.out); out.mkdir(parents=True, exist_ok=True)
    (out / "nights.md").write_text("\n".join(lines) + "\n")
    (out / "nights.json").write_text(json.dumps(found, indent=1))
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
