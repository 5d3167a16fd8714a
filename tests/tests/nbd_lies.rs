//! Servers that lie: each lie is told as one, and none becomes data.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
};

use engine::nbd_wire::{
    BlockSizes, ChunkHeader, ChunkKind, Command, ContextReply, ExportAbout, Extent, GREETING_BYTES, Greeting, HoleAt,
    Info, OPTION_HEADER_BYTES, OptionHeader, OptionReplyHeader, REQUEST_BYTES, ReplyHeader, Request, StatusReply,
    chunk_flag, export_flag, option, reply_kind,
};
use strongroom_tests::Site;

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    LargerThanItIs,
    Greeting,
    BlockSize,
    HugeSize,
    MoreData,
    LessData,
    DataElsewhere,
    DataTwice,
    AnotherCookie,
    NoData,
    HoleBeyond,
    EmptyExtent,
    UnknownContext,
    GarbageReply,
    EndlessInfo,
    HugeOptionReply,
}

const BYTES: u64 = 1 << 20;

fn array<const N: usize>(stream: &mut UnixStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn serve(mut stream: UnixStream, lie: Lie) -> Option<()> {
    let mut greeting = Greeting::encode();
    if lie == Lie::Greeting {
        greeting[GREETING_BYTES - 1] = 0;
        greeting[9] ^= 1;
    }
    stream.write_all(&greeting).ok()?;
    array::<4>(&mut stream)?;
    loop {
        let header = OptionHeader::decode(&array::<OPTION_HEADER_BYTES>(&mut stream)?).ok()?;
        let mut data = vec![0; header.data_bytes as usize];
        stream.read_exact(&mut data).ok()?;
        let mut reply =
            |kind, data: &[u8]| stream.write_all(&OptionReplyHeader::encode(header.option, kind, data)).ok();
        match header.option {
            option::STRUCTURED_REPLY => reply(reply_kind::ACK, &[])?,
            option::SET_META_CONTEXT => {
                reply(reply_kind::META_CONTEXT, &ContextReply { id: 7, name: "base:allocation".to_owned() }.encode())?;
                reply(reply_kind::ACK, &[])?;
            }
            option::GO => {
                let bytes = match lie {
                    Lie::HugeSize => u64::MAX,
                    Lie::LargerThanItIs => 2 * BYTES,
                    _ => BYTES,
                };
                let flags = export_flag::HAS_FLAGS | export_flag::READ_ONLY;
                reply(reply_kind::INFO, &Info::Export(ExportAbout { bytes, flags }).encode())?;
                let min_bytes = if lie == Lie::BlockSize { 3 } else { 1 };
                let sizes = BlockSizes { min_bytes, preferred_bytes: 4096, max_bytes: 1 << 20 };
                reply(reply_kind::INFO, &Info::Blocks(sizes).encode())?;
                if lie == Lie::HugeOptionReply {
                    let mut header = OptionReplyHeader::encode(option::GO, reply_kind::INFO, &[]);
                    header[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
                    stream.write_all(&header).ok()?;
                    break;
                }
                if lie == Lie::EndlessInfo {
                    loop {
                        reply(reply_kind::INFO, &Info::Other(9).encode())?;
                    }
                }
                reply(reply_kind::ACK, &[])?;
                break;
            }
            _ => reply(reply_kind::UNSUP, &[])?,
        }
    }
    loop {
        let request = Request::decode(&array::<REQUEST_BYTES>(&mut stream)?).ok()?;
        for part in answer(&request, lie) {
            stream.write_all(&part).ok()?;
        }
    }
}

fn chunk(request: &Request, kind: ChunkKind, last: bool, data: &[u8]) -> Vec<u8> {
    let flags = if last { chunk_flag::DONE } else { 0 };
    let cookie = request.cookie;
    let header = ChunkHeader { flags, kind, cookie, data_bytes: u32::try_from(data.len()).unwrap() };
    [&header.encode()[..], data].concat()
}

fn data(request: &Request, last: bool, offset: u64, length: u32) -> Vec<u8> {
    let bytes = vec![7; length as usize];
    chunk(request, ChunkKind::Data, last, &[&offset.to_be_bytes()[..], &bytes].concat())
}

fn answer(request: &Request, lie: Lie) -> Vec<Vec<u8>> {
    let Request { offset, length, cookie, .. } = *request;
    match (request.command, lie) {
        (Command::BlockStatus, Lie::EmptyExtent | Lie::UnknownContext) => {
            let context = if lie == Lie::UnknownContext { 8 } else { 7 };
            let bytes = if lie == Lie::EmptyExtent { 0 } else { length };
            let status = StatusReply { context, extents: vec![Extent { bytes, status: 0 }] };
            vec![chunk(request, ChunkKind::Status, true, &status.encode())]
        }
        (Command::BlockStatus, _) => {
            let status = StatusReply { context: 7, extents: vec![Extent { bytes: length, status: 0 }] };
            vec![chunk(request, ChunkKind::Status, true, &status.encode())]
        }
        (Command::Read, Lie::LargerThanItIs) if offset >= BYTES => {
            let report =
                engine::nbd_wire::ErrorReport { error: 22, message: "beyond the end".to_owned(), offset: None };
            let (kind, report) = report.encode();
            vec![chunk(request, kind, true, &report)]
        }
        (Command::Read, Lie::MoreData) => vec![data(request, true, offset, length + 1)],
        (Command::Read, Lie::LessData) => vec![data(request, true, offset, length - 1)],
        (Command::Read, Lie::DataElsewhere) => vec![data(request, true, offset + 1, length)],
        (Command::Read, Lie::DataTwice) => vec![data(request, false, offset, length), data(request, true, offset, 1)],
        (Command::Read, Lie::AnotherCookie) => {
            vec![data(&Request { cookie: cookie ^ 1 << 40, ..*request }, true, offset, length)]
        }
        (Command::Read, Lie::NoData) => vec![chunk(request, ChunkKind::None, true, &[])],
        (Command::Read, Lie::HoleBeyond) => {
            vec![chunk(request, ChunkKind::Hole, true, &HoleAt { offset, bytes: u32::MAX }.encode())]
        }
        (Command::Read, Lie::GarbageReply) => vec![vec![0x5a; 64]],
        (Command::Read, _) => vec![data(request, true, offset, length)],
        _ => vec![ReplyHeader::encode_simple(22, cookie).to_vec()],
    }
}

#[test]
fn each_lie_of_a_server_is_an_error_and_nothing_is_committed() {
    let site = Site::new();
    for lie in [
        Lie::LargerThanItIs,
        Lie::Greeting,
        Lie::BlockSize,
        Lie::HugeSize,
        Lie::MoreData,
        Lie::LessData,
        Lie::DataElsewhere,
        Lie::DataTwice,
        Lie::AnotherCookie,
        Lie::NoData,
        Lie::HoleBeyond,
        Lie::EmptyExtent,
        Lie::UnknownContext,
        Lie::GarbageReply,
        Lie::EndlessInfo,
        Lie::HugeOptionReply,
    ] {
        let path = site.fresh("liar.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream, lie));
            }
        });
        let uri = format!("disk0=nbd+unix:///?socket={}", path.display());
        let run = site.run(&["backup", "--vm", "v", "--disk", &uri]);
        let word = if lie == Lie::LargerThanItIs { "error 22" } else { "breaks the NBD protocol" };
        assert!(run.stderr.contains(word), "{lie:?}: {}", run.stderr);
        run.fails(1, &["disk0"]);
    }
    assert_eq!(site.json(&["list"])["points"], serde_json::json!([]));
}
