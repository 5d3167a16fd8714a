//! Appending, racing, and what a client that remembers makes of a history that was changed.

use std::{
    ops::{ControlFlow, Range},
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use repo_format::{
    AddedSlot, Digest, ENTRY_BYTES_MAX, FullPack, KeyChange, Keyring, Open, Record, RepositoryId, RepositoryKeys,
    SessionId, SlotId,
};

use super::{Log, LogError, LogHead, Refusal, SessionStatus};
use crate::{
    clock::FixedClock,
    entropy::{SeededEntropy, random},
    error::Kind,
    store::{Caps, Deleted, Listed, LocalStore, MemoryStore, Name, Prefix, PutNew, Reaction, Store, StoreError},
};

static CLOCK: FixedClock = FixedClock::new(1000);

fn keys() -> Arc<Keyring> {
    Arc::new(Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([2; 16])))
}

fn config_digest() -> Digest {
    Digest::of(b"config")
}

fn first_slot() -> Record {
    let added = vec![AddedSlot { slot: SlotId::from_bytes([1; 16]), digest: Digest::of(b"slot") }];
    Record::KeyChange(KeyChange { added, ..KeyChange::default() })
}

fn create(store: Arc<dyn Store>) -> Log {
    Log::create(store, keys(), config_digest(), vec![first_slot()], 1000, &SeededEntropy::new(1)).unwrap()
}

fn reopen(store: &Arc<MemoryStore>, remembered: Option<LogHead>, accept: Option<Digest>) -> Result<Log, LogError> {
    Log::open(Arc::clone(store) as Arc<dyn Store>, keys(), config_digest(), remembered, accept)
}

fn open(session: SessionId) -> Record {
    Record::Open(Open { session, host: None, adopts: Vec::new(), slot: None, program_version: None })
}

fn append_open(log: &mut Log, entropy: &SeededEntropy) -> SessionId {
    let session = SessionId::from_bytes(random(entropy));
    log.append(&CLOCK, entropy, &mut |_| Ok(vec![open(session)])).unwrap();
    session
}

/// A log of `entries` entries.
fn log_of(entries: u64) -> (Arc<MemoryStore>, Log) {
    let store = Arc::new(MemoryStore::new());
    let mut log = create(Arc::clone(&store) as Arc<dyn Store>);
    let entropy = SeededEntropy::new(2);
    for _ in 1..entries {
        append_open(&mut log, &entropy);
    }
    assert_eq!(log.head().number, entries);
    (store, log)
}

fn bytes(store: &MemoryStore, number: u64) -> Vec<u8> {
    store.get(&Name::log(number), u64::MAX).unwrap().unwrap()
}

#[test]
fn what_was_appended_is_replayed_to_the_same_state_and_head() {
    let (store, log) = log_of(20);
    let again = reopen(&store, Some(log.head()), None).unwrap();
    assert_eq!(again.head(), log.head());
    assert_eq!(again.state(), log.state());
    assert!(again.voids().is_empty());
    assert_eq!(log.head().digest, Digest::of(&bytes(&store, 20)));
}

#[test]
fn a_second_log_cannot_be_begun_in_one_store() {
    let (store, _) = log_of(1);
    let begun = Log::create(store, keys(), config_digest(), vec![first_slot()], 1000, &SeededEntropy::new(9));
    assert!(begun.err().unwrap().to_string().contains("a log is there already"));
}

#[test]
fn a_decision_for_nothing_writes_nothing() {
    let (store, mut log) = log_of(3);
    let appended = log.append(&CLOCK, &SeededEntropy::new(3), &mut |_| Ok(Vec::new())).unwrap();
    assert_eq!((appended.head, appended.records), (log.head(), Vec::new()));
    assert_eq!(store.size(&Name::log(4)).unwrap(), None);
}

#[test]
fn a_refusal_writes_nothing() {
    let (store, mut log) = log_of(3);
    let refused = log.append(&CLOCK, &SeededEntropy::new(3), &mut |_| Err(Refusal::Invalid("no".to_owned())));
    assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(store.size(&Name::log(4)).unwrap(), None);
}

#[test]
fn success_is_never_reported_of_a_record_without_effect() {
    let (_, mut log) = log_of(3);
    let close = Record::Close { session: SessionId::from_bytes([9; 16]) };
    let error = log.append(&CLOCK, &SeededEntropy::new(3), &mut |_| Ok(vec![close.clone()])).unwrap_err();
    assert_eq!(error.kind(), Kind::Bug);
}

#[test]
fn a_loser_decides_again_from_the_entry_that_won() {
    let (store, mut slow) = log_of(1);
    let mut quick = reopen(&store, None, None).unwrap();
    let entropy = SeededEntropy::new(3);
    let mut known = Vec::new();
    let ours = SessionId::from_bytes([7; 16]);
    let mut theirs = None;
    slow.append(&CLOCK, &SeededEntropy::new(4), &mut |state| {
        // While we decide, another writer appends.
        if theirs.is_none() {
            theirs = Some(append_open(&mut quick, &entropy));
        }
        known.push(state.open_sessions().count());
        Ok(vec![open(ours)])
    })
    .unwrap();
    assert_eq!(known, [0, 1], "decided twice, the second time with their entry");
    assert_eq!(slow.head().number, 3);
    assert_eq!(slow.state().session(&theirs.unwrap()).unwrap().status, SessionStatus::Open);
    quick.refresh().unwrap();
    assert_eq!(quick.head(), slow.head());
    assert_eq!(quick.state(), slow.state());
}

/// `writers` logs on one store each append `rounds` sessions at once; every entry must be there, once, in one chain.
fn race(store: &Arc<dyn Store>, writers: u64, rounds: usize) {
    create(Arc::clone(store));
    let barrier = Barrier::new(usize::try_from(writers).unwrap());
    let sessions: Vec<Vec<SessionId>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..writers)
            .map(|writer| {
                let (store, barrier) = (Arc::clone(store), &barrier);
                scope.spawn(move || {
                    let mut log = Log::open(store, keys(), config_digest(), None, None).unwrap();
                    let entropy = SeededEntropy::new(100 + writer);
                    barrier.wait();
                    (0..rounds).map(|_| append_open(&mut log, &entropy)).collect()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let log = Log::open(Arc::clone(store), keys(), config_digest(), None, None).unwrap();
    assert_eq!(log.head().number, 1 + writers * rounds as u64);
    assert!(log.voids().is_empty());
    let mut found: Vec<SessionId> = log.state().open_sessions().map(|(id, _)| *id).collect();
    let mut wanted: Vec<SessionId> = sessions.into_iter().flatten().collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn racing_writers_lose_nothing_in_memory() {
    race(&(Arc::new(MemoryStore::new()) as Arc<dyn Store>), 4, 25);
}

#[test]
fn racing_writers_lose_nothing_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::at(folder.path()));
    store.prepare().unwrap();
    race(&store, 3, 5);
}

/// Applies `put_new` or not, and answers with an error either way.
struct LyingStore {
    inner: Arc<MemoryStore>,
    /// What to do with the next requests.
    script: Mutex<Vec<Lie>>,
    puts: AtomicU32,
    is_dead: AtomicBool,
}

#[derive(Clone, Copy)]
enum Lie {
    /// The object can be seen, but may not last: the store stops answering, as a folder does that cannot be synced.
    AppliedThenDead,
    /// The object is created, the answer is lost.
    AppliedThen(Reaction),
    /// Nothing happens.
    NotApplied(Reaction),
    /// Another writer's entry lands first, and the answer is lost.
    TheirsLands,
}

impl LyingStore {
    fn new(inner: &Arc<MemoryStore>, script: &[Lie]) -> Arc<Self> {
        let script = script.iter().rev().copied().collect();
        Arc::new(Self {
            inner: Arc::clone(inner),
            script: Mutex::new(script),
            puts: AtomicU32::new(0),
            is_dead: AtomicBool::new(false),
        })
    }
}

impl Store for LyingStore {
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        let lie = self.script.lock().unwrap().pop();
        let error = |reaction| Err(StoreError::new("create", name, reaction, "connection reset"));
        if self.is_dead.load(Ordering::Relaxed) {
            return error(Reaction::Unavailable);
        }
        match lie {
            Some(Lie::AppliedThenDead) => {
                self.inner.put_new(name, body)?;
                self.is_dead.store(true, Ordering::Relaxed);
                error(Reaction::Unknown)
            }
            None => self.inner.put_new(name, body),
            Some(Lie::AppliedThen(reaction)) => {
                self.inner.put_new(name, body)?;
                error(reaction)
            }
            Some(Lie::NotApplied(reaction)) => error(reaction),
            Some(Lie::TheirsLands) => {
                let store = Arc::clone(&self.inner);
                append_open(&mut reopen(&store, None, None).unwrap(), &SeededEntropy::new(77));
                error(Reaction::Unknown)
            }
        }
    }

    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
        self.inner.put_pack(pack)
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.is_dead.load(Ordering::Relaxed) {
            false => self.inner.get(name, bytes_max),
            true => Err(StoreError::new("read", name, Reaction::Unavailable, "the store has stopped")),
        }
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        self.inner.get_range(name, range, into)
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

/// Opens session 7 through a store that lies by `script`.
fn append_through(script: &[Lie]) -> (Arc<MemoryStore>, Result<u64, LogError>, u32) {
    let (inner, _) = log_of(2);
    let store = LyingStore::new(&inner, script);
    let mut log = Log::open(Arc::clone(&store) as Arc<dyn Store>, keys(), config_digest(), None, None).unwrap();
    let session = SessionId::from_bytes([7; 16]);
    let appended = log.append(&CLOCK, &SeededEntropy::new(5), &mut |_| Ok(vec![open(session)]));
    (inner, appended.map(|appended| appended.head.number), store.puts.load(Ordering::Relaxed))
}

fn ours_is_there(store: &Arc<MemoryStore>) -> bool {
    let log = reopen(store, None, None).unwrap();
    assert!(log.voids().is_empty());
    log.state().session(&SessionId::from_bytes([7; 16])).is_some()
}

#[test]
fn an_entry_that_landed_although_the_answer_was_an_error_is_ours() {
    for reaction in [Reaction::Unknown, Reaction::Unavailable] {
        let (store, number, puts) = append_through(&[Lie::AppliedThen(reaction)]);
        assert_eq!((number.unwrap(), puts), (3, 1));
        assert!(ours_is_there(&store));
        assert_eq!(store.size(&Name::log(4)).unwrap(), None, "written once");
    }
}

#[test]
fn an_entry_that_did_not_land_is_sent_again_with_the_same_bytes() {
    let (store, number, puts) =
        append_through(&[Lie::NotApplied(Reaction::Unknown), Lie::AppliedThen(Reaction::Unknown)]);
    assert_eq!((number.unwrap(), puts), (3, 2));
    assert!(ours_is_there(&store));
    assert_eq!(store.size(&Name::log(4)).unwrap(), None);
}

#[test]
fn after_an_unclear_answer_another_writers_entry_is_taken_in_and_ours_goes_on_top() {
    let (store, number, _) = append_through(&[Lie::TheirsLands]);
    assert_eq!(number.unwrap(), 4);
    assert!(ours_is_there(&store));
}

#[test]
fn an_outcome_that_stays_unknown_is_said_to_be_so_and_no_higher_number_is_tried() {
    let (store, number, _) = append_through(&[Lie::NotApplied(Reaction::Unknown); 50]);
    let error = number.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("may still appear"), "{error}");
    assert_eq!(store.size(&Name::log(3)).unwrap(), None);
    assert_eq!(store.size(&Name::log(4)).unwrap(), None);
}

#[test]
fn an_entry_that_may_not_last_is_not_reported_as_written() {
    let (store, number, _) = append_through(&[Lie::AppliedThenDead]);
    assert_eq!(number.unwrap_err().kind(), Kind::Unavailable);
    assert!(ours_is_there(&store), "the next run settles it");
}

#[test]
fn a_clear_refusal_of_the_store_is_not_repeated() {
    for reaction in [Reaction::Denied, Reaction::Full, Reaction::Invalid] {
        let (store, number, puts) = append_through(&[Lie::NotApplied(reaction)]);
        assert!(number.is_err());
        assert_eq!(puts, 1);
        assert!(!ours_is_there(&store));
    }
}

#[test]
fn a_log_cut_short_is_refused_by_a_client_that_remembers() {
    let (store, log) = log_of(6);
    for cut in 2..=6 {
        let shorter = Arc::new(store.copy());
        (cut..=6).for_each(|number| shorter.tamper(&Name::log(number), None));
        let error = reopen(&shorter, Some(log.head()), None).err().unwrap();
        assert_eq!(error.kind(), Kind::History, "{error}");
        let found = reopen(&shorter, None, None).unwrap().head();
        assert_eq!(found.number, cut - 1);
        let text = error.to_string();
        assert!(text.contains(&log.head().to_full_text()) && text.contains(&found.to_full_text()), "{text}");
        assert!(text.contains(&format!("--accept-rollback {}", found.digest)), "{text}");
        // Only the head that is there can be accepted.
        assert!(reopen(&shorter, Some(log.head()), Some(log.head().digest)).is_err());
        assert_eq!(reopen(&shorter, Some(log.head()), Some(found.digest)).unwrap().head(), found);
    }
}

#[test]
fn a_forked_log_is_refused_by_a_client_that_remembers() {
    let (store, log) = log_of(4);
    let fork = Arc::new(store.copy());
    fork.tamper(&Name::log(4), None);
    let mut other = reopen(&fork, None, None).unwrap();
    let entropy = SeededEntropy::new(50);
    for _ in 4..=6 {
        append_open(&mut other, &entropy);
        let error = reopen(&fork, Some(log.head()), None).err().unwrap();
        assert_eq!(error.kind(), Kind::History);
    }
    // What it shares with the fork is no fork.
    let shared = LogHead { number: 3, digest: Digest::of(&bytes(&store, 3)) };
    assert!(reopen(&fork, Some(shared), None).is_ok());
}

#[test]
fn a_longer_log_that_contains_the_remembered_head_is_taken() {
    let (store, log) = log_of(4);
    let remembered = log.head();
    append_open(&mut reopen(&store, None, None).unwrap(), &SeededEntropy::new(50));
    assert_eq!(reopen(&store, Some(remembered), None).unwrap().head().number, 5);
}

#[test]
fn another_repositorys_log_is_refused() {
    let (store, _) = log_of(2);
    let other_config = Log::open(Arc::clone(&store) as Arc<dyn Store>, keys(), Digest::of(b"other"), None, None);
    assert_eq!(other_config.err().unwrap().kind(), Kind::Damaged);
    let other = Arc::new(Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([3; 16])));
    let other_id = Log::open(store, other, config_digest(), None, None);
    assert_eq!(other_id.err().unwrap().kind(), Kind::Damaged);
}

#[test]
fn a_hole_in_the_log_is_damage_not_a_shorter_log() {
    let (store, log) = log_of(6);
    for hole in 1..=5 {
        let holed = Arc::new(store.copy());
        holed.tamper(&Name::log(hole), None);
        let error = reopen(&holed, Some(log.head()), None).err().unwrap();
        assert_eq!(error.kind(), Kind::Damaged, "{error}");
        assert!(error.to_string().contains(&format!("log entry {hole} is missing")), "{error}");
        // A client without memory sees it too: accepting such a log would make the next entry a fork.
        assert_eq!(reopen(&holed, None, None).err().unwrap().kind(), Kind::Damaged);
    }
}

#[test]
fn a_log_without_any_entry_is_lost_not_empty() {
    let store = Arc::new(MemoryStore::new());
    assert!(matches!(reopen(&store, None, None), Err(LogError::Lost)));
}

#[test]
fn entries_that_were_changed_swapped_or_repeated_are_refused() {
    let (store, _) = log_of(5);
    let swap = |a: u64, b: u64| {
        let changed = Arc::new(store.copy());
        changed.tamper(&Name::log(a), Some(bytes(&store, b)));
        changed
    };
    for (a, b) in [(2, 3), (5, 4), (1, 2), (3, 1)] {
        assert_eq!(reopen(&swap(a, b), None, None).err().unwrap().kind(), Kind::Damaged);
    }
    let entry = bytes(&store, 3);
    for at in 0..entry.len() {
        let changed = Arc::new(store.copy());
        let mut flipped = entry.clone();
        flipped[at] ^= 1;
        changed.tamper(&Name::log(3), Some(flipped));
        let kind = reopen(&changed, None, None).err().unwrap().kind();
        assert!(matches!(kind, Kind::Damaged | Kind::Unsupported), "byte {at}: {kind:?}");
    }
    let huge = Arc::new(store.copy());
    huge.tamper(&Name::log(6), Some(vec![0; ENTRY_BYTES_MAX + 1]));
    assert_eq!(reopen(&huge, None, None).err().unwrap().kind(), Kind::Damaged);
}

#[test]
fn a_thousand_entries_are_replayed_within_half_a_second() {
    const ENTRIES: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::at(folder.path()));
    store.prepare().unwrap();
    // Made in memory and copied: a thousand syncs would be slow.
    let (made, log) = log_of(ENTRIES);
    for number in 1..=ENTRIES {
        std::fs::write(folder.path().join(Name::log(number).as_str()), bytes(&made, number)).unwrap();
    }
    let begun = Instant::now();
    let again = Log::open(store, keys(), config_digest(), Some(log.head()), None).unwrap();
    let took = begun.elapsed();
    assert_eq!(again.state(), log.state());
    // The goal is 0.1 ms an entry in a release build; tests are built otherwise, on machines that others use.
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn the_short_head_shows_both_ends_of_its_digest() {
    let head = LogHead { number: 12, digest: Digest::from_bytes([0xab; 32]) };
    assert_eq!(head.to_string(), "12 abab..abab");
    assert_eq!(head.to_full_text().parse(), Ok(head));
}
