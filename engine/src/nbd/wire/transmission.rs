//! Requests and replies.
//!
//! ```text
//! request     25609513 flags:16 command:16 cookie:64 offset:64 length:32 data
//! simple      67446698 error:32 cookie:64 data
//! structured  668e33ef flags:16 kind:16 cookie:64 length:32 data, one or more; the last has the flag DONE
//! ```

use super::{WireError, cursor::Cursor};

/// Length of a request's header.
pub const REQUEST_BYTES: usize = 28;
/// Length of a simple reply's header.
pub const SIMPLE_REPLY_BYTES: usize = 16;
/// Length of the header of a chunk of a structured reply.
pub const STRUCTURED_REPLY_BYTES: usize = 20;

const REQUEST_MAGIC: u32 = 0x2560_9513;

/// Abilities of an export.
pub mod export_flag {
    /// Set always.
    pub const HAS_FLAGS: u16 = 1;
    /// It cannot be written.
    pub const READ_ONLY: u16 = 1 << 1;
    /// Flush is known.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// Writes can be durable one by one.
    pub const SEND_FUA: u16 = 1 << 3;
    /// Trim is known.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// Write-zeroes is known.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// Replies in one piece can be asked for.
    pub const SEND_DF: u16 = 1 << 7;
    /// A flush on one connection covers all of them.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
}

/// Flags of a request.
pub mod command_flag {
    /// Durable before the reply.
    pub const FUA: u16 = 1;
    /// Zeros that keep their room.
    pub const NO_HOLE: u16 = 1 << 1;
    /// A reply in one piece.
    pub const DF: u16 = 1 << 2;
    /// One extent is enough.
    pub const REQ_ONE: u16 = 1 << 3;
}

/// Flags of a chunk.
pub mod chunk_flag {
    /// No more chunks follow.
    pub const DONE: u16 = 1;
}

/// Bits of a block's status in `base:allocation`; in a dirty bitmap bit 0 means dirty.
pub mod block_status {
    /// No room is taken.
    pub const HOLE: u32 = 1;
    /// It reads as zeros.
    pub const ZERO: u32 = 1 << 1;
}

/// Errors as NBD numbers them.
pub mod error_code {
    /// Not permitted.
    pub const EPERM: u32 = 1;
    /// Bytes cannot be had.
    pub const EIO: u32 = 5;
    /// No memory.
    pub const ENOMEM: u32 = 12;
    /// The request makes no sense.
    pub const EINVAL: u32 = 22;
    /// No room.
    pub const ENOSPC: u32 = 28;
    /// Too much for one reply.
    pub const EOVERFLOW: u32 = 75;
    /// Not known.
    pub const ENOTSUP: u32 = 95;
    /// The server is about to go.
    pub const ESHUTDOWN: u32 = 108;
}

/// First four bytes of a reply.
pub mod reply_magic {
    /// A simple reply.
    pub const SIMPLE: u32 = 0x6744_6698;
    /// A chunk of a structured reply.
    pub const STRUCTURED: u32 = 0x668e_33ef;
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Bytes.
    Read,
    /// Here are bytes.
    Write,
    /// It goes; no reply.
    Disconnect,
    /// All that was written is durable.
    Flush,
    /// These bytes are not needed.
    Trim,
    /// Zeros.
    WriteZeroes,
    /// What lies where.
    BlockStatus,
    /// Something that is not known here.
    Other(u16),
}

impl Command {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Disconnect => 2,
            Self::Flush => 3,
            Self::Trim => 4,
            Self::WriteZeroes => 6,
            Self::BlockStatus => 7,
            Self::Other(number) => number,
        }
    }

    /// From its number.
    pub fn of(number: u16) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Disconnect,
            3 => Self::Flush,
            4 => Self::Trim,
            6 => Self::WriteZeroes,
            7 => Self::BlockStatus,
            other => Self::Other(other),
        }
    }
}

/// A request; the data of a write follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bits of [`command_flag`].
    pub flags: u16,
    /// What is wanted.
    pub command: Command,
    /// Comes back in the reply.
    pub cookie: u64,
    /// From where.
    pub offset: u64,
    /// How much.
    pub length: u32,
}

impl Request {
    /// Its bytes.
    pub fn encode(&self) -> [u8; REQUEST_BYTES] {
        let mut out = [0; REQUEST_BYTES];
        let fields = REQUEST_MAGIC.to_be_bytes().into_iter();
        let fields = fields.chain(self.flags.to_be_bytes()).chain(self.command.number().to_be_bytes());
        let fields = fields.chain(self.cookie.to_be_bytes()).chain(self.offset.to_be_bytes());
        let fields = fields.chain(self.length.to_be_bytes());
        out.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8; REQUEST_BYTES]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("request", bytes);
        let magic = cursor.u32()?;
        if magic != REQUEST_MAGIC {
            return Err(WireError::new(
                "request",
                format_args!("magic {magic:08x}"),
                format_args!("{REQUEST_MAGIC:08x}"),
            ));
        }
        Ok(Self {
            flags: cursor.u16()?,
            command: Command::of(cursor.u16()?),
            cookie: cursor.u64()?,
            offset: cursor.u64()?,
            length: cursor.u32()?,
        })
    }
}

/// Kinds of chunks; from 2^15 on they are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Nothing: only an end.
    None,
    /// Bytes at an offset.
    Data,
    /// Zeros at an offset.
    Hole,
    /// Extents of one context.
    Status,
    /// An error.
    Error,
    /// An error at an offset.
    ErrorAt,
    /// Something that is not known here.
    Other(u16),
}

impl ChunkKind {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Data => 1,
            Self::Hole => 2,
            Self::Status => 5,
            Self::Error => 1 << 15 | 1,
            Self::ErrorAt => 1 << 15 | 2,
            Self::Other(number) => number,
        }
    }

    /// From its number.
    pub fn of(number: u16) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Data,
            2 => Self::Hole,
            5 => Self::Status,
            0x8001 => Self::Error,
            0x8002 => Self::ErrorAt,
            other => Self::Other(other),
        }
    }
}

/// A chunk of a structured reply; its data follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Bits of [`chunk_flag`].
    pub flags: u16,
    /// What it is.
    pub kind: ChunkKind,
    /// That of the request.
    pub cookie: u64,
    /// Length of its data.
    pub data_bytes: u32,
}

impl ChunkHeader {
    /// Whether no more chunks follow.
    pub fn is_last(&self) -> bool {
        self.flags & chunk_flag::DONE != 0
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; STRUCTURED_REPLY_BYTES] {
        let mut out = [0; STRUCTURED_REPLY_BYTES];
        let fields = reply_magic::STRUCTURED.to_be_bytes().into_iter();
        let fields = fields.chain(self.flags.to_be_bytes()).chain(self.kind.number().to_be_bytes());
        let fields = fields.chain(self.cookie.to_be_bytes()).chain(self.data_bytes.to_be_bytes());
        out.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        out
    }
}

/// A reply, as far as its header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyHeader {
    /// A simple reply: an error or 0, and the data if it was a read.
    Simple {
        /// One of [`error_code`], or 0.
        error: u32,
        /// That of the request.
        cookie: u64,
    },
    /// A chunk.
    Chunk(ChunkHeader),
}

impl ReplyHeader {
    /// How many bytes follow these first four.
    pub fn rest_bytes(magic: [u8; 4]) -> Result<usize, WireError> {
        match u32::from_be_bytes(magic) {
            reply_magic::SIMPLE => Ok(SIMPLE_REPLY_BYTES - 4),
            reply_magic::STRUCTURED => Ok(STRUCTURED_REPLY_BYTES - 4),
            other => Err(WireError::new("reply", format_args!("magic {other:08x}"), "67446698 or 668e33ef")),
        }
    }

    /// From its bytes, the magic included.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("reply", bytes);
        let magic = cursor.array::<4>()?;
        Self::rest_bytes(magic)?;
        let header = if u32::from_be_bytes(magic) == reply_magic::SIMPLE {
            Self::Simple { error: cursor.u32()?, cookie: cursor.u64()? }
        } else {
            let (flags, kind) = (cursor.u16()?, ChunkKind::of(cursor.u16()?));
            Self::Chunk(ChunkHeader { flags, kind, cookie: cursor.u64()?, data_bytes: cursor.u32()? })
        };
        cursor.end()?;
        Ok(header)
    }

    /// Bytes of a simple reply's header.
    pub fn encode_simple(error: u32, cookie: u64) -> [u8; SIMPLE_REPLY_BYTES] {
        let mut out = [0; SIMPLE_REPLY_BYTES];
        let fields =
            reply_magic::SIMPLE.to_be_bytes().into_iter().chain(error.to_be_bytes()).chain(cookie.to_be_bytes());
        out.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        out
    }
}

/// What stands before the bytes of a data chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataAt {
    /// Where they belong.
    pub offset: u64,
    /// How many there are.
    pub bytes: u32,
}

impl DataAt {
    /// From the first eight bytes of a chunk of `data_bytes`.
    pub fn decode(first: [u8; 8], data_bytes: u32) -> Result<Self, WireError> {
        match data_bytes.checked_sub(8) {
            Some(bytes) if bytes > 0 => Ok(Self { offset: u64::from_be_bytes(first), bytes }),
            _ => Err(WireError::new("data chunk", format_args!("{data_bytes} bytes long"), "at least 9")),
        }
    }
}

/// A hole chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoleAt {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u32,
}

impl HoleAt {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.offset.to_be_bytes()[..], &self.bytes.to_be_bytes()].concat()
    }

    /// From its bytes.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("hole chunk", data);
        let hole = Self { offset: cursor.u64()?, bytes: cursor.u32()? };
        cursor.end()?;
        Ok(hole)
    }
}

/// A stretch and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How long it is.
    pub bytes: u32,
    /// Its status.
    pub status: u32,
}

/// A status chunk: extents of one context, one after the other from the request's offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReply {
    /// The context's number.
    pub context: u32,
    /// What lies there.
    pub extents: Vec<Extent>,
}

impl StatusReply {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.context.to_be_bytes().to_vec();
        for extent in &self.extents {
            out.extend_from_slice(&extent.bytes.to_be_bytes());
            out.extend_from_slice(&extent.status.to_be_bytes());
        }
        out
    }

    /// From its bytes: at least one extent, none of them empty.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("status chunk", data);
        let context = cursor.u32()?;
        let mut extents = Vec::with_capacity(data.len() / 8);
        while !cursor.is_empty() {
            let extent = Extent { bytes: cursor.u32()?, status: cursor.u32()? };
            if extent.bytes == 0 {
                return Err(WireError::new("status chunk", "an extent of 0 bytes", "at least 1"));
            }
            extents.push(extent);
        }
        match extents.is_empty() {
            true => Err(WireError::new("status chunk", "without extents", "at least one")),
            false => Ok(Self { context, extents }),
        }
    }
}

/// An error chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    /// One of [`error_code`].
    pub error: u32,
    /// For people; may be empty.
    pub message: String,
    /// Where, if it says so.
    pub offset: Option<u64>,
}

impl ErrorReport {
    /// Its bytes, and the kind of chunk it makes.
    pub fn encode(&self) -> (ChunkKind, Vec<u8>) {
        let message = self.message.as_bytes();
        let message = message.get(..message.len().min(1024)).unwrap_or_default();
        let mut out = self.error.to_be_bytes().to_vec();
        out.extend_from_slice(&u16::try_from(message.len()).unwrap_or_default().to_be_bytes());
        out.extend_from_slice(message);
        match self.offset {
            None => (ChunkKind::Error, out),
            Some(offset) => {
                out.extend_from_slice(&offset.to_be_bytes());
                (ChunkKind::ErrorAt, out)
            }
        }
    }

    /// From the bytes of a chunk of `kind`. An unknown kind of error is an error without more to say.
    pub fn decode(kind: ChunkKind, data: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("error chunk", data);
        let error = cursor.u32()?;
        if error == 0 {
            return Err(WireError::new("error chunk", "0", "an error"));
        }
        let length = usize::from(cursor.u16()?);
        let message = String::from_utf8_lossy(cursor.bytes(length)?).into_owned();
        let offset = match kind {
            ChunkKind::ErrorAt => Some(cursor.u64()?),
            _ => None,
        };
        if matches!(kind, ChunkKind::Error | ChunkKind::ErrorAt) {
            cursor.end()?;
        }
        Ok(Self { error, message, offset })
    }
}
