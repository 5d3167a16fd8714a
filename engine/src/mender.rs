//! Mends one pack: looks at it a second time, then by its parity, then with what another store has of it.
//!
//! **Invariant:** only bytes that hash to the pack's name are written back, over what is damaged and nothing else.

use std::sync::Arc;

use repo_format::{FullPack, Keyring, PackName, mend_pack};

use crate::{
    error::Kind,
    store::{Name, Reaction, Store, StoreError},
};

/// The longest pack that a config can ask for, and what may hang behind a damaged one.
const PACK_BYTES_MAX: u64 = (1 << 28) + (1 << 20);
/// A disk that fails somewhere in a pack is read piece by piece.
const PIECE_BYTES: u64 = 1 << 16;

/// What a pack was mended from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MendedFrom {
    /// Its own parity.
    Parity,
    /// The same pack in another store, its parity where both are damaged.
    OtherCopy,
}

/// What became of a pack that somebody has found damaged.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is right: what was read first was not what is stored.
    Right,
    /// It is right again.
    Mended { from: MendedFrom },
    /// It is damaged, seen twice, and cannot be mended.
    Bad {
        /// Why not.
        why: String,
        /// The bytes were read and are wrong, or the pack is not there. False: they could not be read right now.
        is_proved: bool,
    },
}

/// Whether what was mended is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteBack {
    Yes,
    /// A dry run.
    No,
}

/// Mends packs of one repository.
pub(crate) struct Mender {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<Keyring>,
    /// A copy of the same repository.
    pub(crate) other: Option<Arc<dyn Store>>,
    pub(crate) write_back: WriteBack,
}

impl Mender {
    /// Mends pack `name` of `bytes`, which somebody has found damaged or missing.
    pub(crate) fn mend(&self, name: PackName, bytes: u64) -> Result<Outcome, StoreError> {
        let object = Name::pack(name);
        let (ours, is_proved) = read(self.store.as_ref(), &object, bytes)?;
        if PackName::of(&ours) == name {
            return Ok(Outcome::Right);
        }
        let (mended, from) = match mend_pack(name, &[&ours]) {
            Ok(mended) => (mended, MendedFrom::Parity),
            Err(alone) => {
                // That the other store cannot be read is no news of this pack.
                let other = self.other.as_ref().and_then(|other| read(other.as_ref(), &object, bytes).ok());
                match other.map(|(theirs, _)| mend_pack(name, &[&ours, &theirs])) {
                    Some(Ok(mended)) => (mended, MendedFrom::OtherCopy),
                    _ => return Ok(Outcome::Bad { why: alone.to_string(), is_proved }),
                }
            }
        };
        let pack = match FullPack::reopen(name, mended.bytes, &self.keys) {
            Ok(pack) => pack,
            Err(error) => return Ok(Outcome::Bad { why: error.to_string(), is_proved }),
        };
        if self.write_back == WriteBack::Yes {
            self.store.put_pack(&pack)?;
        }
        Ok(Outcome::Mended { from })
    }
}

/// What can be had of a pack, zeros where a disk does not give it, and whether all of it could be read.
fn read(store: &dyn Store, object: &Name, bytes: u64) -> Result<(Vec<u8>, bool), StoreError> {
    match store.get(object, PACK_BYTES_MAX) {
        Ok(found) => Ok((found.unwrap_or_default(), true)),
        // Longer than any pack.
        Err(error) if error.reaction == Reaction::Damaged => Ok((Vec::new(), true)),
        Err(error) if error.kind() == Kind::Unavailable => read_pieces(store, object, bytes, error),
        Err(error) => Err(error),
    }
}

fn read_pieces(store: &dyn Store, object: &Name, bytes: u64, error: StoreError) -> Result<(Vec<u8>, bool), StoreError> {
    let mut found = Vec::new();
    let mut pieces_read = 0_u64;
    for start in (0..bytes.min(PACK_BYTES_MAX)).step_by(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX)) {
        let end = bytes.min(start.saturating_add(PIECE_BYTES));
        let before = found.len();
        match store.get_range(object, start..end, &mut found) {
            Ok(()) => pieces_read += 1,
            Err(_) => {
                found.truncate(before);
                found.resize(before + usize::try_from(end - start).unwrap_or_default(), 0);
            }
        }
    }
    // Nothing at all: it is the store that fails, not the pack.
    if pieces_read == 0 { Err(error) } else { Ok((found, false)) }
}

#[cfg(test)]
mod tests {
    use std::{ops::ControlFlow, ops::Range};

    use super::*;
    use crate::{
        store::{Caps, Deleted, Listed, MemoryStore, Prefix, PutNew, conformance},
        test_repository::TestRepository,
    };

    fn mender(store: Arc<dyn Store>, other: Option<Arc<dyn Store>>) -> Mender {
        let keys = TestRepository::new().keys();
        Mender { store, keys, other, write_back: WriteBack::Yes }
    }

    /// A disk with a place that cannot be read.
    struct FailingDisk {
        inner: MemoryStore,
        bad: Range<u64>,
    }

    impl Store for FailingDisk {
        fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
            self.inner.put_new(name, body)
        }

        fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
            self.inner.put_pack(pack)
        }

        fn get(&self, name: &Name, _bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
            Err(StoreError::new("read", name, Reaction::Unavailable, "Input/output error"))
        }

        fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
            match range.start < self.bad.end && self.bad.start < range.end {
                true => Err(StoreError::new("read", name, Reaction::Unavailable, "Input/output error")),
                false => self.inner.get_range(name, range, into),
            }
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
    fn a_store_that_gives_nothing_is_no_damage() {
        let pack = conformance::pack(1);
        let inner = MemoryStore::new();
        inner.put_pack(&pack).unwrap();
        let store = Arc::new(FailingDisk { inner, bad: 0..u64::MAX });
        let failed = mender(store, None).mend(pack.name(), pack.bytes().len() as u64);
        assert_eq!(failed.unwrap_err().reaction, Reaction::Unavailable);
    }

    #[test]
    fn what_cannot_be_read_right_now_is_not_proved_to_be_damaged() {
        let mut repository = TestRepository::new();
        repository.back_up(
            "web01",
            &[("disk0", &crate::test_repository::content(&(1..=60).collect::<Vec<_>>()))],
            false,
        );
        let state = repository.reader();
        let pack = state.state().packs().next().unwrap().1.clone();
        // Half of the pack: far more than its parity.
        let store = Arc::new(FailingDisk { inner: repository.store.copy(), bad: 0..pack.bytes / 2 });
        let outcome = mender(store, None).mend(pack.name, pack.bytes).unwrap();
        assert!(matches!(outcome, Outcome::Bad { is_proved: false, .. }), "{outcome:?}");
    }
}
