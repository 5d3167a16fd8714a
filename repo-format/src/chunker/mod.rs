//! Where chunks end. SPEC.md section 9.
//!
//! **Invariant:** cut points depend on a data run alone (and, for `block`, on where it lies on its disk and on the
//! repository's key), never on how the run was cut into windows.

mod block;
mod fastcdc;

use crate::{ChunkerKind, Chunking, Keyring};

use self::{block::BlockChunker, fastcdc::FastCdcChunker};

/// Does the data run end with the window?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The last byte of the window is the last of the run.
    Here,
    /// The run goes on behind the window.
    Beyond,
}

/// Finds the chunks of data runs; made once, shared by all threads.
pub struct Chunker {
    method: Method,
}

enum Method {
    Block(Box<BlockChunker>),
    FastCdc(FastCdcChunker),
}

impl Chunker {
    /// The chunker for a repository's disks.
    pub fn new(chunking: &Chunking, keys: &Keyring) -> Self {
        let method = match chunking.chunker {
            ChunkerKind::Block => Method::Block(Box::new(BlockChunker::new(chunking, &keys.cut_keys()))),
            ChunkerKind::FastCdc => Method::FastCdc(FastCdcChunker::new(chunking)),
        };
        Self { method }
    }

    /// The chunker for streams: `fastcdc`, whatever cuts the disks.
    pub fn for_streams(chunking: &Chunking) -> Self {
        Self { method: Method::FastCdc(FastCdcChunker::new(chunking)) }
    }

    /// Length of the first chunk of `window`, whose first byte begins a chunk and lies at disk address `address`.
    ///
    /// None: more bytes are needed. Never none if the window holds the largest chunk, or the rest of the run (and that
    /// is not nothing). A window that holds less is looked at again from its start: hand in the largest chunk where
    /// the run has it.
    pub fn cut(&self, window: &[u8], address: u64, end: RunEnd) -> Option<usize> {
        match &self.method {
            Method::Block(chunker) => chunker.cut(window, address, end),
            Method::FastCdc(chunker) => chunker.cut(window, end),
        }
    }

    /// How far the end of a chunk hangs on the bytes of its run: the chunk has `length` bytes and lies at `address`; as
    /// long as so many bytes from its start (or all up to the end of the run) are the same, and the run ends no earlier,
    /// it ends at the same place. It may be said too great, never too small. So many bytes are enough to find that end.
    pub fn reach(&self, length: u32, address: u64) -> u64 {
        match &self.method {
            Method::Block(chunker) => chunker.reach(length, address),
            // The byte behind a cut has been looked at, and is the first of the next chunk; bytes are looked at in pairs.
            Method::FastCdc(_) => u64::from(length) + 2,
        }
    }
}

/// The chunk that ends where the bytes end, if the bytes end the run.
fn rest(window: &[u8], end: RunEnd) -> Option<usize> {
    (end == RunEnd::Here && !window.is_empty()).then_some(window.len())
}

#[cfg(test)]
mod tests;
