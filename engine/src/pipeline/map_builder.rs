//! Builds a disk map from segment maps that come in order of address; holds at most one open node a level.

use repo_format::{ChunkId, FormatError, MapNode, MapRoot, SegmentMap};

use super::DiskJob;
use crate::frame_writer::{Found, FrameWriter, WriteError};

const FAN_OUT: usize = 256;

pub(super) struct MapBuilder {
    chunking: repo_format::Chunking,
    segment_log2: u8,
    height: u8,
    /// Children gathered for the open node of level 1, 2 … height, and last the root's own.
    open: Vec<Vec<Option<ChunkId>>>,
}

impl MapBuilder {
    pub(super) fn new(job: &DiskJob<'_>) -> Self {
        let height = job.geometry.height();
        let open = vec![Vec::new(); usize::from(height) + 1];
        Self { chunking: job.chunking, segment_log2: job.segment_log2, height, open }
    }

    /// Adds the map of the next segment; says whether it was known, `None` for a hole, which has no map.
    pub(super) fn push(&mut self, map: &SegmentMap, metadata: &mut FrameWriter) -> Result<Option<Found>, WriteError> {
        if map.is_hole() {
            self.add(0, None, metadata)?;
            return Ok(None);
        }
        let (id, found) = metadata.store_metadata(&map.encode())?;
        self.add(0, Some(id), metadata)?;
        Ok(Some(found))
    }

    /// Closes all nodes and stores the root.
    pub(super) fn finish(mut self, disk_bytes: u64, metadata: &mut FrameWriter) -> Result<ChunkId, WriteError> {
        for level in 0..self.height {
            self.close(level, metadata)?;
        }
        let children = self.open.pop().unwrap_or_default();
        let (chunking, segment_log2, height) = (self.chunking, self.segment_log2, self.height);
        let root = MapRoot { disk_bytes, chunking, segment_log2, height, children };
        Ok(metadata.store_metadata(&root.encode())?.0)
    }

    fn add(&mut self, level: u8, child: Option<ChunkId>, metadata: &mut FrameWriter) -> Result<(), WriteError> {
        let open = self.level(level)?;
        open.push(child);
        if level < self.height && self.level(level)?.len() == FAN_OUT {
            self.close(level, metadata)?;
        }
        Ok(())
    }

    /// Makes a node of what was gathered at `level` and hands it up.
    fn close(&mut self, level: u8, metadata: &mut FrameWriter) -> Result<(), WriteError> {
        let children = std::mem::take(self.level(level)?);
        if children.is_empty() {
            return Ok(());
        }
        let node = match children.iter().any(Option::is_some) {
            true => Some(metadata.store_metadata(&MapNode { level: level + 1, children }.encode())?.0),
            false => None,
        };
        self.add(level + 1, node, metadata)
    }

    fn level(&mut self, level: u8) -> Result<&mut Vec<Option<ChunkId>>, WriteError> {
        let height = self.height;
        let beyond = || FormatError::invalid("disk map", "level", level, format_args!("at most {height}"));
        self.open.get_mut(usize::from(level)).ok_or_else(|| WriteError::Format(beyond()))
    }
}
