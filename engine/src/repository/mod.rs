//! A repository and what a handle to it may do: [`Reader`] reads, [`Writer`] adds. (A sweeper, who may remove, comes with prune.)

mod init;
mod open;
mod reader;
mod unlock;

use std::{path::PathBuf, sync::Arc};

use repo_format::Digest;

use crate::{clock::Clock, entropy::Entropy, state_folder::StateFolder, store::Store};

pub use init::{InitError, InitReport, NewRepository, NewSlotSecret, init};
pub(crate) use open::begin_log_anew;
pub use open::{OpenError, open_reader, open_writer};
pub use reader::{Reader, Writer};
pub use unlock::UnlockError;
pub(crate) use unlock::read_slots;

/// What a client brings along: where the repository is, where its own files go, its clock and its randomness.
#[derive(Clone)]
pub struct Environment {
    /// The repository's bytes.
    pub store: Arc<dyn Store>,
    /// The cache folder; `None` makes a temporary cache for each run.
    pub cache: Option<PathBuf>,
    /// Session locks and the newest log head seen.
    pub state: StateFolder,
    /// The clock; nothing depends on its being right.
    pub clock: Arc<dyn Clock>,
    /// Randomness for keys, nonces, salts and ids.
    pub entropy: Arc<dyn Entropy>,
    /// This host's name, as log entries record it.
    pub host: String,
    /// Program and version, as log entries record it.
    pub program: String,
    /// The head the operator has typed to get past a history that does not continue the one remembered.
    pub accept_rollback: Option<Digest>,
}
