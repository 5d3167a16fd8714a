//! Reads packs: the directory once, then frames, always in whole shards (SPEC.md section 11: no request shows a frame boundary).

use std::{ops::Range, sync::Arc};

use repo_format::{
    Class, Decompressor, Directory, Footer, FormatError, FrameEntry, Keyring, OpenFrame, PackName, PackOrdinal,
    StoredFrame, open_frame_into, unseal_frame,
};

use crate::{
    aligned::read_range,
    error::Kind,
    store::{Name, Reaction, Store, StoreError},
};

/// Why something could not be read from a pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The store did not give it.
    #[error("pack {pack}: {source}")]
    Store {
        /// The pack.
        pack: PackName,
        /// What the store said.
        source: StoreError,
    },
    /// The bytes are not what was written.
    #[error("pack {pack}: {source}")]
    Format {
        /// The pack.
        pack: PackName,
        /// What is wrong.
        source: FormatError,
    },
    /// The pack is not there.
    #[error("pack {pack} is missing")]
    Missing {
        /// The pack.
        pack: PackName,
    },
    /// The log knows no such pack.
    #[error("pack number {} is not registered", ordinal.0)]
    Unregistered {
        /// The ordinal asked for.
        ordinal: PackOrdinal,
    },
    /// The directory has no such frame: the index is wrong.
    #[error("pack {pack} has no frame {frame}")]
    NoFrame {
        /// The pack.
        pack: PackName,
        /// The frame asked for.
        frame: u32,
    },
}

impl PackError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store { source, .. } => source.kind(),
            Self::Format { .. } | Self::NoFrame { .. } | Self::Missing { .. } | Self::Unregistered { .. } => {
                Kind::Damaged
            }
        }
    }
}

/// Buffers and contexts for reading frames: one per thread, used again and again.
pub struct FrameBuffers {
    shards: Vec<u8>,
    plain: Vec<u8>,
    decompressor: Decompressor,
}

impl FrameBuffers {
    /// Fresh buffers.
    pub fn new() -> Result<Self, FormatError> {
        Ok(Self { shards: Vec::new(), plain: Vec::new(), decompressor: Decompressor::new()? })
    }

    /// Takes back the memory of a frame that is done with.
    pub fn recycle(&mut self, frame: OpenFrame) {
        self.plain = frame.into_buffer();
    }
}

/// An open pack.
#[derive(Clone)]
pub struct PackReader {
    store: Arc<dyn Store>,
    keys: Arc<Keyring>,
    name: PackName,
    ordinal: PackOrdinal,
    class: Class,
    epoch: u32,
    shard_bytes: u64,
    pack_bytes: u64,
    directory: Arc<Directory>,
}

impl PackReader {
    /// Reads and opens the directory of a pack of `pack_bytes`: copy B and the last shard in one request; if either is
    /// damaged, copy A.
    pub fn open(
        store: &Arc<dyn Store>,
        keys: &Arc<Keyring>,
        name: PackName,
        ordinal: PackOrdinal,
        pack_bytes: u64,
        shard_bytes: u64,
    ) -> Result<Self, PackError> {
        let (footer, directory) = read_directory(store.as_ref(), keys, name, pack_bytes, shard_bytes)?;
        Ok(Self {
            store: Arc::clone(store),
            keys: Arc::clone(keys),
            name,
            ordinal,
            class: footer.head().class,
            epoch: footer.head().epoch,
            shard_bytes,
            pack_bytes,
            directory: Arc::new(directory),
        })
    }

    /// What lies in the pack.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Data or metadata.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The pack's place in the log.
    pub fn ordinal(&self) -> PackOrdinal {
        self.ordinal
    }

    /// The pack's name.
    pub fn name(&self) -> PackName {
        self.name
    }

    /// Reads, opens and decompresses frame `frame`.
    pub fn read_frame(&self, frame: u32, buffers: &mut FrameBuffers) -> Result<OpenFrame, PackError> {
        let FrameBuffers { shards, plain, decompressor } = buffers;
        let (entry, sealed) = self.read_sealed(frame, shards)?;
        open_frame_into(std::mem::take(plain), self.class, self.epoch, entry, sealed, &self.keys, decompressor)
            .map_err(|source| PackError::Format { pack: self.name, source })
    }

    /// Reads frame `frame` as it is kept inside its seal, in the memory of `shards`.
    pub fn read_stored<'b>(&'b self, frame: u32, shards: &'b mut Vec<u8>) -> Result<StoredFrame<'b>, PackError> {
        let (entry, sealed) = self.read_sealed(frame, shards)?;
        unseal_frame(self.class, self.epoch, entry, sealed, &self.keys)
            .map_err(|source| PackError::Format { pack: self.name, source })
    }

    fn read_sealed<'b>(
        &'b self,
        frame: u32,
        shards: &'b mut Vec<u8>,
    ) -> Result<(&'b FrameEntry, &'b mut [u8]), PackError> {
        let pack = self.name;
        let index = usize::try_from(frame).unwrap_or(usize::MAX);
        let (Some(entry), Some(offset)) = (self.directory.frame(index), self.directory.offset(index)) else {
            return Err(PackError::NoFrame { pack, frame });
        };
        let wanted = offset..offset + u64::from(entry.sealed_bytes);
        let sealed = read_shards(self.store.as_ref(), pack, self.pack_bytes, self.shard_bytes, wanted, shards)?;
        Ok((entry, sealed))
    }
}

/// Reads the whole shards that cover `wanted` into `buffer` and gives the wanted part.
fn read_shards<'b>(
    store: &dyn Store,
    pack: PackName,
    pack_bytes: u64,
    shard_bytes: u64,
    wanted: Range<u64>,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b mut [u8], PackError> {
    let start = wanted.start - wanted.start % shard_bytes;
    let end = wanted.end.next_multiple_of(shard_bytes).min(pack_bytes);
    let read = read_range(store, &Name::pack(pack), start..end, buffer).map_err(|source| match source.reaction {
        Reaction::Absent => PackError::Missing { pack },
        _ => PackError::Store { pack, source },
    })?;
    let found = read.len();
    let inner = usize::try_from(wanted.start - start).ok().zip(usize::try_from(wanted.end - start).ok());
    inner.and_then(|(start, end)| read.get_mut(start..end)).ok_or_else(|| {
        let source =
            FormatError::damaged("pack", "length", format_args!("{found} bytes read"), format_args!("{}", end - start));
        PackError::Format { pack, source }
    })
}

fn read_directory(
    store: &dyn Store,
    keys: &Keyring,
    pack: PackName,
    pack_bytes: u64,
    shard_bytes: u64,
) -> Result<(Footer, Directory), PackError> {
    let format = |source| PackError::Format { pack, source };
    let mut buffer = Vec::new();
    let last = pack_bytes.saturating_sub(shard_bytes);
    // Most directories take one shard: ask for it together with the footer.
    let wanted = last.saturating_sub(shard_bytes)..pack_bytes;
    let mut tail_buffer = Vec::new();
    let tail = read_shards(store, pack, pack_bytes, shard_bytes, wanted.clone(), &mut tail_buffer)?;
    let mut first_error = None;
    let footer = match usize::try_from(last - wanted.start).ok().and_then(|at| tail.get(at..)).map(Footer::decode) {
        Some(Ok(footer)) => footer,
        other => {
            first_error = other.and_then(Result::err);
            let mut buffer = Vec::new();
            let head = read_shards(store, pack, pack_bytes, shard_bytes, 0..shard_bytes, &mut buffer)?;
            Footer::decode(head).map_err(|second| format(first_error.clone().unwrap_or(second)))?
        }
    };
    if footer.pack_bytes() != pack_bytes {
        let wanted = format_args!("{pack_bytes} by the log").to_string();
        return Err(format(FormatError::damaged("pack", "length", footer.pack_bytes(), wanted)));
    }
    let length = u64::from(footer.directory_bytes());
    let together = footer.directory_b() == wanted.start && length == shard_bytes;
    let sealed_b = match together {
        true => usize::try_from(shard_bytes).ok().and_then(|bytes| tail.get_mut(..bytes)).unwrap_or_default(),
        false => read_shards(
            store,
            pack,
            pack_bytes,
            shard_bytes,
            directory_range(footer.directory_b(), length),
            &mut buffer,
        )?,
    };
    match Directory::open(sealed_b, &footer, keys) {
        Ok(directory) => return Ok((footer, directory)),
        Err(error) => first_error = Some(first_error.unwrap_or(error)),
    }
    let range = directory_range(footer.directory_a(), length);
    let sealed_a = read_shards(store, pack, pack_bytes, shard_bytes, range, &mut buffer)?;
    match Directory::open(sealed_a, &footer, keys) {
        Ok(directory) => Ok((footer, directory)),
        Err(second) => Err(format(first_error.unwrap_or(second))),
    }
}

fn directory_range(offset: u64, length: u64) -> Range<u64> {
    offset..offset.saturating_add(length)
}
