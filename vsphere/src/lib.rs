//! Where the bytes of a vSphere VM come from and go back to.
//!
//! **Invariant:** the only crate that names VMware, and the only one with a foreign library in it (`vddk/sys`).

pub mod disk;
pub mod recovery;
pub mod soap;
pub mod transport;
pub mod vddk;
