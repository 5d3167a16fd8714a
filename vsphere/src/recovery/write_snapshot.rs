//! The snapshot that HotAdd writes under: written down, made, and gone again whatever happened.

use super::write_disks::WriteDisksError;
use crate::{
    journal::{Effect, Intent, Journal},
    session::Session,
    soap::ManagedObject,
    vm_snapshot::{Quiesce, SnapshotError, SnapshotTag, create_snapshot, remove_snapshot},
};

/// A snapshot of a powered-off VM: what is written below it stays when it goes, as nothing was written above. Below it are the
/// files that the disks had before.
pub(super) struct WriteSnapshot {
    pub(super) object: ManagedObject,
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
                Ok(Self { object, tag, intent })
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
