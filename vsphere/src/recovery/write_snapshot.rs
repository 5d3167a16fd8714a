//! The snapshot that HotAdd writes under: written down, made, and gone again whatever happened.

use super::write_disks::{DiskToWrite, WriteDisksError};
use crate::{
    inventory::InventoryError,
    journal::{Effect, Intent, Journal},
    session::Session,
    soap::ManagedObject,
    vm_home::VmConfig,
    vm_snapshot::{Quiesce, SnapshotError, SnapshotTag, create_snapshot, remove_snapshot, snapshot_config},
};

/// A snapshot of a powered-off VM: what is written below it stays when it goes, as nothing was written above.
pub(super) struct WriteSnapshot {
    pub(super) object: ManagedObject,
    config: Result<VmConfig, WriteDisksError>,
    tag: SnapshotTag,
    intent: Intent,
}

impl WriteSnapshot {
    pub(super) fn take(
        session: &Session,
        vm: &ManagedObject,
        vm_name: &str,
        reader: &engine::Reader,
        journal: &mut Journal,
    ) -> Result<Self, WriteDisksError> {
        let tag = SnapshotTag {
            repository: reader.config().repository.to_string(),
            run: journal.run().to_owned(),
            host: reader.environment().host.clone(),
        };
        let intent = journal.intend(Effect::CreateWriteSnapshot { vm: vm.moref().to_owned(), name: tag.name() })?;
        match create_snapshot(session, vm, &tag, Quiesce::No) {
            Ok(object) => {
                journal.made(intent, object.moref())?;
                let config = config_of(session, &object);
                Ok(Self { object, config, tag, intent })
            }
            Err(source) => {
                // What may still come stays in the journal, for the cleanup.
                if !matches!(source, SnapshotError::Lost(_)) {
                    journal.undone(intent)?;
                }
                Err(WriteDisksError::Snapshot { vm: vm_name.to_owned(), source })
            }
        }
    }

    /// Gives each disk the name of the file below the snapshot.
    pub(super) fn lead_below(&self, disks: &mut [DiskToWrite]) -> Result<(), WriteDisksError> {
        let config = match &self.config {
            Ok(config) => config,
            Err(error) => {
                let what = format!("what the snapshot has kept cannot be read: {error}");
                let (vm, disk) = (self.tag.name(), String::new());
                return Err(WriteDisksError::Outside { vm, disk, what, kind: error.kind() });
            }
        };
        for disk in disks {
            if let Some(found) = config.disks.iter().find(|found| found.key == disk.key) {
                disk.path.clone_from(&found.file_name);
            }
        }
        Ok(())
    }

    /// Removes it. That it could not be removed loses nothing: it is said, and the cleanup finds it.
    pub(super) fn remove(
        self,
        session: &Session,
        vm: &ManagedObject,
        vm_name: &str,
        journal: &mut Journal,
        notes: &mut Vec<String>,
    ) -> Result<(), WriteDisksError> {
        match remove_snapshot(session, vm, &self.object, &self.tag) {
            Ok(_) => Ok(journal.undone(self.intent)?),
            Err(error) => {
                notes.push(format!("{vm_name}: {error}"));
                Ok(())
            }
        }
    }
}

fn config_of(session: &Session, snapshot: &ManagedObject) -> Result<VmConfig, WriteDisksError> {
    let config = snapshot_config(session, snapshot).map_err(|error: InventoryError| WriteDisksError::from(error))?;
    Ok(VmConfig::read(&config)?)
}
