//! Both ends of an NBD connection, over bytes that somebody else made up.

use std::{
    collections::HashMap,
    io::{self, IoSlice, Read, Write},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use engine::{
    Expecting, Export, Fault, NbdError, Piece, Progress, ReplyError, ServerLimits, Shared, Wanted, ZeroHow,
    nbd_wire::{
        BlockSizes, ChunkHeader, ChunkKind, Command, ContextReply, ContextsAsked, ErrorReport, ExportAbout,
        ExportAsked, Extent, Greeting, HoleAt, Info, OptionHeader, OptionReplyHeader, Request, StatusReply, chunk_flag,
        option, reply_kind,
    },
    negotiate, offer, read_reply, serve_requests,
};

use crate::Outcome;

const DISK_BYTES: u64 = 1 << 16;
const COOKIES: [u64; 4] = [1, 2, 3, 4];

/// What comes is read, what is said goes nowhere.
struct OneWay<'b>(&'b [u8]);

impl Read for OneWay<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for OneWay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server's side of a session: handshake, then replies to four requests. What is taken as an answer has the right length.
pub fn nbd_client(bytes: &[u8]) -> Outcome {
    let mut stream = OneWay(bytes);
    let contexts = ["base:allocation".to_owned()];
    match negotiate(&mut stream, &Wanted { export: "disk0", contexts: &contexts }, "server") {
        Ok(about) => assert!(about.contexts.iter().all(|context| context.name == contexts[0])),
        Err(NbdError::Protocol { source, .. }) => return Outcome::Refused(source.what.to_owned()),
        Err(error) => return Outcome::Refused(format!("{:?}", error.kind())),
    }
    let requests = [Expecting::read(100, 5000), Expecting::read(0, 1), Expecting::status(Some(1)), Expecting::plain()];
    let mut waiting: HashMap<u64, Expecting> = COOKIES.into_iter().zip(requests).collect();
    while !waiting.is_empty() {
        match read_reply(&mut stream, &mut |cookie| waiting.remove(&cookie)) {
            Ok((cookie, Progress::More(request))) => drop(waiting.insert(cookie, request)),
            Ok((cookie, Progress::Done(engine::Answer::Data(data)))) => {
                assert_eq!(data.len(), if cookie == 1 { 5000 } else { 1 });
            }
            Ok((_, Progress::Done(engine::Answer::Extents(extents)))) => assert!(!extents.is_empty()),
            Ok((_, Progress::Done(engine::Answer::Done) | Progress::Failed(_))) => {}
            Err(ReplyError::Wire(error)) => return Outcome::Refused(error.what.to_owned()),
            Err(ReplyError::Io(_)) => return Outcome::Refused("end".to_owned()),
        }
    }
    Outcome::Accepted
}

/// A disk in memory.
struct MemoryDisk(Mutex<Vec<u8>>);

fn place(range: &Range<u64>) -> Range<usize> {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    at(range.start)..at(range.end)
}

impl Export for MemoryDisk {
    fn name(&self) -> &str {
        "disk0"
    }

    fn description(&self) -> String {
        String::new()
    }

    fn bytes(&self) -> u64 {
        DISK_BYTES
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn read(&self, range: Range<u64>, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = bytes.get(place(&range)).map(<[u8]>::to_vec);
        assert!(found.is_some() && !range.is_empty(), "{range:?} was let through");
        let found = found.unwrap_or_default();
        let length = found.len();
        pieces.push(Piece::Bytes(Shared::new(Arc::new(found), 0..length)));
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Vec<Extent>, Fault> {
        assert!(range.end <= DISK_BYTES && !range.is_empty(), "{range:?} was let through");
        Ok(vec![Extent { bytes: u32::try_from(range.end - range.start).unwrap_or(u32::MAX), status: 0 }])
    }

    fn will_read(&self, range: Range<u64>) {
        assert!(range.end <= DISK_BYTES);
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Fault> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let range = place(&(offset..offset + data.len() as u64));
        let room = bytes.get_mut(range);
        assert!(room.is_some(), "a write beyond the end was let through");
        room.unwrap_or_default().copy_from_slice(data);
        Ok(())
    }

    fn zero(&self, range: Range<u64>, _how: ZeroHow) -> Result<(), Fault> {
        let zeros = vec![0; place(&range).len()];
        self.write(range.start, &zeros)
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// A client's side of a session: handshake, then requests. The server's replies are replies.
pub fn nbd_server(bytes: &[u8]) -> Outcome {
    let disk = MemoryDisk(Mutex::new(vec![7; usize::try_from(DISK_BYTES).unwrap_or_default()]));
    let mut stream = OneWay(bytes);
    let chosen = match offer(&mut stream, &[&disk]) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => return Outcome::Refused("gone".to_owned()),
        Err(error) => return Outcome::Refused(error.to_string().chars().take(12).collect()),
    };
    let said = Mutex::new(Vec::new());
    let send = |parts: &mut [IoSlice<'_>]| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().for_each(|part| said.extend_from_slice(part));
        if said.len() > 1 << 24 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    };
    serve_requests(&mut stream, &send, &disk, chosen, ServerLimits { workers: 1 });
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(said.is_empty() || said.starts_with(&[0x67]) || said.starts_with(&[0x66]), "no reply");
    Outcome::Accepted
}

/// What a right server sends: seeds stay close to it.
pub(crate) fn nbd_session_of_a_server() -> Vec<u8> {
    let mut out = Greeting::encode().to_vec();
    let mut reply = |option, kind, data: &[u8]| out.extend(OptionReplyHeader::encode(option, kind, data));
    reply(option::STRUCTURED_REPLY, reply_kind::ACK, &[]);
    let context = ContextReply { id: 1, name: "base:allocation".to_owned() };
    reply(option::SET_META_CONTEXT, reply_kind::META_CONTEXT, &context.encode());
    reply(option::SET_META_CONTEXT, reply_kind::ACK, &[]);
    let about = ExportAbout { bytes: DISK_BYTES, flags: 1 };
    reply(option::GO, reply_kind::INFO, &Info::Export(about).encode());
    reply(option::GO, reply_kind::INFO, &Info::Blocks(BlockSizes::DEFAULT).encode());
    reply(option::GO, reply_kind::ACK, &[]);
    let mut chunk = |cookie, kind, last: bool, data: &[u8]| {
        let flags = if last { chunk_flag::DONE } else { 0 };
        let data_bytes = u32::try_from(data.len()).unwrap_or_default();
        out.extend(ChunkHeader { flags, kind, cookie, data_bytes }.encode());
        out.extend(data);
    };
    let data = |offset: u64, length| [&offset.to_be_bytes()[..], &vec![9; length]].concat();
    chunk(1, ChunkKind::Data, false, &data(100, 1000));
    chunk(2, ChunkKind::Data, true, &data(0, 1));
    chunk(1, ChunkKind::Hole, false, &HoleAt { offset: 1100, bytes: 3000 }.encode());
    chunk(
        3,
        ChunkKind::Status,
        true,
        &StatusReply { context: 1, extents: vec![Extent { bytes: 9, status: 3 }] }.encode(),
    );
    chunk(1, ChunkKind::Data, true, &data(4100, 1000));
    let (kind, error) = ErrorReport { error: 5, message: "no".to_owned(), offset: Some(3) }.encode();
    chunk(4, kind, true, &error);
    out
}

/// What a right client sends.
pub(crate) fn nbd_session_of_a_client() -> Vec<u8> {
    let mut out = 3_u32.to_be_bytes().to_vec();
    let asked = ContextsAsked { export: "disk0".to_owned(), queries: vec!["base:allocation".to_owned()] };
    let go = ExportAsked { name: "disk0".to_owned(), infos: vec![Info::BLOCKS, Info::NAME] };
    for (option, data) in [
        (option::LIST, Vec::new()),
        (option::STRUCTURED_REPLY, Vec::new()),
        (option::LIST_META_CONTEXT, asked.encode()),
        (option::SET_META_CONTEXT, asked.encode()),
        (option::INFO, go.encode()),
        (option::GO, go.encode()),
    ] {
        out.extend(OptionHeader::encode(option, &data));
    }
    for (command, length) in [
        (Command::Read, 5000),
        (Command::BlockStatus, 60_000),
        (Command::Write, 7),
        (Command::WriteZeroes, 4096),
        (Command::Trim, 4096),
        (Command::Flush, 0),
        (Command::Disconnect, 0),
    ] {
        out.extend(Request { flags: 0, command, cookie: 1, offset: 0, length }.encode());
        if command == Command::Write {
            out.extend([5; 7]);
        }
    }
    out
}
