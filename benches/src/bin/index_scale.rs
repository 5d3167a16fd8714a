//! What an index of 100 million chunks costs in memory.
//!
//!     cargo run --release -p strongroom-benches --bin index_scale -- --folder DIR [--entries N] [--limit-mib 512] [--lookups N]
//!
//! Writes runs as sessions would, then puts itself under the limit, merges them into one and looks up chunks, absent and present.
//! The limit is a memory cgroup where this process may make one (root, cgroup v1 or v2), and RLIMIT_DATA (anonymous memory) always.
//! DIR needs 90 bytes an entry for a while. Ends with 1 if anonymous memory went over the limit; being killed is a failure, too.

use std::{fs, path::Path, process::ExitCode, time::Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use strongroom_benches::{
    index::{BigIndex, absent_id, nth_id},
    random::Random,
    sample,
};

const PIECES: u64 = 16;

fn main() -> ExitCode {
    let (mut folder, mut entries, mut limit_mib, mut lookups) = (None, 100_000_000_u64, 512_u64, 2_000_000_u64);
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        let number = || value.parse().unwrap_or_else(|_| panic!("{name} {value}: not a number"));
        match name.as_str() {
            "--folder" => folder = Some(value),
            "--entries" => entries = number(),
            "--limit-mib" => limit_mib = number(),
            "--lookups" => lookups = number(),
            _ => panic!("unknown option {name}"),
        }
    }
    let folder = folder.expect("--folder DIR is needed");
    fs::create_dir_all(&folder).expect("folder");
    let (folder, keys) = (Path::new(&folder), sample::keys());

    let begin = Instant::now();
    let bounds: Vec<u64> = (0..=PIECES).map(|n| entries * n / PIECES).collect();
    let pieces: Vec<_> = (0..PIECES).map(|n| folder.join(format!("scale-{n}.run"))).collect();
    for (bound, path) in bounds.windows(2).zip(&pieces) {
        let _ = fs::remove_file(path);
        BigIndex::write_run(path, keys, 1, entries, bound[0]..bound[1]);
    }
    let sessions = begin.elapsed().as_secs_f64();
    println!(
        "{PIECES} runs of {} entries: {sessions:.1} s, anonymous memory {} MiB",
        entries / PIECES,
        status("RssAnon") >> 10
    );

    let cgroup = limit(limit_mib);
    println!(
        "limit {limit_mib} MiB: RLIMIT_DATA and {}",
        cgroup.as_deref().unwrap_or("no cgroup (not allowed to make one)")
    );

    let merged = folder.join("scale.run");
    let _ = fs::remove_file(&merged);
    let begin = Instant::now();
    BigIndex::merge(&merged, keys, &pieces);
    let mut peak = status("RssAnon");
    println!("merged: {:.1} s, anonymous memory {} MiB", begin.elapsed().as_secs_f64(), peak >> 10);
    pieces.iter().for_each(|path| drop(fs::remove_file(path)));

    let index = BigIndex::open(std::slice::from_ref(&merged), keys);
    let bytes = fs::metadata(&merged).map_or(0, |data| data.len());
    println!("{} entries, {:.2} bytes each on disk", index.entry_count(), bytes as f64 / index.entry_count() as f64);
    for (what, present) in [("absent", false), ("present", true), ("absent, again", false), ("present, again", true)] {
        let mut random = Random::of(9, &[u64::from(present)]);
        // Present lookups read the disk until it is in memory: fewer of them.
        let lookups = if present { lookups / 20 } else { lookups };
        let (begin, mut found) = (Instant::now(), 0_u64);
        for _ in 0..lookups {
            let id = if present { nth_id(1, entries, random.below(entries)) } else { absent_id(&mut random) };
            found += u64::from(index.contains(&id));
        }
        assert_eq!(found, if present { lookups } else { 0 });
        let ns = begin.elapsed().as_nanos() as f64 / lookups.max(1) as f64;
        peak = peak.max(status("RssAnon"));
        println!(
            "{what}: {ns:.0} ns a lookup, anonymous {} MiB, mapped {} MiB",
            status("RssAnon") >> 10,
            status("RssFile") >> 10
        );
    }
    let _ = fs::remove_file(&merged);
    println!("peak resident {} MiB, anonymous after each step at most {} MiB", status("VmHWM") >> 10, peak >> 10);
    leave(cgroup);
    if peak >> 10 <= limit_mib { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line of /proc/self/status, KiB.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Limits this process; the name of the cgroup if one could be made.
fn limit(mib: u64) -> Option<String> {
    let bytes = mib << 20;
    let _ = setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) });
    let (folder, file) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        ("/sys/fs/cgroup", "memory.max")
    } else {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    };
    let own = format!("{folder}/strongroom-bench-{}", std::process::id());
    fs::create_dir(&own).ok()?;
    let entered = fs::write(format!("{own}/{file}"), bytes.to_string())
        .and_then(|()| fs::write(format!("{own}/cgroup.procs"), std::process::id().to_string()));
    if entered.is_err() {
        let _ = fs::remove_dir(&own);
        return None;
    }
    Some(own)
}

/// Back to the parent group, so that the own one can be removed.
fn leave(cgroup: Option<String>) {
    let Some(own) = cgroup else { return };
    let parent = Path::new(&own).parent().map(|parent| parent.join("cgroup.procs"));
    drop(parent.map(|procs| fs::write(procs, std::process::id().to_string())));
    drop(fs::remove_dir(own));
}
