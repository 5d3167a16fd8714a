//! Where the bytes of a repository lie: what is asked of any store (SPEC.md section 21), and the stores there are.
//!
//! **Invariant:** there is no rename, append or conditional overwrite here, and no call that needs a listing to be
//! complete.

mod error;
mod local;
mod memory;
mod name;
mod read_only;

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod counting;

use std::{ops::ControlFlow, ops::Range};

use repo_format::FullPack;

pub use error::{Reaction, StoreError};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{Name, NameKind, Prefix};
pub use read_only::ReadOnlyStore;

/// Length of the reserve: room for log entries on a full disk.
pub(crate) const RESERVE_BYTES: usize = 1 << 20;

/// What [`Store::put_new`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutNew {
    /// The name now bears these bytes, durably, and it was this request or an earlier equal one that put them there.
    Created,
    /// The name bears other bytes: these.
    Exists(Vec<u8>),
}

/// What [`Store::delete_many`] did with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is not there any more, or never was.
    Gone,
    /// The store keeps it for now (object lock): try again later.
    Retained,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// Its length.
    pub bytes: u64,
}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Create-if-absent is atomic also between hosts. Without it one writer at a time is all that is safe.
    pub exclusive_create: bool,
}

/// Holds the objects of one repository. Calls block; any thread may make them.
pub trait Store: Send + Sync {
    /// Create-if-absent, durable on return. `body` is unique to this request (it holds at least 128 random bits or is the
    /// same for all that may write it), so that equal bytes under the name mean [`PutNew::Created`].
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError>;

    /// Stores a pack under its name, durable on return. May be repeated, and heals a damaged object of that name.
    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError>;

    /// A whole object; `None` if it is not there. One of more than `bytes_max` bytes is damaged.
    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Appends exactly the bytes of `range` to `into`. The caller keeps to the grid of shards. On an error, what has been
    /// appended is not to be used.
    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError>;

    /// Length of an object; `None` if it is not there.
    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError>;

    /// Shows names to `f`, in any order, until it breaks. What is missing here may still exist.
    fn list(&self, prefix: Prefix, f: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// Deletes objects: one result for each name, in order.
    fn delete_many(&self, names: &[Name]) -> Vec<(Name, Result<Deleted, StoreError>)>;

    /// Makes an empty store ready for a new repository; refuses one that holds anything but an unfinished `init`.
    fn prepare(&self) -> Result<(), StoreError>;

    /// What it can do.
    fn caps(&self) -> Caps;

    /// Where it is, for messages.
    fn describe(&self) -> String;

    /// Removes unfinished files of runs that have died.
    fn sweep_unfinished(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn check_length(name: &Name, bytes: u64, bytes_max: u64) -> Result<(), StoreError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(StoreError::new("read", name, Reaction::Damaged, format!("{bytes} bytes, at most {bytes_max} are wanted")))
}

fn too_short(name: &Name, bytes: u64, range: &Range<u64>) -> StoreError {
    if range.start > range.end {
        return StoreError::new("read", name, Reaction::Invalid, format!("range {}…{}", range.start, range.end));
    }
    StoreError::new("read", name, Reaction::Damaged, format!("{bytes} bytes, {} are wanted", range.end))
}
