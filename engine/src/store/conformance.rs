//! What every store must do, run on each of them.

use std::{
    ops::ControlFlow,
    sync::{Arc, Barrier},
    thread,
};

use repo_format::SlotId;

use super::{LocalStore, MemoryStore, Name, Prefix, PutNew, Reaction, Store};

fn stores() -> Vec<(Arc<dyn Store>, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let local: Arc<dyn Store> = Arc::new(LocalStore::at(&folder.path().join("repository")));
    vec![(local, Some(folder)), (Arc::new(MemoryStore::default()), None)]
}

#[test]
fn an_object_is_created_once_and_its_own_bytes_count_as_created() {
    for (store, _folder) in stores() {
        store.prepare().unwrap();
        assert_eq!(store.put_new(&Name::log(1), b"ours").unwrap(), PutNew::Created);
        assert_eq!(store.put_new(&Name::log(1), b"ours").unwrap(), PutNew::Created);
        assert_eq!(store.put_new(&Name::log(1), b"theirs").unwrap(), PutNew::Exists(b"ours".to_vec()));
        assert_eq!(store.get(&Name::log(1), 100).unwrap(), Some(b"ours".to_vec()));
        assert_eq!(store.size(&Name::log(1)).unwrap(), Some(4));
        assert_eq!(store.get(&Name::log(2), 100).unwrap(), None);
        assert_eq!(store.get(&Name::log(1), 3).unwrap_err().reaction, Reaction::Damaged);
    }
}

#[test]
fn of_sixteen_racers_one_wins() {
    for (store, _folder) in stores() {
        store.prepare().unwrap();
        for round in 1..=5 {
            let barrier = Barrier::new(16);
            let created: usize = thread::scope(|scope| {
                let racers: Vec<_> = (0..16_u8)
                    .map(|racer| {
                        let (store, barrier) = (&store, &barrier);
                        scope.spawn(move || {
                            barrier.wait();
                            usize::from(store.put_new(&Name::log(round), &[racer; 16]).unwrap() == PutNew::Created)
                        })
                    })
                    .collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).sum()
            });
            assert_eq!(created, 1);
        }
    }
}

#[test]
fn ranges_are_exact_or_refused() {
    for (store, _folder) in stores() {
        store.prepare().unwrap();
        store.put_new(&Name::log(1), b"0123456789").unwrap();
        let mut bytes = b"x".to_vec();
        store.get_range(&Name::log(1), 2..5, &mut bytes).unwrap();
        assert_eq!(bytes, b"x234");
        assert_eq!(store.get_range(&Name::log(1), 8..11, &mut bytes).unwrap_err().reaction, Reaction::Damaged);
        assert_eq!(store.get_range(&Name::log(2), 0..1, &mut bytes).unwrap_err().reaction, Reaction::Absent);
    }
}

#[test]
fn a_listing_tells_what_is_below_a_prefix_and_deleting_is_idempotent() {
    for (store, _folder) in stores() {
        store.prepare().unwrap();
        let slot = Name::slot(SlotId::from_bytes([1; 16]), 0);
        store.put_new(&slot, b"slot").unwrap();
        store.put_new(&Name::log(1), b"entry").unwrap();
        let mut found = Vec::new();
        store
            .list(Prefix::Keys, &mut |listed| {
                found.push((listed.name, listed.bytes));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found, [(slot.clone(), 4)]);
        for _ in 0..2 {
            assert!(store.delete_many(std::slice::from_ref(&slot)).iter().all(|(_, result)| result.is_ok()));
        }
        assert_eq!(store.get(&slot, 100).unwrap(), None);
    }
}

#[test]
fn a_folder_with_foreign_files_is_not_prepared_and_an_unfinished_init_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::at(folder.path());
    store.prepare().unwrap();
    store.put_new(&Name::log(1), b"left by an init that was killed").unwrap();
    store.prepare().unwrap();
    assert_eq!(store.get(&Name::log(1), 100).unwrap(), None);
    std::fs::write(folder.path().join("thesis.txt"), b"precious").unwrap();
    assert_eq!(store.prepare().unwrap_err().reaction, Reaction::Invalid);
    assert_eq!(std::fs::read(folder.path().join("thesis.txt")).unwrap(), b"precious");
}

#[test]
fn leftovers_of_the_dead_are_swept_and_files_in_use_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::at(folder.path());
    store.prepare().unwrap();
    let (dead, in_use) = (folder.path().join("tmp/dead-0"), folder.path().join("tmp/alive-0"));
    std::fs::write(&dead, b"half").unwrap();
    let file = std::fs::File::create(&in_use).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    store.sweep_unfinished().unwrap();
    assert!(!dead.exists() && in_use.exists());
}
