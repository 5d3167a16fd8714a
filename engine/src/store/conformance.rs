//! What every store must do, run on each of them.

use std::{
    ops::ControlFlow,
    sync::{Arc, Barrier},
    thread,
};

use repo_format::{
    ChunkerKind, Chunking, Class, Compression, Compressor, Config, FrameBuilder, FullPack, HashedChunk, Keyring,
    PackBuilder, PackClose, PackHead, PackLayout, RepositoryId, RepositoryKeys, Salt, SessionId, SlotId,
};

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

/// A small pack, another for each `seed`.
pub(crate) fn pack(seed: u8) -> FullPack {
    let repository = RepositoryId::from_bytes([1; 16]);
    let keys = Keyring::new(&RepositoryKeys::generate([1; 32]), repository);
    let chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 14 };
    let small = Config { shard_log2: 12, data_pack_bytes: 1 << 16, ..Config::new(repository, chunking, 0) };
    let head = PackHead {
        class: Class::Data,
        epoch: 1,
        session: SessionId::from_bytes([seed; 16]),
        salt: Salt::from_bytes([seed; 32]),
    };
    let mut frames = FrameBuilder::new(Class::Data, 1 << 15);
    frames.push(HashedChunk::of_data(&[seed; 4096], &keys)).unwrap();
    let mut compressor = Compressor::new(Compression::Stored).unwrap();
    let frame = frames.take().unwrap().seal(&keys, &mut compressor, [seed; 24]).unwrap();
    let mut pack = PackBuilder::new(head, PackLayout::of(&small, Class::Data));
    pack.push(frame).unwrap();
    pack.finish(&keys, PackClose::Early, [seed; 24], &mut |padding| padding.fill(seed)).unwrap()
}

/// The names below a prefix, sorted.
pub(crate) fn names(store: &dyn Store, prefix: Prefix) -> Vec<Name> {
    let mut names = Vec::new();
    store
        .list(prefix, &mut |listed| {
            names.push(listed.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    names.sort();
    names
}

#[test]
fn a_pack_is_put_by_several_threads_and_again_and_is_healed() {
    for (store, _folder) in stores() {
        store.prepare().unwrap();
        let packs: Vec<FullPack> = (0..8).map(pack).collect();
        thread::scope(|scope| {
            for _ in 0..2 {
                packs.iter().for_each(|pack| drop(scope.spawn(|| store.put_pack(pack).unwrap())));
            }
        });
        assert_eq!(names(store.as_ref(), Prefix::Packs).len(), 8);
        for pack in &packs {
            let name = Name::pack(pack.name());
            let mut bytes = Vec::new();
            store.get_range(&name, 4096..8192, &mut bytes).unwrap();
            assert_eq!(bytes, pack.bytes()[4096..8192]);
            assert_eq!(store.size(&name).unwrap(), Some(pack.bytes().len() as u64));
        }
    }
}

#[test]
fn a_listing_ends_when_it_is_told_to_and_may_ask_the_store() {
    for (store, _folder) in stores() {
        store.prepare().unwrap();
        (1..=3).for_each(|number| drop(store.put_new(&Name::log(number), b"entry").unwrap()));
        let mut seen = 0;
        store
            .list(Prefix::Log, &mut |listed| {
                assert_eq!(store.size(&listed.name).unwrap(), Some(5));
                seen += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(seen, 1);
    }
}
