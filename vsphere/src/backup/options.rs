//! How a VM is backed up.

use std::time::Duration;

use engine::{AuditShare, BackupOptions, Entropy, random};

use super::WatchLimits;
use crate::{
    transport::{Proxy, Transports},
    vddk::Launch,
};

/// How quiet a guest is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuiesceWish {
    /// As after a power cut.
    No,
    /// File systems flushed.
    FileSystem,
    /// Applications too; a VM with encryption is refused: VMware does not support it.
    Application,
    /// Applications too, of a VM without encryption; of one with it the file systems, and that is said.
    ApplicationIfClear,
}

/// What becomes of a guest that could not be made quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unquiet {
    /// It is backed up as after a power cut, and that is said.
    BackUp,
    /// It is not backed up.
    Fail,
}

/// What becomes of change tracking that is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingWish {
    /// It is switched on and stays on.
    SwitchOn,
    /// It stays off.
    Leave,
}

/// Who opens the disks.
#[derive(Clone)]
pub enum Reader {
    /// VMware's library, in a process of its own.
    Vddk(Launch),
    /// An NBD server of somebody else: a URI with `{vm}`, `{disk}` and `{key}` in it.
    Nbd(String),
    /// A command that serves one disk over NBD, its words with blanks in them, and the library's folder for `{libdir}`.
    Command {
        /// Program and arguments.
        words: Vec<String>,
        /// The library's folder; empty if it needs none.
        libdir: String,
    },
}

impl Reader {
    /// As a restore point records it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Vddk(_) => "vddk",
            Self::Nbd(_) => "nbd",
            Self::Command { .. } => "command",
        }
    }
}

/// How a VM is backed up.
#[derive(Clone)]
pub struct VmBackupOptions {
    /// How quiet the guest is to be.
    pub quiesce: QuiesceWish,
    /// What if it cannot be.
    pub unquiet: Unquiet,
    /// How long to wait before it is tried again.
    pub quiesce_pause: Duration,
    /// When the snapshot goes although the disks are not read yet.
    pub watch: WatchLimits,
    /// What becomes of change tracking that is off.
    pub tracking: TrackingWish,
    /// How much of what is said to be unchanged is read and compared.
    pub audit: AuditShare,
    /// Ways to the disks, best first.
    pub transports: Transports,
    /// Where this program runs.
    pub proxy: Proxy,
    /// Who opens the disks.
    pub reader: Reader,
    /// How they are stored.
    pub engine: BackupOptions,
    /// The operator's mark on the point.
    pub tag: Option<String>,
    /// Why the point is held from its first moment on.
    pub hold: Option<String>,
}

/// A name that no other run has.
pub(super) fn new_run(entropy: &dyn Entropy) -> String {
    random::<8>(entropy).iter().map(|byte| format!("{byte:02x}")).collect()
}
