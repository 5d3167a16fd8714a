//! Opening by a checkpoint, and what a checkpoint must never do.

use std::sync::Arc;

use repo_format::{
    AddedSlot, Checkpoint, CheckpointPartBuilder, Digest, KeyChange, Keyring, Open, Record, RepositoryId,
    RepositoryKeys, SessionId, SlotId,
};

use super::{Log, LogError, LogHead};
use crate::{
    clock::FixedClock,
    entropy::{SeededEntropy, random},
    error::Kind,
    problem::Problem,
    store::{MemoryStore, Name, NameKind, Store, counting::CountingStore},
};

const DAY: u64 = 24 * 3_600_000;
static NOW: FixedClock = FixedClock::new(1000);

fn keys() -> Arc<Keyring> {
    Arc::new(Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([2; 16])))
}

fn config_digest() -> Digest {
    Digest::of(b"config")
}

/// A log, and what writes to it.
struct Bench {
    store: Arc<MemoryStore>,
    log: Log,
    entropy: SeededEntropy,
}

impl Bench {
    /// A log of `entries` entries and no checkpoint.
    fn new(entries: u64) -> Self {
        let store = Arc::new(MemoryStore::new());
        let added = vec![AddedSlot { slot: SlotId::from_bytes([1; 16]), digest: Digest::of(b"slot") }];
        let first = Record::KeyChange(KeyChange { added, ..KeyChange::default() });
        let entropy = SeededEntropy::new(1);
        let begun = Arc::clone(&store) as Arc<dyn Store>;
        let log = Log::create(begun, keys(), config_digest(), vec![first], 1000, &entropy).unwrap();
        let mut bench = Self { store, log, entropy };
        bench.add(entries - 1);
        bench
    }

    fn add(&mut self, entries: u64) {
        (0..entries).for_each(|_| {
            let session = SessionId::from_bytes(random(&self.entropy));
            let host = Some("host".to_owned());
            self.append(Record::Open(Open { session, host, adopts: Vec::new(), slot: None, program_version: None }));
        });
    }

    fn append(&mut self, record: Record) {
        self.log.append(&NOW, &self.entropy, &mut |_| Ok(vec![record.clone()])).unwrap();
    }

    fn checkpoint(&mut self) {
        assert!(self.checkpoint_if_due(1000), "a checkpoint was due");
    }

    fn checkpoint_if_due(&mut self, now_ms: u64) -> bool {
        self.log.checkpoint_if_due(&FixedClock::new(now_ms), &self.entropy).unwrap()
    }

    fn reopen(&self, remembered: Option<LogHead>) -> Result<Log, LogError> {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        Log::open(store, keys(), config_digest(), remembered, None)
    }

    /// Whoever opens believes exactly what the entries say, and `audit` has this to say.
    #[track_caller]
    fn problems_believing_the_entries(&self) -> Vec<Problem> {
        for remembered in [None, Some(self.log.head())] {
            let opened = self.reopen(remembered).unwrap();
            assert_eq!(opened.state(), self.log.state());
            assert_eq!((opened.head(), opened.voids()), (self.log.head(), self.log.voids()));
        }
        self.reopen(None).unwrap().audit().unwrap()
    }

    fn parts(&self) -> Vec<Name> {
        let parts = self.log.state().checkpoints().last().map(|newest| newest.checkpoint.parts.clone());
        parts.unwrap_or_default().into_iter().map(Name::checkpoint_part).collect()
    }

    fn bytes(&self, name: &Name) -> Vec<u8> {
        self.store.get(name, u64::MAX).unwrap().unwrap()
    }

    /// Opens through a store that counts: names of objects read, and how many were asked for their length.
    fn open_counting(&self, remembered: Option<LogHead>) -> (Vec<Name>, usize) {
        let store = CountingStore::new(&self.store);
        let over = Arc::clone(&store) as Arc<dyn Store>;
        let log = Log::open(over, keys(), config_digest(), remembered, None).unwrap();
        assert_eq!(log.state(), self.log.state());
        let asked = store.take();
        (asked.read, asked.sizes.len())
    }
}

#[test]
fn ten_thousand_entries_are_opened_with_some_dozen_requests() {
    let mut bench = Bench::new(10_000);
    let (read, _) = bench.open_counting(None);
    assert_eq!(
        read.len(),
        10_001 + 1,
        "without a checkpoint every entry is read, the one behind the last, and one to look"
    );
    bench.checkpoint();
    bench.add(5);
    let (read, sizes) = bench.open_counting(None);
    let parts = read.iter().filter(|name| matches!(name.kind(), NameKind::CheckpointPart(_))).count();
    assert_eq!(parts, 10, "1024 entries each");
    // The entry near the end, the one with the checkpoint, the one that links, and then from there to the end.
    assert_eq!(read.len(), parts + 3 + 7, "{read:?}");
    assert!(sizes <= 24, "{sizes} questions to find the end");
    // A client that remembers a head need not look for the end.
    let (_, sizes) = bench.open_counting(Some(bench.log.head()));
    assert!(sizes <= 5, "{sizes}");
    assert_eq!(bench.problems_believing_the_entries(), []);
}

#[test]
fn a_short_log_costs_one_question_more() {
    let bench = Bench::new(20);
    let (read, sizes) = bench.open_counting(None);
    // The question for the end, and the one whether there is a gap behind it.
    assert_eq!((read.len(), sizes), (21, 2));
}

#[test]
fn two_replayers_get_the_same_digest_and_another_history_another() {
    let bench = Bench::new(200);
    let again = bench.reopen(None).unwrap();
    assert_eq!(again.state().digest(), bench.log.state().digest());
    let mut longer = Bench::new(200);
    assert_eq!(longer.log.state().digest(), bench.log.state().digest(), "the same entries");
    longer.add(1);
    assert_ne!(longer.log.state().digest(), bench.log.state().digest());
}

#[test]
fn a_checkpoint_is_due_after_128_entries_or_a_day_with_16() {
    let mut bench = Bench::new(127);
    assert!(!bench.checkpoint_if_due(1000 + 9 * DAY), "a short log needs none");
    bench.add(1);
    bench.checkpoint();
    assert!(!bench.checkpoint_if_due(1000 + 9 * DAY), "nothing has happened since");
    bench.add(15);
    assert!(!bench.checkpoint_if_due(1000 + 9 * DAY));
    bench.add(1);
    assert!(!bench.checkpoint_if_due(1000 + DAY - 1));
    assert!(bench.checkpoint_if_due(1000 + DAY));
}

#[test]
fn whole_parts_stay_and_the_growing_one_is_written_anew_without_reading_its_entries() {
    let mut bench = Bench::new(1200);
    bench.checkpoint();
    let first = bench.parts();
    assert_eq!(first.len(), 2);
    bench.add(128);
    let store = CountingStore::new(&bench.store);
    let over = Arc::clone(&store) as Arc<dyn Store>;
    let mut log = Log::open(over, keys(), config_digest(), None, None).unwrap();
    store.take();
    assert!(log.checkpoint_if_due(&NOW, &bench.entropy).unwrap());
    // The growing part; 129 entries since; and the place of the entry to be written.
    assert!(store.take().read.len() <= 1 + 129 + 2);
    bench.log.refresh().unwrap();
    let second = bench.parts();
    assert_eq!(second[0], first[0]);
    assert_ne!(second[1], first[1]);
    assert_eq!(bench.problems_believing_the_entries(), []);
}

#[test]
fn of_two_that_find_a_checkpoint_due_one_writes_it() {
    let mut bench = Bench::new(200);
    let mut other = bench.reopen(None).unwrap();
    bench.checkpoint();
    assert!(!other.checkpoint_if_due(&NOW, &SeededEntropy::new(9)).unwrap());
    assert_eq!(other.head(), bench.log.head());
}

#[test]
fn damage_to_any_part_changes_nothing_that_is_believed_and_is_found() {
    let mut bench = Bench::new(1500);
    bench.checkpoint();
    bench.add(3);
    let parts = bench.parts();
    for name in &parts {
        let right = bench.bytes(name);
        let flipped = |at: usize| {
            let mut bytes = right.clone();
            bytes[at] ^= 1;
            Some(bytes)
        };
        let last = right.len() - 1;
        let other = bench.bytes(parts.iter().find(|other| *other != name).unwrap());
        let damages = [
            None,
            Some(Vec::new()),
            Some(right[..last].to_vec()),
            Some(other),
            flipped(0),
            flipped(40),
            flipped(last / 2),
            flipped(last),
        ];
        for damage in damages {
            bench.store.tamper(name, damage);
            let problems = bench.problems_believing_the_entries();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].object.starts_with("checkpoint part"), "{problems:?}");
        }
        bench.store.tamper(name, Some(right));
    }
    assert_eq!(bench.problems_believing_the_entries(), []);
}

#[test]
fn a_damaged_part_is_made_again_by_the_next_checkpoint() {
    let mut bench = Bench::new(1500);
    bench.checkpoint();
    let whole = bench.parts()[0].clone();
    bench.store.tamper(&whole, Some(b"damaged".to_vec()));
    bench.add(128);
    bench.log = bench.reopen(None).unwrap();
    bench.checkpoint();
    assert_eq!(bench.problems_believing_the_entries(), []);
}

#[test]
fn where_the_newest_checkpoint_cannot_be_used_the_one_before_is() {
    let mut bench = Bench::new(1100);
    bench.checkpoint();
    bench.add(200);
    bench.checkpoint();
    bench.store.tamper(&bench.parts()[1], None);
    let (read, _) = bench.open_counting(None);
    assert!(read.len() < 300, "{} objects read", read.len());
}

/// Parts of any entries, well formed.
fn put_part(bench: &Bench, first: u64, entries: &[Vec<u8>]) -> Digest {
    let mut part = CheckpointPartBuilder::new(&keys().repository(), first);
    entries.iter().for_each(|entry| part.push(entry).unwrap());
    let (name, bytes) = part.finish();
    bench.store.put_new(&Name::checkpoint_part(name), &bytes).unwrap();
    name
}

fn entries(bench: &Bench, numbers: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| bench.bytes(&Name::log(number))).collect()
}

/// Makes a checkpoint that is wrong for a log of 300 entries.
type Lie = fn(&mut Bench) -> Checkpoint;

#[test]
fn a_checkpoint_that_lies_is_not_believed_and_is_found() {
    // Whoever holds the keys can write a checkpoint that says anything.
    let lies: [(&str, Lie); 9] = [
        ("another state", |bench| {
            let parts = vec![put_part(bench, 1, &entries(bench, 1..=300))];
            Checkpoint { at: 300, digest: Digest::from_bytes([7; 32]), parts }
        }),
        ("another history, well chained", |bench| {
            let mut fork = Bench::new(2);
            fork.entropy = SeededEntropy::new(77);
            fork.add(298);
            let parts = vec![put_part(bench, 1, &entries(&fork, 1..=300))];
            Checkpoint { at: 300, digest: fork.log.state().digest(), parts }
        }),
        ("less than it says", |bench| {
            let parts = vec![put_part(bench, 1, &entries(bench, 1..=299))];
            Checkpoint { at: 300, digest: bench.log.state().digest(), parts }
        }),
        ("more than it says", |bench| {
            let digest = bench.log.state().digest();
            let parts = vec![put_part(bench, 1, &entries(bench, 1..=300))];
            Checkpoint { at: 299, digest, parts }
        }),
        ("a gap between its parts", |bench| {
            let parts =
                vec![put_part(bench, 1, &entries(bench, 1..=100)), put_part(bench, 102, &entries(bench, 102..=300))];
            Checkpoint { at: 300, digest: bench.log.state().digest(), parts }
        }),
        ("an entry swapped", |bench| {
            let mut swapped = entries(bench, 1..=300);
            swapped.swap(50, 51);
            Checkpoint { at: 300, digest: bench.log.state().digest(), parts: vec![put_part(bench, 1, &swapped)] }
        }),
        ("parts that are not there", |bench| Checkpoint {
            at: 300,
            digest: bench.log.state().digest(),
            parts: vec![Digest::from_bytes([9; 32])],
        }),
        ("nothing at all", |bench| Checkpoint { at: 300, digest: bench.log.state().digest(), parts: Vec::new() }),
        ("of the time to come", |bench| {
            let parts = vec![put_part(bench, 1, &entries(bench, 1..=300))];
            Checkpoint { at: 400, digest: bench.log.state().digest(), parts }
        }),
    ];
    for (lie, checkpoint) in lies {
        let mut bench = Bench::new(300);
        let checkpoint = checkpoint(&mut bench);
        bench.append(Record::Checkpoint(checkpoint));
        bench.add(2);
        assert!(!bench.problems_believing_the_entries().is_empty(), "{lie}");
    }
}

#[test]
fn the_entry_after_the_copies_has_to_link_to_them() {
    // The log is cut and goes on from a checkpoint of what was cut off: two histories, each in itself sound.
    let mut bench = Bench::new(300);
    let parts = vec![put_part(&bench, 1, &entries(&bench, 1..=300))];
    let checkpoint = Checkpoint { at: 300, digest: bench.log.state().digest(), parts };
    (200..=300).for_each(|number| bench.store.tamper(&Name::log(number), None));
    bench.log = bench.reopen(None).unwrap();
    bench.add(150);
    bench.append(Record::Checkpoint(checkpoint));
    assert!(!bench.problems_believing_the_entries().is_empty());
}

#[test]
fn a_client_that_remembers_is_not_led_past_a_rollback_by_a_checkpoint() {
    let mut bench = Bench::new(400);
    bench.checkpoint();
    let inside = LogHead { number: 350, digest: Digest::of(&bench.bytes(&Name::log(350))) };
    assert!(bench.reopen(Some(inside)).is_ok(), "it has come by among the copies");
    let other = LogHead { number: 350, digest: Digest::from_bytes([1; 32]) };
    assert_eq!(bench.reopen(Some(other)).err().unwrap().kind(), Kind::History);
    let ahead = LogHead { number: 900, digest: Digest::from_bytes([1; 32]) };
    assert_eq!(bench.reopen(Some(ahead)).err().unwrap().kind(), Kind::History);
}

#[test]
fn an_entry_that_is_lost_or_damaged_in_the_log_is_found_although_a_copy_was_read() {
    let mut bench = Bench::new(300);
    bench.checkpoint();
    // Not one that is asked for on the way to the end: that one is missed by opening, too.
    for number in [1, 7, 299] {
        let right = bench.bytes(&Name::log(number));
        let mut flipped = right.clone();
        flipped[120] ^= 1;
        for damage in [None, Some(flipped), Some(bench.bytes(&Name::log(250)))] {
            bench.store.tamper(&Name::log(number), damage);
            // Entry 301 links to the copies: what comes before it need not be read to be believed.
            let problems = bench.reopen(None).unwrap().audit().unwrap();
            let named = |problem: &Problem| {
                format!("{}: {}", problem.object, problem.what).contains(&format!("log entry {number}"))
            };
            assert!(problems.iter().any(named), "{number}: {problems:?}");
        }
        bench.store.tamper(&Name::log(number), Some(right));
    }
    assert_eq!(bench.problems_believing_the_entries(), []);
}
