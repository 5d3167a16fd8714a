//! The map of a disk: which chunk, hole or bad stretch each byte belongs to (SPEC.md section 13).
//!
//! ```text
//! root ──► nodes of level h ──► … ──► nodes of level 1 ──► segment maps ──► extents
//! ```
//!
//! **Invariant:** a map has one encoding only: equal disks give equal roots.

mod children;
mod geometry;
mod node;
mod root;
mod segment_map;

pub use children::CHILDREN_MAX;
pub use geometry::MapGeometry;
pub use node::MapNode;
pub use root::MapRoot;
pub use segment_map::{Extent, SegmentMap};

#[cfg(test)]
mod tests;
