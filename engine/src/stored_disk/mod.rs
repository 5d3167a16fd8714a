//! Disks of restore points, read at any offset without restoring them: where each stretch lies, and opened frames that all
//! readers share.

mod frame_cache;
mod segments;

pub(crate) use frame_cache::FrameCache;
pub(crate) use segments::{Place, Segments, What};
