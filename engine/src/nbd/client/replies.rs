//! Replies put together: chunks of several requests come in any order, and each byte must come exactly once.

use std::io::{self, Read};

use crate::nbd::wire::{
    ChunkHeader, ChunkKind, DataAt, ErrorReport, Extent, HoleAt, ReplyHeader, StatusReply, WireError,
};

/// Longest data of a chunk that is no bytes of the export: status and errors.
const SMALL_CHUNK_BYTES_MAX: u32 = 8 << 20;

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bytes of a read.
    Data(Vec<u8>),
    /// The extents of a status request.
    Extents(Vec<Extent>),
    /// Done.
    Done,
}

/// A request whose answer is awaited, and what has come of it.
#[derive(Clone, Debug)]
pub struct Expecting {
    what: What,
    error: Option<ErrorReport>,
}

#[derive(Clone, Debug)]
enum What {
    /// `missing` are the ranges that have not come, ascending.
    Read {
        offset: u64,
        bytes: Vec<u8>,
        missing: Vec<std::ops::Range<usize>>,
    },
    Status {
        context: Option<u32>,
        extents: Vec<Extent>,
    },
    Plain,
}

impl Expecting {
    /// A read.
    pub fn read(offset: u64, length: u32) -> Self {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Self::of(What::Read { offset, bytes: vec![0; length], missing: std::iter::once(0..length).collect() })
    }

    /// Block status in the context of this number.
    pub fn status(context: Option<u32>) -> Self {
        Self::of(What::Status { context, extents: Vec::new() })
    }

    /// A request that is answered by done or an error.
    pub fn plain() -> Self {
        Self::of(What::Plain)
    }

    fn of(what: What) -> Self {
        Self { what, error: None }
    }

    fn finish(self) -> Result<Progress, WireError> {
        if let Some(error) = self.error {
            return Ok(Progress::Failed(error));
        }
        let answer = match self.what {
            What::Read { missing, .. } if !missing.is_empty() => {
                let bytes: usize = missing.iter().map(ExactSizeIterator::len).sum();
                return Err(WireError::new("reply", format_args!("at its end and {bytes} bytes short"), "all of them"));
            }
            What::Read { bytes, .. } => Answer::Data(bytes),
            What::Status { extents, .. } if extents.is_empty() => {
                return Err(WireError::new("reply", "at its end without a status", "at least one extent"));
            }
            What::Status { extents, .. } => Answer::Extents(extents),
            What::Plain => Answer::Done,
        };
        Ok(Progress::Done(answer))
    }

    /// The place for `length` bytes at `at` of the disk, and marks them as come.
    fn place(&mut self, at: u64, length: u32) -> Result<&mut [u8], WireError> {
        let wrong =
            |why| WireError::new("chunk", format_args!("{length} bytes at {at}, {why}"), "what was asked for, once");
        let What::Read { offset, bytes, missing } = &mut self.what else { return Err(wrong("and nothing was read")) };
        let start = at.checked_sub(*offset).and_then(|start| usize::try_from(start).ok());
        let end = start.and_then(|start| start.checked_add(usize::try_from(length).ok()?));
        let (Some(start), Some(end)) = (start, end) else { return Err(wrong("outside of the request")) };
        if end > bytes.len() || start == end {
            return Err(wrong("outside of the request"));
        }
        let Some(within) = missing.iter().position(|range| range.start <= start && end <= range.end) else {
            return Err(wrong("which has come before"));
        };
        let range = missing.remove(within);
        let left = [range.start..start, end..range.end].into_iter().filter(|range| !range.is_empty());
        missing.splice(within..within, left);
        bytes.get_mut(start..end).ok_or_else(|| wrong("outside of the request"))
    }
}

/// How far a request has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// More chunks follow.
    More(Expecting),
    /// All has come.
    Done(Answer),
    /// The server cannot.
    Failed(ErrorReport),
}

/// Why a reply could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads one reply or chunk. `find` gives up the request of a cookie; it gets it back in the progress.
pub fn read_reply<R: Read>(
    reader: &mut R,
    find: &mut dyn FnMut(u64) -> Option<Expecting>,
) -> Result<(u64, Progress), ReplyError> {
    let mut header = [0; 20];
    let magic = read_array::<4, _>(reader)?;
    let length = 4 + ReplyHeader::rest_bytes(magic)?;
    let bytes = header.get_mut(..length).unwrap_or_default();
    let (first, rest) = bytes.split_at_mut_checked(4).unwrap_or_default();
    first.iter_mut().zip(magic).for_each(|(place, byte)| *place = byte);
    reader.read_exact(rest)?;
    let header = ReplyHeader::decode(bytes)?;
    let cookie = match header {
        ReplyHeader::Simple { cookie, .. } | ReplyHeader::Chunk(ChunkHeader { cookie, .. }) => cookie,
    };
    let unknown = || WireError::new("reply", format_args!("for request {cookie:#x}"), "one for a request that waits");
    let request = find(cookie).ok_or_else(unknown)?;
    let progress = match header {
        ReplyHeader::Simple { error, .. } => simple(reader, error, request)?,
        ReplyHeader::Chunk(chunk) => structured(reader, &chunk, request)?,
    };
    Ok((cookie, progress))
}

fn simple<R: Read>(reader: &mut R, error: u32, mut request: Expecting) -> Result<Progress, ReplyError> {
    if error != 0 {
        return Ok(Progress::Failed(ErrorReport { error, message: String::new(), offset: None }));
    }
    match &mut request.what {
        What::Read { bytes, missing, .. } => {
            reader.read_exact(bytes)?;
            missing.clear();
        }
        What::Status { .. } => {
            return Err(WireError::new("reply", "a simple one to a status request", "a structured one").into());
        }
        What::Plain => {}
    }
    Ok(request.finish()?)
}

fn structured<R: Read>(reader: &mut R, chunk: &ChunkHeader, mut request: Expecting) -> Result<Progress, ReplyError> {
    match chunk.kind {
        ChunkKind::None if chunk.data_bytes == 0 && chunk.is_last() => {}
        ChunkKind::None => return Err(WireError::new("empty chunk", "not the last or not empty", "both").into()),
        ChunkKind::Data => {
            let first = if chunk.data_bytes >= 8 { read_array::<8, _>(reader)? } else { [0; 8] };
            let at = DataAt::decode(first, chunk.data_bytes)?;
            // Never more than was asked for: the place is looked up before a byte is read.
            reader.read_exact(request.place(at.offset, at.bytes)?)?;
        }
        ChunkKind::Hole => {
            let hole = HoleAt::decode(&small(reader, chunk, 12)?)?;
            request.place(hole.offset, hole.bytes)?.fill(0);
        }
        ChunkKind::Status => {
            let reply = StatusReply::decode(&small(reader, chunk, SMALL_CHUNK_BYTES_MAX)?)?;
            match &mut request.what {
                What::Status { context, extents } if *context == Some(reply.context) && extents.is_empty() => {
                    *extents = reply.extents;
                }
                What::Status { .. } => {
                    return Err(WireError::new(
                        "status chunk",
                        format_args!("of context {}", reply.context),
                        "the one asked for, once",
                    )
                    .into());
                }
                What::Read { .. } | What::Plain => {
                    return Err(WireError::new("reply", "a status", "an answer to what was asked").into());
                }
            }
        }
        ChunkKind::Error | ChunkKind::ErrorAt => {
            let report = ErrorReport::decode(chunk.kind, &small(reader, chunk, 1 << 17)?)?;
            request.error.get_or_insert(report);
        }
        ChunkKind::Other(number) if number & 1 << 15 != 0 => {
            let report = ErrorReport::decode(chunk.kind, &small(reader, chunk, 1 << 17)?)?;
            request.error.get_or_insert(report);
        }
        ChunkKind::Other(number) => {
            return Err(
                WireError::new("chunk", format_args!("of kind {number}"), "one of those that were agreed on").into()
            );
        }
    }
    if chunk.is_last() { Ok(request.finish()?) } else { Ok(Progress::More(request)) }
}

fn small<R: Read>(reader: &mut R, chunk: &ChunkHeader, bytes_max: u32) -> Result<Vec<u8>, ReplyError> {
    if chunk.data_bytes > bytes_max {
        let found = format_args!("{} bytes long", chunk.data_bytes).to_string();
        return Err(WireError::new("chunk", found, format_args!("at most {bytes_max}")).into());
    }
    let mut data = Vec::new();
    let length = u64::from(chunk.data_bytes);
    // Grows with what comes, not with what was announced.
    if reader.take(length).read_to_end(&mut data)? as u64 != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(data)
}

fn read_array<const N: usize, R: Read>(reader: &mut R) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::wire::{chunk_flag, error_code};

    fn chunk(kind: ChunkKind, flags: u16, data: &[u8]) -> Vec<u8> {
        let header = ChunkHeader { flags, kind, cookie: 7, data_bytes: u32::try_from(data.len()).unwrap() };
        [&header.encode()[..], data].concat()
    }

    fn data(flags: u16, offset: u64, bytes: &[u8]) -> Vec<u8> {
        chunk(ChunkKind::Data, flags, &[&offset.to_be_bytes()[..], bytes].concat())
    }

    fn hole(flags: u16, offset: u64, bytes: u32) -> Vec<u8> {
        chunk(ChunkKind::Hole, flags, &HoleAt { offset, bytes }.encode())
    }

    fn all(bytes: &[u8], request: Expecting) -> Result<Progress, ReplyError> {
        let (mut reader, mut request) = (bytes, Some(request));
        loop {
            match read_reply(&mut reader, &mut |cookie| (cookie == 7).then(|| request.take()).flatten())?.1 {
                Progress::More(more) => request = Some(more),
                end => return Ok(end),
            }
        }
    }

    #[test]
    fn chunks_may_come_in_any_order_and_holes_are_zeros() {
        let bytes = [data(0, 14, b"ef"), hole(0, 12, 2), data(chunk_flag::DONE, 10, b"ab")].concat();
        let Progress::Done(Answer::Data(found)) = all(&bytes, Expecting::read(10, 6)).unwrap() else { panic!() };
        assert_eq!(found, b"ab\0\0ef");
    }

    #[test]
    fn more_or_less_than_was_asked_for_is_refused() {
        for bytes in [
            data(1, 10, b"abcdefg"),
            data(1, 9, b"abcdef"),
            data(1, 10, b"abc"),
            [data(0, 10, b"abcdef"), data(1, 12, b"x")].concat(),
            hole(1, 10, 7),
            hole(1, u64::MAX, 1),
            data(1, 10, b""),
            chunk(ChunkKind::None, 0, b""),
            chunk(ChunkKind::None, 1, b""),
            chunk(ChunkKind::Other(9), 1, b""),
            chunk(
                ChunkKind::Status,
                1,
                &StatusReply { context: 1, extents: vec![Extent { bytes: 1, status: 0 }] }.encode(),
            ),
        ] {
            assert!(matches!(all(&bytes, Expecting::read(10, 6)), Err(ReplyError::Wire(_))), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_counts_whatever_else_came() {
        let (kind, report) =
            ErrorReport { error: error_code::EIO, message: "bad".to_owned(), offset: Some(12) }.encode();
        let bytes = [data(0, 10, b"ab"), chunk(kind, 1, &report)].concat();
        let Progress::Failed(report) = all(&bytes, Expecting::read(10, 6)).unwrap() else { panic!() };
        assert_eq!((report.error, report.offset), (error_code::EIO, Some(12)));
    }

    #[test]
    fn a_reply_to_nobody_is_refused() {
        let mut reader = &ReplyHeader::encode_simple(0, 8)[..];
        assert!(matches!(read_reply(&mut reader, &mut |_| None), Err(ReplyError::Wire(_))));
    }

    #[test]
    fn a_simple_reply_gives_the_bytes() {
        let bytes = [&ReplyHeader::encode_simple(0, 7)[..], b"abc"].concat();
        let Progress::Done(Answer::Data(found)) = all(&bytes, Expecting::read(10, 3)).unwrap() else { panic!() };
        assert_eq!(found, b"abc");
    }
}
