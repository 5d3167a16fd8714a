//! Options of a client, until it has chosen an export.

use std::io::{self, Read, Write};

use super::Export;
use crate::nbd::wire::{
    ClientFlags, ContextReply, ContextsAsked, ExportAbout, ExportAsked, Greeting, Info, OPTION_BYTES_MAX,
    OPTION_HEADER_BYTES, OptionHeader, OptionReplyHeader, ServerLine, export_flag, option, reply_kind,
};

const ALLOCATION: &str = "base:allocation";
/// Number of the one context that there is.
pub(super) const ALLOCATION_ID: u32 = 1;
/// A client that sends more options than this wants nothing.
const OPTIONS_MAX: usize = 1000;

/// What a client has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Number of the export.
    pub export: usize,
    /// It understands replies in chunks.
    pub structured: bool,
    /// It may ask for block status.
    pub status: bool,
}

/// TLS, as a client has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsState {
    /// There is none.
    None,
    /// It is required and has not begun.
    Required,
    /// It has begun.
    Begun,
}

/// How a round of options ends.
pub(super) enum Ended {
    /// Requests follow.
    Chosen(Chosen),
    /// TLS follows, then more options.
    StartTls,
    /// The client has gone.
    Gone,
}

/// What the options have agreed on so far. Starts anew with TLS: what was said in the clear does not count.
pub(super) struct Options<'e> {
    exports: &'e [&'e dyn Export],
    tls: TlsState,
    no_zeroes: bool,
    structured: bool,
    status_of: Option<usize>,
}

impl<'e> Options<'e> {
    /// Greets.
    pub(super) fn greet<S: Read + Write>(
        stream: &mut S,
        exports: &'e [&'e dyn Export],
        tls: TlsState,
    ) -> io::Result<Self> {
        stream.write_all(&Greeting::encode())?;
        let mut flags = [0; 4];
        stream.read_exact(&mut flags)?;
        let flags = ClientFlags::decode(flags).map_err(io::Error::other)?;
        Ok(Self { exports, tls, no_zeroes: flags.no_zeroes, structured: false, status_of: None })
    }

    /// The same client over TLS.
    pub(super) fn over_tls(self) -> Self {
        Self { tls: TlsState::Begun, structured: false, status_of: None, ..self }
    }

    /// Answers options until something else follows.
    pub(super) fn answer<S: Read + Write>(&mut self, stream: &mut S) -> io::Result<Ended> {
        for _ in 0..OPTIONS_MAX {
            let mut header = [0; OPTION_HEADER_BYTES];
            stream.read_exact(&mut header)?;
            let OptionHeader { option, data_bytes } = OptionHeader::decode(&header).map_err(io::Error::other)?;
            if data_bytes > OPTION_BYTES_MAX {
                let what = format!("option {option} with {data_bytes} bytes");
                return Err(io::Error::other(what));
            }
            let mut data = vec![0; usize::try_from(data_bytes).unwrap_or_default()];
            stream.read_exact(&mut data)?;
            if let Some(end) = self.one(stream, option, &data)? {
                return Ok(end);
            }
        }
        Ok(Ended::Gone)
    }

    fn one<S: Write>(&mut self, stream: &mut S, which: u32, data: &[u8]) -> io::Result<Option<Ended>> {
        let mut reply = |kind, data: &[u8]| stream.write_all(&OptionReplyHeader::encode(which, kind, data));
        match which {
            option::ABORT => {
                let _ = reply(reply_kind::ACK, &[]);
                return Ok(Some(Ended::Gone));
            }
            option::STARTTLS => match self.tls {
                TlsState::Required if data.is_empty() => {
                    reply(reply_kind::ACK, &[])?;
                    return Ok(Some(Ended::StartTls));
                }
                TlsState::Required => reply(reply_kind::INVALID, b"STARTTLS has no data")?,
                TlsState::None => reply(reply_kind::POLICY, b"there is no TLS here")?,
                TlsState::Begun => reply(reply_kind::INVALID, b"TLS has begun")?,
            },
            // There is no way to refuse it.
            option::EXPORT_NAME if self.tls == TlsState::Required => return Ok(Some(Ended::Gone)),
            _ if self.tls == TlsState::Required => reply(reply_kind::TLS_REQD, b"TLS first")?,
            option::EXPORT_NAME => return self.export_name(stream, data).map(Some),
            option::LIST if !data.is_empty() => reply(reply_kind::INVALID, b"LIST has no data")?,
            option::LIST => {
                for export in self.exports {
                    let line = ServerLine { name: export.name().to_owned(), description: export.description() };
                    reply(reply_kind::SERVER, &line.encode())?;
                }
                reply(reply_kind::ACK, &[])?;
            }
            option::STRUCTURED_REPLY if !data.is_empty() => reply(reply_kind::INVALID, b"it has no data")?,
            option::STRUCTURED_REPLY => {
                self.structured = true;
                reply(reply_kind::ACK, &[])?;
            }
            option::INFO | option::GO => return self.info(stream, which, data),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(stream, which, data)?,
            _ => reply(reply_kind::UNSUP, &[])?,
        }
        Ok(None)
    }

    fn find(&self, name: &str) -> Option<usize> {
        match (name, self.exports) {
            ("", [_]) => Some(0),
            _ => self.exports.iter().position(|export| export.name() == name),
        }
    }

    fn about(&self, number: usize) -> Option<ExportAbout> {
        let export = self.exports.get(number)?;
        let write = match export.is_writable() {
            true => {
                export_flag::SEND_FLUSH
                    | export_flag::SEND_FUA
                    | export_flag::SEND_TRIM
                    | export_flag::SEND_WRITE_ZEROES
            }
            false => export_flag::READ_ONLY | export_flag::SEND_FLUSH,
        };
        let df = if self.structured { export_flag::SEND_DF } else { 0 };
        let flags = export_flag::HAS_FLAGS | export_flag::CAN_MULTI_CONN | df | write;
        Some(ExportAbout { bytes: export.bytes(), flags })
    }

    fn chosen(&self, export: usize) -> Ended {
        let status = self.structured && self.status_of == Some(export);
        Ended::Chosen(Chosen { export, structured: self.structured, status })
    }

    fn export_name<S: Write>(&self, stream: &mut S, data: &[u8]) -> io::Result<Ended> {
        let found = std::str::from_utf8(data).ok().and_then(|name| self.find(name));
        let Some((number, about)) = found.and_then(|number| Some((number, self.about(number)?))) else {
            return Ok(Ended::Gone);
        };
        let mut out = about.bytes.to_be_bytes().to_vec();
        out.extend_from_slice(&about.flags.to_be_bytes());
        if !self.no_zeroes {
            out.extend_from_slice(&[0; 124]);
        }
        stream.write_all(&out)?;
        Ok(self.chosen(number))
    }

    fn info<S: Write>(&self, stream: &mut S, which: u32, data: &[u8]) -> io::Result<Option<Ended>> {
        let mut reply = |kind, data: &[u8]| stream.write_all(&OptionReplyHeader::encode(which, kind, data));
        let asked = match ExportAsked::decode(data) {
            Ok(asked) => asked,
            Err(error) => return reply(reply_kind::INVALID, error.to_string().as_bytes()).map(|()| None),
        };
        let found = self.find(&asked.name).and_then(|number| Some((number, self.about(number)?)));
        let Some((number, about)) = found else {
            let text = format!("there is no export {:?} here", asked.name);
            return reply(reply_kind::UNKNOWN, text.as_bytes()).map(|()| None);
        };
        reply(reply_kind::INFO, &Info::Export(about).encode())?;
        if let Some(export) = self.exports.get(number) {
            reply(reply_kind::INFO, &Info::Blocks(export.blocks()).encode())?;
            if asked.infos.contains(&Info::NAME) {
                reply(reply_kind::INFO, &Info::Name(export.name().to_owned()).encode())?;
            }
            if asked.infos.contains(&Info::DESCRIPTION) {
                reply(reply_kind::INFO, &Info::Description(export.description()).encode())?;
            }
        }
        reply(reply_kind::ACK, &[])?;
        Ok((which == option::GO).then(|| self.chosen(number)))
    }

    fn contexts<S: Write>(&mut self, stream: &mut S, which: u32, data: &[u8]) -> io::Result<()> {
        let mut reply = |kind, data: &[u8]| stream.write_all(&OptionReplyHeader::encode(which, kind, data));
        let listing = which == option::LIST_META_CONTEXT;
        if !listing {
            self.status_of = None;
        }
        if !self.structured {
            return reply(reply_kind::INVALID, b"structured replies first");
        }
        let asked = match ContextsAsked::decode(data) {
            Ok(asked) => asked,
            Err(error) => return reply(reply_kind::INVALID, error.to_string().as_bytes()),
        };
        let Some(number) = self.find(&asked.export) else {
            return reply(reply_kind::UNKNOWN, format!("there is no export {:?} here", asked.export).as_bytes());
        };
        let wanted = |query: &String| query == ALLOCATION || listing && query == "base:";
        if asked.queries.iter().any(wanted) || listing && asked.queries.is_empty() {
            let id = if listing { 0 } else { ALLOCATION_ID };
            reply(reply_kind::META_CONTEXT, &ContextReply { id, name: ALLOCATION.to_owned() }.encode())?;
            if !listing {
                self.status_of = Some(number);
            }
        }
        reply(reply_kind::ACK, &[])
    }
}
