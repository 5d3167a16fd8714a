//! A store that counts what is asked of it, for tests that promise a number of requests.

use std::{
    ops::{ControlFlow, Range},
    sync::{Arc, Mutex, PoisonError},
};

use repo_format::FullPack;

use super::{Caps, Deleted, Listed, MemoryStore, Name, Prefix, PutNew, Store, StoreError};

/// Counts reads of another store.
pub(crate) struct CountingStore {
    inner: Arc<MemoryStore>,
    asked: Mutex<Asked>,
}

/// What was asked since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Objects read whole.
    pub(crate) read: Vec<Name>,
    /// Objects asked for their length only.
    pub(crate) sizes: Vec<Name>,
    /// Parts of objects read.
    pub(crate) ranges: Vec<(Name, Range<u64>)>,
}

impl CountingStore {
    pub(crate) fn new(inner: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), asked: Mutex::default() })
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Asked {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Store for CountingStore {
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
        self.inner.put_new(name, body)
    }

    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
        self.inner.put_pack(pack)
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.note(|asked| asked.read.push(name.clone()));
        self.inner.get(name, bytes_max)
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        self.note(|asked| asked.ranges.push((name.clone(), range.clone())));
        self.inner.get_range(name, range, into)
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.note(|asked| asked.sizes.push(name.clone()));
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
