//! What is in a repository: its restore points, one of them in full, the difference of two, and what all of it takes.

mod diff;
mod list;
mod show;
mod stats;
#[cfg(test)]
mod tests;

pub use diff::{Diff, DiffError, DiskDiff, HomeChange, Side, diff};
pub(crate) use diff::{changed_ranges_of, partner};
pub use list::{ListedPoint, list};
pub use show::{HomeSummary, SecretSummary, ShownPoint, StreamSummary, disk_extents, show};
pub use stats::{Stats, Totals, VmStats, stats};
