//! The earlier point that a changed-area night stands on, and why a disk may have to be read whole all the same.

use std::{collections::BTreeMap, ops::Range};

use repo_format::{ChunkId, DiskRecord, RestorePoint};

use super::{BackupError, BackupJob, JobDisk};
use crate::{
    audit::AuditShare, changed_areas::ChangedAreas, pipeline::Touched, problem::is_loss, restore::read_point,
    session::Session,
};

/// What somebody says has changed since an earlier point.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The earlier point, of the same VM.
    pub parent: ChunkId,
    /// The changed areas of disks, by their names; a disk that is not named is read whole.
    pub areas: Vec<(String, ChangedAreas)>,
    /// How much of the rest is read and compared.
    pub audit: AuditShare,
}

/// Why a disk was read whole although it might have been read by changed areas.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullRead {
    /// Whoever ordered the backup knows why.
    #[error("{0}")]
    Asked(String),
    /// Nobody said what has changed on it.
    #[error("no changed areas were given for it")]
    NoAreas,
    /// The parent has no such disk.
    #[error("the parent {parent} has no such disk")]
    NewDisk {
        /// The parent.
        parent: ChunkId,
    },
    /// It has another size now.
    #[error("it had {before_bytes} bytes in the parent and has {now_bytes} now")]
    Resized {
        /// Its size in the parent.
        before_bytes: u64,
        /// Its size now.
        now_bytes: u64,
    },
    /// Not all of it could be read for the parent.
    #[error("{bad_bytes} bytes of it could not be read for the parent")]
    BadExtents {
        /// How much.
        bad_bytes: u64,
    },
    /// The parent does not say enough of it.
    #[error("the parent does not say how much data it held")]
    UnknownData,
    /// Its map in the parent is damaged or missing.
    #[error("its map in the parent cannot be read: {0}")]
    UnreadableMap(String),
    /// The audit has found changes outside of the changed areas.
    #[error("the changed areas are wrong: {segments} audited segments had changed outside of them")]
    AuditMiss {
        /// How many segments.
        segments: u64,
    },
    /// A segment that was due for the audit could not be read.
    #[error("{segments} segments that were due for the audit could not be read")]
    AuditUnreadable {
        /// How many segments.
        segments: u64,
    },
}

/// The parent, pinned.
pub(super) struct Base {
    pub(super) parent: ChunkId,
    /// Its record, or why that cannot be read.
    record: Result<RestorePoint, String>,
}

impl Base {
    /// Checks the parent that the job names and pins it, before its maps are looked at.
    pub(super) fn pin(session: &mut Session<'_>, job: &BackupJob<'_>, changes: &Changes) -> Result<Self, BackupError> {
        let parent = changes.parent;
        let vm = || job.vm_name.clone();
        let found = session.writer().state().point(&parent).filter(|point| point.is_live());
        let point = found.ok_or_else(|| BackupError::UnknownParent { vm: vm(), parent })?;
        if point.identity != job.identity {
            return Err(BackupError::ParentOfOtherVm { vm: vm(), parent, other: point.vm_name.clone() });
        }
        session.pin(parent)?;
        let record = match read_point(session.writer(), parent) {
            Ok(record) => Ok(record),
            Err(error) if is_loss(error.kind()) => Err(error.to_string()),
            Err(error) => return Err(BackupError::Session(error.into())),
        };
        Ok(Self { parent, record })
    }

    /// What the parent says of `disk`, if its map there can stand for what is not read now.
    pub(super) fn of_disk(&self, disk: &JobDisk<'_>) -> Result<&DiskRecord, FullRead> {
        let record = self.record.as_ref().map_err(|error| FullRead::UnreadableMap(error.clone()))?;
        // A disk is its uuid, else its name, never its position.
        let same = |before: &&DiskRecord| match &disk.uuid {
            Some(uuid) => before.uuid.as_ref() == Some(uuid),
            None => before.name == disk.name,
        };
        let parent = self.parent;
        let before = record.disks.iter().find(same).ok_or(FullRead::NewDisk { parent })?;
        let (before_bytes, now_bytes) = (before.bytes, disk.source.bytes());
        if before_bytes != now_bytes {
            return Err(FullRead::Resized { before_bytes, now_bytes });
        }
        if before.bad_bytes > 0 {
            return Err(FullRead::BadExtents { bad_bytes: before.bad_bytes });
        }
        if before.data_bytes.is_none() {
            return Err(FullRead::UnknownData);
        }
        Ok(before)
    }
}

/// The segments that have changed cells, and those `due` for the audit, ascending.
pub(super) fn touched_segments(
    cells: &[Range<u64>],
    segments: u64,
    segment_log2: u8,
    due: &dyn Fn(u64) -> bool,
) -> Vec<Touched> {
    let mut touched: BTreeMap<u64, Touched> = BTreeMap::new();
    let untouched = |index| move || Touched { index, changed: Vec::new(), audited: false };
    for cells in cells {
        let mut at = cells.start;
        while at < cells.end {
            let index = at >> segment_log2;
            let part = at..cells.end.min((index + 1) << segment_log2);
            at = part.end;
            touched.entry(index).or_insert_with(untouched(index)).changed.push(part);
        }
    }
    for index in (0..segments).filter(|index| due(*index)) {
        touched.entry(index).or_insert_with(untouched(index)).audited = true;
    }
    touched.into_values().collect()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is wanted")]
mod tests {
    use super::*;

    #[test]
    fn segments_are_touched_by_changes_and_by_the_audit_and_come_in_order() {
        let touched = touched_segments(&[8..40, 48..50, 130..140], 10, 5, &|index| index == 1 || index == 3);
        let expected =
            [(0, vec![8..32], false), (1, vec![32..40, 48..50], true), (3, vec![], true), (4, vec![130..140], false)];
        let expected: Vec<Touched> =
            expected.into_iter().map(|(index, changed, audited)| Touched { index, changed, audited }).collect();
        assert_eq!(touched, expected);
    }
}
