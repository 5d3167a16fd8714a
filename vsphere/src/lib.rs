//! Where the bytes of a vSphere VM come from and go back to.
//!
//! **Invariant:** the only crate that names VMware, and the only one with a foreign library in it (`vddk/sys`).

pub mod backup;
mod calls;
mod changed_blocks;
mod cleanup;
mod datastore_file;
pub mod disk;
mod inventory;
mod journal;
mod key_provider;
mod policy;
pub mod preflight;
mod privilege;
mod properties;
pub mod recovery;
mod session;
pub mod soap;
mod stop;
mod task;
#[cfg(test)]
mod test_session;
pub mod transport;
pub mod vddk;
mod vm_change;
pub mod vm_home;
mod vm_snapshot;

pub use changed_blocks::{
    AreaCollector, AreasAnswer, ChangeBase, ChangeId, ChangeIdError, DiskNow, FullReadReason, ToRead, base_for,
    changed_since,
};
pub use cleanup::{Cleaned, CleanupError, CleanupMode, clean_up};
pub use datastore_file::{
    DATASTORE_FILE_BYTES_MAX, DatastoreFileError, DatastorePath, DatastorePathError, nvram_places, read_datastore_file,
    read_nvram, search_datastore, write_datastore_file,
};
pub use inventory::{
    InventoryError, InventoryPath, PowerState, VmList, VmSummary, capture_properties, config_of, datacenter_of,
    find_by_bios_uuid, find_vm, inventory_path, list_vms, vm_summary,
};
pub use journal::{Effect, Intent, Journal, JournalError, OpenEffect};
pub use key_provider::{KeyProvider, KeyStatus, key_providers, key_state, key_states, key_status};
pub use policy::{Policies, PolicyOf};
pub use privilege::{
    BACKUP_ROOT, BACKUP_VM, ENCRYPTED_HOTADD_VM, ENCRYPTED_NBDSSL_VM, HOTADD_DATASTORE, HOTADD_PROXY,
    KEY_PROVIDERS_ROOT, MissingPrivilege, NVRAM_DATASTORE, Needed, POLICY_ROOT, PrivilegeCheck, RESTORE_DATASTORE,
    RESTORE_ENCRYPTED_FOLDER, RESTORE_ENCRYPTED_HOST, RESTORE_FOLDER, RESTORE_NETWORK, RESTORE_POLICY_ROOT,
    RESTORE_POOL, check_privileges,
};
pub use properties::{Properties, PropertyError, Wanted, properties_of};
pub use session::{About, Credentials, LoginError, Password, ServiceContent, Session, SessionPace};
pub use stop::Stop;
pub use task::TaskError;
pub use vm_change::{
    VmPlace, create_vm, destroy_vm, disable_change_tracking, enable_change_tracking, power_on_vm, reconfigure_vm,
};
pub use vm_snapshot::{
    OurSnapshot, Quiesce, Removed, SnapshotError, SnapshotTag, create_snapshot, our_snapshots, remove_snapshot,
    snapshot_config,
};
