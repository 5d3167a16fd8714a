//! Before the first request: greeting, options, replies to them.
//!
//! ```text
//! server  NBDMAGIC IHAVEOPT flags:16
//! client  flags:32
//! client  IHAVEOPT option:32 length:32 data            server  magic:64 option:32 kind:32 length:32 data, one or more
//! ```

use super::{
    WireError,
    cursor::{Cursor, put_name, text},
};

const NBDMAGIC: u64 = 0x4e42_444d_4147_4943;
const IHAVEOPT: u64 = 0x4948_4156_454f_5054;
const OLDSTYLE: u64 = 0x0000_4202_8186_1253;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;

/// Length of the greeting.
pub const GREETING_BYTES: usize = 18;
/// Length of an option's header.
pub const OPTION_HEADER_BYTES: usize = 16;
/// Length of the header of a reply to an option.
pub const OPTION_REPLY_HEADER_BYTES: usize = 20;
/// Longest data of an option or of a reply to one that is read at all.
pub const OPTION_BYTES_MAX: u32 = 1 << 16;

const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

/// Options.
pub mod option {
    /// Names the export and ends the options; no reply but the export's data.
    pub const EXPORT_NAME: u32 = 1;
    /// Ends the connection.
    pub const ABORT: u32 = 2;
    /// Which exports there are.
    pub const LIST: u32 = 3;
    /// TLS from here on.
    pub const STARTTLS: u32 = 5;
    /// About an export.
    pub const INFO: u32 = 6;
    /// About an export, and requests from here on.
    pub const GO: u32 = 7;
    /// Replies in chunks.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Which contexts of block status there are.
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Which contexts of block status are wanted.
    pub const SET_META_CONTEXT: u32 = 10;
}

/// Kinds of replies to options; from [`ERROR`](reply_kind::ERROR) on they are errors.
pub mod reply_kind {
    /// Done.
    pub const ACK: u32 = 1;
    /// One export.
    pub const SERVER: u32 = 2;
    /// Something about an export.
    pub const INFO: u32 = 3;
    /// One context.
    pub const META_CONTEXT: u32 = 4;
    /// Set in every error.
    pub const ERROR: u32 = 1 << 31;
    /// The option is not known.
    pub const UNSUP: u32 = ERROR + 1;
    /// Not allowed by whoever runs the server.
    pub const POLICY: u32 = ERROR + 2;
    /// The option makes no sense.
    pub const INVALID: u32 = ERROR + 3;
    /// TLS first.
    pub const TLS_REQD: u32 = ERROR + 5;
    /// No such export.
    pub const UNKNOWN: u32 = ERROR + 6;
    /// Too much.
    pub const TOO_BIG: u32 = ERROR + 9;
}

/// What a server says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// It leaves out the 124 zeros after [`option::EXPORT_NAME`] if the client wants that.
    pub no_zeroes: bool,
}

impl Greeting {
    /// The bytes of our own.
    pub fn encode() -> [u8; GREETING_BYTES] {
        let mut out = [0; GREETING_BYTES];
        let fields = NBDMAGIC.to_be_bytes().into_iter().chain(IHAVEOPT.to_be_bytes());
        let fields = fields.chain((FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
        out.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        out
    }

    /// Of a fixed newstyle server; no other is spoken to.
    pub fn decode(bytes: &[u8; GREETING_BYTES]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("greeting", bytes);
        cursor.magic(NBDMAGIC)?;
        match cursor.u64()? {
            IHAVEOPT => {}
            OLDSTYLE => {
                return Err(WireError::new("greeting", "that of an oldstyle server", "a fixed newstyle server"));
            }
            other => {
                return Err(WireError::new("greeting", format_args!("magic {other:016x}"), "a fixed newstyle server"));
            }
        }
        let flags = cursor.u16()?;
        if flags & FIXED_NEWSTYLE == 0 {
            return Err(WireError::new("greeting", "that of a newstyle server", "a fixed newstyle server"));
        }
        Ok(Self { no_zeroes: flags & NO_ZEROES != 0 })
    }
}

/// What a client answers to the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFlags {
    /// It can do without the 124 zeros.
    pub no_zeroes: bool,
}

impl ClientFlags {
    /// Our answer to `greeting`.
    pub fn answering(greeting: Greeting) -> Self {
        Self { no_zeroes: greeting.no_zeroes }
    }

    /// Its bytes.
    pub fn encode(self) -> [u8; 4] {
        let flags = FIXED_NEWSTYLE | if self.no_zeroes { NO_ZEROES } else { 0 };
        u32::from(flags).to_be_bytes()
    }

    /// Refuses what is not known, as the protocol demands.
    pub fn decode(bytes: [u8; 4]) -> Result<Self, WireError> {
        let flags = u32::from_be_bytes(bytes);
        let (fixed, no_zeroes) = (u32::from(FIXED_NEWSTYLE), u32::from(NO_ZEROES));
        if flags & !(fixed | no_zeroes) != 0 || flags & fixed == 0 {
            return Err(WireError::new("client flags", format_args!("{flags:#x}"), "1 or 3"));
        }
        Ok(Self { no_zeroes: flags & no_zeroes != 0 })
    }
}

/// What stands before an option's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionHeader {
    /// The option.
    pub option: u32,
    /// Length of its data.
    pub data_bytes: u32,
}

impl OptionHeader {
    /// From its bytes.
    pub fn decode(bytes: &[u8; OPTION_HEADER_BYTES]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("option", bytes);
        cursor.magic(IHAVEOPT)?;
        Ok(Self { option: cursor.u32()?, data_bytes: cursor.u32()? })
    }

    /// A whole option: header and data.
    pub fn encode(option: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(OPTION_HEADER_BYTES + data.len());
        out.extend_from_slice(&IHAVEOPT.to_be_bytes());
        out.extend_from_slice(&option.to_be_bytes());
        out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(data);
        out
    }
}

/// What stands before the data of a reply to an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionReplyHeader {
    /// The option that it answers.
    pub option: u32,
    /// One of [`reply_kind`].
    pub kind: u32,
    /// Length of its data, at most [`OPTION_BYTES_MAX`].
    pub data_bytes: u32,
}

impl OptionReplyHeader {
    /// From its bytes, as an answer to `asked`.
    pub fn decode(bytes: &[u8; OPTION_REPLY_HEADER_BYTES], asked: u32) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("option reply", bytes);
        cursor.magic(OPTION_REPLY)?;
        let header = Self { option: cursor.u32()?, kind: cursor.u32()?, data_bytes: cursor.u32()? };
        if header.option != asked {
            return Err(WireError::new("option reply", format_args!("about option {}", header.option), asked));
        }
        if header.data_bytes > OPTION_BYTES_MAX {
            let found = format_args!("{} bytes long", header.data_bytes).to_string();
            return Err(WireError::new("option reply", found, format_args!("at most {OPTION_BYTES_MAX}")));
        }
        Ok(header)
    }

    /// A whole reply: header and data.
    pub fn encode(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(OPTION_REPLY_HEADER_BYTES + data.len());
        out.extend_from_slice(&OPTION_REPLY.to_be_bytes());
        out.extend_from_slice(&option.to_be_bytes());
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(data);
        out
    }
}

/// The data of [`option::INFO`] and [`option::GO`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportAsked {
    /// Which export; empty: the server's default.
    pub name: String,
    /// Which [`Info`] is wanted beside the export itself.
    pub infos: Vec<u16>,
}

impl ExportAsked {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_name(&mut out, &self.name);
        out.extend_from_slice(&u16::try_from(self.infos.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.infos.iter().for_each(|info| out.extend_from_slice(&info.to_be_bytes()));
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("info option", bytes);
        let name = cursor.name()?;
        let count = cursor.u16()?;
        let infos = (0..count).map(|_| cursor.u16()).collect::<Result<_, _>>()?;
        cursor.end()?;
        Ok(Self { name, infos })
    }
}

/// Size and abilities of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportAbout {
    /// Its size.
    pub bytes: u64,
    /// Bits of [`export_flag`](super::export_flag).
    pub flags: u16,
}

/// Sizes that requests must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths are multiples of it: a power of two.
    pub min_bytes: u32,
    /// What goes well.
    pub preferred_bytes: u32,
    /// Longest request that carries data.
    pub max_bytes: u32,
}

/// What a server says about an export, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// Size and abilities.
    Export(ExportAbout),
    /// Its own name for it.
    Name(String),
    /// For people.
    Description(String),
    /// Sizes of requests.
    Blocks(BlockSizes),
    /// Something that is not known here.
    Other(u16),
}

impl Info {
    /// Number of [`Info::Export`].
    pub const EXPORT: u16 = 0;
    /// Number of [`Info::Name`].
    pub const NAME: u16 = 1;
    /// Number of [`Info::Description`].
    pub const DESCRIPTION: u16 = 2;
    /// Number of [`Info::Blocks`].
    pub const BLOCKS: u16 = 3;

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |number: u16, fields: &[&[u8]]| {
            out.extend_from_slice(&number.to_be_bytes());
            fields.iter().for_each(|field| out.extend_from_slice(field));
        };
        match self {
            Self::Export(about) => put(Self::EXPORT, &[&about.bytes.to_be_bytes(), &about.flags.to_be_bytes()]),
            Self::Name(name) => put(Self::NAME, &[name.as_bytes()]),
            Self::Description(text) => put(Self::DESCRIPTION, &[text.as_bytes()]),
            Self::Blocks(sizes) => {
                let BlockSizes { min_bytes, preferred_bytes, max_bytes } = sizes;
                put(
                    Self::BLOCKS,
                    &[&min_bytes.to_be_bytes(), &preferred_bytes.to_be_bytes(), &max_bytes.to_be_bytes()],
                );
            }
            Self::Other(number) => put(*number, &[]),
        }
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("info", bytes);
        let info = match cursor.u16()? {
            Self::EXPORT => Self::Export(ExportAbout { bytes: cursor.u64()?, flags: cursor.u16()? }),
            Self::NAME => return text(cursor.rest()).map(Self::Name),
            // For people only: what is no UTF-8 is no reason to give up.
            Self::DESCRIPTION => return Ok(Self::Description(String::from_utf8_lossy(cursor.rest()).into_owned())),
            Self::BLOCKS => {
                let (min_bytes, preferred_bytes, max_bytes) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
                let sizes = BlockSizes { min_bytes, preferred_bytes, max_bytes };
                sizes.check()?;
                Self::Blocks(sizes)
            }
            other => return Ok(Self::Other(other)),
        };
        cursor.end()?;
        Ok(info)
    }
}

impl BlockSizes {
    /// What holds if a server says nothing.
    pub const DEFAULT: Self = Self { min_bytes: 1, preferred_bytes: 4096, max_bytes: 32 << 20 };

    fn check(&self) -> Result<(), WireError> {
        let Self { min_bytes, max_bytes, .. } = *self;
        // A maximum of 2^32-1 occurs and is no multiple of anything: it means "no limit".
        if !min_bytes.is_power_of_two() || min_bytes > 1 << 16 || max_bytes < min_bytes {
            let found = format_args!("{min_bytes} to {max_bytes} bytes").to_string();
            return Err(WireError::new("block size", found, "a power of two up to 64 KiB, and a maximum above it"));
        }
        Ok(())
    }
}

/// One export of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
}

impl ServerLine {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_name(&mut out, &self.name);
        out.extend_from_slice(self.description.as_bytes());
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("list reply", bytes);
        let name = cursor.name()?;
        Ok(Self { name, description: String::from_utf8_lossy(cursor.rest()).into_owned() })
    }
}

/// The data of [`option::LIST_META_CONTEXT`] and [`option::SET_META_CONTEXT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextsAsked {
    /// Of which export.
    pub export: String,
    /// Which contexts.
    pub queries: MetaQueries,
}

/// Names of contexts, or beginnings of them.
pub type MetaQueries = Vec<String>;

impl ContextsAsked {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_name(&mut out, &self.export);
        out.extend_from_slice(&u32::try_from(self.queries.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.queries.iter().for_each(|query| put_name(&mut out, query));
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("context option", bytes);
        let export = cursor.name()?;
        let count = cursor.u32()?;
        let mut queries = Vec::new();
        for _ in 0..count {
            // Ends with the bytes, whatever the count says.
            queries.push(cursor.name()?);
        }
        cursor.end()?;
        Ok(Self { export, queries })
    }
}

/// One context that a server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextReply {
    /// Its number in block status replies.
    pub id: u32,
    /// Its name.
    pub name: String,
}

impl ContextReply {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new("context reply", bytes);
        Ok(Self { id: cursor.u32()?, name: text(cursor.rest())? })
    }
}
