//! A disk through the process with VMware's library, beside the same file read directly by the engine: the whole of a backup
//! into memory each time, chunked, compressed and sealed; and once more, when all of it is stored and only read, chunked and hashed.
//!
//!     cargo build --release -p vddk-stand-in
//!     cargo run --release -p strongroom-benches --bin vddk_reads -- --image IMAGE [--library target/release/libvddk_stand_in.so]
//!         [--rounds 3] [--threads 2]
//!
//! The library is the stand-in of the tests, or VMware's own where it can read a local file. The two ways take turns; what is
//! printed is the best round of each, and their ratio.

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Instant};

use engine::{
    BackupJob, BackupOptions, DiskSource, Environment, JobDisk, MemoryStore, NewRepository, NewSlotSecret, OnBad,
    RawImage, Silent, StateFolder, SystemClock, SystemEntropy, backup, init,
};
use repo_format::{Chunking, Compression, Config, Consistency, KdfCost, RepositoryId, SlotSecret, VmIdentity};
use vsphere::{
    disk::{DiskPlace, VddkVm},
    transport::{Access, DiskState},
    vddk::{HELPER_ARGUMENT, Launch, VmAccess, VmLogin, helper_main},
};

fn main() -> ExitCode {
    // The process that holds the library is this program itself.
    if std::env::args().nth(1).as_deref() == Some(HELPER_ARGUMENT) {
        return helper_main();
    }
    let (mut image, mut library) = (None, "target/release/libvddk_stand_in.so".to_owned());
    let (mut rounds, mut threads) = (3_u32, 2_usize);
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        let number = || value.parse().unwrap_or_else(|_| panic!("{name} {value}: not a number"));
        match name.as_str() {
            "--image" => image = Some(value),
            "--library" => library = value,
            "--rounds" => rounds = number(),
            "--threads" => threads = usize::try_from(number()).expect("a few threads"),
            _ => panic!("unknown option {name}"),
        }
    }
    let image = fs::canonicalize(image.expect("--image IMAGE is needed")).expect("an image");
    let libdir = libdir(Path::new(&library), &image);
    let (mut direct, mut by_vddk) = ([f64::INFINITY; 2], [f64::INFINITY; 2]);
    for _ in 0..rounds {
        best(&mut direct, seconds(&RawImage::open(&image).expect("an image"), threads));
        best(&mut by_vddk, by_library(libdir.path(), &image, threads));
    }
    let mib = fs::metadata(&image).expect("an image").len() as f64 / f64::from(1 << 20);
    for ((what, direct), by_vddk) in ["new", "stored already"].iter().zip(direct).zip(by_vddk) {
        println!(
            "{mib:.0} MiB, {what}, {threads} threads: directly {:.0} MiB/s, by the library's process {:.0} MiB/s: {:.2} of it",
            mib / direct,
            mib / by_vddk,
            direct / by_vddk
        );
    }
    ExitCode::SUCCESS
}

fn best(best: &mut [f64; 2], now: [f64; 2]) {
    best.iter_mut().zip(now).for_each(|(best, now)| *best = best.min(now));
}

/// A folder as VMware's archive unpacks to, with the library in it.
fn libdir(library: &Path, image: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let libraries = folder.path().join("lib64");
    fs::create_dir(&libraries).expect("a folder");
    fs::copy(library, libraries.join("libvixDiskLib.so.8"))
        .expect("the library: cargo build --release -p vddk-stand-in");
    let root = image.parent().expect("a folder");
    fs::write(folder.path().join("stand-in.toml"), format!("root = {root:?}\n")).expect("settings");
    folder
}

fn by_library(libdir: &Path, image: &Path, threads: usize) -> [f64; 2] {
    let login = VmLogin {
        vm: "vm-1".to_owned(),
        server: "localhost".to_owned(),
        port: 443,
        user: "bench".to_owned(),
        password: String::new().into(),
        thumbprint: "AA:BB".to_owned(),
    };
    let access = VmAccess { login, snapshot: Some("snapshot-1".to_owned()), access: Access::Read };
    let vm = VddkVm::start("bench", Launch::new(libdir), access).expect("the library's process");
    let name = image.file_name().and_then(|name| name.to_str()).expect("a name");
    let place = DiskPlace {
        name: "disk0".to_owned(),
        path: format!("[ds] {name}"),
        state: DiskState::Clear,
        allowed: "nbdssl".parse().expect("a transport"),
    };
    let disk = vm.open(place).expect("the disk");
    let took = seconds(&disk, threads);
    drop(disk);
    vm.end();
    took
}

/// How long a backup of a disk into memory takes, and how long the next one.
fn seconds(source: &dyn DiskSource, threads: usize) -> [f64; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let environment = Environment {
        store: Arc::new(MemoryStore::new()),
        cache: None,
        state: StateFolder::at(folder.path()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        host: "bench".to_owned(),
        program: "vddk_reads".to_owned(),
        accept_rollback: None,
    };
    let secret = SlotSecret::password("only for this bench".to_owned().into()).expect("a password");
    let slot = NewSlotSecret { secret, label: "bench".to_owned(), cost: KdfCost::default() };
    let config = Config::new(RepositoryId::from_bytes([0; 16]), Chunking::default(), 1);
    let (mut writer, _) = init(environment, NewRepository { config, slots: vec![slot] }).expect("a repository");
    let options = BackupOptions { threads, compression: Compression::Zstd(3), on_bad: OnBad::Fail };
    [(); 2].map(|()| {
        let disk = JobDisk {
            name: "disk0".to_owned(),
            uuid: None,
            change_id: None,
            read_whole: None,
            source: Box::new(source),
        };
        let job = BackupJob {
            identity: VmIdentity::named("bench").expect("a name"),
            vm_name: "bench".to_owned(),
            disks: vec![disk],
            changes: None,
            home: None,
            tag: None,
            hold: None,
            consistency: Consistency::Unknown,
            recorded: None,
        };
        let begun = Instant::now();
        backup(&mut writer, &job, &options, &Silent).expect("a backup");
        begun.elapsed().as_secs_f64()
    })
}
