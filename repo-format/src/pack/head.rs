//! The first 64 bytes of a pack, and the sizes it is built to.
//!
//! ```text
//!  0  magic "SRMPACK1"  8      12  key epoch u32   4
//!  8  format u16        2      16  session id16   16
//! 10  class u8          1      32  salt           32   = 64 bytes
//! 11  reserved u8       1
//! ```

use crate::{
    chunk::Class,
    codec::Reader,
    config::Config,
    error::FormatError,
    ids::{Salt, SessionId},
};

/// Length of a [`PackHead`].
pub const PACK_HEAD_BYTES: usize = 64;

const WHAT: &str = "pack head";
/// How a pack, and a footer block, begins.
pub(super) const PACK_MAGIC: &[u8; 8] = b"SRMPACK1";

/// Whose pack this is and which keys open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackHead {
    /// Class of all its chunks.
    pub class: Class,
    /// Key epoch of its frames and directory.
    pub epoch: u32,
    /// The session that wrote it.
    pub session: SessionId,
    /// Fresh for each pack.
    pub salt: Salt,
}

impl PackHead {
    /// Reads the first bytes of a pack.
    pub fn decode(bytes: &[u8; PACK_HEAD_BYTES]) -> Result<Self, FormatError> {
        Self::read(&mut Reader::new(WHAT, bytes))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.magic(PACK_MAGIC)?;
        reader.format()?;
        let class = reader.u8("class")?;
        let class = Class::from_wire(class).ok_or_else(|| reader.damaged("class", class, "1 or 2"))?;
        reader.reserved("reserved", 1)?;
        let epoch = reader.u32("key epoch")?;
        if epoch == 0 {
            return Err(reader.damaged("key epoch", epoch, "at least 1"));
        }
        let session = SessionId::from_bytes(reader.array("session")?);
        Ok(Self { class, epoch, session, salt: Salt::from_bytes(reader.array("salt")?) })
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(PACK_MAGIC);
        out.extend_from_slice(&crate::FORMAT.to_le_bytes());
        out.extend_from_slice(&[self.class.to_wire(), 0]);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(self.session.as_bytes());
        out.extend_from_slice(self.salt.as_bytes());
    }
}

/// The sizes a pack is built to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackLayout {
    /// Length of a shard.
    pub shard_bytes: u32,
    /// Length of a full pack: a multiple of the shard.
    pub pack_bytes: u32,
    /// Of 512 shards, so many are parity; 0: none.
    pub parity_rate: u8,
}

impl PackLayout {
    /// The sizes of a class of packs in a repository.
    pub fn of(config: &Config, class: Class) -> Self {
        Self {
            shard_bytes: config.shard_bytes(),
            pack_bytes: config.pack_bytes(class),
            parity_rate: config.parity_rate,
        }
    }
}
