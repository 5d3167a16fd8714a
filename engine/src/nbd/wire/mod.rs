//! What goes over an NBD connection, as values: encoders, and decoders that take bounded bytes and never more memory than
//! those. No socket is known here, so a fuzzer runs all of it.
//!
//! All numbers are big-endian. The protocol is fixed newstyle with structured replies; extended headers are not used.

mod cursor;
mod handshake;
#[cfg(test)]
mod tests;
mod transmission;

pub use handshake::{
    BlockSizes, ClientFlags, ContextReply, ContextsAsked, ExportAbout, ExportAsked, GREETING_BYTES, Greeting, Info,
    MetaQueries, OPTION_BYTES_MAX, OPTION_HEADER_BYTES, OPTION_REPLY_HEADER_BYTES, OptionHeader, OptionReplyHeader,
    ServerLine, option, reply_kind,
};
pub use transmission::{
    ChunkHeader, ChunkKind, Command, DataAt, ErrorReport, Extent, HoleAt, REQUEST_BYTES, ReplyHeader, Request,
    SIMPLE_REPLY_BYTES, STRUCTURED_REPLY_BYTES, StatusReply, block_status, chunk_flag, command_flag, error_code,
    export_flag, reply_magic,
};

/// Longest name of an export or context that the protocol allows.
pub const NAME_BYTES_MAX: usize = 4096;

/// Bytes that are not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found}, wanted {wanted}")]
pub struct WireError {
    /// The field.
    pub what: &'static str,
    /// What came.
    pub found: String,
    /// What the protocol allows.
    pub wanted: String,
}

impl WireError {
    /// An error about the field `what`.
    pub fn new(what: &'static str, found: impl std::fmt::Display, wanted: impl std::fmt::Display) -> Self {
        Self { what, found: found.to_string(), wanted: wanted.to_string() }
    }
}
