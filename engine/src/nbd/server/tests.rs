//! A server over bytes: what it answers to clients of every kind, and to those that make no sense.

use std::{
    io::{self, IoSlice, Read, Write},
    sync::Mutex,
};

use super::*;
use crate::nbd::{
    client::{Answer, Expecting, Progress, Wanted, negotiate, read_reply},
    wire::{Command, OptionHeader, Request, block_status, command_flag, error_code, option},
};

/// 64 KiB: data, zeros, and a stretch that cannot be read.
struct Disk {
    writable: bool,
    written: Mutex<Vec<Range<u64>>>,
}

const BYTES: u64 = 65536;
const HOLE: Range<u64> = 8192..16384;
const BAD: Range<u64> = 32768..36864;

impl Disk {
    fn new(writable: bool) -> Self {
        Self { writable, written: Mutex::default() }
    }
}

impl Export for Disk {
    fn name(&self) -> &str {
        "disk0"
    }

    fn description(&self) -> String {
        "a disk".to_owned()
    }

    fn bytes(&self) -> u64 {
        BYTES
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    fn read(&self, range: Range<u64>, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        for at in range {
            if BAD.contains(&at) {
                return Err(Fault { error: error_code::EIO, at, message: "bad".to_owned() });
            }
            match (HOLE.contains(&at), pieces.last_mut()) {
                (true, Some(Piece::Zeros(bytes))) => *bytes += 1,
                (true, _) => pieces.push(Piece::Zeros(1)),
                (false, _) => pieces.push(Piece::Bytes(Shared::new(Arc::new(vec![(at % 251) as u8]), 0..1))),
            }
        }
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Vec<Extent>, Fault> {
        let status = if HOLE.contains(&range.start) { block_status::HOLE | block_status::ZERO } else { 0 };
        Ok(vec![Extent { bytes: u32::try_from(range.end - range.start).unwrap(), status }])
    }

    fn will_read(&self, _range: Range<u64>) {}

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.written.lock().unwrap().push(offset..offset + bytes.len() as u64);
        Ok(())
    }

    fn zero(&self, range: Range<u64>, _how: ZeroHow) -> Result<(), Fault> {
        self.written.lock().unwrap().push(range);
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }
}

fn expected(range: Range<u64>) -> Vec<u8> {
    range.map(|at| if HOLE.contains(&at) { 0 } else { (at % 251) as u8 }).collect()
}

/// Answers of a server to a client that agreed on this much.
fn answers(disk: &Disk, structured: bool, requests: &[(Request, Vec<u8>)]) -> Vec<u8> {
    let chosen = Chosen { export: 0, structured, status: structured };
    let bytes: Vec<u8> = requests.iter().flat_map(|(request, data)| [&request.encode()[..], data].concat()).collect();
    let said = Mutex::new(Vec::new());
    let send = |parts: &mut [IoSlice<'_>]| {
        parts.iter().for_each(|part| said.lock().unwrap().extend_from_slice(part));
        Ok(())
    };
    serve_requests(&mut &bytes[..], &send, disk, chosen, ServerLimits { workers: 3 });
    said.into_inner().unwrap()
}

fn request(command: Command, offset: u64, length: u32) -> Request {
    Request { flags: 0, command, cookie: 9, offset, length }
}

fn disconnect() -> (Request, Vec<u8>) {
    (request(Command::Disconnect, 0, 0), Vec::new())
}

fn outcome(said: &[u8], expecting: Expecting) -> Progress {
    let (mut reader, mut waiting) = (said, Some(expecting));
    loop {
        match read_reply(&mut reader, &mut |_| waiting.take()).unwrap().1 {
            Progress::More(more) => waiting = Some(more),
            end => {
                assert!(reader.is_empty(), "more than one answer");
                return end;
            }
        }
    }
}

#[test]
fn a_client_without_structured_replies_gets_the_same_bytes() {
    let disk = Disk::new(false);
    for structured in [false, true] {
        for range in [0..100, 8000..20000, 8192..16384, 60000..65536] {
            let length = u32::try_from(range.end - range.start).unwrap();
            for flags in [0, command_flag::DF] {
                let read = Request { flags, ..request(Command::Read, range.start, length) };
                let said = answers(&disk, structured, &[(read, Vec::new()), disconnect()]);
                let Progress::Done(Answer::Data(found)) = outcome(&said, Expecting::read(range.start, length)) else {
                    panic!("{range:?}")
                };
                assert!(found == expected(range.clone()), "{structured} {range:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_an_error_at_its_place() {
    let disk = Disk::new(false);
    for structured in [false, true] {
        let said = answers(&disk, structured, &[(request(Command::Read, 32000, 2000), Vec::new()), disconnect()]);
        let Progress::Failed(report) = outcome(&said, Expecting::read(32000, 2000)) else { panic!() };
        assert_eq!((report.error, report.offset), (error_code::EIO, structured.then_some(32768)));
    }
}

#[test]
fn requests_that_make_no_sense_are_refused_one_by_one() {
    let disk = Disk::new(true);
    for (wrong, error) in [
        (request(Command::Read, BYTES - 1, 2), error_code::EINVAL),
        (request(Command::Read, u64::MAX, 1), error_code::EINVAL),
        (request(Command::Read, 0, 0), error_code::EINVAL),
        (request(Command::BlockStatus, BYTES, 1), error_code::EINVAL),
        (request(Command::WriteZeroes, BYTES - 1, 2), error_code::ENOSPC),
        (request(Command::Trim, BYTES, 2), error_code::EINVAL),
        (request(Command::Other(77), 0, 1), error_code::EINVAL),
    ] {
        let said = answers(&disk, true, &[(wrong, Vec::new()), disconnect()]);
        let Progress::Failed(report) = outcome(&said, Expecting::plain()) else { panic!("{wrong:?}") };
        assert_eq!(report.error, error, "{wrong:?}");
    }
    assert!(disk.written.lock().unwrap().is_empty());
}

#[test]
fn a_read_only_export_is_never_written() {
    let disk = Disk::new(false);
    for (wanted, data) in [
        (request(Command::Write, 0, 4), vec![1; 4]),
        (request(Command::WriteZeroes, 0, 4), Vec::new()),
        (request(Command::Trim, 0, 4), Vec::new()),
    ] {
        let said = answers(&disk, true, &[(wanted, data), disconnect()]);
        let Progress::Failed(report) = outcome(&said, Expecting::plain()) else { panic!() };
        assert_eq!(report.error, error_code::EPERM);
    }
    assert!(disk.written.lock().unwrap().is_empty());
}

/// A client in memory: what the server sends it, and what it sends.
struct Wire {
    from_client: io::Cursor<Vec<u8>>,
    to_client: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.from_client.read(into)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_client.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes down what a client says without ever answering: the other half of [`Wire`].
struct Replay<'b> {
    from_server: &'b [u8],
    said: Vec<u8>,
}

impl Read for Replay<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.from_server.read(into)
    }
}

impl Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.said.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn our_client_and_our_server_agree() {
    let disk = Disk::new(true);
    let contexts = ["base:allocation".to_owned()];
    let wanted = Wanted { export: "disk0", contexts: &contexts };
    // Each round the client gets as far as the answers of the round before.
    let mut from_server = Vec::new();
    for _ in 0..10 {
        let mut replay = Replay { from_server: &from_server, said: Vec::new() };
        let negotiated = negotiate(&mut replay, &wanted, "server");
        if let Ok(about) = negotiated {
            assert_eq!((about.bytes, about.structured, about.contexts.len()), (BYTES, true, 1));
            assert_eq!(about.blocks.max_bytes, REQUEST_BYTES_MAX);
            return;
        }
        let mut wire = Wire { from_client: io::Cursor::new(replay.said), to_client: Vec::new() };
        let _ = offer(&mut wire, &[&disk]);
        from_server = wire.to_client;
    }
    panic!("they do not agree");
}

#[test]
fn an_option_that_promises_gigabytes_ends_the_session() {
    let disk = Disk::new(true);
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    let mut header = OptionHeader::encode(option::GO, &[]);
    header[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    bytes.extend(header);
    let mut wire = Wire { from_client: io::Cursor::new(bytes), to_client: Vec::new() };
    assert!(offer(&mut wire, &[&disk]).is_err());
}
