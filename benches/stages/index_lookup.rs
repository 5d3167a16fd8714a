//! Looking up chunks in an index of 10 million entries: one run, and the seven that a year of nights leaves behind.
//!
//! Items are lookups; a lookup stands for one chunk (64 KiB on average), so 1 million a second is 61 GiB/s of disk.
//! `STRONGROOM_BENCH_ENTRIES` sets another size.

use std::sync::OnceLock;

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use repo_format::ChunkId;
use strongroom_benches::{
    index::{BigIndex, absent_id, nth_id},
    random::Random,
    sample,
};

fn main() {
    divan::main();
}

const LOOKUPS: usize = 100_000;
/// Shares of the entries in each run, newest last, of 1000.
const SEVEN: [u64; 7] = [800, 120, 50, 20, 6, 3, 1];

struct Made {
    index: BigIndex,
    present: Vec<ChunkId>,
    absent: Vec<ChunkId>,
    _folder: tempfile::TempDir,
}

fn entries() -> u64 {
    std::env::var("STRONGROOM_BENCH_ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000)
}

fn make(shares: &[u64]) -> Made {
    let (folder, mut random) = (tempfile::tempdir().expect("a folder"), Random::of(4, &[]));
    let counts: Vec<u64> = shares.iter().map(|share| entries() * share / 1000).collect();
    let paths: Vec<_> = (0..counts.len()).map(|n| folder.path().join(format!("{n}.run"))).collect();
    for ((n, count), path) in counts.iter().enumerate().zip(&paths) {
        BigIndex::write_run(path, sample::keys(), n as u64, *count, 0..*count);
    }
    let index = BigIndex::open(&paths, sample::keys());
    let mut place = || {
        let mut n = random.below(counts.iter().sum());
        let run = counts.iter().position(|count| n.checked_sub(*count).map(|less| n = less).is_none());
        nth_id(run.unwrap_or(0) as u64, counts[run.unwrap_or(0)], n)
    };
    let present = (0..LOOKUPS).map(|_| place()).collect();
    let mut random = Random::of(5, &[]);
    let absent = (0..LOOKUPS).map(|_| absent_id(&mut random)).collect();
    Made { index, present, absent, _folder: folder }
}

fn one() -> &'static Made {
    static ONE: OnceLock<Made> = OnceLock::new();
    ONE.get_or_init(|| make(&[1000]))
}

fn seven() -> &'static Made {
    static MANY: OnceLock<Made> = OnceLock::new();
    MANY.get_or_init(|| make(&SEVEN))
}

fn look_up(bencher: Bencher, made: &Made, ids: &[ChunkId], found: usize) {
    let bencher = bencher.counter(ItemsCount::new(ids.len())).counter(BytesCount::new(ids.len() as u64 * (64 << 10)));
    bencher.bench(|| assert_eq!(ids.iter().filter(|id| made.index.contains(id)).count(), found));
}

#[divan::bench(args = ["one run", "seven runs"])]
fn absent(bencher: Bencher, runs: &str) {
    let made = if runs == "one run" { one() } else { seven() };
    look_up(bencher, made, &made.absent, 0);
}

#[divan::bench(args = ["one run", "seven runs"])]
fn present(bencher: Bencher, runs: &str) {
    let made = if runs == "one run" { one() } else { seven() };
    look_up(bencher, made, &made.present, LOOKUPS);
}
