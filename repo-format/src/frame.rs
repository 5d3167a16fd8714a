//! Frames: consecutive chunks, compressed and sealed together (SPEC.md section 10).
//!
//! ```text
//! chunk | chunk | …   ──zstd──►  stored  ──XChaCha20-Poly1305──►  nonce 24 | ciphertext | tag 16
//! PlainFrame                                                      SealedFrame
//! ```
//!
//! **Invariant:** no byte of a frame is looked at before its tag was checked, and nothing is decompressed into a buffer
//! larger than the length which that tag authenticates.

use std::fmt;

use crate::{
    chunk::{ChunkRef, Class, HashedChunk},
    codec::{Put, Reader},
    envelope::{self, ObjectHeader, ObjectType, SEALED_OVERHEAD},
    error::FormatError,
    ids::ChunkId,
    keys::Keyring,
    zstd_frame,
};

mod reseal;
#[cfg(test)]
mod tests;

pub use reseal::{StoredFrame, unseal_frame};

const WHAT: &str = "frame";

/// The largest `frame bytes max` a repository may have (SPEC.md section 8).
pub const FRAME_BYTES_MAX: u32 = 1 << 22;

/// How a frame's bytes are kept inside the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Stored,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    fn wire(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Zstd => 1,
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        match reader.u8("codec")? {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            found => Err(reader.damaged("codec", found, "0 or 1")),
        }
    }
}

/// What a writer tries on a frame before it seals it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    Stored,
    /// zstd at this level.
    Zstd(i32),
}

/// A thread's compression context and buffer; make one per thread and keep it.
pub struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    compressed: Vec<u8>,
}

impl Compressor {
    /// A context for frames; refuses a level that zstd does not have.
    pub fn new(compression: Compression) -> Result<Self, FormatError> {
        let zstd = match compression {
            Compression::Stored => None,
            Compression::Zstd(level) => Some(new_zstd(level)?),
        };
        Ok(Self { zstd, compressed: Vec::new() })
    }

    /// `plain` compressed, or as it is where that is no longer.
    fn compress<'a>(&'a mut self, plain: &'a [u8]) -> Result<(Codec, &'a [u8]), FormatError> {
        let Some(zstd) = &mut self.zstd else { return Ok((Codec::Stored, plain)) };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        zstd.compress_to_buffer(plain, &mut self.compressed)
            .map_err(|error| FormatError::invalid(WHAT, "compression", error, "zstd compresses any bytes"))?;
        if self.compressed.len() < plain.len() {
            Ok((Codec::Zstd, &self.compressed))
        } else {
            Ok((Codec::Stored, plain))
        }
    }
}

fn new_zstd(level: i32) -> Result<zstd::bulk::Compressor<'static>, FormatError> {
    let levels = zstd::compression_level_range();
    if !levels.contains(&level) {
        let wanted = format_args!("{} … {}", levels.start(), levels.end());
        return Err(FormatError::invalid(WHAT, "compression level", level, wanted));
    }
    let wrong = |error| FormatError::invalid(WHAT, "compression level", error, "a level zstd accepts");
    let mut zstd = zstd::bulk::Compressor::new(level).map_err(wrong)?;
    if level == zstd::DEFAULT_COMPRESSION_LEVEL {
        // Level 3's own tables take 768 KiB; these take 256 KiB, half the second-level cache of a core, so that the data has
        // room there too: a fifth quicker on what changes in a night for 1 % more bytes (docs/adr/0003).
        zstd.set_parameter(zstd::zstd_safe::CParameter::HashLog(15)).map_err(wrong)?;
        zstd.set_parameter(zstd::zstd_safe::CParameter::ChainLog(15)).map_err(wrong)?;
    }
    Ok(zstd)
}

/// A thread's decompression context and buffers; make one per thread and keep it.
pub struct Decompressor {
    zstd: zstd::bulk::Decompressor<'static>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Decompressor {
    /// A context for frames.
    pub fn new() -> Result<Self, FormatError> {
        let zstd = zstd::bulk::Decompressor::new()
            .map_err(|error| FormatError::invalid(WHAT, "decompressor", error, "a zstd context"))?;
        Ok(Self { zstd, sealed: Vec::new(), plain: Vec::new() })
    }
}

/// A chunk and where it begins in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    chunk: ChunkRef,
    start: usize,
}

/// One line of a pack's directory: what a reader has to know to open a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameEntry {
    /// Length in the pack.
    pub sealed_bytes: u32,
    /// Length of all chunks together.
    pub plain_bytes: u32,
    /// How the bytes are kept.
    pub codec: Codec,
    /// The chunks, in their order.
    pub chunks: Vec<ChunkRef>,
}

impl FrameEntry {
    /// Bytes of a line with one chunk: two lengths, codec, count, id, length.
    pub(crate) const LINE_BYTES_MIN: usize = 4 + CHUNK_BYTES_MIN;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.sealed_bytes));
        out.put_varint(u64::from(self.plain_bytes));
        out.push(self.codec.wire());
        out.put_count(self.chunks.len());
        for chunk in &self.chunks {
            out.extend_from_slice(chunk.id.as_bytes());
            out.put_varint(u64::from(chunk.length));
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let entry = Self {
            sealed_bytes: reader.varint_u32("sealed length")?,
            plain_bytes: reader.varint_u32("plain length")?,
            codec: Codec::read(reader)?,
            chunks: reader.list("chunks", CHUNK_BYTES_MIN, |reader| {
                Ok(ChunkRef {
                    id: ChunkId::from_bytes(reader.array("chunk id")?),
                    length: reader.varint_u32("chunk length")?,
                })
            })?,
        };
        entry.check()?;
        Ok(entry)
    }

    /// The rules a line has to meet by itself.
    fn check(&self) -> Result<(), FormatError> {
        if self.plain_bytes == 0 || self.plain_bytes > FRAME_BYTES_MAX {
            let wanted = format_args!("1 … {FRAME_BYTES_MAX}");
            return Err(FormatError::damaged(WHAT, "plain length", self.plain_bytes, wanted));
        }
        if self.chunks.iter().any(|chunk| chunk.length == 0) {
            return Err(FormatError::damaged(WHAT, "chunk length", 0, "at least 1"));
        }
        let sum: u64 = self.chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        if sum != u64::from(self.plain_bytes) {
            return Err(FormatError::damaged(WHAT, "chunk lengths", format_args!("{sum} together"), self.plain_bytes));
        }
        let overhead = u64::try_from(SEALED_OVERHEAD).unwrap_or(u64::MAX);
        let sealed = u64::from(self.sealed_bytes);
        let stored_whole = sealed == u64::from(self.plain_bytes) + overhead;
        if sealed <= overhead || (self.codec == Codec::Stored && !stored_whole) {
            let wanted = format_args!("fits plain length {}", self.plain_bytes);
            return Err(FormatError::damaged(WHAT, "sealed length", self.sealed_bytes, wanted));
        }
        Ok(())
    }

    fn header(&self, class: Class, epoch: u32, keys: &Keyring) -> ObjectHeader {
        let mut named = Vec::with_capacity(self.chunks.len() * (ChunkId::BYTES + 8));
        for chunk in &self.chunks {
            named.extend_from_slice(chunk.id.as_bytes());
            named.extend_from_slice(&u64::from(chunk.length).to_le_bytes());
        }
        ObjectHeader {
            object_type: match class {
                Class::Data => ObjectType::DataFrame,
                Class::Metadata => ObjectType::MetadataFrame,
            },
            codec: self.codec.wire(),
            epoch,
            plain_bytes: u64::from(self.plain_bytes),
            object: keys.frame_id(&named),
        }
    }

    fn places(&self) -> Vec<Place> {
        let mut start = 0;
        let place = |chunk: &ChunkRef| {
            let place = Place { chunk: *chunk, start };
            start += to_usize(chunk.length);
            place
        };
        self.chunks.iter().map(place).collect()
    }
}

/// A builder puts no more chunks in a frame than if each were this long.
const BYTES_PER_CHUNK_MIN: usize = 256;

/// Bytes of a chunk in a line: id and at least one byte of length.
const CHUNK_BYTES_MIN: usize = ChunkId::BYTES + 1;

/// Collects chunks of one class until a frame is full.
#[derive(Debug)]
pub struct FrameBuilder {
    class: Class,
    frame_bytes_max: usize,
    frame: PlainFrame,
}

impl FrameBuilder {
    /// A builder of frames of `class` with at most `frame_bytes_max` bytes each.
    pub fn new(class: Class, frame_bytes_max: u32) -> Self {
        Self { class, frame_bytes_max: to_usize(frame_bytes_max), frame: PlainFrame::empty(class) }
    }

    /// Whether a chunk of `length` bytes goes into the frame that is under way.
    ///
    /// The number of chunks is bounded too: a frame of the smallest chunks would fill its pack twice with directory.
    pub fn fits(&self, length: usize) -> bool {
        length <= self.frame_bytes_max.saturating_sub(self.frame.bytes.len())
            && self.frame.chunks.len() <= self.frame_bytes_max / BYTES_PER_CHUNK_MIN
    }

    /// Adds a chunk; refuses what does not fit.
    pub fn push(&mut self, chunk: HashedChunk<'_>) -> Result<(), FormatError> {
        if chunk.bytes().is_empty() || !self.fits(chunk.bytes().len()) {
            let room = self.frame_bytes_max.saturating_sub(self.frame.bytes.len());
            let field = format!("chunk {}", chunk.id());
            return Err(FormatError::invalid(
                WHAT,
                field,
                format_args!("{} bytes", chunk.bytes().len()),
                format_args!("1 … {room}"),
            ));
        }
        if self.frame.bytes.capacity() == 0 {
            self.frame.bytes.reserve_exact(self.frame_bytes_max);
        }
        let length = u32_length(chunk.bytes().len())?;
        self.frame.bytes.extend_from_slice(chunk.bytes());
        self.frame.chunks.push(ChunkRef { id: chunk.id(), length });
        Ok(())
    }

    /// Whether no chunk waits.
    pub fn is_empty(&self) -> bool {
        self.frame.chunks.is_empty()
    }

    /// Ends the frame under way, if there is one, and begins the next.
    pub fn take(&mut self) -> Option<PlainFrame> {
        if self.is_empty() {
            return None;
        }
        Some(std::mem::replace(&mut self.frame, PlainFrame::empty(self.class)))
    }

    /// Takes back the buffers of a frame that is no longer needed.
    pub fn recycle(&mut self, mut frame: PlainFrame) {
        if self.is_empty() && frame.bytes.capacity() >= self.frame.bytes.capacity() {
            frame.bytes.clear();
            frame.chunks.clear();
            frame.class = self.class;
            self.frame = frame;
        }
    }
}

/// Chunks of one class side by side, neither compressed nor sealed.
pub struct PlainFrame {
    class: Class,
    bytes: Vec<u8>,
    chunks: Vec<ChunkRef>,
}

impl fmt::Debug for PlainFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainFrame({:?}, {} bytes, {} chunks)", self.class, self.bytes.len(), self.chunks.len())
    }
}

impl PlainFrame {
    fn empty(class: Class) -> Self {
        Self { class, bytes: Vec::new(), chunks: Vec::new() }
    }

    /// The class of all its chunks.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The chunks' bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The chunks, in their order.
    pub fn chunks(&self) -> &[ChunkRef] {
        &self.chunks
    }

    /// Compresses and seals under the newest key; what does not shrink is stored as it is.
    pub fn seal(
        &self,
        keys: &Keyring,
        compressor: &mut Compressor,
        random: [u8; 24],
    ) -> Result<SealedFrame, FormatError> {
        let (codec, stored) = compressor.compress(&self.bytes)?;
        let entry = FrameEntry {
            sealed_bytes: u32_length(stored.len() + SEALED_OVERHEAD)?,
            plain_bytes: u32_length(self.bytes.len())?,
            codec,
            chunks: self.chunks.clone(),
        };
        SealedFrame::new(self.class, entry, stored, keys, random)
    }
}

/// A frame as it lies in a pack.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedFrame {
    class: Class,
    epoch: u32,
    entry: FrameEntry,
    /// The entry as the directory holds it: a pack then knows in O(1) whether the frame fits.
    line: Vec<u8>,
    bytes: Vec<u8>,
}

impl fmt::Debug for SealedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedFrame({:?}, {} bytes, {} chunks)", self.class, self.bytes.len(), self.entry.chunks.len())
    }
}

impl SealedFrame {
    /// Seals `stored` under the newest key.
    fn new(
        class: Class,
        entry: FrameEntry,
        stored: &[u8],
        keys: &Keyring,
        random: [u8; 24],
    ) -> Result<Self, FormatError> {
        let epoch = keys.epoch();
        let bytes = envelope::seal(keys, &entry.header(class, epoch, keys), stored, random)?;
        let mut line = Vec::with_capacity(16 + entry.chunks.len() * (CHUNK_BYTES_MIN + 2));
        entry.put(&mut line);
        Ok(Self { class, epoch, entry, line, bytes })
    }

    /// The class of all its chunks.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The key epoch it is sealed under.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Its line in the pack's directory.
    pub fn entry(&self) -> &FrameEntry {
        &self.entry
    }

    /// Its bytes in the pack.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    pub(crate) fn into_entry(self) -> FrameEntry {
        self.entry
    }

    /// Opens the frame again and compares with what was sealed: memory, compressor and cipher are caught while the
    /// source still exists.
    pub fn check(
        self,
        keys: &Keyring,
        plain: &PlainFrame,
        decompressor: &mut Decompressor,
    ) -> Result<CheckedFrame, FormatError> {
        self.opens_to(keys, plain, decompressor)?;
        Ok(CheckedFrame(self))
    }

    /// The comparison of [`SealedFrame::check`].
    pub fn opens_to(
        &self,
        keys: &Keyring,
        plain: &PlainFrame,
        decompressor: &mut Decompressor,
    ) -> Result<(), FormatError> {
        let Decompressor { zstd, sealed, plain: buffer } = decompressor;
        sealed.clear();
        sealed.extend_from_slice(&self.bytes);
        let stored = envelope::open_in_place(keys, &self.entry.header(self.class, self.epoch, keys), sealed)?;
        let opened = match self.entry.codec {
            Codec::Stored => stored,
            Codec::Zstd => {
                decompress(zstd, stored, to_usize(self.entry.plain_bytes), buffer)?;
                buffer
            }
        };
        if opened != plain.bytes() || self.entry.chunks != plain.chunks() {
            return Err(FormatError::damaged(WHAT, "bytes just sealed", "others", "what was sealed"));
        }
        Ok(())
    }
}

/// A sealed frame that was opened again and is what was sealed. Only [`SealedFrame::check`] and [`StoredFrame::reseal`] make one.
#[derive(Debug)]
pub struct CheckedFrame(SealedFrame);

impl CheckedFrame {
    /// The frame, for a pack.
    pub fn into_sealed(self) -> SealedFrame {
        self.0
    }

    /// Its line in a directory.
    pub fn entry(&self) -> &FrameEntry {
        self.0.entry()
    }
}

/// A frame whose tag was right: its chunks can be taken out by their place.
pub struct OpenFrame {
    class: Class,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl fmt::Debug for OpenFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFrame({:?}, {} bytes, {} chunks)", self.class, self.bytes.len(), self.places.len())
    }
}

/// Opens a frame in place; `sealed` is used up.
pub fn open_frame(
    class: Class,
    epoch: u32,
    entry: &FrameEntry,
    sealed: &mut [u8],
    keys: &Keyring,
    decompressor: &mut Decompressor,
) -> Result<OpenFrame, FormatError> {
    open_frame_into(Vec::new(), class, epoch, entry, sealed, keys, decompressor)
}

/// As [`open_frame`], into a buffer from [`OpenFrame::into_buffer`].
pub fn open_frame_into(
    buffer: Vec<u8>,
    class: Class,
    epoch: u32,
    entry: &FrameEntry,
    sealed: &mut [u8],
    keys: &Keyring,
    decompressor: &mut Decompressor,
) -> Result<OpenFrame, FormatError> {
    unseal_frame(class, epoch, entry, sealed, keys)?.decompress(buffer, decompressor)
}

impl OpenFrame {
    /// The class of all its chunks.
    pub fn class(&self) -> Class {
        self.class
    }

    /// How many chunks it holds.
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Chunk `index` of the frame's entry, hashed again and compared with its id.
    pub fn chunk(&self, index: usize, keys: &Keyring) -> Result<HashedChunk<'_>, FormatError> {
        let missing = || {
            FormatError::invalid(
                WHAT,
                format!("chunk {index}"),
                "no such chunk",
                format_args!("{} are there", self.len()),
            )
        };
        let Place { chunk, start } = self.places.get(index).ok_or_else(missing)?;
        let bytes = self.bytes.get(*start..*start + to_usize(chunk.length)).ok_or_else(missing)?;
        HashedChunk::expect(self.class, chunk.id, bytes, keys)
    }

    /// Which chunk the frame's entry has at `index`, and where it lies in [`Self::bytes`]. Whether those bytes are that chunk,
    /// only [`Self::chunk`] says.
    pub fn place_of(&self, index: usize) -> Option<(ChunkId, std::ops::Range<usize>)> {
        let Place { chunk, start } = self.places.get(index)?;
        Some((chunk.id, *start..*start + to_usize(chunk.length)))
    }

    /// Gives the buffer back for the next frame.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

fn decompress(
    zstd: &mut zstd::bulk::Decompressor<'static>,
    stored: &[u8],
    plain_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    zstd_frame::check(stored, plain_bytes)?;
    out.clear();
    out.reserve_exact(plain_bytes);
    let length = zstd
        .decompress_to_buffer(stored, out)
        .map_err(|error| FormatError::damaged(WHAT, "zstd", error, "one whole zstd frame"))?;
    if length != plain_bytes {
        return Err(FormatError::damaged(WHAT, "plain length", length, plain_bytes));
    }
    Ok(())
}

fn u32_length(length: usize) -> Result<u32, FormatError> {
    u32::try_from(length).map_err(|_| FormatError::invalid(WHAT, "length", length, "below 2^32"))
}

fn to_usize(length: u32) -> usize {
    // usize has at least 32 bits on every target of this crate.
    usize::try_from(length).unwrap_or(usize::MAX)
}
