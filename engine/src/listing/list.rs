//! One line per restore point, from metadata alone.

use repo_format::{ChunkId, RestorePoint, VmIdentity};

use crate::{
    log::PointState,
    problem::is_loss,
    read_error::ReadError,
    repository::Reader,
    restore::read_home,
    verdict::{Verdict, judge},
};

/// A live restore point.
#[derive(Clone, Debug)]
pub struct ListedPoint {
    /// Its id.
    pub id: ChunkId,
    /// The time of its log entry.
    pub time_ms: u64,
    /// Number in its VM's chain.
    pub number: u64,
    /// Whose it is.
    pub identity: VmIdentity,
    /// What the VM was called.
    pub vm_name: String,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// Its record; `None` if that cannot be read.
    pub record: Option<RestorePoint>,
    /// What it is worth.
    pub verdict: Verdict,
}

impl ListedPoint {
    /// Bytes of segments that differ from the point before, over all disks.
    pub fn changed_bytes(&self) -> Option<u64> {
        self.sum(|disk| disk.changed_bytes)
    }

    /// Bytes of frames that it added, over all disks.
    pub fn stored_bytes(&self) -> Option<u64> {
        self.sum(|disk| disk.stored_bytes)
    }

    fn sum(&self, of: impl Fn(&repo_format::DiskRecord) -> Option<u64>) -> Option<u64> {
        self.record.as_ref()?.disks.iter().map(of).sum()
    }
}

/// Shows every live point to `visit`, in log order.
pub fn list(reader: &Reader, visit: &mut dyn FnMut(ListedPoint)) -> Result<(), ReadError> {
    for (point, record) in reader.live_points() {
        visit(listed(reader, point, record)?);
    }
    Ok(())
}

fn listed(
    reader: &Reader,
    point: &PointState,
    record: Result<RestorePoint, ReadError>,
) -> Result<ListedPoint, ReadError> {
    let record = loss_as_none(record)?;
    let home = match record.as_ref().and_then(|record| record.vm_home) {
        Some(home) => loss_as_none(read_home(reader, home))?,
        None => None,
    };
    let verdict = record.as_ref().map_or(Verdict::Impossible, |record| judge(record, home.as_ref()));
    Ok(ListedPoint {
        id: point.id,
        time_ms: point.time_ms,
        number: point.number,
        identity: point.identity.clone(),
        vm_name: point.vm_name.clone(),
        held: point.held.clone(),
        record,
        verdict,
    })
}

/// What is lost is shown as missing; a store that does not answer is an error.
pub(super) fn loss_as_none<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_loss(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}
