//! Where the bytes of a vSphere VM come from and go back to.
//!
//! **Invariant:** the only crate that names VMware, and the only one with a foreign library in it (`vddk/sys`).

mod journal;
pub mod recovery;
pub mod soap;
pub mod vddk;
pub mod vm_home;

pub use journal::{Effect, Intent, Journal, JournalError, OpenEffect};
