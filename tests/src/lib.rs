//! The harness: a place with a repository and a way to run the program in it, disk images that are the same each time,
//! and the engine opened on the same repository. And a model of the protocol that all of them follow.

mod disk_image;
mod engine_side;
pub mod model;
mod nbd_peers;
mod program;
mod run;
mod site;
mod vcenter;
mod vddk;
mod vsphere_checks;
mod vsphere_site;

pub use disk_image::{disk, is_same, occupied_bytes, random, write_full, write_random_file, write_sparse};
pub use engine_side::{back_up, open_for_reading, open_for_writing};
pub use nbd_peers::{Peer, Serving, certificates, fingerprint, has_program, outcome, succeeds};
pub use program::{full_run, program};
pub use run::Run;
pub use site::{PASSWORD, Running, Site, files_below, in_namespace};
pub use vcenter::Vcenter;
pub use vddk::{Like, StandIn};
pub use vsphere_checks::KnownVm;
pub use vsphere_site::VsphereSite;
