//! The log: numbered, hash-chained entries, created if absent. The only point of order of a repository.

mod append;
mod audit;
mod canonical;
mod checkpoint;
mod deciders;
mod error;
mod head;
mod replay;
mod rules;
mod state;

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use repo_format::{Digest, Keyring};

use crate::store::Store;

pub use append::Appended;
pub use checkpoint::CheckpointError;
pub use deciders::{
    CommitDraft, Refusal, Surveyed, decide_close, decide_commit, decide_condemn, decide_damaged, decide_delete,
    decide_fence, decide_forget, decide_hold, decide_key_change, decide_moved, decide_open, decide_pin, decide_release,
    decide_swept, decide_verified,
};
pub use error::LogError;
pub use head::LogHead;
pub use state::{
    CheckpointState, PackState, PackStatus, PointState, PointStatus, SessionState, SessionStatus, SlotState, State,
    VoidRecord,
};

/// A log replayed up to a head.
pub struct Log {
    store: Arc<dyn Store>,
    keys: Arc<Keyring>,
    head: LogHead,
    state: State,
    voids: Vec<VoidRecord>,
    /// What `prev` of entry 1 must be.
    config_digest: Digest,
    /// Parts of a checkpoint that this replay has read or written and the chain has confirmed, from entry 1 on without a gap.
    parts: Vec<checkpoint::ConfirmedPart>,
}

impl Log {
    /// What the log says exists.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its newest entry.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// Records without effect.
    pub fn voids(&self) -> &[VoidRecord] {
        &self.voids
    }
}
