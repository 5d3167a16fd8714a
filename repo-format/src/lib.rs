//! What the bytes of a Strongroom repository mean: bytes in, values out. `SPEC.md` is the norm, this crate follows it.
//!
//! | what | where | SPEC.md |
//! |---|---|---|
//! | errors, ids, notations | `error`, `ids`, `codec` | 1, 2 |
//! | repository keys and the working keys made of them | `keys` | 5 |
//! | chunks and their names | `chunk` | 5, 12 |
//! | sealing | `envelope` | 6 |
//! | key slots and the recovery key | `key_slot`, `recovery_key` | 7 |
//! | parameters of a repository | `config` | 8 |
//! | where chunks end | `chunker` | 9 |
//! | frames, packs and their size | `frame`, `pack`, `padme` | 10, 11 |
//! | streams and disk maps | `stream`, `disk_map` | 12, 13 |
//! | restore points and VM homes | `restore_point`, `vm_home` | 14, 15 |
//! | the log | `log_entry`, `record` | 16 |
//! | copies of the log, digest of a state | `checkpoint` | 23 |
//!
//! **Invariant:** no files, sockets, clock or randomness: random bytes and times are arguments.
//! **Invariant:** no input makes this crate panic, and nothing is allocated that the input's own length does not justify.

#![forbid(unsafe_code)]

mod checkpoint;
mod chunk;
mod chunker;
mod codec;
mod config;
mod disk_map;
mod envelope;
mod error;
mod frame;
mod ids;
mod key_slot;
mod keys;
mod log_entry;
mod ordinal;
mod pack;
mod padme;
mod record;
mod recovery_key;
mod restore_point;
mod stream;
mod vm_home;
mod vm_identity;
mod zstd_frame;

#[cfg(test)]
mod test_kit;

pub use checkpoint::{
    CheckpointPart, CheckpointPartBuilder, PART_BYTES_MAX, PART_BYTES_WHOLE, PART_ENTRIES_MAX, StateDigester,
};
pub use chunk::{ChunkRef, Class, HashedChunk, MetadataChunk, MetadataKind};
pub use chunker::{Chunker, RunEnd};
pub use config::{CONFIG_BYTES, ChunkerKind, Chunking, Config, UnverifiedConfig};
pub use disk_map::{CHILDREN_MAX, Extent, MapGeometry, MapNode, MapRoot, SegmentMap};
pub use envelope::SEALED_OVERHEAD;
pub use error::{ErrorKind, FormatError};
pub use frame::{
    CheckedFrame, Codec, Compression, Compressor, Decompressor, FRAME_BYTES_MAX, FrameBuilder, FrameEntry, OpenFrame,
    PlainFrame, SealedFrame, StoredFrame, open_frame, open_frame_into, unseal_frame,
};
pub use ids::{AttemptId, ChunkId, Digest, IdTextError, PackName, RepositoryId, Salt, SessionId, SlotId};
pub use key_slot::{KdfCost, KeySlot, NewSlot, SLOT_BYTES, SLOT_LABEL_BYTES_MAX, SlotKind, SlotSecret};
pub use keys::{AuditOrder, Keyring, REPOSITORY_KEYS_MAX, RepositoryKeys};
pub use log_entry::{ENTRY_BYTES_MAX, EntryHeader, LogEntry};
pub use ordinal::PackOrdinal;
pub use pack::{
    Directory, Footer, FullPack, MendedPack, PACK_HEAD_BYTES, PackBuilder, PackClose, PackHead, PackLayout, Unmendable,
    mend_pack, prepare_parity,
};
pub use record::{
    AddedSlot, Checkpoint, Commit, Condemn, Damaged, Delete, Forget, Hold, KeyChange, Moved, NewPack, Open, Orphan,
    Pin, Record, Swept, Verified, VerifiedHow,
};
pub use recovery_key::RecoveryKey;
pub use restore_point::{AuditRecord, Completeness, Consistency, DiskRecord, RestorePoint};
pub use stream::Stream;
pub use vm_home::{DiskHome, Encryption, FileName, Nvram, PolicyEncrypts, SecretBytes, StoragePolicy, VmHome};
pub use vm_identity::{VmIdentity, VmName};

/// The version of the format in every object.
pub const FORMAT: u16 = 1;
