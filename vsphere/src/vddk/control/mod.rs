//! What the program and its VDDK process say to each other: one message after the other, each a length and that many bytes.
//!
//! ```text
//!   length u32 | tag u8 | fields          little-endian; a text or list begins with its length u32
//! ```
//!
//! **Invariant:** every length is bounded before anything is allocated for it, and bytes that hold a password are wiped.

mod codec;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use codec::{Decoder, Encoder};

/// Longest message.
pub const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The other side has gone.
    #[error("the other side has closed the connection")]
    Closed,
    /// It has been silent for too long.
    #[error("no answer in time")]
    Silent,
    /// The connection.
    #[error("the connection failed: {0}")]
    Io(io::Error),
    /// A message that nobody sends.
    #[error("a message has {found} {what}, at most {max}")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// So many.
        found: usize,
        /// So many may be.
        max: usize,
    },
    /// Bytes that have no meaning.
    #[error("a message makes no sense: {what}")]
    Malformed {
        /// Where it goes wrong.
        what: &'static str,
    },
}

/// What the program wants of the process.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Load the library.
    Init {
        /// Directory it was unpacked to.
        libdir: String,
    },
    /// Whom to connect to, as whom.
    Login {
        /// Managed object id of the VM.
        vm: String,
        /// vCenter.
        server: String,
        /// Its port.
        port: u16,
        /// Account.
        user: String,
        /// Its password.
        password: Zeroizing<String>,
        /// SHA-1 of vCenter's certificate, `AA:BB:…`.
        thumbprint: String,
    },
    /// Keep the VM's storage where it is.
    Prepare,
    /// Connect.
    Connect {
        /// Disks may be written.
        write: bool,
        /// Managed object id of the snapshot.
        snapshot: Option<String>,
        /// Ways to the disks, best first: `nbdssl:hotadd`.
        modes: String,
    },
    /// Open a disk and offer it.
    Open {
        /// Number that [`Reply::Connected`] gave.
        connection: u32,
        /// Name to offer it by.
        export: String,
        /// `[datastore] folder/disk.vmdk`.
        path: String,
        /// Ways by which it may be read.
        allowed: Vec<String>,
    },
    /// Close a disk.
    Close {
        /// Its name.
        export: String,
    },
    /// End a connection.
    Disconnect {
        /// Its number.
        connection: u32,
    },
    /// Let the VM's storage move again.
    EndAccess,
    /// Undo what HotAdd left.
    Cleanup,
    /// End.
    Exit,
}

/// A call that the library refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// The function.
    pub function: String,
    /// VMware's code.
    pub code: u32,
    /// What the library says the code means.
    pub text: String,
    /// What it said before, oldest first.
    pub lines: Vec<String>,
}

/// What the process answers. [`Reply::Trouble`] answers nothing and may come at any time.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The library is loaded.
    Ready {
        /// VMware's major version.
        major: u32,
        /// Ways that it knows.
        modes: String,
        /// It can tell which blocks are in use.
        block_query: bool,
        /// It can keep a VM's storage where it is.
        prepare: bool,
    },
    /// Done.
    Done,
    /// There is a connection.
    Connected {
        /// Its number.
        connection: u32,
    },
    /// A disk is open and offered.
    Opened {
        /// Its size in sectors of 512 bytes.
        sectors: u64,
        /// The way that the library took.
        transport: String,
        /// Logical and physical sector size, zero where the library does not tell.
        sector_bytes: (u32, u32),
        /// Its id.
        uuid: String,
    },
    /// The library refuses.
    Failed(CallFailure),
    /// The library took a way that is not allowed; the disk was closed and nothing was read.
    WrongTransport {
        /// Which.
        transport: String,
    },
    /// There is no library that can be loaded.
    NoLibrary {
        /// What the loader said, one a file; empty: there is no file.
        said: Vec<String>,
    },
    /// What HotAdd left was undone.
    Cleaned {
        /// So many VMs.
        done: u32,
        /// So many are left.
        left: u32,
    },
    /// A request for bytes failed; the client of the export hears only that it did.
    Trouble {
        /// The disk.
        export: String,
        /// First byte of the request.
        start: u64,
        /// Byte behind it.
        end: u64,
        /// Why.
        failure: CallFailure,
    },
    /// The system, or an order of requests that has no meaning.
    Impossible {
        /// Why.
        what: String,
    },
}

/// Sends a request.
pub fn send_request(to: &mut impl Write, request: &Request) -> Result<(), ControlError> {
    send(to, request.encode())
}

/// Sends a reply.
pub fn send_reply(to: &mut impl Write, reply: &Reply) -> Result<(), ControlError> {
    send(to, reply.encode())
}

/// The next request.
pub fn read_request(from: &mut impl Read) -> Result<Request, ControlError> {
    Request::decode(&receive(from)?)
}

/// The next reply.
pub fn read_reply(from: &mut impl Read) -> Result<Reply, ControlError> {
    Reply::decode(&receive(from)?)
}

fn send(to: &mut impl Write, message: Zeroizing<Vec<u8>>) -> Result<(), ControlError> {
    let length = u32::try_from(message.len()).ok().filter(|length| *length as usize <= MESSAGE_BYTES_MAX);
    let too_long = ControlError::TooLong { what: "bytes", found: message.len(), max: MESSAGE_BYTES_MAX };
    let mut framed = Zeroizing::new(length.ok_or(too_long)?.to_le_bytes().to_vec());
    framed.reserve_exact(message.len());
    framed.extend_from_slice(&message);
    to.write_all(&framed).and_then(|()| to.flush()).map_err(broken)
}

fn receive(from: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, ControlError> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(broken)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(ControlError::TooLong { what: "bytes", found: length, max: MESSAGE_BYTES_MAX });
    }
    let mut message = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut message).map_err(broken)?;
    Ok(message)
}

fn broken(error: io::Error) -> ControlError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            ControlError::Closed
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ControlError::Silent,
        _ => ControlError::Io(error),
    }
}

impl Request {
    /// Its bytes, less the length.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Init { libdir } => Encoder::tag(1).text(libdir),
            Self::Login { vm, server, port, user, password, thumbprint } => {
                Encoder::tag(2).text(vm).text(server).number((*port).into()).text(user).text(password).text(thumbprint)
            }
            Self::Prepare => Encoder::tag(3),
            Self::Connect { write, snapshot, modes } => {
                let snapshot: Vec<String> = snapshot.iter().cloned().collect();
                Encoder::tag(4).flag(*write).list(&snapshot).text(modes)
            }
            Self::Open { connection, export, path, allowed } => {
                Encoder::tag(5).number(*connection).text(export).text(path).list(allowed)
            }
            Self::Close { export } => Encoder::tag(6).text(export),
            Self::Disconnect { connection } => Encoder::tag(7).number(*connection),
            Self::EndAccess => Encoder::tag(8),
            Self::Cleanup => Encoder::tag(9),
            Self::Exit => Encoder::tag(10),
        }
        .bytes()
    }

    /// From bytes, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let mut decoder = Decoder::new(bytes);
        let request = match decoder.tag()? {
            1 => Self::Init { libdir: decoder.text()? },
            2 => Self::Login {
                vm: decoder.text()?,
                server: decoder.text()?,
                port: u16::try_from(decoder.number()?).map_err(|_| ControlError::Malformed { what: "a port" })?,
                user: decoder.text()?,
                password: Zeroizing::new(decoder.text()?),
                thumbprint: decoder.text()?,
            },
            3 => Self::Prepare,
            4 => {
                let (write, mut snapshot, modes) = (decoder.flag()?, decoder.list()?, decoder.text()?);
                if snapshot.len() > 1 {
                    return Err(ControlError::Malformed { what: "more than one snapshot" });
                }
                Self::Connect { write, snapshot: snapshot.pop(), modes }
            }
            5 => Self::Open {
                connection: decoder.number()?,
                export: decoder.text()?,
                path: decoder.text()?,
                allowed: decoder.list()?,
            },
            6 => Self::Close { export: decoder.text()? },
            7 => Self::Disconnect { connection: decoder.number()? },
            8 => Self::EndAccess,
            9 => Self::Cleanup,
            10 => Self::Exit,
            _ => return Err(ControlError::Malformed { what: "an unknown request" }),
        };
        decoder.end()?;
        Ok(request)
    }
}

impl Reply {
    /// Its bytes, less the length.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Ready { major, modes, block_query, prepare } => {
                Encoder::tag(1).number(*major).text(modes).flag(*block_query).flag(*prepare)
            }
            Self::Done => Encoder::tag(2),
            Self::Connected { connection } => Encoder::tag(3).number(*connection),
            Self::Opened { sectors, transport, sector_bytes, uuid } => {
                Encoder::tag(4).long(*sectors).text(transport).number(sector_bytes.0).number(sector_bytes.1).text(uuid)
            }
            Self::Failed(failure) => Encoder::tag(5).failure(failure),
            Self::WrongTransport { transport } => Encoder::tag(6).text(transport),
            Self::NoLibrary { said } => Encoder::tag(7).list(said),
            Self::Cleaned { done, left } => Encoder::tag(8).number(*done).number(*left),
            Self::Trouble { export, start, end, failure } => {
                Encoder::tag(9).text(export).long(*start).long(*end).failure(failure)
            }
            Self::Impossible { what } => Encoder::tag(10).text(what),
        }
        .bytes()
    }

    /// From bytes, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let mut decoder = Decoder::new(bytes);
        let reply = match decoder.tag()? {
            1 => Self::Ready {
                major: decoder.number()?,
                modes: decoder.text()?,
                block_query: decoder.flag()?,
                prepare: decoder.flag()?,
            },
            2 => Self::Done,
            3 => Self::Connected { connection: decoder.number()? },
            4 => Self::Opened {
                sectors: decoder.long()?,
                transport: decoder.text()?,
                sector_bytes: (decoder.number()?, decoder.number()?),
                uuid: decoder.text()?,
            },
            5 => Self::Failed(decoder.failure()?),
            6 => Self::WrongTransport { transport: decoder.text()? },
            7 => Self::NoLibrary { said: decoder.list()? },
            8 => Self::Cleaned { done: decoder.number()?, left: decoder.number()? },
            9 => Self::Trouble {
                export: decoder.text()?,
                start: decoder.long()?,
                end: decoder.long()?,
                failure: decoder.failure()?,
            },
            10 => Self::Impossible { what: decoder.text()? },
            _ => return Err(ControlError::Malformed { what: "an unknown reply" }),
        };
        decoder.end()?;
        Ok(reply)
    }
}
