//! The server's end: exports, whoever listens, and one session for each client.

mod handshake;
mod listener;
mod session;
#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc};

pub use handshake::Chosen;
pub use listener::{Listen, ListenError, Listener};
pub use session::{SessionEnd, offer, serve_client, serve_requests};

use super::wire::{BlockSizes, Extent};

/// Longest request for data that a client may send.
pub const REQUEST_BYTES_MAX: u32 = 32 << 20;

/// Bytes that somebody else keeps: nothing is copied on the way to the socket.
#[derive(Clone)]
pub struct Shared {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Shared {
    /// `range` of `owner`.
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Self {
        Self { owner, range }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or_default()
    }
}

/// A stretch of what was read.
#[derive(Clone)]
pub enum Piece {
    /// So many zeros.
    Zeros(u64),
    /// Bytes.
    Bytes(Shared),
}

impl Piece {
    /// How long it is.
    pub fn length(&self) -> u64 {
        match self {
            Self::Zeros(bytes) => *bytes,
            Self::Bytes(shared) => shared.bytes().len() as u64,
        }
    }
}

/// Why a request cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of [`error_code`](super::wire::error_code).
    pub error: u32,
    /// The first byte that is concerned.
    pub at: u64,
    /// For people.
    pub message: String,
}

/// What zeros may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroHow {
    /// Give up their room.
    MayPunch,
    /// Keep it.
    KeepRoom,
}

/// A disk that is served. Requests come from several threads at once; ranges lie inside the disk and are not empty.
pub trait Export: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// For people.
    fn description(&self) -> String;

    /// Its size.
    fn bytes(&self) -> u64;

    /// Whether it can be written.
    fn is_writable(&self) -> bool;

    /// Sizes that requests should keep to. Those that do not are refused by the export itself, if it must.
    fn blocks(&self) -> BlockSizes {
        BlockSizes { min_bytes: 1, preferred_bytes: 4096, max_bytes: REQUEST_BYTES_MAX }
    }

    /// Adds pieces that together are `range`.
    fn read(&self, range: Range<u64>, pieces: &mut Vec<Piece>) -> Result<(), Fault>;

    /// Extents from the beginning of `range`, at least one and together no more than it.
    fn status(&self, range: Range<u64>) -> Result<Vec<Extent>, Fault>;

    /// `range` will be read soon.
    fn will_read(&self, range: Range<u64>);

    /// Writes.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Makes a range read as zeros.
    fn zero(&self, range: Range<u64>, how: ZeroHow) -> Result<(), Fault>;

    /// Everything that was written is durable.
    fn flush(&self) -> Result<(), Fault>;
}

/// How much a client may ask for at once.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Threads that work on the requests of one client.
    pub workers: usize,
}
