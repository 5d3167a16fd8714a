//! A disk behind an NBD server. Nothing is ever written to it.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{DiskSource, SourceError};
use crate::{
    byte_ranges,
    nbd::{
        Answer, Ask, NbdClient, NbdError, NbdOptions, NbdUri, Ticket, contexts_of,
        wire::{Extent, block_status, error_code},
    },
};

const ALLOCATION: &str = "base:allocation";
/// What is asked for at once when reading ahead, and how much of that is on its way for one reader.
const PIECE_BYTES: u64 = 512 << 10;
const AHEAD_BYTES: u64 = 4 << 20;
/// What is on its way or waits to be taken, for all readers together.
const HELD_BYTES_MAX: u64 = 64 << 20;
/// One status request.
const STATUS_BYTES: u64 = 1 << 30;

/// A disk behind an NBD server, open for reading.
pub struct NbdSource {
    client: NbdClient,
    options: NbdOptions,
    ahead: Mutex<Ahead>,
}

impl NbdSource {
    /// Connects to the export.
    pub fn open(uri: &NbdUri, options: NbdOptions) -> Result<Self, NbdError> {
        let client = NbdClient::connect(uri, &[ALLOCATION], options)?;
        Ok(Self { client, options, ahead: Mutex::default() })
    }

    /// Ranges whose status has one of `bits` set, or not set.
    fn ranges(&self, client: &NbdClient, wanted: impl Fn(u32) -> bool) -> Result<Vec<Range<u64>>, SourceError> {
        let bytes = self.bytes();
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < bytes {
            let length = STATUS_BYTES.min(bytes - at);
            let extents =
                client.status(at, u32::try_from(length).unwrap_or(u32::MAX)).map_err(|error| failed(error, at))?;
            // At least one, none of them empty: the decoder sees to that. They may end beyond what was asked for.
            for Extent { bytes: length, status } in extents {
                let end = at.saturating_add(u64::from(length)).min(bytes);
                if wanted(status) && at < end {
                    byte_ranges::push(&mut ranges, at..end);
                }
                at = end;
            }
        }
        Ok(ranges)
    }

    fn everything(&self) -> Vec<Range<u64>> {
        std::iter::once(0..self.bytes()).collect()
    }

    /// Exactly `into`, in requests that the server takes.
    fn read_now(&self, offset: u64, into: &mut [u8]) -> Result<(), NbdError> {
        let blocks = self.client.blocks();
        let (min, max) = (u64::from(blocks.min_bytes), u64::from(blocks.max_bytes));
        let end = offset.saturating_add(into.len() as u64);
        let mut at = offset - offset % min;
        let mut tickets = Vec::new();
        while at < end {
            let until = end.next_multiple_of(min).min(at + max).min(self.bytes().max(end));
            tickets.push((at, self.client.send(read(at, until))));
            at = until;
        }
        for (at, ticket) in tickets {
            let bytes = bytes_of(self.client.wait(ticket)?);
            copy_overlap(at, &bytes, offset, into);
        }
        Ok(())
    }
}

fn read(start: u64, end: u64) -> Ask {
    // At most a mebibyte, or the server's minimum.
    Ask::Read { offset: start, length: u32::try_from(end - start).unwrap_or(u32::MAX) }
}

fn bytes_of(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Data(bytes) => bytes,
        Answer::Extents(_) | Answer::Done => Vec::new(),
    }
}

/// Copies what `bytes`, that lie at `at`, have of `into`, that lies at `offset`.
fn copy_overlap(at: u64, bytes: &[u8], offset: u64, into: &mut [u8]) {
    let skip = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let bytes = bytes.get(skip(at, offset)..).unwrap_or_default();
    let into = into.get_mut(skip(offset, at)..).unwrap_or_default();
    let length = bytes.len().min(into.len());
    if let (Some(to), Some(from)) = (into.get_mut(..length), bytes.get(..length)) {
        to.copy_from_slice(from);
    }
}

/// Bytes that the server cannot give are a bad extent; everything else says nothing about them.
fn failed(error: NbdError, offset: u64) -> SourceError {
    match &error {
        NbdError::Remote { error: error_code::EIO, offset, .. } => {
            SourceError::Read { offset: *offset, source: io::Error::other(error.to_string()) }
        }
        _ => SourceError::Nbd { offset, source: error },
    }
}

impl DiskSource for NbdSource {
    fn bytes(&self) -> u64 {
        self.client.about().bytes
    }

    /// By `base:allocation`: only what surely reads as zeros is left out; a hole need not.
    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError> {
        if self.client.about().contexts.is_empty() {
            return Ok(self.everything());
        }
        match self.ranges(&self.client, |status| status & block_status::ZERO == 0) {
            // It offers the context and cannot fill it: then nothing is known to be zero.
            Err(SourceError::Read { .. } | SourceError::Nbd { source: NbdError::Remote { .. }, .. }) => {
                Ok(self.everything())
            }
            ranges => ranges,
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let end = offset.saturating_add(into.len() as u64);
        let mut at = offset;
        while at < end {
            let (next, room) = {
                let mut ahead = self.lock();
                ahead.top_up(at, end, &|start, end| self.client.send(read(start, end)), &self.client);
                (ahead.take(at, end), end)
            };
            let slot = |range: &Range<u64>| {
                let from = usize::try_from(range.start - offset).unwrap_or(usize::MAX);
                let to = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
                from..to
            };
            match next {
                Next::Piece(start, piece_end, piece) => {
                    let wanted = at..piece_end.min(room);
                    let Some(into) = into.get_mut(slot(&wanted)) else { break };
                    // What could not be fetched ahead is asked for again, and only that much of it.
                    match piece.bytes(&self.client) {
                        Ok(bytes) => {
                            copy_overlap(start, &bytes, at, into);
                            self.lock().keep_rest(start, bytes, wanted.end);
                        }
                        Err(NbdError::Remote { .. }) => {
                            self.read_now(at, into).map_err(|error| failed(error, at))?;
                        }
                        Err(error) => return Err(failed(error, at)),
                    }
                    at = wanted.end;
                }
                Next::Gap(until) => {
                    let Some(into) = into.get_mut(slot(&(at..until))) else { break };
                    self.read_now(at, into).map_err(|error| failed(error, at))?;
                    at = until;
                }
            }
        }
        Ok(())
    }

    fn will_read(&self, ranges: &[Range<u64>], stretch_bytes: u64) {
        let mut ahead = self.lock();
        ahead.plan = ranges.to_vec();
        ahead.stretch_bytes = stretch_bytes;
    }

    fn dirty_extents(&self, bitmap: &str) -> Result<Vec<Range<u64>>, SourceError> {
        let context = format!("qemu:dirty-bitmap:{bitmap}");
        let client =
            NbdClient::connect(self.client.uri(), &[&context], self.options).map_err(|error| failed(error, 0))?;
        if client.about().contexts.is_empty() {
            let there = contexts_of(self.client.uri(), "qemu:", self.options).unwrap_or_default();
            let there = there.iter().filter_map(|name| name.strip_prefix("qemu:dirty-bitmap:").map(str::to_owned));
            return Err(SourceError::NoBitmap { bitmap: bitmap.to_owned(), there: there.collect() });
        }
        let (before_bytes, after_bytes) = (self.bytes(), client.about().bytes);
        if before_bytes != after_bytes {
            let error = NbdError::SizeChanged { server: self.client.uri().server(), before_bytes, after_bytes };
            return Err(failed(error, 0));
        }
        self.ranges(&client, |status| status & 1 != 0)
    }
}

impl NbdSource {
    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for before somebody wants it.
///
/// Readers take stretches (segments) each from its beginning to its end; ahead of a reader only what the plan says it will
/// read, and never beyond its stretch, where another reader may have been already.
#[derive(Default)]
struct Ahead {
    plan: Vec<Range<u64>>,
    stretch_bytes: u64,
    /// By where they begin; they do not overlap.
    pieces: BTreeMap<u64, (u64, Piece)>,
    held_bytes: u64,
}

enum Piece {
    Asked(Ticket),
    /// The rest of one that was taken in part.
    Here(Vec<u8>),
}

impl Piece {
    fn bytes(self, client: &NbdClient) -> Result<Vec<u8>, NbdError> {
        match self {
            Self::Asked(ticket) => client.wait(ticket).map(bytes_of),
            Self::Here(bytes) => Ok(bytes),
        }
    }
}

enum Next {
    /// Begins at or before the place, ends after it.
    Piece(u64, u64, Piece),
    /// Nothing is on its way up to there.
    Gap(u64),
}

impl Ahead {
    /// The piece at `at`, or how far there is none.
    fn take(&mut self, at: u64, end: u64) -> Next {
        let found = self.pieces.range(..=at).next_back().filter(|(_, (piece_end, _))| *piece_end > at);
        if let Some(start) = found.map(|(start, _)| *start)
            && let Some((piece_end, piece)) = self.pieces.remove(&start)
        {
            self.held_bytes = self.held_bytes.saturating_sub(piece_end - start);
            return Next::Piece(start, piece_end, piece);
        }
        Next::Gap(self.pieces.range(at..end).next().map_or(end, |(start, _)| *start))
    }

    /// Puts back what of a piece lies behind `taken`.
    fn keep_rest(&mut self, start: u64, mut bytes: Vec<u8>, taken: u64) {
        let end = start + bytes.len() as u64;
        if taken < end {
            bytes.drain(..usize::try_from(taken - start).unwrap_or(usize::MAX).min(bytes.len()));
            self.held_bytes += end - taken;
            self.pieces.insert(taken, (end, Piece::Here(bytes)));
        }
    }

    /// Asks for what comes behind `at`: what is wanted up to `end`, and then some.
    fn top_up(&mut self, at: u64, end: u64, send: &dyn Fn(u64, u64) -> Ticket, client: &NbdClient) {
        if self.plan.is_empty() || self.stretch_bytes == 0 {
            return;
        }
        let blocks = client.blocks();
        let min = u64::from(blocks.min_bytes);
        let piece_bytes = PIECE_BYTES.min(u64::from(blocks.max_bytes)).max(min);
        let stretch_end = (at - at % self.stretch_bytes).saturating_add(self.stretch_bytes);
        let until = end.saturating_add(AHEAD_BYTES).min(stretch_end).min(client.about().bytes);
        let first = self.plan.partition_point(|range| range.end <= at);
        let ranges = self.plan.get(first..).unwrap_or_default();
        let mut asked = Vec::new();
        for range in ranges.iter().take_while(|range| range.start < until) {
            let mut from = range.start.max(at);
            let to = range.end.min(until);
            while from < to {
                if let Some((_, (piece_end, _))) = self.pieces.range(..=from).next_back()
                    && *piece_end > from
                {
                    from = *piece_end;
                    continue;
                }
                let next = self.pieces.range(from..to).next().map_or(to, |(start, _)| *start);
                let piece_end = next.min(from + piece_bytes);
                // Requests keep to the server's blocks; a rest that does not is read when it is wanted.
                if from % min != 0 || piece_end % min != 0 || self.held_bytes + (piece_end - from) > HELD_BYTES_MAX {
                    from = piece_end;
                    continue;
                }
                self.held_bytes += piece_end - from;
                asked.push((from, piece_end));
                self.pieces.insert(from, (piece_end, Piece::Here(Vec::new())));
                from = piece_end;
            }
        }
        for (start, end) in asked {
            self.pieces.insert(start, (end, Piece::Asked(send(start, end))));
        }
    }
}
