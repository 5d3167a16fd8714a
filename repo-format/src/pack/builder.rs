//! Builds packs. Frames are copied into one buffer of the pack's final length; shards are checked while they are in the cache.

use std::fmt;

use super::{
    directory::{self, Directory},
    footer::{Footer, ShardCheck, shard_check},
    head::{PackHead, PackLayout},
    parity,
};
use crate::{
    error::FormatError,
    frame::{FrameEntry, SealedFrame},
    ids::PackName,
    keys::Keyring,
    padme::padme,
};

const WHAT: &str = "pack";

/// Why a pack is finished: decides its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackClose {
    /// The next frame did not fit: as long as every full pack of its class.
    Full,
    /// There are no more frames: Padmé of its parts.
    Early,
}

/// A pack under way.
///
/// **Invariant:** the frames, two directories of them, two footers and a full pack's parity fit in `pack_bytes`.
pub struct PackBuilder {
    head: PackHead,
    shard_bytes: usize,
    pack_bytes: usize,
    parity_rate: u8,
    bytes: Vec<u8>,
    frames: Vec<FrameEntry>,
    lines: Vec<u8>,
    checks: Vec<ShardCheck>,
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackBuilder({:?}, {} frames, {} bytes)", self.head.class, self.frames.len(), self.bytes.len())
    }
}

impl PackBuilder {
    /// An empty pack.
    pub fn new(head: PackHead, layout: PackLayout) -> Self {
        Self::with_buffer(head, layout, Vec::new())
    }

    /// An empty pack in the buffer of an earlier one ([`FullPack::into_bytes`]): its pages are already there.
    pub fn with_buffer(head: PackHead, layout: PackLayout, mut buffer: Vec<u8>) -> Self {
        let shard_bytes = usize::try_from(layout.shard_bytes).unwrap_or(usize::MAX).max(1);
        let pack_bytes = usize::try_from(layout.pack_bytes).unwrap_or(usize::MAX);
        buffer.clear();
        buffer.reserve_exact(pack_bytes.max(shard_bytes));
        buffer.resize(shard_bytes, 0);
        let (frames, lines, checks) = (Vec::new(), Vec::new(), Vec::new());
        Self { head, shard_bytes, pack_bytes, parity_rate: layout.parity_rate, bytes: buffer, frames, lines, checks }
    }

    /// Whether the pack can still be finished within its length after this frame was pushed.
    pub fn fits(&self, frame: &SealedFrame) -> bool {
        let directory =
            directory::sealed_bytes(self.frames.len() + 1, self.lines.len() + frame.line().len(), self.shard_bytes);
        self.parts_bytes(self.bytes.len() + frame.bytes().len(), directory)
            <= self.pack_bytes - self.parity_bytes(self.pack_bytes)
    }

    /// Copies a frame to the end; refuses one that does not fit or is not of this pack's class and key epoch.
    pub fn push(&mut self, frame: SealedFrame) -> Result<(), FormatError> {
        if frame.class() != self.head.class || frame.epoch() != self.head.epoch {
            let found = format_args!("{:?}, key epoch {}", frame.class(), frame.epoch());
            let wanted = format_args!("{:?}, key epoch {}", self.head.class, self.head.epoch);
            return Err(FormatError::invalid(WHAT, "frame", found, wanted));
        }
        if !self.fits(&frame) {
            let found = format_args!("{} bytes, {} chunks", frame.bytes().len(), frame.entry().chunks.len());
            return Err(FormatError::invalid(WHAT, "frame", found, format_args!("fits in {} bytes", self.pack_bytes)));
        }
        self.bytes.extend_from_slice(frame.bytes());
        self.lines.extend_from_slice(frame.line());
        self.frames.push(frame.into_entry());
        self.check_whole_shards();
        Ok(())
    }

    /// Data or metadata.
    pub fn class(&self) -> crate::chunk::Class {
        self.head.class
    }

    /// Whether there is no frame in it.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames in it.
    pub fn frames(&self) -> &[FrameEntry] {
        &self.frames
    }

    /// Places directories, padding, parity and footers and names the pack.
    ///
    /// `random` makes the directory's nonce, `fill_random` the padding. The finished bytes are opened again and compared.
    pub fn finish(
        mut self,
        keys: &Keyring,
        close: PackClose,
        random: [u8; 24],
        fill_random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<FullPack, FormatError> {
        if self.is_empty() {
            return Err(FormatError::invalid(WHAT, "frames", 0, "at least 1"));
        }
        let directory_bytes = directory::sealed_bytes(self.frames.len(), self.lines.len(), self.shard_bytes);
        let directory_a = self.bytes.len();
        let pack_bytes = match close {
            PackClose::Full => self.pack_bytes,
            PackClose::Early => self.early_bytes(self.parts_bytes(directory_a, directory_bytes)),
        };
        let last_shard = pack_bytes.saturating_sub(self.shard_bytes);
        let directory_b = last_shard.saturating_sub(directory_bytes);
        let parity_bytes = self.parity_bytes(pack_bytes);
        let parity_at = directory_b.saturating_sub(parity_bytes);

        let sealed = directory::seal(&self.head, self.frames.len(), &self.lines, directory_bytes, keys, random)?;
        self.bytes.extend_from_slice(&sealed);
        let padding = self.bytes.len();
        self.bytes.resize(directory_b, 0);
        fill_random(self.bytes.get_mut(padding..parity_at).unwrap_or_default());
        self.bytes.extend_from_slice(&sealed);
        self.put_parity(parity_at, parity_bytes);
        self.check_whole_shards();

        let footer = Footer {
            head: self.head.clone(),
            shards: to_u32("shards", pack_bytes / self.shard_bytes)?,
            parity: to_u32("parity shards", parity_bytes / self.shard_bytes)?,
            directory_a: directory_a as u64,
            directory_b: directory_b as u64,
            directory_bytes: to_u32("directory length", directory_bytes)?,
            shard_bytes: to_u32("shard bytes", self.shard_bytes)?,
            checks: std::mem::take(&mut self.checks),
        };
        let block = footer.encode()?;
        self.bytes.iter_mut().zip(&block).for_each(|(byte, footer)| *byte = *footer);
        self.bytes.extend_from_slice(&block);
        self.into_full(&footer, sealed, keys)
    }

    fn into_full(self, footer: &Footer, mut sealed: Vec<u8>, keys: &Keyring) -> Result<FullPack, FormatError> {
        let reread = self.bytes.get(..self.shard_bytes).ok_or_else(|| not_itself("first shard"))?;
        if Footer::decode(reread)? != *footer || self.bytes.len() as u64 != footer.pack_bytes() {
            return Err(not_itself("footer"));
        }
        let directory = Directory::open(&mut sealed, footer, keys)?;
        if directory.frames() != self.frames {
            return Err(not_itself("directory"));
        }
        Ok(FullPack { name: PackName::of(&self.bytes), bytes: self.bytes, head: self.head, directory })
    }

    /// Makes the parity of all shards but the first and the last.
    fn put_parity(&mut self, at: usize, bytes: usize) {
        let Some((before, rest)) = self.bytes.split_at_mut_checked(at) else { return };
        let Some((parity, after)) = rest.split_at_mut_checked(bytes) else { return };
        if !parity.is_empty() {
            let shards = before.chunks(self.shard_bytes).skip(1).chain(after.chunks(self.shard_bytes));
            parity::encode(&shards.collect::<Vec<_>>(), parity, self.shard_bytes);
        }
    }

    /// Length of the parity of a pack of `pack_bytes`.
    fn parity_bytes(&self, pack_bytes: usize) -> usize {
        parity::parity_shards(pack_bytes / self.shard_bytes, self.parity_rate).saturating_mul(self.shard_bytes)
    }

    /// Length of everything but padding and parity, if the frames end at `frames_end`.
    fn parts_bytes(&self, frames_end: usize, directory_bytes: usize) -> usize {
        frames_end.saturating_add(directory_bytes.saturating_mul(2)).saturating_add(self.shard_bytes)
    }

    fn early_bytes(&self, parts_bytes: usize) -> usize {
        let padded = usize::try_from(padme(parts_bytes as u64)).unwrap_or(usize::MAX);
        let shards = parity::shards_with_parity(padded.div_ceil(self.shard_bytes), self.parity_rate);
        shards.saturating_mul(self.shard_bytes).min(self.pack_bytes)
    }

    /// Makes the checks of shards that were filled since the last call.
    fn check_whole_shards(&mut self) {
        // The checks begin with shard 1.
        let checked = (self.checks.len() + 1) * self.shard_bytes;
        let filled = self.bytes.get(checked..).unwrap_or_default();
        self.checks.extend(filled.chunks_exact(self.shard_bytes).map(shard_check));
    }
}

fn not_itself(field: &str) -> FormatError {
    FormatError::damaged(WHAT, field, "reads back differently", "what was just written")
}

fn to_u32(field: &str, value: usize) -> Result<u32, FormatError> {
    u32::try_from(value).map_err(|_| FormatError::invalid(WHAT, field, value, "below 2^32"))
}

/// A finished pack.
#[derive(Clone, PartialEq, Eq)]
pub struct FullPack {
    name: PackName,
    bytes: Vec<u8>,
    head: PackHead,
    directory: Directory,
}

impl fmt::Debug for FullPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullPack({}, {:?}, {} bytes)", self.name, self.head.class, self.bytes.len())
    }
}

impl FullPack {
    /// A pack as it was read back, if its bytes are those it is named after and its directory opens.
    pub fn reopen(name: PackName, bytes: Vec<u8>, keys: &Keyring) -> Result<Self, FormatError> {
        if PackName::of(&bytes) != name {
            return Err(FormatError::damaged(WHAT, "name", "other bytes", "those it is named after"));
        }
        let footer = Footer::find(&bytes)?;
        let length = usize::try_from(footer.directory_bytes).unwrap_or(usize::MAX);
        let open = |offset: u64| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let sealed = start.checked_add(length).and_then(|end| bytes.get(start..end));
            Directory::open(&mut sealed.unwrap_or_default().to_vec(), &footer, keys)
        };
        let directory = open(footer.directory_b).or_else(|error| open(footer.directory_a).map_err(|_| error))?;
        Ok(Self { name, head: footer.head, directory, bytes })
    }

    /// Its name in the store.
    pub fn name(&self) -> PackName {
        self.name
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose pack it is.
    pub fn head(&self) -> &PackHead {
        &self.head
    }

    /// What is in it.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its bytes, to be written or used again.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Name, bytes, head and directory.
    pub fn into_parts(self) -> (PackName, Vec<u8>, PackHead, Directory) {
        (self.name, self.bytes, self.head, self.directory)
    }
}
