//! Packs: the files that hold frames and the directory of them (SPEC.md section 11).
//!
//! ```text
//! shard 0        footer block (copy A), zeros to the end of the shard
//! from shard 1   frame | frame | frame …
//!                sealed directory (copy A), right after the last frame
//!                random padding, to the end of a shard
//!                parity shards
//!                sealed directory (copy B), ends where the last shard begins
//! last shard     footer block (copy B), zeros to the end of the shard
//! ```

mod builder;
mod directory;
mod footer;
mod head;
mod mend;
mod parity;

pub use builder::{FullPack, PackBuilder, PackClose};
pub use directory::Directory;
pub use footer::Footer;
pub use head::{PACK_HEAD_BYTES, PackHead, PackLayout};
pub use mend::{MendedPack, Unmendable, mend_pack};
pub use parity::prepare_parity;

#[cfg(test)]
mod mend_tests;
#[cfg(test)]
mod tests;
