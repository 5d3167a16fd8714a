//! Opening: config, key slot, log, remembered head. Nothing is written but the remembered head.

use std::sync::Arc;

use repo_format::{
    AddedSlot, Config, Digest, ErrorKind, FormatError, KeyChange, Keyring, Record, SlotSecret, UnverifiedConfig,
};

use super::{
    Environment, Reader, Writer,
    unlock::{UnlockError, read_slots, unlock},
};
use crate::{
    error::Kind,
    log::{Log, LogError},
    state_folder::StateFolderError,
    store::{Name, Reaction, StoreError},
};

/// Why a repository cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no repository here.
    #[error("{place}: there is no repository here")]
    NoRepository {
        /// Where it was looked for.
        place: String,
    },
    /// Neither copy of the config can be used.
    #[error("config: {0}")]
    Config(FormatError),
    /// No slot opens.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The slot that opens has been removed.
    #[error("key slot {slot} has been removed from this repository")]
    SlotRemoved {
        /// The slot.
        slot: repo_format::SlotId,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateFolderError),
}

impl OpenError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoRepository { .. } => Kind::NoRepository,
            Self::Config(error) | Self::Unlock(UnlockError::Damaged(error)) => match error.kind {
                ErrorKind::Unsupported => Kind::Unsupported,
                _ => Kind::Damaged,
            },
            Self::Unlock(UnlockError::Store(error)) | Self::Store(error) => error.kind(),
            Self::Unlock(UnlockError::WrongKey { .. } | UnlockError::NoSlotOfKind { .. })
            | Self::SlotRemoved { .. } => Kind::WrongKey,
            Self::Log(error) => error.kind(),
            Self::State(error) => error.kind(),
        }
    }
}

/// Opens the repository for reading.
pub fn open_reader(environment: Environment, secret: &SlotSecret) -> Result<Reader, OpenError> {
    let (unverified, config_digest) = read_config(&environment)?;
    let repository = unverified.repository();
    let hint = environment.state.last_slot(&repository);
    let (repository_keys, slot) = unlock(environment.store.as_ref(), &repository, secret, hint)?;
    let keys = Arc::new(Keyring::new(&repository_keys, repository));
    let config = unverified.verify(&keys).map_err(OpenError::Config)?;
    let remembered = environment.state.remembered_head(&repository)?;
    let log = Log::open(
        Arc::clone(&environment.store),
        Arc::clone(&keys),
        config_digest,
        remembered,
        environment.accept_rollback,
    )?;
    if !log.state().slots().contains_key(&slot) {
        return Err(OpenError::SlotRemoved { slot });
    }
    if environment.accept_rollback == Some(log.head().digest) {
        environment.state.accept_head(&repository, log.head())?;
    }
    // A state folder that cannot be written must not keep the person on call from reading.
    let _ = environment.state.remember_head(&repository, log.head());
    let _ = environment.state.remember_slot(&repository, slot);
    let is_other_history = environment.accept_rollback == Some(log.head().digest);
    let mut reader = Reader::new(environment, config, keys, repository_keys, slot, log);
    if is_other_history {
        // What is cached counts packs as the other history does.
        let _ = reader.forget_index();
    }
    Ok(reader)
}

/// Opens the repository for adding to it.
pub fn open_writer(environment: Environment, secret: &SlotSecret) -> Result<Writer, OpenError> {
    open_reader(environment, secret).map(Writer)
}

/// Begins a log anew in a repository that has lost it: config and key slots are what is left. Its first entry adds every slot
/// that is there.
pub(crate) fn begin_log_anew(environment: Environment, secret: &SlotSecret) -> Result<Writer, OpenError> {
    let (unverified, config_digest) = read_config(&environment)?;
    let repository = unverified.repository();
    let (repository_keys, slot) = unlock(environment.store.as_ref(), &repository, secret, None)?;
    let keys = Arc::new(Keyring::new(&repository_keys, repository));
    let config = unverified.verify(&keys).map_err(OpenError::Config)?;
    let mut added = Vec::new();
    for found in read_slots(environment.store.as_ref())?.0 {
        if found.slot.repository() == repository {
            added.push(AddedSlot { slot: found.slot.id(), digest: found.digest });
        }
    }
    let log = Log::create(
        Arc::clone(&environment.store),
        Arc::clone(&keys),
        config_digest,
        vec![Record::KeyChange(KeyChange { added, revoked: Vec::new(), new_epoch: None })],
        environment.clock.now_ms(),
        environment.entropy.as_ref(),
    )?;
    Ok(Writer(Reader::new(environment, config, keys, repository_keys, slot, log)))
}

/// The config from either copy, and the digest of its bytes.
fn read_config(environment: &Environment) -> Result<(UnverifiedConfig, Digest), OpenError> {
    let mut first_error = None;
    for name in [Name::config(), Name::config_copy()] {
        let bytes = match environment.store.get(&name, repo_format::CONFIG_BYTES as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            // Longer than any config: the other copy may be right.
            Err(error) if error.reaction == Reaction::Damaged => {
                first_error.get_or_insert(OpenError::Store(error));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match Config::decode(&bytes) {
            Ok(config) => return Ok((config, Digest::of(&bytes))),
            Err(error) => drop(first_error.get_or_insert(OpenError::Config(error))),
        }
    }
    Err(match first_error {
        Some(error) => error,
        None => OpenError::NoRepository { place: environment.store.describe() },
    })
}
