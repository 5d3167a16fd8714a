//! What a prune is asked for, sets out to do, and has done.

use repo_format::Compression;

use crate::{log::LogHead, problem::Problem};

/// How to prune.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// Packs of which less than this share is needed are rewritten, in percent.
    pub repack_below_percent: u8,
    /// At most so many bytes are rewritten; packs that are the last to hold a chunk are always.
    pub max_repack_bytes: Option<u64>,
    /// Time between Condemn and Delete: a courtesy to readers that cannot write a Pin. Safety does not rest on it.
    pub grace_ms: u64,
    /// What new frames are compressed with; frames that move whole stay as they are.
    pub compression: Compression,
    /// Threads that move chunks.
    pub threads: usize,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            repack_below_percent: 50,
            max_repack_bytes: None,
            grace_ms: 24 * 3_600_000,
            compression: Compression::Zstd(3),
            threads: 1,
        }
    }
}

/// What a prune would do, in packs and bytes. Counts of chunks come from the local index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Packs that are there, and their bytes.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs of which nothing is needed: to be condemned.
    pub dead_packs: u64,
    /// Packs condemned long enough ago: to be deleted now.
    pub delete_packs: u64,
    /// Packs condemned, but not long enough ago.
    pub waiting_packs: u64,
    /// Packs to be rewritten.
    pub repack_packs: u64,
    /// Of them: small ones that are gathered.
    pub small_packs: u64,
    /// Bytes to be read and written again for that.
    pub repack_bytes: u64,
    /// Packs that are registered nowhere and whose session has ended.
    pub orphan_packs: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Bytes that come back in all, the grace over.
    pub freed_bytes: u64,
}

/// What a prune has done.
#[derive(Clone, Debug)]
pub struct PruneReport {
    /// What it set out to do.
    pub plan: PrunePlan,
    /// Packs condemned.
    pub condemned_packs: u64,
    /// Packs of which the log says now that they are deleted, orphans among them.
    pub deleted_packs: u64,
    /// Objects that have left the store.
    pub removed_packs: u64,
    /// Their bytes, as far as they were registered.
    pub removed_bytes: u64,
    /// Objects that the store keeps for now.
    pub retained_packs: u64,
    /// Bytes of packs written anew.
    pub repacked_bytes: u64,
    /// Chunks needed at the survey.
    pub needed_chunks: u64,
    /// Needed chunks that are in no pack: `verify` says which points they cost.
    pub missing_chunks: u64,
    /// Sessions of others that had fallen silent and were ended.
    pub fenced_sessions: u64,
    /// Trouble with single objects.
    pub problems: Vec<Problem>,
    /// The newest entry afterwards.
    pub head: LogHead,
}
