//! From the greeting to the first request.

use std::io::{self, Read, Write};

use crate::nbd::{
    error::NbdError,
    wire::{
        BlockSizes, ClientFlags, ContextReply, ContextsAsked, ExportAsked, GREETING_BYTES, Greeting, Info,
        OPTION_REPLY_HEADER_BYTES, OptionHeader, OptionReplyHeader, ServerLine, WireError, option, reply_kind,
    },
};

/// Replies to one option, at most: a server must not keep us for ever.
const REPLIES_MAX: usize = 10_000;
/// Exports named in an error, at most.
const NAMES_MAX: usize = 100;

/// What is wanted of a server.
pub struct Wanted<'w> {
    /// The export; empty: its default.
    pub export: &'w str,
    /// Contexts of block status, as far as it has them.
    pub contexts: &'w [String],
}

/// What came of the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Size of the export.
    pub bytes: u64,
    /// Bits of [`export_flag`](crate::nbd::wire::export_flag).
    pub flags: u16,
    /// Sizes of requests.
    pub blocks: BlockSizes,
    /// Replies come in chunks.
    pub structured: bool,
    /// Contexts of block status that it gives.
    pub contexts: Vec<ContextReply>,
}

impl Negotiated {
    /// Whether the export has an ability.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The whole handshake without TLS. Over any stream: a fuzzer's has no socket.
pub fn negotiate<S: Read + Write>(stream: &mut S, wanted: &Wanted<'_>, server: &str) -> Result<Negotiated, NbdError> {
    greet(stream, server)?;
    choose(stream, wanted, server)
}

/// Greeting and flags.
pub(super) fn greet<S: Read + Write>(stream: &mut S, server: &str) -> Result<(), NbdError> {
    let greeting = Greeting::decode(&array::<GREETING_BYTES, _>(stream, server)?).map_err(protocol(server))?;
    stream.write_all(&ClientFlags::answering(greeting).encode()).map_err(lost(server))
}

/// Asks for TLS; after this the very next byte belongs to it.
pub(super) fn start_tls<S: Read + Write>(stream: &mut S, server: &str) -> Result<(), NbdError> {
    send(stream, option::STARTTLS, &[], server)?;
    match reply(stream, option::STARTTLS, server)? {
        Reply { kind: reply_kind::ACK, .. } => Ok(()),
        Reply { kind, .. } if kind & reply_kind::ERROR != 0 => Err(NbdError::NoTls { server: server.to_owned() }),
        Reply { kind, .. } => Err(unexpected(kind, server)),
    }
}

/// Structured replies, contexts, and the export.
pub(super) fn choose<S: Read + Write>(
    stream: &mut S,
    wanted: &Wanted<'_>,
    server: &str,
) -> Result<Negotiated, NbdError> {
    let structured = structured_replies(stream, server)?;
    let contexts = match structured && !wanted.contexts.is_empty() {
        true => contexts(stream, option::SET_META_CONTEXT, wanted.export, wanted.contexts, server)?,
        false => Vec::new(),
    };
    // A server may offer something that nobody asked for; its numbers would then mean something else.
    let contexts = contexts.into_iter().filter(|context| wanted.contexts.contains(&context.name)).collect();
    go(stream, wanted, structured, contexts, server)
}

fn structured_replies<S: Read + Write>(stream: &mut S, server: &str) -> Result<bool, NbdError> {
    send(stream, option::STRUCTURED_REPLY, &[], server)?;
    match reply(stream, option::STRUCTURED_REPLY, server)?.kind {
        reply_kind::ACK => Ok(true),
        reply_kind::TLS_REQD => Err(NbdError::TlsRequired { server: server.to_owned() }),
        kind if kind & reply_kind::ERROR != 0 => Ok(false),
        kind => Err(unexpected(kind, server)),
    }
}

fn contexts<S: Read + Write>(
    stream: &mut S,
    which: u32,
    export: &str,
    queries: &[String],
    server: &str,
) -> Result<Vec<ContextReply>, NbdError> {
    let asked = ContextsAsked { export: export.to_owned(), queries: queries.to_vec() };
    send(stream, which, &asked.encode(), server)?;
    let mut found: Vec<ContextReply> = Vec::new();
    for _ in 0..REPLIES_MAX {
        let reply = reply(stream, which, server)?;
        match reply.kind {
            reply_kind::ACK => return Ok(found),
            reply_kind::META_CONTEXT => found.push(ContextReply::decode(&reply.data).map_err(protocol(server))?),
            // Without contexts everything counts as data; an export that is not there is told by the next option.
            kind if kind & reply_kind::ERROR != 0 => return Ok(Vec::new()),
            kind => return Err(unexpected(kind, server)),
        }
    }
    Err(endless(server))
}

/// Names of contexts that begin with `query`.
pub(super) fn list_contexts<S: Read + Write>(
    stream: &mut S,
    export: &str,
    query: &str,
    server: &str,
) -> Result<Vec<String>, NbdError> {
    structured_replies(stream, server)?;
    let found = contexts(stream, option::LIST_META_CONTEXT, export, &[query.to_owned()], server)?;
    let _ = send(stream, option::ABORT, &[], server);
    Ok(found.into_iter().map(|context| context.name).take(NAMES_MAX).collect())
}

fn go<S: Read + Write>(
    stream: &mut S,
    wanted: &Wanted<'_>,
    structured: bool,
    contexts: Vec<ContextReply>,
    server: &str,
) -> Result<Negotiated, NbdError> {
    let asked = ExportAsked { name: wanted.export.to_owned(), infos: vec![Info::BLOCKS] };
    send(stream, option::GO, &asked.encode(), server)?;
    let (mut export, mut blocks) = (None, BlockSizes::DEFAULT);
    for _ in 0..REPLIES_MAX {
        let reply = reply(stream, option::GO, server)?;
        match reply.kind {
            reply_kind::INFO => match Info::decode(&reply.data).map_err(protocol(server))? {
                Info::Export(about) => export = Some(about),
                Info::Blocks(sizes) => blocks = sizes,
                Info::Name(_) | Info::Description(_) | Info::Other(_) => {}
            },
            reply_kind::ACK => {
                let Some(about) = export else {
                    let error = WireError::new("end of the options", "without a size", "the export's size before it");
                    return Err(protocol(server)(error));
                };
                if about.bytes > i64::MAX.unsigned_abs() {
                    let found = format_args!("{} bytes", about.bytes).to_string();
                    return Err(protocol(server)(WireError::new("size of the export", found, "at most 2^63-1")));
                }
                return Ok(Negotiated { bytes: about.bytes, flags: about.flags, blocks, structured, contexts });
            }
            reply_kind::UNKNOWN => {
                let there = list(stream, server).unwrap_or(None);
                let export = wanted.export.to_owned();
                return Err(NbdError::NoExport { server: server.to_owned(), export, there });
            }
            reply_kind::TLS_REQD => return Err(NbdError::TlsRequired { server: server.to_owned() }),
            kind if kind & reply_kind::ERROR != 0 => {
                let said = String::from_utf8_lossy(&reply.data).into_owned();
                let said = if said.is_empty() { format!("reply {kind:#x}") } else { said };
                let what = format!("export {:?}: {said}", wanted.export);
                return Err(NbdError::Refused { server: server.to_owned(), what });
            }
            kind => return Err(unexpected(kind, server)),
        }
    }
    Err(endless(server))
}

/// Names of the exports, for a message; `None`: the server does not tell.
fn list<S: Read + Write>(stream: &mut S, server: &str) -> Result<Option<Vec<String>>, NbdError> {
    send(stream, option::LIST, &[], server)?;
    let mut names = Vec::new();
    for _ in 0..REPLIES_MAX {
        let reply = reply(stream, option::LIST, server)?;
        match reply.kind {
            reply_kind::ACK => return Ok(Some(names)),
            reply_kind::SERVER => {
                let line = ServerLine::decode(&reply.data).map_err(protocol(server))?;
                if names.len() < NAMES_MAX {
                    names.push(line.name);
                }
            }
            _ => return Ok(None),
        }
    }
    Err(endless(server))
}

struct Reply {
    kind: u32,
    data: Vec<u8>,
}

fn send<S: Write>(stream: &mut S, option: u32, data: &[u8], server: &str) -> Result<(), NbdError> {
    stream.write_all(&OptionHeader::encode(option, data)).map_err(lost(server))
}

fn reply<S: Read>(stream: &mut S, option: u32, server: &str) -> Result<Reply, NbdError> {
    let header = array::<OPTION_REPLY_HEADER_BYTES, _>(stream, server)?;
    let header = OptionReplyHeader::decode(&header, option).map_err(protocol(server))?;
    // Bounded by the decoder.
    let mut data = vec![0; usize::try_from(header.data_bytes).unwrap_or_default()];
    stream.read_exact(&mut data).map_err(lost(server))?;
    Ok(Reply { kind: header.kind, data })
}

fn array<const N: usize, S: Read>(stream: &mut S, server: &str) -> Result<[u8; N], NbdError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(lost(server))?;
    Ok(bytes)
}

fn lost(server: &str) -> impl Fn(io::Error) -> NbdError {
    move |error| NbdError::Lost { server: server.to_owned(), what: format!("in the handshake: {error}") }
}

fn protocol(server: &str) -> impl Fn(WireError) -> NbdError {
    move |source| NbdError::Protocol { server: server.to_owned(), source }
}

fn unexpected(kind: u32, server: &str) -> NbdError {
    protocol(server)(WireError::new("option reply", format_args!("of kind {kind:#x}"), "one that the option has"))
}

fn endless(server: &str) -> NbdError {
    protocol(server)(WireError::new("option", "answered without end", format_args!("at most {REPLIES_MAX} replies")))
}
