//! One client: a thread reads its requests, workers answer them in any order.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read},
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    Export, Fault, Piece, REQUEST_BYTES_MAX, ServerLimits, ZeroHow,
    handshake::{ALLOCATION_ID, Chosen, Ended, Options, TlsState},
};
use crate::nbd::{
    stream::Channel,
    tls::ServerTls,
    wire::{
        ChunkHeader, ChunkKind, Command, ErrorReport, Extent, HoleAt, REQUEST_BYTES, ReplyHeader, Request, StatusReply,
        chunk_flag, command_flag, error_code,
    },
};

/// A client that does not say what it wants is let go.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);
/// Requests of a client that wait for a worker, and bytes of its writes among them.
const WAITING_MAX: usize = 128;
const WAITING_BYTES_MAX: usize = 64 << 20;
/// A long read is answered in stretches of this length: no more of it is held at once.
const STRETCH_BYTES: u64 = 1 << 20;
/// How far ahead of a client that reads one request after the other.
const AHEAD_BYTES: u64 = 4 << 20;
/// Extents of one status reply.
const EXTENTS_MAX: usize = 1 << 16;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How a client went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// It never chose an export.
    Undecided,
    /// It had chosen one.
    Served,
}

/// Serves a client to its end.
pub fn serve_client(
    mut channel: Channel,
    exports: &[&dyn Export],
    tls: Option<&ServerTls>,
    limits: ServerLimits,
) -> SessionEnd {
    let chosen = match shake_hands(&mut channel, exports, tls) {
        Ok(Some(chosen)) => chosen,
        Ok(None) | Err(_) => {
            channel.close();
            return SessionEnd::Undecided;
        }
    };
    if let Some(export) = exports.get(chosen.export) {
        let mut reader = channel.buffered();
        serve_requests(&mut reader, &|parts| channel.write_parts(parts), *export, chosen, limits);
    }
    channel.close();
    SessionEnd::Served
}

/// The handshake in the clear, over any stream: a fuzzer's has no socket. `None`: the client has gone.
pub fn offer<S: Read + io::Write>(stream: &mut S, exports: &[&dyn Export]) -> io::Result<Option<Chosen>> {
    match Options::greet(stream, exports, TlsState::None)?.answer(stream)? {
        Ended::Chosen(chosen) => Ok(Some(chosen)),
        Ended::Gone | Ended::StartTls => Ok(None),
    }
}

fn shake_hands(channel: &mut Channel, exports: &[&dyn Export], tls: Option<&ServerTls>) -> io::Result<Option<Chosen>> {
    channel.patience(Some(HANDSHAKE_PATIENCE))?;
    let state = if tls.is_some() { TlsState::Required } else { TlsState::None };
    let mut options = Options::greet(channel, exports, state)?;
    loop {
        match options.answer(channel)? {
            Ended::Gone => return Ok(None),
            Ended::Chosen(chosen) => {
                channel.patience(None)?;
                return Ok(Some(chosen));
            }
            Ended::StartTls => {
                let (Some(tls), Some(socket)) = (tls, channel.plain_socket()) else { return Ok(None) };
                *channel = Channel::tls(tls.accept(socket).map_err(io::Error::other)?);
                options = options.over_tls();
            }
        }
    }
}

/// Sends parts, whole and in one go.
type Send<'s> = &'s (dyn Fn(&mut [IoSlice<'_>]) -> io::Result<()> + Sync);

/// Answers requests until the client goes or what it says makes no sense.
pub fn serve_requests<R: Read>(
    reader: &mut R,
    send: Send<'_>,
    export: &dyn Export,
    chosen: Chosen,
    limits: ServerLimits,
) {
    let session =
        Session { export, chosen, send, sending: Mutex::new(()), queue: Mutex::default(), changed: Condvar::new() };
    thread::scope(|scope| {
        for _ in 0..limits.workers.max(1) {
            scope.spawn(|| session.work());
        }
        let kept = session.take_requests(reader);
        session.close(kept);
    });
}

enum Job {
    Answer(Request, Vec<u8>),
    Ahead(Range<u64>),
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

/// What becomes of requests that wait when no more come.
enum Kept {
    /// They are answered.
    All,
    /// Nobody is there to hear.
    None,
}

struct Session<'s> {
    export: &'s dyn Export,
    chosen: Chosen,
    send: Send<'s>,
    sending: Mutex<()>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Session<'_> {
    fn take_requests<R: Read>(&self, reader: &mut R) -> Kept {
        let mut sequence = Sequence::default();
        loop {
            let mut header = [0; REQUEST_BYTES];
            if reader.read_exact(&mut header).is_err() {
                return Kept::None;
            }
            // What follows a request that is none cannot be told either.
            let Ok(request) = Request::decode(&header) else { return Kept::None };
            let mut payload = Vec::new();
            match request.command {
                Command::Disconnect => return Kept::All,
                Command::Write if request.length > REQUEST_BYTES_MAX => return Kept::None,
                Command::Write => {
                    payload.resize(usize::try_from(request.length).unwrap_or_default(), 0);
                    if reader.read_exact(&mut payload).is_err() {
                        return Kept::None;
                    }
                }
                Command::Read => {
                    if let Some(ahead) = sequence.after(&request, self.export.bytes()) {
                        self.push(Job::Answer(request, payload));
                        self.push(Job::Ahead(ahead));
                        continue;
                    }
                }
                _ => {}
            }
            if !self.push(Job::Answer(request, payload)) {
                return Kept::None;
            }
        }
    }

    /// Waits for room; `false`: nobody works any more.
    fn push(&self, job: Job) -> bool {
        let mut queue = self.lock();
        while !queue.closed && (queue.jobs.len() >= WAITING_MAX || queue.bytes >= WAITING_BYTES_MAX) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return false;
        }
        if let Job::Answer(_, payload) = &job {
            queue.bytes += payload.len();
        }
        queue.jobs.push_back(job);
        self.changed.notify_all();
        true
    }

    fn close(&self, kept: Kept) {
        let mut queue = self.lock();
        queue.closed = true;
        if matches!(kept, Kept::None) {
            queue.jobs.clear();
        }
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            // What will be asked for waits for what has been.
            let asked = queue.jobs.iter().position(|job| matches!(job, Job::Answer(..))).unwrap_or(0);
            if let Some(job) = queue.jobs.remove(asked) {
                if let Job::Answer(_, payload) = &job {
                    queue.bytes -= payload.len();
                }
                self.changed.notify_all();
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            match job {
                Job::Ahead(range) => self.export.will_read(range),
                Job::Answer(request, payload) => {
                    if self.answer(&request, &payload).is_err() {
                        self.close(Kept::None);
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, request: &Request, payload: &[u8]) -> io::Result<()> {
        let range = request.offset..request.offset.saturating_add(u64::from(request.length));
        let outcome = match request.command {
            Command::Flush => self.export.flush(),
            Command::Disconnect | Command::Other(_) => Err(fault(error_code::EINVAL, request, "unknown command")),
            _ if range.end > self.export.bytes() || range.is_empty() => {
                let writes = matches!(request.command, Command::Write | Command::WriteZeroes);
                let error = if writes && !range.is_empty() { error_code::ENOSPC } else { error_code::EINVAL };
                Err(fault(error, request, "not a range of the export"))
            }
            Command::Read => return self.read(request, range),
            Command::BlockStatus => return self.status(request, range),
            Command::Write | Command::WriteZeroes | Command::Trim if !self.export.is_writable() => {
                Err(fault(error_code::EPERM, request, "the export is read-only"))
            }
            Command::Write => self.export.write(request.offset, payload),
            Command::Trim => self.export.zero(range, ZeroHow::MayPunch),
            Command::WriteZeroes if request.flags & command_flag::NO_HOLE != 0 => {
                self.export.zero(range, ZeroHow::KeepRoom)
            }
            Command::WriteZeroes => self.export.zero(range, ZeroHow::MayPunch),
        };
        let durable = request.flags & command_flag::FUA != 0 && self.export.is_writable();
        let outcome = outcome.and_then(|()| if durable { self.export.flush() } else { Ok(()) });
        match outcome {
            Ok(()) if self.chosen.structured => self.send_chunks(&[Chunk::End(request.cookie)]),
            Ok(()) => self.send(&mut [IoSlice::new(&ReplyHeader::encode_simple(0, request.cookie))]),
            Err(fault) => self.fail(request, fault),
        }
    }

    fn fail(&self, request: &Request, fault: Fault) -> io::Result<()> {
        if !self.chosen.structured {
            return self.send(&mut [IoSlice::new(&ReplyHeader::encode_simple(fault.error, request.cookie))]);
        }
        let at = matches!(request.command, Command::Read).then_some(fault.at);
        let (kind, data) = ErrorReport { error: fault.error, message: fault.message, offset: at }.encode();
        let data_bytes = u32::try_from(data.len()).unwrap_or_default();
        let header = ChunkHeader { flags: chunk_flag::DONE, kind, cookie: request.cookie, data_bytes };
        self.send(&mut [IoSlice::new(&header.encode()), IoSlice::new(&data)])
    }

    fn read(&self, request: &Request, range: Range<u64>) -> io::Result<()> {
        if request.length > REQUEST_BYTES_MAX {
            return self.fail(request, fault(error_code::EINVAL, request, "longer than the server's maximum"));
        }
        let whole = !self.chosen.structured || request.flags & command_flag::DF != 0;
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = if whole { range.end } else { range.end.min(at + STRETCH_BYTES) };
            pieces.clear();
            if let Err(fault) = self.export.read(at..end, &mut pieces) {
                return self.fail(request, fault);
            }
            let chunks = match whole {
                true if !self.chosen.structured => return self.send_simple(request.cookie, &pieces),
                true => vec![Chunk::Data { cookie: request.cookie, at, pieces: &pieces, last: true }],
                false => chunks_of(request.cookie, at, &pieces, end == range.end),
            };
            self.send_chunks(&chunks)?;
            at = end;
        }
        Ok(())
    }

    fn send_simple(&self, cookie: u64, pieces: &[Piece]) -> io::Result<()> {
        let header = ReplyHeader::encode_simple(0, cookie);
        let mut parts = vec![IoSlice::new(&header)];
        pieces.iter().for_each(|piece| put_piece(&mut parts, piece));
        self.send(&mut parts)
    }

    fn send_chunks(&self, chunks: &[Chunk<'_>]) -> io::Result<()> {
        let headers: Vec<([u8; 20], Vec<u8>)> = chunks.iter().map(Chunk::headers).collect();
        let mut parts = Vec::new();
        for (chunk, (header, more)) in chunks.iter().zip(&headers) {
            parts.push(IoSlice::new(header));
            parts.push(IoSlice::new(more));
            if let Chunk::Data { pieces, .. } = chunk {
                pieces.iter().for_each(|piece| put_piece(&mut parts, piece));
            }
        }
        self.send(&mut parts)
    }

    fn status(&self, request: &Request, range: Range<u64>) -> io::Result<()> {
        if !self.chosen.status {
            return self.fail(request, fault(error_code::EINVAL, request, "no context was agreed on"));
        }
        let mut extents: Vec<Extent> = match self.export.status(range) {
            Ok(extents) => extents,
            Err(fault) => return self.fail(request, fault),
        };
        extents.truncate(if request.flags & command_flag::REQ_ONE != 0 { 1 } else { EXTENTS_MAX });
        let data = StatusReply { context: ALLOCATION_ID, extents }.encode();
        let data_bytes = u32::try_from(data.len()).unwrap_or_default();
        let kind = ChunkKind::Status;
        let header = ChunkHeader { flags: chunk_flag::DONE, kind, cookie: request.cookie, data_bytes };
        self.send(&mut [IoSlice::new(&header.encode()), IoSlice::new(&data)])
    }

    fn send(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        (self.send)(parts)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault(error: u32, request: &Request, message: &str) -> Fault {
    Fault { error, at: request.offset, message: message.to_owned() }
}

fn put_piece<'p>(parts: &mut Vec<IoSlice<'p>>, piece: &'p Piece) {
    match piece {
        Piece::Bytes(shared) => parts.push(IoSlice::new(shared.bytes())),
        Piece::Zeros(bytes) => {
            let mut left = usize::try_from(*bytes).unwrap_or(usize::MAX);
            while left > 0 {
                let now = ZEROS.get(..left.min(ZEROS.len())).unwrap_or(&ZEROS);
                parts.push(IoSlice::new(now));
                left -= now.len();
            }
        }
    }
}

/// A part of a structured reply.
enum Chunk<'p> {
    Data { cookie: u64, at: u64, pieces: &'p [Piece], last: bool },
    Hole { cookie: u64, at: u64, bytes: u64, last: bool },
    End(u64),
}

impl Chunk<'_> {
    fn headers(&self) -> ([u8; 20], Vec<u8>) {
        let flags = |last: bool| if last { chunk_flag::DONE } else { 0 };
        let (header, more) = match self {
            Self::Data { cookie, at, pieces, last } => {
                let bytes: u64 = pieces.iter().map(Piece::length).sum();
                // Bounded by REQUEST_BYTES_MAX.
                let data_bytes = u32::try_from(bytes + 8).unwrap_or(u32::MAX);
                let header = ChunkHeader { flags: flags(*last), kind: ChunkKind::Data, cookie: *cookie, data_bytes };
                (header, at.to_be_bytes().to_vec())
            }
            Self::Hole { cookie, at, bytes, last } => {
                let hole = HoleAt { offset: *at, bytes: u32::try_from(*bytes).unwrap_or(u32::MAX) };
                let header =
                    ChunkHeader { flags: flags(*last), kind: ChunkKind::Hole, cookie: *cookie, data_bytes: 12 };
                (header, hole.encode())
            }
            Self::End(cookie) => {
                let kind = ChunkKind::None;
                (ChunkHeader { flags: chunk_flag::DONE, kind, cookie: *cookie, data_bytes: 0 }, Vec::new())
            }
        };
        (header.encode(), more)
    }
}

/// Data chunks of neighbouring bytes, hole chunks of zeros.
fn chunks_of(cookie: u64, start: u64, pieces: &[Piece], is_end: bool) -> Vec<Chunk<'_>> {
    let same = |a: &Piece, b: &Piece| matches!(a, Piece::Zeros(_)) == matches!(b, Piece::Zeros(_));
    let mut at = start;
    let mut chunks = Vec::new();
    let mut runs = pieces.chunk_by(same).peekable();
    while let Some(run) = runs.next() {
        let bytes: u64 = run.iter().map(Piece::length).sum();
        let last = is_end && runs.peek().is_none();
        chunks.push(match run.first() {
            Some(Piece::Zeros(_)) => Chunk::Hole { cookie, at, bytes, last },
            _ => Chunk::Data { cookie, at, pieces: run, last },
        });
        at += bytes;
    }
    chunks
}

/// Notices a client that reads one stretch behind the other.
#[derive(Default)]
struct Sequence {
    end: u64,
    length: u64,
    ahead: u64,
}

impl Sequence {
    /// What to read ahead, if `request` continues a sequence that is worth it.
    fn after(&mut self, request: &Request, disk_bytes: u64) -> Option<Range<u64>> {
        let end = request.offset.saturating_add(u64::from(request.length));
        if request.offset == self.end {
            self.length = self.length.saturating_add(1);
        } else {
            (self.length, self.ahead) = (0, 0);
        }
        self.end = end;
        let from = self.ahead.max(end);
        let until = end.saturating_add(AHEAD_BYTES).min(disk_bytes);
        if self.length < 2 || from >= until || from > end.saturating_add(AHEAD_BYTES / 2) {
            return None;
        }
        self.ahead = until;
        Some(from..until)
    }
}
