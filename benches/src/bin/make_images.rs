//! Makes raw disk images of VMs and their nights, without privileges; the same arguments make the same bytes.
//!
//!     cargo run --release -p strongroom-benches --bin make_images -- --out DIR [--vms 3] [--size 2G] [--nights 2] [--night-vms N] [--seed 1] [--host-files]
//!
//! ```text
//! vm1.base.raw  vm1.base.alloc.json         the first image, and where it holds data   [{"start":…,"length":…}]
//! vm1.night1.raw  vm1.night1.cbt.json  …    the image a night later, and what changed (64 KiB areas)
//! manifest.json
//! ```
//!
//! Every image has an MBR, a real ext4 file system (Debian: e2fsprogs) and swap. Files go in through `debugfs`, in a given order and with
//! given times: `mkfs.ext4 -d` would take the order and the inode times of the host's folder, and no two runs would be alike.
//! VM 1, 2, 4, 5, … are clones of one template; VM 3, 6, … are installed on their own: the same files, in other places.
//! A night changes about 2.5 % of the disk: database pages in place, appended logs, upgraded packages, new and deleted media, swap.
//! Content is made (`content.rs`); with `--host-files` programs, libraries and texts are those of the host's /usr.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use strongroom_benches::{
    content::{self, Kind, PAGE},
    random::Random,
};

const MIB: u64 = 1 << 20;
const AREA: usize = 64 << 10;
/// All times inside the images count from here.
const EPOCH: u64 = 1_767_225_600;

struct Options {
    out: PathBuf,
    vms: u64,
    size: u64,
    nights: u64,
    night_vms: u64,
    seed: u64,
    host_files: bool,
}

fn main() {
    let options = options();
    fs::create_dir_all(&options.out).expect("output folder");
    let mut manifest = Vec::new();
    let template = options.out.join("template.tmp");
    for vm in 1..=options.vms {
        let mut guest = Guest::install(&options, vm, &template);
        let areas = changed(None, &guest.image, &guest.image.with_extension("alloc.json"));
        manifest.push(line(&format!("vm{vm}.base"), vm, 0, "alloc", areas));
        for night in 1..=if vm <= options.night_vms { options.nights } else { 0 } {
            let before = guest.image.clone();
            guest.image = options.out.join(format!("vm{vm}.night{night}.raw"));
            run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&before).arg(&guest.image));
            guest.night(&options, night);
            let areas = changed(Some(&before), &guest.image, &guest.image.with_extension("cbt.json"));
            manifest.push(line(&format!("vm{vm}.night{night}"), vm, night, "cbt", areas));
        }
    }
    drop(fs::remove_file(&template));
    let Options { size, seed, host_files, .. } = options;
    let text = format!(
        "{{\"args\": {{\"size\": {size}, \"seed\": {seed}, \"host_files\": {host_files}}},\n \"images\": [\n  {}\n]}}\n",
        manifest.join(",\n  ")
    );
    fs::write(options.out.join("manifest.json"), text).expect("manifest");
}

fn line(name: &str, vm: u64, night: u64, map: &str, areas: u64) -> String {
    println!("{name}: {} MiB {}", areas / MIB, if night == 0 { "of data" } else { "changed" });
    format!(
        "{{\"name\": \"{name}\", \"vm\": {vm}, \"night\": {night}, \"map\": \"{name}.{map}.json\", \"map_bytes\": {areas}}}"
    )
}

fn options() -> Options {
    let mut options = Options {
        out: PathBuf::new(),
        vms: 3,
        size: 2 << 30,
        nights: 2,
        night_vms: u64::MAX,
        seed: 1,
        host_files: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--host-files" {
            options.host_files = true;
            continue;
        }
        let value = arguments.next().unwrap_or_else(|| panic!("{name}: a value is missing"));
        let number = || {
            let (digits, unit) = value.split_at(value.trim_end_matches(char::is_alphabetic).len());
            let unit = match unit {
                "" => 1,
                "M" => MIB,
                "G" => MIB << 10,
                _ => panic!("{name} {value}: units are M and G"),
            };
            digits.parse::<u64>().unwrap_or_else(|_| panic!("{name} {value}: not a number")) * unit
        };
        match name.as_str() {
            "--out" => options.out = PathBuf::from(&value),
            "--vms" => options.vms = number(),
            "--size" => options.size = number() / MIB * MIB,
            "--nights" => options.nights = number(),
            "--night-vms" => options.night_vms = number(),
            "--seed" => options.seed = number(),
            _ => panic!("unknown option {name}"),
        }
    }
    assert!(!options.out.as_os_str().is_empty(), "--out DIR is needed");
    assert!(options.size >= 128 * MIB, "--size: at least 128M");
    options
}

/// A file of a guest: everything its bytes depend on.
#[derive(Clone)]
struct Entry {
    kind: Kind,
    length: u64,
    key: u64,
    /// Upgrades applied, each the night it came.
    upgrades: Vec<u64>,
    host: Option<PathBuf>,
}

impl Entry {
    fn new(kind: Kind, length: u64, key: u64) -> Self {
        Self { kind, length, key, upgrades: Vec::new(), host: None }
    }

    fn bytes(&self, seed: u64) -> Vec<u8> {
        let made = || content::make(self.kind, self.length as usize, &mut Random::of(seed, &[1, self.key]));
        let first = self.host.as_ref().and_then(|path| fs::read(path).ok()).unwrap_or_else(made);
        self.upgrades
            .iter()
            .fold(first, |bytes, night| content::rebuilt(bytes, &mut Random::of(seed, &[2, self.key, *night])))
    }
}

/// Paths in the guest and their files; paths sort as packages do.
type Tree = BTreeMap<String, Entry>;

fn fill(tree: &mut Tree, random: &mut Random, folder: &str, kind: Kind, mut budget: u64, sizes: (u64, u64)) {
    while budget > 4096 {
        let length = random.log_between(sizes.0, sizes.1).min(budget);
        let name = format!("{folder}/{:02x}/{:010x}", random.below(40), random.next_u64() >> 24);
        tree.insert(name, Entry::new(kind, length, random.next_u64()));
        budget -= length.max(4096).min(budget);
    }
}

/// What every guest of the site has: an operating system.
fn system(options: &Options) -> Tree {
    let (mut tree, mut random, size) = (Tree::new(), Random::of(options.seed, &[3]), options.size);
    if options.host_files {
        let shares = [("/usr/bin", 5), ("/usr/lib/x86_64-linux-gnu", 11), ("/usr/lib/python3", 3), ("/usr/share", 8)];
        shares.iter().for_each(|(folder, share)| host_files(&mut tree, Path::new(folder), size / 100 * share));
        return tree;
    }
    fill(&mut tree, &mut random, "/usr/bin", Kind::Program, size / 100 * 5, (16 << 10, 1 << 20));
    fill(&mut tree, &mut random, "/usr/lib", Kind::Program, size / 100 * 12, (32 << 10, 4 << 20));
    fill(&mut tree, &mut random, "/usr/share", Kind::Source, size / 100 * 9, (1 << 10, 128 << 10));
    fill(&mut tree, &mut random, "/usr/share/media", Kind::Media, size / 100, (4 << 10, 256 << 10));
    tree
}

fn host_files(tree: &mut Tree, root: &Path, budget: u64) {
    let (mut left, mut folders) = (budget, vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let Ok(data) = path.symlink_metadata() else { continue };
            let Some(name) = path.to_str().filter(|name| !name.contains(['"', '\n', ' '])) else { continue };
            if data.is_dir() {
                folders.push(path);
            } else if data.is_file() && data.len() > 0 && data.len() <= (budget / 8).min(left) {
                left -= data.len().max(4096).min(left);
                let key = name.bytes().fold(7, |key: u64, byte| key.wrapping_mul(31) ^ u64::from(byte));
                tree.insert(name.to_owned(), Entry { host: Some(path), ..Entry::new(Kind::Program, data.len(), key) });
            }
        }
    }
}

/// What makes this guest itself: by turns a database server, an application server and a file server.
fn own_files(options: &Options, vm: u64) -> Tree {
    let (mut tree, mut random, size) = (Tree::new(), Random::of(options.seed, &[4, vm]), options.size / 1000);
    let (database, media, logs, application) =
        [(120, 10, 15, 40), (30, 20, 30, 110), (20, 120, 10, 60)][((vm - 1) % 3) as usize];
    tree.insert("/etc/machine-id".into(), Entry::new(Kind::Source, 33, random.next_u64()));
    fill(&mut tree, &mut random, "/opt/app", Kind::Source, application * size / 2, (1 << 10, 128 << 10));
    fill(&mut tree, &mut random, "/opt/app/lib", Kind::Program, application * size / 2, (64 << 10, 4 << 20));
    fill(&mut tree, &mut random, "/srv/media", Kind::Media, media * size, (128 << 10, 8 << 20));
    let part = 64 * MIB;
    for start in (0..database * size).step_by(part as usize) {
        let length = (database * size - start).min(part) / PAGE as u64 * PAGE as u64;
        tree.insert(
            format!("/var/lib/db/base/{:05}", 16400 + start / part),
            Entry::new(Kind::Database, length, random.next_u64()),
        );
    }
    for n in 0..4 {
        tree.insert(
            format!("/var/lib/db/wal/{n:08}"),
            Entry::new(Kind::Media, (8 * size).min(16 * MIB), random.next_u64()),
        );
    }
    tree.insert("/var/log/syslog".into(), Entry::new(Kind::Log, logs * size / 2, random.next_u64()));
    tree.insert("/var/log/syslog.1".into(), Entry::new(Kind::Log, logs * size / 2, random.next_u64()));
    tree.insert("/var/log/journal".into(), Entry::new(Kind::Log, logs * size, random.next_u64()));
    tree
}

struct Guest {
    vm: u64,
    image: PathBuf,
    tree: Tree,
    swap: std::ops::Range<u64>,
}

impl Guest {
    fn install(options: &Options, vm: u64, template: &Path) -> Self {
        let image = options.out.join(format!("vm{vm}.base.raw"));
        drop(fs::remove_file(&image));
        let swap_bytes = (options.size / 32 / MIB * MIB).max(8 * MIB);
        let swap = options.size - swap_bytes..options.size;
        let mut guest = Self { vm, image, tree: Tree::new(), swap };
        let (system, own) = (system(options), own_files(options, vm));
        if vm.is_multiple_of(3) {
            guest.format(options, vm);
            guest.tree = system.into_iter().chain(own).collect();
            let mut all: Vec<_> = guest.tree.clone().into_iter().collect();
            // Packages come in another order; files of a package stay together.
            all.sort_by_key(|(path, _)| {
                (Random::of(vm, &[folder(path).bytes().map(u64::from).sum()]).next_u64(), path.clone())
            });
            guest.apply(options, EPOCH, &[], &all);
        } else {
            if !template.exists() {
                let first = Self { image: template.to_owned(), swap: guest.swap.clone(), vm: 0, tree: Tree::new() };
                first.format(options, 0);
                first.apply(options, EPOCH, &[], &system.clone().into_iter().collect::<Vec<_>>());
            }
            run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(template).arg(&guest.image));
            guest.apply(options, EPOCH + 3600, &[], &own.clone().into_iter().collect::<Vec<_>>());
            guest.tree = system.into_iter().chain(own).collect();
        }
        let mut random = Random::of(options.seed, &[5, vm]);
        guest.write_swap(options, &mut random, 0, swap_bytes / 2);
        guest
    }

    /// MBR, remains of an earlier life of the disk, an empty ext4.
    fn format(&self, options: &Options, key: u64) {
        let file = File::options().write(true).create(true).truncate(true).open(&self.image).expect("image");
        file.set_len(options.size).expect("image length");
        let mut random = Random::of(options.seed, &[6, key]);
        let sector = |bytes: u64| ((bytes / 512) as u32).to_le_bytes();
        let mut mbr = [0; 512];
        for (at, kind, start, end) in [(446, 0x83, MIB, self.swap.start), (462, 0x82, self.swap.start, self.swap.end)] {
            mbr[at + 4] = kind;
            mbr[at + 8..at + 12].copy_from_slice(&sector(start));
            mbr[at + 12..at + 16].copy_from_slice(&sector(end - start));
        }
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        file.write_all_at(&mbr, 0).expect("image");
        let mut stale = 0;
        while stale < options.size / 10 {
            let kind = *random.skewed(&[Kind::Program, Kind::Source, Kind::Media, Kind::Log]);
            let length = random.log_between(64 << 10, 8 * MIB);
            let at = random.between(options.size / 3, self.swap.start - 8 * MIB) & !4095;
            file.write_all_at(&content::make(kind, length as usize, &mut random), at).expect("image");
            stale += length;
        }
        let hex = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        let uuid = format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]);
        let extended = format!("offset={MIB},nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed={uuid}");
        let blocks = ((self.swap.start - MIB) / 4096).to_string();
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F", "-b", "4096", "-m", "1", "-U", &uuid, "-L", "root", "-E", &extended])
            .arg(&self.image)
            .arg(blocks);
        run(mkfs.env("E2FSPROGS_FAKE_TIME", EPOCH.to_string()).env("SOURCE_DATE_EPOCH", EPOCH.to_string()));
    }

    /// Removes and writes files inside the file system.
    fn apply(&self, options: &Options, time: u64, gone: &[String], new: &[(String, Entry)]) {
        let stage = options.out.join("stage.tmp");
        drop(fs::remove_dir_all(&stage));
        fs::create_dir(&stage).expect("stage folder");
        let (mut script, mut folders) = (String::new(), std::collections::BTreeSet::new());
        gone.iter().for_each(|path| writeln!(script, "rm \"{path}\"").expect("text"));
        for (n, (path, entry)) in new.iter().enumerate() {
            for (end, _) in path.match_indices('/').skip(1) {
                if folders.insert(&path[..end]) {
                    writeln!(script, "mkdir \"{}\"", &path[..end]).expect("text");
                }
            }
            let host = stage.join(n.to_string());
            fs::write(&host, entry.bytes(options.seed)).expect("staged file");
            fs::set_permissions(&host, fs::Permissions::from_mode(0o644)).expect("staged file");
            writeln!(script, "write \"{}\" \"{path}\"", host.display()).expect("text");
        }
        let (_, complaints) = self.debugfs(&["-w"], time, &script);
        let full = complaints.lines().find(|line| line.contains("No space") || line.contains("Could not allocate"));
        assert!(full.is_none(), "the guest is full: {full:?}");
        fs::remove_dir_all(&stage).expect("stage folder");
    }

    /// What debugfs says and complains about.
    fn debugfs(&self, options: &[&str], time: u64, script: &str) -> (String, String) {
        let device = format!("{}?offset={MIB}", self.image.display());
        let mut command = Command::new("debugfs");
        command
            .args(options)
            .args(["-f", "-", &device])
            .env("E2FSPROGS_FAKE_TIME", time.to_string())
            .env("DEBUGFS_PAGER", "cat");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("debugfs (e2fsprogs)");
        let (mut input, script) = (child.stdin.take().expect("pipe"), script.to_owned());
        let feeder = std::thread::spawn(move || input.write_all(script.as_bytes()));
        let output = child.wait_with_output().expect("debugfs");
        feeder.join().expect("thread").expect("debugfs reads its script");
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Where the 4 KiB blocks of a file lie in the image.
    fn blocks(&self, path: &str) -> Vec<u64> {
        let (said, _) = self.debugfs(&[], EPOCH, &format!("blocks \"{path}\"\n"));
        let numbers = said.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        numbers.filter(|block| *block != 0).map(|block| block * 4096 + MIB).collect()
    }

    fn write_swap(&self, options: &Options, random: &mut Random, start: u64, bytes: u64) {
        let file = File::options().write(true).open(&self.image).expect("image");
        let programs = content::make(Kind::Program, 1 << 20, &mut Random::of(options.seed, &[7]));
        for at in (start..start + bytes).step_by(4096).filter(|at| self.swap.start + at < self.swap.end) {
            file.write_all_at(&content::swap_page(&programs, random), self.swap.start + at).expect("image");
        }
    }

    /// Everything that happens between two backups.
    fn night(&mut self, options: &Options, night: u64) {
        let (size, seed) = (options.size / 10_000, options.seed);
        let mut random = Random::of(seed, &[8, self.vm, night]);
        let (mut gone, mut new) = (Vec::new(), Vec::new());

        // Upgrades: the same packages on every guest of the site.
        let mut shared = Random::of(seed, &[9, night]);
        let packages: Vec<String> = self.tree.keys().filter(|path| path.starts_with("/usr/")).cloned().collect();
        let mut left = 40 * size;
        while left > 0 {
            let first = shared.below(packages.len() as u64) as usize;
            for path in packages.iter().skip(first).take(20) {
                let Some(entry) =
                    self.tree.get_mut(path).filter(|entry| left > 0 && entry.upgrades.last() != Some(&night))
                else {
                    continue;
                };
                entry.upgrades.push(night);
                left -= entry.length.max(4096).min(left);
                gone.push(path.clone());
                new.push((path.clone(), entry.clone()));
            }
        }
        let mut left = 15 * size;
        while left > 0 {
            let victims: Vec<String> = self
                .tree
                .keys()
                .filter(|path| path.starts_with("/opt/") || path.starts_with("/srv/"))
                .cloned()
                .collect();
            let Some(path) = victims.get(random.below(victims.len() as u64) as usize) else { break };
            left -= self.tree.remove(path).map_or(left, |entry| entry.length.min(left));
            gone.push(path.clone());
        }
        let mut media = Tree::new();
        fill(&mut media, &mut random, "/srv/media", Kind::Media, 20 * size, (128 << 10, 4 << 20));
        new.extend(media);
        let log = Entry::new(Kind::Log, 20 * size, random.next_u64());
        gone.extend(["/var/log/syslog.1".to_owned(), "/var/log/syslog".to_owned()]);
        new.push(("/var/log/syslog.1".into(), self.tree["/var/log/syslog"].clone()));
        new.push(("/var/log/syslog".into(), log));
        self.apply(options, EPOCH + night * 86_400, &gone, &new);
        self.tree.extend(new);

        self.update_in_place(&mut random, night, size);
        let swap_bytes = self.swap.end - self.swap.start;
        for _ in 0..6 {
            let start = random.below(swap_bytes) & !4095;
            self.write_swap(options, &mut random, start, 2 * size);
        }
    }

    /// Writes that leave files where they are: database pages around hot spots, the write-ahead log, the journal.
    fn update_in_place(&self, random: &mut Random, night: u64, size: u64) {
        let file = File::options().read(true).write(true).open(&self.image).expect("image");
        let of = |folder: &str| -> Vec<u64> {
            self.tree.keys().filter(|path| path.starts_with(folder)).flat_map(|path| self.blocks(path)).collect()
        };
        // Neighbouring blocks of a file are a page; debugfs places them side by side, or the pair is left out.
        let pages: Vec<u64> =
            of("/var/lib/db/base/").chunks_exact(2).filter(|two| two[0] + 4096 == two[1]).map(|two| two[0]).collect();
        let hot: Vec<u64> = (0..24).map(|_| random.below(pages.len() as u64)).collect();
        let mut left = 100 * size / PAGE as u64;
        while left > 0 && !pages.is_empty() {
            let near = if random.percent(70) { *random.skewed(&hot) + random.below(120) } else { random.next_u64() };
            for next in 0..random.log_between(1, 8) {
                let at = pages[((near.wrapping_add(next)) % pages.len() as u64) as usize];
                let mut page = vec![0; PAGE];
                file.read_exact_at(&mut page, at).expect("page");
                content::update_page(&mut page, random);
                file.write_all_at(&page, at).expect("page");
                left = left.saturating_sub(1);
            }
        }
        let wal = of("/var/lib/db/wal/");
        let from = (night * 40 * size / 4096) as usize;
        for at in wal.iter().cycle().skip(from % wal.len().max(1)).take((40 * size / 4096) as usize) {
            let mut block = random.bytes(2048);
            block.extend(content::make(Kind::Database, 2048, random));
            file.write_all_at(&block, *at).expect("block");
        }
        let journal = of("/var/log/journal");
        let from = ((night - 1) * 30 * size / 4096) as usize;
        let lines = content::make(Kind::Log, (30 * size) as usize, random);
        for (block, at) in lines.chunks_exact(4096).zip(journal.iter().cycle().skip(from % journal.len().max(1))) {
            file.write_all_at(block, *at).expect("block");
        }
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Writes the areas in which `new` differs from `old` (from zeros, if there is none) as JSON; their bytes.
fn changed(old: Option<&Path>, new: &Path, map: &Path) -> u64 {
    let (old, new) = (old.map(|path| File::open(path).expect("image")), File::open(new).expect("image"));
    let bytes = new.metadata().expect("image").len();
    let (mut before, mut after) = (vec![0; AREA], vec![0; AREA]);
    let mut areas: Vec<(u64, u64)> = Vec::new();
    for start in (0..bytes).step_by(AREA) {
        let length = AREA.min((bytes - start) as usize);
        new.read_exact_at(&mut after[..length], start).expect("image");
        if let Some(old) = &old {
            old.read_exact_at(&mut before[..length], start).expect("image");
        }
        match areas.last_mut() {
            _ if before[..length] == after[..length] => {}
            Some((first, bytes)) if *first + *bytes == start => *bytes += length as u64,
            _ => areas.push((start, length as u64)),
        }
    }
    let lines: Vec<_> =
        areas.iter().map(|(start, length)| format!("{{\"start\": {start}, \"length\": {length}}}")).collect();
    fs::write(map, format!("[{}]\n", lines.join(", "))).expect("map");
    areas.iter().map(|(_, length)| length).sum()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
