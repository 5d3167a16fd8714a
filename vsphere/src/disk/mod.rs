//! Disks of a VM as the engine takes them: sources to read, targets to write, both over NBD.
//!
//! **Invariant:** a helper process that crashes or hangs costs each of its disks one restart. After it every disk has a process of
//! its own, so that the one that brings it down again brings down no other.

mod read;
mod slots;
mod write;

use std::sync::Arc;

use engine::Kind;

use crate::{
    transport::{DiskState, Transports},
    vddk::{Launch, LibraryAbout, OpenedDisk, Process, ProcessError, VmAccess},
};

pub use read::VddkDisk;
use slots::Slots;
pub use write::VddkTarget;
pub(crate) use write::not_zero;

/// A disk of a VM, and how it may be reached.
#[derive(Clone, Debug)]
pub struct DiskPlace {
    /// `disk0`, as the VM's other disks are called.
    pub name: String,
    /// `[datastore] folder/disk.vmdk`, as in the snapshot's configuration.
    pub path: String,
    /// How it lies there.
    pub state: DiskState,
    /// Ways that may be taken, by [`Transports::for_disk`].
    pub allowed: Transports,
}

/// What is wrong with a disk of a VM.
#[derive(Debug, thiserror::Error)]
#[error("{vm}{}: {source}", spaced(disk))]
pub struct DiskError {
    /// Name of the VM.
    pub vm: String,
    /// Name of the disk; empty: it is about all of them.
    pub disk: String,
    /// What it is.
    pub source: ProcessError,
}

fn spaced(disk: &str) -> String {
    if disk.is_empty() { String::new() } else { format!(" {disk}") }
}

impl DiskError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        self.source.kind()
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        self.source.hint()
    }
}

/// Everything that a process for this VM is started with.
struct Recipe {
    vm: String,
    launch: Launch,
    access: VmAccess,
    slots: Slots,
}

impl Recipe {
    fn failed(&self, disk: &str, source: ProcessError) -> DiskError {
        DiskError { vm: self.vm.clone(), disk: disk.to_owned(), source }
    }
}

/// A VM whose disks are opened by VMware's library.
pub struct VddkVm {
    recipe: Arc<Recipe>,
    process: Arc<Process>,
}

impl VddkVm {
    /// Starts the helper process and logs in. `vm` is its name for people.
    pub fn start(vm: impl Into<String>, launch: Launch, access: VmAccess) -> Result<Self, DiskError> {
        let recipe = Recipe { vm: vm.into(), launch, access, slots: Slots::default() };
        let process = Process::start(&recipe.launch, &recipe.access).map_err(|error| recipe.failed("", error))?;
        Ok(Self { recipe: Arc::new(recipe), process: Arc::new(process) })
    }

    /// What the library is.
    pub fn library(&self) -> &LibraryAbout {
        self.process.about()
    }

    /// Opens a disk for reading.
    pub fn open(&self, place: DiskPlace) -> Result<VddkDisk, DiskError> {
        VddkDisk::open(&self.recipe, &self.process, place)
    }

    /// Opens a disk that was made a moment ago and holds nothing: what is not written reads as zeros.
    pub fn open_new(&self, place: &DiskPlace) -> Result<VddkTarget, DiskError> {
        let opened = write::open(&self.recipe.launch, &self.process, place);
        opened.map(VddkTarget::new_disk).map_err(|error| self.recipe.failed(&place.name, error))
    }

    /// Opens a disk that is changed where it lies, whatever it holds: only what differs is written.
    pub fn open_existing(&self, place: &DiskPlace) -> Result<VddkTarget, DiskError> {
        let opened = write::open(&self.recipe.launch, &self.process, place);
        opened.map(VddkTarget::existing).map_err(|error| self.recipe.failed(&place.name, error))
    }

    /// Closes everything in VMware's order and ends the process; what went wrong on the way. Disks that are still held are of
    /// no use afterwards.
    pub fn end(self) -> Vec<String> {
        self.process.end()
    }
}

/// Opens a disk in a process. What the library says of an encrypted disk is said in the disk's own words.
fn open_in(launch: &Launch, process: &Process, place: &DiskPlace) -> Result<OpenedDisk, ProcessError> {
    let open = || process.open(&place.name, &place.path, &place.allowed);
    launch.while_host_is_away(open).map_err(|error| match error {
        ProcessError::NotAllowed { transport, .. } if place.state == DiskState::Encrypted => {
            ProcessError::Encrypted { transport }
        }
        error => error,
    })
}
