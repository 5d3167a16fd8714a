//! What a backup would be asked for.

use std::path::PathBuf;

use crate::{backup::QuiesceWish, transport::Transports};

/// Who would open the disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreflightReader {
    /// VMware's library.
    Vddk {
        /// Where it was unpacked to; `None` if nobody has said so.
        libdir: Option<PathBuf>,
        /// Ways to the disks, best first.
        transports: Transports,
    },
    /// Somebody else: an NBD server, or a command that is one.
    Outside,
}

/// How the VMs were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// One by one: what cannot be backed up is a mistake.
    ByName,
    /// All that there are: what cannot be backed up is left out.
    All,
}

/// What a backup would be asked for.
#[derive(Clone, Debug)]
pub struct PreflightOptions {
    /// Who would open the disks.
    pub reader: PreflightReader,
    /// How quiet the guests would be made.
    pub quiesce: QuiesceWish,
    /// How the VMs were chosen.
    pub chosen: Chosen,
    /// `product_uuid` of this machine, if it may be read; see [`product_uuid`](super::product_uuid).
    pub product_uuid: Option<String>,
}
