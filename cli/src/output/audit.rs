//! What results tell of the audit of changed areas.

use schemars::JsonSchema;
use serde::Serialize;

use super::RangeLine;

/// The audit of the changed areas of a disk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuditLine {
    /// One segment in so many was due; 0: none.
    pub one_in: u64,
    /// Every segment comes to be read within so many points of the VM; 0: never.
    pub bound_points: u64,
    /// Segments read and compared.
    pub sampled_segments: u64,
    /// Bytes read for that; `read_bytes` of the disk counts them too.
    pub sampled_bytes: u64,
    /// Segments that had changed outside of the changed areas.
    pub missed_segments: u64,
    /// Where chunks differed there.
    pub misses: Vec<RangeLine>,
}

/// The audit of the changed areas, as a restore point tells it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShowAudit {
    /// One segment in so many was due.
    pub one_in: u64,
    /// Segments read and compared.
    pub sampled_segments: u64,
    /// Segments that had changed outside of the changed areas; then the disk was read whole.
    pub missed_segments: u64,
}
