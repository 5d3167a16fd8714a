//! Where the bytes of a vSphere VM come from and go back to.
//!
//! **Invariant:** the only crate that names VMware, and the only one with a foreign library in it (`vddk/sys`).

mod calls;
mod inventory;
mod journal;
mod properties;
pub mod recovery;
mod session;
pub mod soap;
mod task;
#[cfg(test)]
mod test_session;
pub mod vddk;
mod vm_disk;
pub mod vm_home;

pub use inventory::{
    InventoryError, InventoryPath, PowerState, VmList, VmSummary, capture_properties, config_of, datacenter_of,
    find_vm, inventory_path, list_vms, vm_summary,
};
pub use journal::{Effect, Intent, Journal, JournalError, OpenEffect};
pub use properties::{Properties, PropertyError, Wanted, properties_of};
pub use session::{About, Credentials, LoginError, Password, ServiceContent, Session, SessionPace};
pub use task::TaskError;
pub use vm_disk::{Backing, Bus, Controller, DeviceError, KmsKey, Unreadable, VmDisk, disks_of};
