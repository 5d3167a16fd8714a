//! Repair over real backups in memory: what comes back, what does not, and that nothing is written that need not be.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use repo_format::{
    Chunking, Class, Compression, Config, Consistency, Digest, FullPack, KdfCost, Record, RepositoryId, SlotSecret,
    VmIdentity,
};

use super::*;
use crate::{
    backup::{BackupJob, BackupOptions, JobDisk, OnBad, backup},
    clock::FixedClock,
    copy::{CopyOptions, copy},
    entropy::{Entropy, SeededEntropy},
    log::{LogError, PackStatus},
    monitor::Silent,
    repository::{Environment, NewRepository, NewSlotSecret, OpenError, init, open_reader, open_writer},
    restore::{BadExtents, RestoreJob, RestoreOptions, restore},
    source::MemorySource,
    state_folder::StateFolder,
    store::{Caps, Deleted, Listed, MemoryStore, Name, Prefix, PutNew, StoreError},
    target::{MemoryTarget, Target},
    verify::{VerifyReport, verify, verify_and_mend},
};

const SHARD: usize = 4096;
const OPTIONS: RepairOptions =
    RepairOptions { mode: RepairMode::Mend, threads: 2, compression: Compression::Stored, cache_bytes: 1 << 24 };

/// A repository, and what its points hold.
struct Bench {
    store: Arc<MemoryStore>,
    folder: tempfile::TempDir,
    seed: AtomicU64,
    contents: BTreeMap<ChunkId, Vec<u8>>,
}

fn secret() -> SlotSecret {
    SlotSecret::key_file(zeroize::Zeroizing::new(vec![9; 64])).unwrap()
}

impl Bench {
    fn new(seed: u64) -> Self {
        let bench = Self {
            store: Arc::new(MemoryStore::new()),
            folder: tempfile::tempdir().unwrap(),
            seed: AtomicU64::new(seed * 1000),
            contents: BTreeMap::new(),
        };
        let chunking = Chunking { min_log2: 12, avg_log2: 13, max_log2: 14, ..Chunking::default() };
        let config = Config {
            shard_log2: 12,
            segment_log2: 16,
            frame_bytes_max: 1 << 16,
            data_pack_bytes: 1 << 18,
            metadata_pack_bytes: 1 << 18,
            ..Config::new(RepositoryId::from_bytes([0; 16]), chunking, 1)
        };
        let slot = NewSlotSecret { secret: secret(), label: "test".to_owned(), cost: KdfCost::default() };
        init(bench.environment("state"), NewRepository { config, slots: vec![slot] }).unwrap();
        bench
    }

    fn environment(&self, state: &str) -> Environment {
        Environment {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            cache: Some(self.folder.path().join("cache")),
            state: StateFolder::at(&self.folder.path().join(state)),
            clock: Arc::new(FixedClock::new(1_000_000 + self.seed.load(Ordering::Relaxed))),
            entropy: Arc::new(SeededEntropy::new(self.seed.fetch_add(1, Ordering::Relaxed))),
            host: "host".to_owned(),
            program: "test".to_owned(),
            accept_rollback: None,
        }
    }

    fn writer(&self) -> Writer {
        open_writer(self.environment("state"), &secret()).unwrap()
    }

    /// Knows nothing but what is in the store.
    fn stranger(&self) -> Result<Reader, OpenError> {
        open_reader(Environment { cache: None, ..self.environment("another state") }, &secret())
    }

    fn back_up(&mut self, vm: &str, content: &[u8]) -> ChunkId {
        let job = BackupJob {
            identity: VmIdentity::named(vm).unwrap(),
            vm_name: vm.to_owned(),
            disks: vec![JobDisk {
                name: "disk0".to_owned(),
                uuid: None,
                change_id: None,
                read_whole: None,
                source: Box::new(MemorySource::new(content.to_vec())),
            }],
            changes: None,
            home: None,
            tag: None,
            hold: None,
            consistency: Consistency::Unknown,
            recorded: None,
        };
        let options = BackupOptions { threads: 2, compression: Compression::Stored, on_bad: OnBad::Keep };
        let point = backup(&mut self.writer(), &job, &options, &Silent).unwrap().point;
        self.contents.insert(point, content.to_vec());
        point
    }

    /// Two VMs with something in common, two nights.
    fn filled(seed: u64) -> Self {
        let mut bench = Self::new(seed);
        for (vm, seeds) in [("web01", 0..9), ("db01", 5..12), ("web01", 1..10)] {
            bench.back_up(vm, &seeds.flat_map(|seed| noise(seed, 1 << 16)).collect::<Vec<u8>>());
        }
        bench
    }

    fn packs(&self, class: Class) -> Vec<Name> {
        let writer = self.writer();
        writer.state().packs().filter(|(_, pack)| pack.class == class).map(|(_, pack)| Name::pack(pack.name)).collect()
    }

    fn objects(&self) -> BTreeMap<Name, Digest> {
        let mut objects = BTreeMap::new();
        for prefix in [Prefix::Packs, Prefix::Keys, Prefix::Log] {
            self.store
                .list(prefix, &mut |listed| {
                    objects.insert(
                        listed.name.clone(),
                        Digest::of(&self.store.get(&listed.name, u64::MAX).unwrap().unwrap()),
                    );
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
        objects
    }

    fn spoil(&self, name: &Name, shards: &[usize]) {
        let mut bytes = self.store.get(name, u64::MAX).unwrap().unwrap();
        shards.iter().for_each(|shard| bytes[shard * SHARD + 100] ^= 4);
        self.store.tamper(name, Some(bytes));
    }

    fn repair(&self, sources: &RepairSources<'_>) -> RepairReport {
        repair(&mut self.writer(), sources, &OPTIONS, &Silent).unwrap()
    }

    fn verified(&self) -> VerifyReport {
        let options = VerifyOptions { depth: Depth::ReadData(Share::Whole), points: Vec::new(), threads: 1 };
        verify(&mut self.stranger().unwrap(), &options, &Silent).unwrap()
    }

    /// Every point comes back bit for bit, read by a stranger.
    fn assert_all_restore(&self) {
        let reader = self.stranger().unwrap();
        for (point, content) in &self.contents {
            let target = Arc::new(MemoryTarget::new());
            let disks = vec![("disk0".to_owned(), Arc::clone(&target) as Arc<dyn Target>)];
            let job = RestoreJob { point: *point, disks, base: None };
            let options = RestoreOptions { threads: 2, bad_extents: BadExtents::Refuse };
            assert_eq!(restore(&reader, &job, &options, &Silent).unwrap().problems, []);
            assert!(target.bytes() == *content, "{point}");
        }
    }

    fn marked(&self) -> usize {
        self.writer().state().packs().filter(|(_, pack)| pack.status == PackStatus::Damaged).count()
    }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    SeededEntropy::new(1_000_000 + seed).fill(&mut noise);
    noise
}

#[test]
fn what_parity_makes_up_for_is_whole_again_under_the_same_name() {
    let bench = Bench::filled(1);
    let before = bench.objects();
    let packs: Vec<Name> = [bench.packs(Class::Data), bench.packs(Class::Metadata)].concat();
    for (number, pack) in packs.iter().enumerate() {
        // Two parity shards: two shards, and a footer beside them.
        bench.spoil(pack, if number % 2 == 0 { &[0, 1, 2] } else { &[1, 3] });
    }
    let report = bench.repair(&RepairSources::default());
    assert_eq!((report.healed.len(), report.lost, report.marked), (packs.len(), vec![], vec![]));
    assert!(report.healed.iter().all(|healed| healed.from == HealedFrom::Pack(MendedFrom::Parity)));
    let after = bench.objects();
    assert!(before.iter().all(|(name, digest)| after.get(name) == Some(digest)), "the same bytes as before");
    assert_eq!(bench.verified().problems, []);
    bench.assert_all_restore();
    assert!(bench.repair(&RepairSources::default()).findings.is_empty(), "a second run finds nothing");
}

#[test]
fn a_verification_that_may_mend_mends_in_passing() {
    let bench = Bench::filled(2);
    let before = bench.objects();
    let pack = &bench.packs(Class::Data)[0];
    bench.spoil(pack, &[5]);
    let options = VerifyOptions { depth: Depth::ReadData(Share::Whole), points: Vec::new(), threads: 1 };
    assert_eq!(verify(&mut bench.writer().0, &options, &Silent).unwrap().problems.len(), 1, "not unless it may");
    let report = verify_and_mend(&mut bench.writer(), &options, &Silent).unwrap();
    assert_eq!((report.problems, report.mended.len()), (vec![], 1));
    assert_eq!(bench.objects().get(pack), before.get(pack));
    // The log tells of it.
    let log = bench.writer();
    assert_eq!(log.head().number, bench.objects().keys().filter(|name| Prefix::Log.holds(name)).count() as u64);
    assert_eq!(verify(&mut bench.writer().0, &options, &Silent).unwrap().problems, []);
}

#[test]
fn what_is_beyond_the_parity_is_marked_named_and_stored_again_by_the_next_backup() {
    let mut bench = Bench::filled(3);
    let pack = bench.packs(Class::Data)[0].clone();
    bench.spoil(&pack, &[1, 2, 3, 4]);
    let before = bench.store.get(&pack, u64::MAX).unwrap();
    let report = bench.repair(&RepairSources::default());
    assert_eq!((report.healed.len(), report.marked.len(), report.lost.len()), (0, 1, 1));
    assert!(report.is_anything_lost());
    let lost = &report.lost[0];
    assert!(
        lost.what.ends_with("it cannot be mended: 4 of its shards are damaged, its parity makes up for 2"),
        "{}",
        lost.what
    );
    assert!(lost.costs.iter().all(|cost| cost.part == Part::Disk("disk0".to_owned()) && !cost.ranges.is_empty()));
    // Four shards of 4 KiB, cut out of frames of 64 KiB: one or two of them.
    assert!(lost.costs[0].bytes <= 3 << 16, "{lost:?}");
    assert_eq!(bench.store.get(&pack, u64::MAX).unwrap(), before, "what cannot be mended is left as it is");
    assert_eq!(bench.marked(), 1);
    assert!(bench.repair(&RepairSources::default()).marked.is_empty(), "marked once");

    let contents = bench.contents.clone();
    for content in contents.values() {
        bench.back_up("web02", content);
    }
    bench.assert_all_restore();
    assert!(!bench.repair(&RepairSources::default()).is_anything_lost());
}

#[test]
fn a_copy_of_the_repository_gives_back_whole_packs_and_single_shards() {
    let bench = Bench::filled(4);
    let (before, copy) = (bench.objects(), bench.store.copy());
    let packs = [bench.packs(Class::Data), bench.packs(Class::Metadata)].concat();
    bench.store.tamper(&packs[0], None);
    bench.store.tamper(&packs[1], Some(b"something else".to_vec()));
    // Damaged there too, elsewhere.
    bench.spoil(&packs[2], &[1, 2, 3, 4, 5]);
    let mut theirs = copy.get(&packs[2], u64::MAX).unwrap().unwrap();
    [0, 6, 7, 8].iter().for_each(|shard| theirs[shard * SHARD] ^= 1);
    copy.tamper(&packs[2], Some(theirs));
    let sources = RepairSources { copy: Some(Arc::new(copy)), other: None };
    let report = bench.repair(&sources);
    assert_eq!((report.healed.len(), report.lost.len(), report.marked.len()), (3, 0, 0), "{report:?}");
    assert!(report.healed.iter().all(|healed| healed.from == HealedFrom::Pack(MendedFrom::OtherCopy)));
    let after = bench.objects();
    assert!(before.iter().all(|(name, digest)| after.get(name) == Some(digest)));
    bench.assert_all_restore();
}

/// A repository under other keys with the same points.
fn copy_of(bench: &Bench, seed: u64) -> Bench {
    let other = Bench::new(seed);
    let from = bench.stranger().unwrap();
    let points: Vec<ChunkId> = from.state().points().iter().map(|point| point.id).collect();
    let options = CopyOptions { threads: 1, compression: Compression::Stored, cache_bytes: 1 << 24 };
    let report = copy(&from, &mut other.writer(), &points, &options, &Silent).unwrap();
    assert_eq!(report.copied.len(), points.len());
    other
}

#[test]
fn a_repository_under_other_keys_gives_back_the_content_of_lost_packs() {
    let bench = Bench::filled(5);
    let other = copy_of(&bench, 6);
    for pack in bench.packs(Class::Data) {
        bench.store.tamper(&pack, None);
    }
    let from = other.stranger().unwrap();
    let report = bench.repair(&RepairSources { copy: None, other: Some(&from) });
    assert!(!report.is_anything_lost() && report.stored_bytes > 12 << 16, "{report:?}");
    assert!(report.healed.iter().all(|healed| healed.from == HealedFrom::OtherRepository));
    bench.assert_all_restore();
}

#[test]
fn lost_maps_come_back_from_the_content_they_describe() {
    let bench = Bench::filled(7);
    let other = copy_of(&bench, 8);
    // A client that has listed the points keeps their records.
    let writer = bench.writer();
    assert!(writer.live_points().all(|(_, record)| record.is_ok()));
    drop(writer);
    for pack in [bench.packs(Class::Data), bench.packs(Class::Metadata)].concat() {
        bench.store.tamper(&pack, None);
    }
    let from = other.stranger().unwrap();
    let report = bench.repair(&RepairSources { copy: None, other: Some(&from) });
    assert!(!report.is_anything_lost(), "{report:?}");
    bench.assert_all_restore();
}

#[test]
fn a_repository_that_holds_other_points_gives_nothing_and_says_so() {
    let bench = Bench::filled(9);
    let mut other = Bench::new(10);
    other.back_up("web01", &noise(77, 1 << 18));
    bench.store.tamper(&bench.packs(Class::Data)[0], None);
    let from = other.stranger().unwrap();
    let report = bench.repair(&RepairSources { copy: None, other: Some(&from) });
    assert!(report.is_anything_lost() && report.healed.is_empty() && report.stored_bytes == 0);
}

#[test]
fn a_plan_says_what_a_repair_does_and_writes_nothing() {
    let bench = Bench::filled(11);
    let other = copy_of(&bench, 12);
    let packs = bench.packs(Class::Data);
    bench.spoil(&packs[0], &[1]);
    bench.store.tamper(&packs[1], None);
    bench.store.tamper(&Name::config_copy(), None);
    let before = bench.objects();
    let from = other.stranger().unwrap();
    let sources = RepairSources { copy: None, other: Some(&from) };
    let plan =
        repair(&mut bench.writer(), &sources, &RepairOptions { mode: RepairMode::Plan, ..OPTIONS }, &Silent).unwrap();
    assert_eq!(bench.objects(), before);
    assert!(bench.store.get(&Name::config_copy(), 1000).unwrap().is_none());
    let done = bench.repair(&sources);
    assert_eq!((plan.healed, plan.findings, plan.marked.len()), (done.healed.clone(), done.findings.clone(), 0));
    assert!(!done.is_anything_lost() && done.healed.iter().any(|healed| healed.object == "config.copy"));
    bench.assert_all_restore();
}

#[test]
fn copies_of_config_and_key_slots_come_back_from_each_other() {
    let bench = Bench::filled(13);
    let mut slots = Vec::new();
    bench
        .store
        .list(Prefix::Keys, &mut |listed| {
            slots.push(listed.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    slots.sort();
    for (name, bytes) in [(Name::config(), None), (slots[0].clone(), Some(vec![0; 1024]))] {
        let before = bench.store.get(&name, 4096).unwrap();
        bench.store.tamper(&name, bytes);
        let report = bench.repair(&RepairSources::default());
        assert_eq!((report.healed.len(), report.healed[0].from, report.lost.len()), (1, HealedFrom::Twin, 0));
        assert_eq!(bench.store.get(&name, 4096).unwrap(), before);
    }
}

/// A way that spoils the first reads of packs.
struct BadWay {
    inner: Arc<MemoryStore>,
    spoils: AtomicU64,
}

impl Store for BadWay {
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
        self.inner.put_new(name, body)
    }

    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
        self.inner.put_pack(pack)
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(name, bytes_max)
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let start = into.len();
        self.inner.get_range(name, range, into)?;
        if into.len() - start > 4 * SHARD && self.spoils.fetch_sub(1, Ordering::Relaxed) > 0 {
            (1..5).for_each(|shard| into[start + shard * SHARD] ^= 1);
        }
        Ok(())
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.inner.size(name)
    }

    fn list(&self, prefix: Prefix, f: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.inner.list(prefix, f)
    }

    fn delete_many(&self, names: &[Name]) -> Vec<(Name, Result<Deleted, StoreError>)> {
        self.inner.delete_many(names)
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.inner.prepare()
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

#[test]
fn bytes_that_were_wrong_only_once_are_no_damage() {
    let bench = Bench::filled(14);
    let store = Arc::new(BadWay { inner: Arc::clone(&bench.store), spoils: AtomicU64::new(2) });
    let before = bench.objects();
    let mut writer = open_writer(Environment { store, ..bench.environment("state") }, &secret()).unwrap();
    let report =
        repair(&mut writer, &RepairSources::default(), &RepairOptions { threads: 1, ..OPTIONS }, &Silent).unwrap();
    assert!(report.findings.is_empty() && report.marked.is_empty() && report.healed.is_empty(), "{report:?}");
    assert_eq!(bench.objects(), before);
}

#[test]
fn a_lost_log_is_written_anew_from_packs_and_one_slot() {
    let mut bench = Bench::filled(15);
    let old_head = bench.writer().head();
    let log: Vec<Name> = bench.objects().into_keys().filter(|name| Prefix::Log.holds(name)).collect();
    let refused = rebuild_log(bench.environment("state"), &secret(), &Silent).map(|_| ()).unwrap_err();
    assert!(matches!(refused, RebuildError::LogIsThere { entries } if entries == log.len() as u64));
    log.iter().for_each(|name| bench.store.tamper(name, None));
    assert!(matches!(bench.stranger(), Err(OpenError::Log(LogError::Lost))));

    let known_elsewhere = StateFolder::at(&bench.folder.path().join("another state"));
    let repository = {
        let (writer, report) = rebuild_log(bench.environment("state"), &secret(), &Silent).unwrap();
        assert_eq!((report.points, report.problems.len()), (3, 0));
        assert_eq!(report.packs, writer.state().packs().count() as u64);
        assert!(writer.log().voids().is_empty());
        writer.config().repository
    };
    // The same points, in the order of their times, and every one restores.
    let points: Vec<ChunkId> = bench.writer().state().points().iter().map(|point| point.id).collect();
    assert_eq!(points.len(), bench.contents.len());
    assert_eq!(bench.verified().problems, []);
    // The local index counted packs as the old log did.
    let options = VerifyOptions { depth: Depth::Quick, points: Vec::new(), threads: 1 };
    assert_eq!(verify(&mut bench.writer().0, &options, &Silent).unwrap().problems, []);
    bench.assert_all_restore();
    // Nothing is lost by going on.
    bench.back_up("web01", &noise(3, 1 << 16));
    bench.assert_all_restore();
    // Who remembers the old log is not fooled.
    known_elsewhere.accept_head(&repository, old_head).unwrap();
    assert!(matches!(bench.stranger(), Err(OpenError::Log(LogError::History { .. }))));
}

#[test]
fn a_damaged_record_names_only_packs_that_count() {
    let bench = Bench::filled(16);
    let writer = bench.writer();
    let pack = PackOrdinal(0);
    let records = decide_damaged(writer.state(), &[pack], "test").unwrap();
    assert!(matches!(&records[..], [Record::Damaged(damaged)] if damaged.packs == [pack]));
    assert_eq!(decide_damaged(writer.state(), &[PackOrdinal(999)], "test").unwrap(), []);
}
