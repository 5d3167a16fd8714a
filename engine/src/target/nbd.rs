//! An NBD export as a target: written in place, zeroed by the server, flushed at the end.
//!
//! **Invariant:** a lost connection ends the restore. What a server has taken and not flushed may be gone with it, and
//! nobody could tell which of it.

use std::{
    collections::VecDeque,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use repo_format::HashedChunk;

use super::{Room, Start, Target, TargetError};
use crate::nbd::{
    Ask, NbdClient, NbdError, NbdOptions, NbdUri, Ticket,
    wire::{error_code, export_flag},
};

/// Bytes that are on their way at once.
const SENT_BYTES_MAX: usize = 32 << 20;
/// One request for zeros.
const ZERO_BYTES_MAX: u64 = 64 << 20;
/// Written zeros, where the server cannot make them itself.
const ZEROS_BYTES: usize = 1 << 20;

/// An NBD export that takes a disk.
pub struct NbdTarget {
    uri: NbdUri,
    client: NbdClient,
    sent: Mutex<Sent>,
    /// Blocks that belong to two writes are read, changed and written by one thread at a time.
    edges: Mutex<()>,
    disk_bytes: AtomicU64,
}

#[derive(Default)]
struct Sent {
    tickets: VecDeque<(usize, Ticket)>,
    bytes: usize,
}

impl NbdTarget {
    /// Connects. Nothing is changed yet.
    pub fn open(uri: &NbdUri, options: NbdOptions) -> Result<Self, NbdError> {
        let client = NbdClient::connect(uri, &[], options)?;
        if client.about().has(export_flag::READ_ONLY) {
            return Err(NbdError::ReadOnly { server: uri.server() });
        }
        let (sent, edges) = (Mutex::default(), Mutex::new(()));
        Ok(Self { uri: uri.clone(), client, sent, edges, disk_bytes: AtomicU64::new(0) })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.uri.to_string())
    }

    fn failed(&self, error: NbdError) -> TargetError {
        match error {
            NbdError::Remote { error: error_code::ENOSPC, .. } => TargetError::Full { path: self.path() },
            source => TargetError::Nbd { source },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request; waits for the oldest ones while too much is on its way.
    fn send(&self, ask: Ask) -> Result<(), TargetError> {
        let length = match &ask {
            Ask::Write { bytes, .. } => bytes.len(),
            _ => 1,
        };
        let ticket = self.client.send(ask);
        let mut sent = self.lock();
        sent.bytes += length;
        sent.tickets.push_back((length, ticket));
        while sent.bytes > SENT_BYTES_MAX
            && let Some((length, ticket)) = sent.tickets.pop_front()
        {
            sent.bytes -= length;
            drop(sent);
            self.client.wait(ticket).map_err(|error| self.failed(error))?;
            sent = self.lock();
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), TargetError> {
        let tickets = std::mem::take(&mut *self.lock()).tickets;
        tickets.into_iter().try_for_each(|(_, ticket)| match self.client.wait(ticket) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        })
    }

    fn flush(&self) -> Result<(), TargetError> {
        self.settle()?;
        if !self.client.about().has(export_flag::SEND_FLUSH) {
            return Ok(());
        }
        self.client.ask(Ask::Flush).map(drop).map_err(|error| self.failed(error))
    }

    /// Writes bytes at any offset in blocks that the server takes.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let blocks = self.client.blocks();
        let (min, max) = (u64::from(blocks.min_bytes), usize::try_from(blocks.max_bytes).unwrap_or(usize::MAX));
        let head = usize::try_from((min - offset % min) % min).unwrap_or(0).min(bytes.len());
        let (head, rest) = bytes.split_at_checked(head).unwrap_or((bytes, &[]));
        self.write_edge(offset, head)?;
        let mut at = offset + head.len() as u64;
        let whole = rest.len() - rest.len() % usize::try_from(min).unwrap_or(1).max(1);
        let (whole, tail) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
        for piece in whole.chunks(max.max(1)) {
            self.send(Ask::Write { offset: at, bytes: Arc::new(piece.to_vec()) })?;
            at += piece.len() as u64;
        }
        self.write_edge(at, tail)
    }

    /// Less than a block, inside one: the rest of the block stays as it is.
    fn write_edge(&self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let min = u64::from(self.client.blocks().min_bytes);
        let start = offset - offset % min;
        let _edge = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        // A whole block that is on its way to the same place would make the reading stale: there is none, writes never
        // overlap; but an edge written before must have arrived, and did: edges wait for their answer.
        let length = u32::try_from(min).unwrap_or(u32::MAX);
        let mut block = self.client.read(start, length).map_err(|error| self.failed(error))?;
        let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
        if let Some(place) = block.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
        let written = self.client.ask(Ask::Write { offset: start, bytes: Arc::new(block) });
        written.map(drop).map_err(|error| self.failed(error))
    }
}

impl Target for NbdTarget {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        Ok(None)
    }

    fn set_len(&self, bytes: u64) -> Result<Start, TargetError> {
        let found_bytes = self.client.about().bytes;
        let tail_bytes = found_bytes.checked_sub(bytes);
        let too_small = || TargetError::TooSmall { path: self.path(), found_bytes, wanted_bytes: bytes };
        let tail_bytes = tail_bytes.ok_or_else(too_small)?;
        self.disk_bytes.store(bytes, Ordering::Relaxed);
        Ok(Start::Foreign { tail_bytes })
    }

    fn write_at(&self, offset: u64, chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        let mut bytes = Vec::with_capacity(chunks.iter().map(HashedChunk::len).sum());
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk.bytes()));
        self.write(offset, &bytes)
    }

    fn zero_at(&self, range: Range<u64>) -> Result<(), TargetError> {
        let min = u64::from(self.client.blocks().min_bytes);
        let (start, end) = (range.start.next_multiple_of(min), range.end - range.end % min);
        if start >= end || !self.client.about().has(export_flag::SEND_WRITE_ZEROES) {
            let zeros = vec![0; ZEROS_BYTES];
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(zeros.len());
                self.write(at, zeros.get(..length).unwrap_or_default())?;
                at += length as u64;
            }
            return Ok(());
        }
        let edge = |from: u64, to: u64| vec![0; usize::try_from(to - from).unwrap_or_default()];
        self.write_edge(range.start, &edge(range.start, start))?;
        let mut at = start;
        while at < end {
            let length = (end - at).min(ZERO_BYTES_MAX);
            self.send(Ask::Zero { offset: at, length: u32::try_from(length).unwrap_or(u32::MAX) })?;
            at += length;
        }
        self.write_edge(end, &edge(end, range.end))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        self.settle()?;
        let blocks = self.client.blocks();
        let (min, max) = (u64::from(blocks.min_bytes), u64::from(blocks.max_bytes));
        let end = offset.saturating_add(buffer.len() as u64);
        let mut at = offset - offset % min;
        while at < end {
            let until = end.next_multiple_of(min).min(at + max);
            let length = u32::try_from(until - at).unwrap_or(u32::MAX);
            let bytes = self.client.read(at, length).map_err(|error| self.failed(error))?;
            let skip = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
            let place = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
            let places = buffer.get_mut(place..).unwrap_or_default().iter_mut();
            places.zip(bytes.get(skip..).unwrap_or_default()).for_each(|(place, byte)| *place = *byte);
            at = until;
        }
        Ok(())
    }

    fn write_back(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), TargetError> {
        self.flush()
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        self.flush()
    }
}
