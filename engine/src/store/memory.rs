//! A store in memory, for tests and simulations.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
    sync::{Mutex, MutexGuard, PoisonError},
};

use repo_format::FullPack;

use super::{Caps, Deleted, Listed, Name, Prefix, PutNew, Reaction, Store, StoreError};

/// Objects in memory; gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<Name, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts any bytes under any name, over what was there: what a disk or an enemy can do and a store never offers.
    pub fn tamper(&self, name: &Name, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.objects().insert(name.clone(), bytes),
            None => self.objects().remove(name),
        };
    }

    /// A second store with the same objects.
    pub fn copy(&self) -> Self {
        Self { objects: Mutex::new(self.objects().clone()) }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
        match self.objects().entry(name.clone()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(body.to_vec());
                Ok(PutNew::Created)
            }
            std::collections::btree_map::Entry::Occupied(entry) if entry.get() == body => Ok(PutNew::Created),
            std::collections::btree_map::Entry::Occupied(entry) => Ok(PutNew::Exists(entry.get().clone())),
        }
    }

    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
        self.objects().insert(Name::pack(pack.name()), pack.bytes().to_vec());
        Ok(())
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let objects = self.objects();
        let Some(bytes) = objects.get(name) else { return Ok(None) };
        super::check_length(name, bytes.len() as u64, bytes_max)?;
        Ok(Some(bytes.clone()))
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let objects = self.objects();
        let bytes = objects.get(name).ok_or_else(|| StoreError::absent("read", name))?;
        let wanted = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let part = wanted.and_then(|(start, end)| bytes.get(start..end));
        into.extend_from_slice(part.ok_or_else(|| super::too_short(name, bytes.len() as u64, &range))?);
        Ok(())
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        Ok(self.objects().get(name).map(|bytes| bytes.len() as u64))
    }

    fn list(&self, prefix: Prefix, f: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), StoreError> {
        // The caller may call back into the store: it must not be locked then.
        let listed: Vec<Listed> = self
            .objects()
            .iter()
            .filter(|(name, _)| prefix.holds(name))
            .map(|(name, bytes)| Listed { name: name.clone(), bytes: bytes.len() as u64 })
            .collect();
        let _ = listed.into_iter().try_for_each(f);
        Ok(())
    }

    fn delete_many(&self, names: &[Name]) -> Vec<(Name, Result<Deleted, StoreError>)> {
        let mut objects = self.objects();
        let mut delete = |name: &Name| {
            objects.remove(name);
            (name.clone(), Ok(Deleted::Gone))
        };
        names.iter().map(&mut delete).collect()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        match self.objects().keys().next() {
            None => Ok(()),
            Some(name) => Err(StoreError::new(
                "make a repository in",
                self.describe(),
                Reaction::Invalid,
                format!("it holds {name}"),
            )),
        }
    }

    fn caps(&self) -> Caps {
        Caps { exclusive_create: true }
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
