//! The earlier point that a night stands on, and what vCenter says has changed since.

use engine::{ChangedAreas, Reader, Writer, show};
use repo_format::{ChunkId, RestorePoint, VmIdentity};

use super::{LookError, SeenVm, VmBackupError, disks::OpenDisks, snapshot::TakenSnapshot};
use crate::{
    changed_blocks::{ChangeBase, FullReadReason, ToRead, changed_since},
    session::Session,
};

/// The newest committed point of a VM, if its record can be read.
pub(super) struct Base {
    id: ChunkId,
    record: RestorePoint,
}

/// What is to be read of which disk.
pub(super) struct Areas {
    pub(super) parent: ChunkId,
    pub(super) changed: Vec<(String, ChangedAreas)>,
    /// Disks that are read whole, and why.
    pub(super) whole: Vec<(String, String)>,
}

impl Base {
    pub(super) fn newest(writer: &Writer, identity: &VmIdentity) -> Option<Self> {
        let reader: &Reader = writer;
        let points = reader.state().points();
        let newest = points.iter().rev().find(|point| point.is_live() && point.identity == *identity)?;
        let record = show(reader, newest.id).ok()?.record;
        Some(Self { id: newest.id, record })
    }

    /// Asks what has changed on each of the open disks.
    pub(super) fn changes(
        &self,
        session: &Session,
        seen: &SeenVm<'_>,
        snapshot: &TakenSnapshot,
        open: &OpenDisks,
    ) -> Result<Areas, VmBackupError> {
        let mut areas = Areas { parent: self.id, changed: Vec::new(), whole: Vec::new() };
        let instance_uuid = seen.config.instance_uuid.as_deref();
        for disk in open.configs() {
            let before = self.record.disks.iter().find(|before| before.name == disk.name);
            let base = before.and_then(|before| {
                Some(ChangeBase {
                    change_id: before.change_id.clone()?,
                    capacity_bytes: before.bytes,
                    disk_uuid: before.uuid.clone(),
                    // The points of one identity are of one VM.
                    instance_uuid: instance_uuid.map(str::to_owned),
                })
            });
            let to_read = changed_since(session, seen.object(), instance_uuid, &snapshot.object, disk, base.as_ref());
            match to_read
                .map_err(|error| VmBackupError::Look { vm: seen.name().to_owned(), source: LookError::Call(error) })?
            {
                ToRead::Changed(changed) => areas.changed.push((disk.name.clone(), changed)),
                ToRead::All(FullReadReason::NoBase) if before.is_some() => {
                    areas.whole.push((disk.name.clone(), "the point before has no change id of it".to_owned()));
                }
                ToRead::All(reason) => areas.whole.push((disk.name.clone(), reason.to_string())),
            }
        }
        Ok(areas)
    }
}
