//! A store that nothing can be written through: for dry runs.

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

use repo_format::FullPack;

use super::{Caps, Deleted, Listed, Name, Prefix, PutNew, Reaction, Store, StoreError};

/// Reads from another store. Packs, which decide nothing, are dropped, so that a dry run takes the same walk; every other
/// write is refused.
pub struct ReadOnlyStore(Arc<dyn Store>);

impl ReadOnlyStore {
    /// Looks into `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

fn refused(op: &'static str, name: impl ToString) -> StoreError {
    StoreError::new(op, name, Reaction::Denied, "this run may only read")
}

impl Store for ReadOnlyStore {
    fn put_new(&self, name: &Name, _body: &[u8]) -> Result<PutNew, StoreError> {
        Err(refused("write", name))
    }

    fn put_pack(&self, _pack: &FullPack) -> Result<(), StoreError> {
        Ok(())
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(name, bytes_max)
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        self.0.get_range(name, range, into)
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.0.size(name)
    }

    fn list(&self, prefix: Prefix, f: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.0.list(prefix, f)
    }

    fn delete_many(&self, names: &[Name]) -> Vec<(Name, Result<Deleted, StoreError>)> {
        names.iter().map(|name| (name.clone(), Err(refused("delete", name)))).collect()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        Err(refused("make a repository in", self.describe()))
    }

    fn caps(&self) -> Caps {
        self.0.caps()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn everything_can_be_read_and_nothing_written() {
        let inner = Arc::new(MemoryStore::new());
        inner.put_new(&Name::log(1), b"one").unwrap();
        let before = inner.copy();
        let store = ReadOnlyStore::new(Arc::clone(&inner) as Arc<dyn Store>);
        assert_eq!(store.get(&Name::log(1), 9).unwrap(), Some(b"one".to_vec()));
        assert_eq!(store.size(&Name::log(1)).unwrap(), Some(3));
        let mut names = Vec::new();
        let mut tell = |listed: Listed| {
            names.push(listed.name);
            ControlFlow::Continue(())
        };
        store.list(Prefix::Log, &mut tell).unwrap();
        assert_eq!(names, [Name::log(1)]);
        let refusals = [
            store.put_new(&Name::log(2), b"two").unwrap_err(),
            store.prepare().unwrap_err(),
            store.delete_many(&[Name::log(1)]).remove(0).1.unwrap_err(),
        ];
        assert!(refusals.iter().all(|error| error.reaction == Reaction::Denied));
        assert_eq!(inner.get(&Name::log(1), 9).unwrap(), before.get(&Name::log(1), 9).unwrap());
        assert_eq!(inner.size(&Name::log(2)).unwrap(), None);
    }
}
