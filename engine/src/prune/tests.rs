use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap, HashSet},
    ops::{ControlFlow, Range},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use repo_format::{
    ChunkerKind, Chunking, Compression, Config, Consistency, FullPack, KdfCost, RepositoryId, SlotSecret, VmIdentity,
};

use super::*;
use crate::{
    backup::{BackupJob, BackupOptions, JobDisk, OnBad, backup},
    clock::FixedClock,
    entropy::{Entropy, SeededEntropy},
    error::Kind,
    forget::{forget, named_fates},
    log::decide_open,
    monitor::Silent,
    pinned_reader::PinnedReader,
    repository::{Environment, NewRepository, NewSlotSecret, init, open_reader, open_writer},
    restore::{BadExtents, RestoreJob, RestoreOptions, restore},
    source::MemorySource,
    state_folder::StateFolder,
    store::{Caps, Deleted, Listed, MemoryStore, Name, Prefix, PutNew, Reaction, Store, StoreError},
    target::{MemoryTarget, Target},
};

const CHUNKING: Chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 14 };
const HOUR: u64 = 3_600_000;
pub(super) const AT_ONCE: PruneOptions = PruneOptions {
    repack_below_percent: 50,
    max_repack_bytes: None,
    grace_ms: 0,
    compression: Compression::Stored,
    threads: 2,
};

/// A repository of small packs, and what each of its points holds.
pub(super) struct Bench {
    pub(super) store: Arc<MemoryStore>,
    pub(super) folder: tempfile::TempDir,
    seed: Cell<u64>,
    now_ms: Cell<u64>,
    contents: HashMap<ChunkId, Vec<u8>>,
}

pub(super) fn secret() -> SlotSecret {
    SlotSecret::key_file(zeroize::Zeroizing::new(vec![9; 64])).unwrap()
}

impl Bench {
    pub(super) fn new() -> Self {
        let bench = Self {
            store: Arc::new(MemoryStore::new()),
            folder: tempfile::tempdir().unwrap(),
            seed: Cell::new(1),
            now_ms: Cell::new(1000 * HOUR),
            contents: HashMap::new(),
        };
        let config = Config {
            shard_log2: 12,
            segment_log2: 16,
            frame_bytes_max: 1 << 16,
            data_pack_bytes: 1 << 18,
            metadata_pack_bytes: 1 << 18,
            ..Config::new(RepositoryId::from_bytes([0; 16]), CHUNKING, 1)
        };
        let slot = NewSlotSecret { secret: secret(), label: "test".to_owned(), cost: KdfCost::default() };
        init(bench.environment(&bench.store), NewRepository { config, slots: vec![slot] }).unwrap();
        bench
    }

    pub(super) fn environment(&self, store: &Arc<MemoryStore>) -> Environment {
        self.environment_over(Arc::clone(store) as Arc<dyn Store>)
    }

    pub(super) fn environment_over(&self, store: Arc<dyn Store>) -> Environment {
        self.seed.set(self.seed.get() + 1);
        Environment {
            store,
            cache: Some(self.folder.path().join("cache")),
            state: StateFolder::at(&self.folder.path().join("state")),
            clock: Arc::new(FixedClock::new(self.now_ms.get())),
            entropy: Arc::new(SeededEntropy::new(self.seed.get())),
            host: "host".to_owned(),
            program: "test".to_owned(),
            accept_rollback: None,
        }
    }

    pub(super) fn writer(&self) -> Writer {
        open_writer(self.environment(&self.store), &secret()).unwrap()
    }

    pub(super) fn back_up(&mut self, vm: &str, content: &[u8]) -> ChunkId {
        let point = back_up_as(&mut self.writer(), vm, content);
        self.contents.insert(point, content.to_vec());
        point
    }

    pub(super) fn forget(&self, points: &[ChunkId]) {
        let mut writer = self.writer();
        let fates = named_fates(&writer, &points.iter().copied().collect()).unwrap();
        forget(&mut writer, &fates, None).unwrap();
    }

    /// Packs of which about one part in eight is still needed: the first point had `parts_count`, and was forgotten.
    pub(super) fn leave_few_of(&mut self, parts_count: u64) {
        let few: Vec<u64> = (0..parts_count).filter(|seed| seed % 8 == 0).collect();
        let old = self.back_up("web01", &parts(&(0..parts_count).collect::<Vec<_>>()));
        self.back_up("web01", &parts(&few));
        self.forget(&[old]);
    }

    pub(super) fn prune(&self, options: &PruneOptions) -> PruneReport {
        prune(&mut self.writer(), options, &Silent).unwrap()
    }

    /// Every live point comes back, by a client that knows nothing but the store.
    pub(super) fn assert_whole(&self) {
        let reader = self.reader();
        for point in reader.state().points().iter().filter(|point| point.is_live()) {
            self.assert_restores(&reader, point.id);
        }
        assert!(reader.log().voids().is_empty());
    }

    pub(super) fn reader(&self) -> Reader {
        open_reader(Environment { cache: None, ..self.environment(&self.store) }, &secret()).unwrap()
    }

    pub(super) fn assert_restores(&self, reader: &Reader, point: ChunkId) {
        let target = Arc::new(MemoryTarget::new());
        let job =
            RestoreJob { point, disks: vec![("disk0".to_owned(), Arc::clone(&target) as Arc<dyn Target>)], base: None };
        let options = RestoreOptions { threads: 2, bad_extents: BadExtents::Refuse };
        let report = restore(reader, &job, &options, &Silent).unwrap();
        assert_eq!(report.problems, []);
        assert!(target.bytes() == self.contents[&point], "point {point}");
    }

    pub(super) fn packs(&self) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0);
        let mut add = |listed: Listed| {
            (count, bytes) = (count + 1, bytes + listed.bytes);
            ControlFlow::Continue(())
        };
        self.store.list(Prefix::Packs, &mut add).unwrap();
        (count, bytes)
    }
}

fn back_up_as(writer: &mut Writer, vm: &str, content: &[u8]) -> ChunkId {
    let job = job(vm, MemorySource::new(content.to_vec()));
    backup(writer, &job, &OPTIONS, &Silent).unwrap().point
}

const OPTIONS: BackupOptions = BackupOptions { threads: 2, compression: Compression::Stored, on_bad: OnBad::Keep };

fn job(vm: &str, source: impl crate::source::DiskSource + 'static) -> BackupJob<'static> {
    BackupJob {
        identity: VmIdentity::named(vm).unwrap(),
        vm_name: vm.to_owned(),
        disks: vec![JobDisk {
            name: "disk0".to_owned(),
            uuid: None,
            change_id: None,
            read_whole: None,
            source: Box::new(source),
        }],
        changes: None,
        home: None,
        tag: None,
        hold: None,
        consistency: Consistency::Unknown,
        recorded: None,
    }
}

/// `bytes` of noise; two seeds have nothing in common.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    SeededEntropy::new(1_000_000 + seed).fill(&mut noise);
    noise
}

/// Parts of noise, 64 KiB for each seed.
pub(super) fn parts(seeds: &[u64]) -> Vec<u8> {
    seeds.iter().flat_map(|seed| noise(*seed, 1 << 16)).collect()
}

#[test]
fn forgotten_space_comes_back_and_everything_else_restores() {
    let mut bench = Bench::new();
    let old = bench.back_up("web01", &noise(1, 3 << 20));
    bench.back_up("web01", &noise(2, 1 << 20));
    bench.back_up("db01", &noise(3, 1 << 20));
    let (_, before) = bench.packs();
    bench.forget(&[old]);
    let report = bench.prune(&AT_ONCE);
    let (count, after) = bench.packs();
    assert!(after < before - (3 << 20), "{before} → {after}");
    assert!(report.removed_bytes >= 3 << 20 && report.problems.is_empty());
    assert_eq!(report.missing_chunks, 0);
    bench.assert_whole();
    let again = bench.prune(&AT_ONCE);
    assert_eq!((again.condemned_packs, again.removed_packs), (0, 0), "nothing is left to do");
    assert_eq!(bench.packs().0, count);
}

#[test]
fn within_the_grace_packs_are_condemned_and_stay() {
    let mut bench = Bench::new();
    let old = bench.back_up("web01", &noise(1, 1 << 20));
    bench.back_up("web01", &noise(2, 1 << 20));
    bench.forget(&[old]);
    let before = bench.packs();
    let options = PruneOptions { grace_ms: 24 * HOUR, ..AT_ONCE };
    let report = bench.prune(&options);
    assert!(report.condemned_packs > 0 && report.removed_packs == 0);
    assert_eq!(bench.packs().0, before.0);
    bench.now_ms.set(bench.now_ms.get() + 23 * HOUR);
    assert_eq!(bench.prune(&options).removed_packs, 0);
    bench.now_ms.set(bench.now_ms.get() + HOUR);
    assert_eq!(bench.prune(&options).removed_packs, report.condemned_packs);
    bench.assert_whole();
}

#[test]
fn a_condemned_chunk_that_comes_back_is_stored_again() {
    let mut bench = Bench::new();
    let content = noise(1, 1 << 20);
    let old = bench.back_up("web01", &content);
    bench.back_up("web01", &noise(2, 1 << 19));
    bench.forget(&[old]);
    let options = PruneOptions { grace_ms: 24 * HOUR, ..AT_ONCE };
    assert!(bench.prune(&options).condemned_packs > 0);
    bench.back_up("db01", &content);
    bench.now_ms.set(bench.now_ms.get() + 25 * HOUR);
    assert!(bench.prune(&options).removed_packs > 0);
    bench.assert_whole();
}

#[test]
fn mostly_dead_packs_are_rewritten_and_their_points_restore() {
    let mut bench = Bench::new();
    // Each pack holds about four parts; the second point needs one in eight.
    bench.leave_few_of(32);
    let (plan, _) = plan_prune(&bench.reader(), &AT_ONCE, &Silent).unwrap();
    assert!(plan.repack_packs > 0 && plan.freed_bytes > 0);
    let report = bench.prune(&AT_ONCE);
    assert_eq!(report.plan.repack_packs, plan.repack_packs);
    assert!(report.repacked_bytes > 0);
    bench.assert_whole();
    let (_, bytes) = bench.packs();
    assert!(bytes < 1 << 20, "four parts of 64 KiB are left, in {bytes} bytes");
}

#[test]
fn the_bound_on_rewriting_is_kept() {
    let mut bench = Bench::new();
    bench.leave_few_of(32);
    let report = bench.prune(&PruneOptions { max_repack_bytes: Some(100 << 10), ..AT_ONCE });
    assert!(report.plan.repack_bytes <= 100 << 10 && report.plan.repack_packs > 0, "{:?}", report.plan);
    bench.assert_whole();
}

#[test]
fn the_small_packs_of_many_nights_are_gathered() {
    let mut bench = Bench::new();
    for night in 0..16 {
        bench.back_up("web01", &noise(night, 40 << 10));
    }
    let before = bench.packs();
    let report = bench.prune(&AT_ONCE);
    assert!(report.plan.small_packs > 4, "{:?}", report.plan);
    bench.assert_whole();
    assert!(bench.packs().0 < before.0 / 2, "{before:?} → {:?}", bench.packs());
}

#[test]
fn a_pinned_point_keeps_its_chunks_though_it_was_forgotten() {
    let mut bench = Bench::new();
    let old = bench.back_up("web01", &noise(1, 1 << 20));
    bench.back_up("web01", &noise(2, 1 << 19));
    let reading = PinnedReader::pin(bench.writer(), old);
    assert!(reading.failure().is_none());
    bench.forget(&[old]);
    assert_eq!(bench.prune(&AT_ONCE).removed_packs, 0);
    bench.assert_restores(&reading, old);
    drop(reading);
    assert!(bench.prune(&AT_ONCE).removed_packs > 0);
    bench.assert_whole();
}

#[test]
fn a_backup_between_survey_and_condemn_keeps_what_it_relies_on() {
    let mut bench = Bench::new();
    let content = noise(1, 1 << 20);
    let old = bench.back_up("web01", &content);
    bench.back_up("web01", &noise(2, 1 << 19));
    bench.forget(&[old]);
    let mut writer = bench.writer();
    let look = look(&writer, list_unregistered(&writer).unwrap(), &AT_ONCE, &Silent).unwrap();
    assert!(!look.choice.dead.is_empty());
    let candidates: BTreeSet<PackOrdinal> = look.choice.dead.iter().copied().collect();
    // Another program finds the forgotten chunks, which nobody has condemned yet, and relies on them.
    bench.back_up("db01", &content);
    let condemned = condemn(&mut writer, &look.survey, &candidates, &Silent, &mut Vec::new()).unwrap();
    let kept = candidates.difference(&condemned.packs).count();
    assert!(kept > 0, "the packs that db01 relies on stay");
    delete(&mut writer, &look.survey, condemned.at, &condemned.packs, &[], &mut Vec::new()).unwrap();
    sweep::sweep(&mut writer, &[], &mut Vec::new()).unwrap();
    bench.assert_whole();
}

#[test]
fn a_backup_that_relies_on_a_pack_given_up_meanwhile_stores_it_again_and_commits() {
    for removed_too in [false, true] {
        let mut bench = Bench::new();
        let content = noise(1, 1 << 20);
        let old = bench.back_up("web01", &content);
        bench.back_up("web01", &noise(2, 1 << 19));
        // While db01 is read, its content forgotten, condemned, and perhaps removed by others.
        let source = OnFirstRead::new(content.clone(), {
            let (store, folder) = (Arc::clone(&bench.store), bench.folder.path().to_owned());
            let environment = Environment { store, ..bench.environment(&bench.store) };
            move || {
                let mut writer = open_writer(environment.clone(), &secret()).unwrap();
                let fates = named_fates(&writer, &HashSet::from([old])).unwrap();
                forget(&mut writer, &fates, None).unwrap();
                let grace_ms = if removed_too { 0 } else { HOUR };
                let report = prune(&mut writer, &PruneOptions { grace_ms, ..AT_ONCE }, &Silent).unwrap();
                assert!(report.condemned_packs > 0, "{folder:?}");
            }
        });
        let options = BackupOptions { threads: 1, ..OPTIONS };
        let report = backup(&mut bench.writer(), &job("db01", source), &options, &Silent).unwrap();
        bench.contents.insert(report.point, content);
        bench.assert_whole();
        bench.now_ms.set(bench.now_ms.get() + 2 * HOUR);
        bench.prune(&AT_ONCE);
        bench.assert_whole();
    }
}

/// A disk that lets something happen once it has been read for the most part.
struct OnFirstRead {
    inner: MemorySource,
    end: u64,
    happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl OnFirstRead {
    fn new(content: Vec<u8>, happens: impl FnOnce() + Send + 'static) -> Self {
        let end = content.len() as u64;
        let happens: Box<dyn FnOnce() + Send> = Box::new(happens);
        Self { inner: MemorySource::new(content), end, happens: Mutex::new(Some(happens)) }
    }
}

impl crate::source::DiskSource for OnFirstRead {
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn allocated(&self) -> Result<Vec<Range<u64>>, crate::source::SourceError> {
        self.inner.allocated()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), crate::source::SourceError> {
        if offset > self.end / 2
            && let Some(happens) = self.happens.lock().unwrap().take()
        {
            happens();
        }
        self.inner.read_at(offset, into)
    }
}

#[test]
fn a_survey_older_than_somebody_elses_condemn_is_made_again() {
    let mut bench = Bench::new();
    let old = bench.back_up("web01", &noise(1, 1 << 20));
    bench.back_up("web01", &noise(2, 1 << 19));
    bench.forget(&[old]);
    let mut writer = bench.writer();
    let look = look(&writer, list_unregistered(&writer).unwrap(), &AT_ONCE, &Silent).unwrap();
    let candidates: BTreeSet<PackOrdinal> = look.choice.dead.iter().copied().collect();
    assert!(bench.prune(&AT_ONCE).condemned_packs > 0);
    let error = condemn(&mut writer, &look.survey, &candidates, &Silent, &mut Vec::new()).err().unwrap();
    assert!(error.is_outdated(), "{error}");
    bench.assert_whole();
}

#[test]
fn packs_of_an_ended_session_go_and_those_of_an_open_one_stay() {
    let mut bench = Bench::new();
    bench.back_up("web01", &noise(1, 1 << 19));
    let dies = Arc::new(FailingStore::new(&bench.store, Fails::Log, 1));
    die_before_commit(bench.environment_over(dies));
    let with_orphans = bench.packs();
    assert_eq!(bench.prune(&AT_ONCE).removed_packs, 0, "the next run of this host will adopt them");
    // Somebody fences it.
    let mut writer = bench.writer();
    let open: Vec<_> = writer.state().open_sessions().map(|(id, _)| *id).collect();
    for session in open {
        let fenced = writer.append(&mut |state| crate::log::decide_fence(state, session));
        fenced.unwrap();
    }
    let report = bench.prune(&AT_ONCE);
    assert!(report.removed_packs > 0 && report.plan.orphan_packs == report.removed_packs);
    assert!(bench.packs().1 < with_orphans.1 - (1 << 19));
    bench.assert_whole();
}

#[test]
fn a_session_that_is_silent_for_half_an_hour_is_fenced_and_one_that_beats_is_not() {
    let mut bench = Bench::new();
    bench.back_up("web01", &noise(1, 1 << 19));
    let mut elsewhere = bench.writer();
    let slot = elsewhere.slot();
    let [silent, beating] = [[0x51; 16], [0xbe; 16]].map(repo_format::SessionId::from_bytes);
    for session in [silent, beating] {
        let opened = elsewhere.append(&mut |state| decide_open(state, session, "elsewhere", slot, "test", &[]));
        opened.unwrap();
    }
    let beat = |number: u8| {
        bench.store.delete_many(&[Name::heartbeat(beating)]);
        bench.store.put_new(&Name::heartbeat(beating), &[number; 16]).unwrap();
    };
    beat(1);
    assert_eq!(bench.prune(&AT_ONCE).fenced_sessions, 0, "the first look");
    bench.now_ms.set(bench.now_ms.get() + 29 * 60_000);
    beat(2);
    assert_eq!(bench.prune(&AT_ONCE).fenced_sessions, 0, "too soon");
    bench.now_ms.set(bench.now_ms.get() + 60_000);
    assert_eq!(bench.prune(&AT_ONCE).fenced_sessions, 1);
    let reader = bench.reader();
    let open: Vec<_> = reader.state().open_sessions().map(|(session, _)| *session).collect();
    assert_eq!(open, [beating]);
}

#[test]
fn while_a_map_cannot_be_read_nothing_is_removed() {
    let mut bench = Bench::new();
    let old = bench.back_up("web01", &noise(1, 1 << 20));
    bench.back_up("web01", &noise(2, 1 << 20));
    bench.forget(&[old]);
    let reader = bench.reader();
    let metadata = reader.state().packs().filter(|(_, pack)| pack.class == Class::Metadata).last().unwrap().1.name;
    let before = bench.packs();
    for damage in [None, Some(vec![0; 4096])] {
        let kept = bench.store.get(&Name::pack(metadata), u64::MAX).unwrap();
        bench.store.tamper(&Name::pack(metadata), damage);
        let error = prune(&mut bench.writer(), &AT_ONCE, &Silent).unwrap_err();
        assert!(matches!(error.kind(), Kind::Damaged | Kind::Missing), "{error}");
        bench.store.tamper(&Name::pack(metadata), kept);
    }
    assert_eq!(bench.packs(), before);
    bench.assert_whole();
}

#[test]
fn a_prune_killed_at_any_write_loses_nothing_and_the_next_one_goes_on() {
    for repeat in 0.. {
        let mut bench = Bench::new();
        bench.leave_few_of(24);
        bench.back_up("db01", &noise(77, 1 << 18));
        let dies = Arc::new(FailingStore::new(&bench.store, Fails::Everything, repeat));
        let mut writer = open_writer(bench.environment_over(dies), &secret()).unwrap();
        let result = prune(&mut writer, &AT_ONCE, &Silent);
        drop(writer);
        bench.assert_whole();
        let finished = result.is_ok_and(|report| report.problems.is_empty());
        bench.prune(&AT_ONCE);
        bench.assert_whole();
        if finished {
            assert!(repeat > 8, "only {repeat} writes: the test sees nothing");
            return;
        }
    }
}

#[test]
fn a_backup_that_begins_while_a_prune_looks_is_no_problem() {
    let mut bench = Bench::new();
    bench.back_up("web01", &noise(1, 1 << 19));
    let store = Arc::new(FailingStore::new(&bench.store, Fails::Log, i64::MAX));
    let mut writer = open_writer(bench.environment_over(Arc::clone(&store) as Arc<dyn Store>), &secret()).unwrap();
    let other = bench.environment_over(Arc::new(FailingStore::new(&bench.store, Fails::Log, 1)));
    *store.before_list.lock().unwrap() = Some(Box::new(move || die_before_commit(other)));
    let before = bench.packs().0;
    let report = prune(&mut writer, &AT_ONCE, &Silent).unwrap();
    assert!(bench.packs().0 > before, "it has stored packs meanwhile");
    assert_eq!(report.problems, []);
}

#[test]
fn an_orphan_that_another_prune_has_removed_since_the_listing_is_no_problem() {
    let writer = Bench::new().writer();
    let found = judge_unregistered(&writer, vec![(PackName::from_bytes([7; 32]), 4096)]).unwrap();
    assert!(found.problems.is_empty() && found.orphans.is_empty() && found.deleted.is_empty());
}

/// A run that dies after its packs and before its commit; its store takes one log entry.
fn die_before_commit(environment: Environment) {
    let mut writer = open_writer(environment, &secret()).unwrap();
    let job = job("db01", MemorySource::new(noise(9, 1 << 20)));
    assert!(backup(&mut writer, &job, &OPTIONS, &Silent).is_err());
}

/// Which writes of a [`FailingStore`] count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fails {
    Log,
    Everything,
}

/// Takes so many writes, then none.
struct FailingStore {
    inner: Arc<MemoryStore>,
    which: Fails,
    left: AtomicI64,
    /// What somebody else does just before the first listing.
    before_list: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl FailingStore {
    fn new(inner: &Arc<MemoryStore>, which: Fails, writes: i64) -> Self {
        Self { inner: Arc::clone(inner), which, left: AtomicI64::new(writes), before_list: Mutex::default() }
    }

    fn write(&self, name: &Name, counts: bool) -> Result<(), StoreError> {
        if counts && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(StoreError::new("write", name, Reaction::Denied, "this run has died"));
        }
        Ok(())
    }
}

impl Store for FailingStore {
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
        self.write(name, true)?;
        self.inner.put_new(name, body)
    }

    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
        self.write(&Name::pack(pack.name()), self.which == Fails::Everything)?;
        self.inner.put_pack(pack)
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(name, bytes_max)
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        self.inner.get_range(name, range, into)
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.inner.size(name)
    }

    fn list(&self, prefix: Prefix, f: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), StoreError> {
        if let Some(meanwhile) = self.before_list.lock().unwrap().take() {
            meanwhile();
        }
        self.inner.list(prefix, f)
    }

    fn delete_many(&self, names: &[Name]) -> Vec<(Name, Result<Deleted, StoreError>)> {
        let delete = |name: &Name| {
            let result = self.write(name, self.which == Fails::Everything);
            let deleted = result.and_then(|()| self.inner.delete_many(std::slice::from_ref(name)).remove(0).1);
            (name.clone(), deleted)
        };
        names.iter().map(delete).collect()
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
