//! From a chunk to a sealed frame: claim, gather, compress, seal, **open again and compare**, hand on.
//!
//! The comparison before anything is stored is what catches a bad memory module or a wrong compressor while the source
//! still exists. Its price stands in `benches/BUDGET.md`.

use std::sync::Arc;

use repo_format::{
    Class, Compression, Compressor, Decompressor, FormatError, FrameBuilder, HashedChunk, Keyring, MetadataChunk,
    StoredFrame,
};

use crate::{
    dedup::{Claim, Dedup, Ticket},
    entropy::{Entropy, random},
    error::Kind,
    pack_sink::{FrameSender, SinkError},
};

/// Why a chunk could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Packs cannot be made or stored.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The self-check found that a frame does not open to what was put in: memory or processor is at fault.
    #[error("a sealed frame does not open to what was put into it ({0}): check this machine's memory")]
    SelfCheck(FormatError),
    /// A frame could not be made.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl WriteError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sink(error) => error.kind(),
            Self::SelfCheck(_) => Kind::Failed,
            Self::Format(_) => Kind::Bug,
        }
    }
}

/// What a frame writer has done so far, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes of chunks that were not known.
    pub(crate) novel_bytes: u64,
    /// Bytes of the sealed frames made of them.
    pub(crate) stored_bytes: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.novel_bytes += other.novel_bytes;
        self.stored_bytes += other.stored_bytes;
    }
}

/// Whether the chunk was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Known,
    Novel,
}

/// Gathers novel chunks of one class; belongs to one thread and one disk.
pub(crate) struct FrameWriter {
    keys: Arc<Keyring>,
    dedup: Arc<Dedup>,
    entropy: Arc<dyn Entropy>,
    frames: FrameSender,
    builder: FrameBuilder,
    compressor: Compressor,
    decompressor: Decompressor,
    written: Written,
}

impl FrameWriter {
    pub(crate) fn new(
        keys: Arc<Keyring>,
        dedup: Arc<Dedup>,
        entropy: Arc<dyn Entropy>,
        frames: FrameSender,
        class: Class,
        frame_bytes_max: u32,
        compression: Compression,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            keys,
            dedup,
            entropy,
            frames,
            builder: FrameBuilder::new(class, frame_bytes_max),
            compressor: Compressor::new(compression)?,
            decompressor: Decompressor::new()?,
            written: Written::default(),
        })
    }

    pub(crate) fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Stores `chunk` unless it is known.
    pub(crate) fn store(&mut self, chunk: HashedChunk<'_>) -> Result<Found, WriteError> {
        let dedup = Arc::clone(&self.dedup);
        match dedup.claim(chunk.id()) {
            Claim::Known => Ok(Found::Known),
            Claim::Novel(ticket) => {
                if !self.builder.fits(chunk.len()) {
                    self.flush()?;
                }
                self.written.novel_bytes += chunk.len() as u64;
                self.builder.push(chunk)?;
                ticket.stored();
                Ok(Found::Novel)
            }
        }
    }

    /// Stores a frame of another pack as it is, sealed anew, unless one of its chunks is known: then nothing is stored, and its
    /// chunks are to be stored one by one.
    pub(crate) fn store_whole(&mut self, frame: &StoredFrame<'_>) -> Result<Found, WriteError> {
        let dedup = Arc::clone(&self.dedup);
        let mut tickets = Vec::with_capacity(frame.entry().chunks.len());
        for chunk in &frame.entry().chunks {
            match dedup.claim(chunk.id) {
                Claim::Known => return Ok(Found::Known),
                Claim::Novel(ticket) => tickets.push(ticket),
            }
        }
        let sealed = frame
            .reseal(&self.keys, random(self.entropy.as_ref()), &mut self.decompressor)
            .map_err(WriteError::SelfCheck)?;
        self.written.novel_bytes += u64::from(sealed.entry().plain_bytes);
        self.written.stored_bytes += u64::from(sealed.entry().sealed_bytes);
        self.frames.send(sealed)?;
        tickets.into_iter().for_each(Ticket::stored);
        Ok(Found::Novel)
    }

    /// Stores a metadata chunk and gives its name.
    pub(crate) fn store_metadata(
        &mut self,
        chunk: &MetadataChunk,
    ) -> Result<(repo_format::ChunkId, Found), WriteError> {
        let keys = Arc::clone(&self.keys);
        let hashed = HashedChunk::of_metadata(chunk, &keys);
        Ok((hashed.id(), self.store(hashed)?))
    }

    /// Seals what has been gathered.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        let Some(plain) = self.builder.take() else { return Ok(()) };
        let sealed = plain.seal(&self.keys, &mut self.compressor, random(self.entropy.as_ref()))?;
        let checked = sealed.check(&self.keys, &plain, &mut self.decompressor).map_err(WriteError::SelfCheck)?;
        self.written.stored_bytes += u64::from(checked.entry().sealed_bytes);
        self.builder.recycle(plain);
        self.frames.send(checked)?;
        Ok(())
    }

    /// What has been done; complete after [`Self::flush`].
    pub(crate) fn written(&self) -> Written {
        self.written
    }
}
