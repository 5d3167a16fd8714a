//! Packs: the files that hold frames and the directory of them (SPEC.md section 11).
//!
//! ```text
//! shard 0        footer block (copy A), zeros to the end of the shard
//! from shard 1   frame | frame | frame …
//!                sealed directory (copy A), right after the last frame
//!                random padding
//!                sealed directory (copy B), ends where the last shard begins
//! last shard     footer block (copy B), zeros to the end of the shard
//! ```

mod builder;
mod directory;
mod footer;
mod head;

pub use builder::{FullPack, PackBuilder, PackClose};
pub use directory::Directory;
pub use footer::Footer;
pub use head::{PACK_HEAD_BYTES, PackHead, PackLayout};

#[cfg(test)]
mod tests;
