//! A new repository. The config is written last: before it there is no repository, and the same `init` can run again.

use std::sync::Arc;

use repo_format::{
    AddedSlot, Config, Digest, FormatError, KdfCost, KeyChange, Keyring, NewSlot, Record, RepositoryId, RepositoryKeys,
    SlotId, SlotSecret,
};

use super::{Environment, Reader, Writer};
use crate::{
    entropy::random,
    error::Kind,
    log::{Log, LogError},
    state_folder::StateFolderError,
    store::{Name, PutNew, StoreError},
};

/// The text of the format, as it travels with each repository.
const SPEC: &str = include_str!("../../../SPEC.md");

/// A first way to open the new repository.
pub struct NewSlotSecret {
    /// The secret.
    pub secret: SlotSecret,
    /// What a person calls the slot.
    pub label: String,
    /// What stretching a password may cost; ignored for other kinds.
    pub cost: KdfCost,
}

/// What a new repository shall be like.
pub struct NewRepository {
    /// Its parameters, all but id and time.
    pub config: Config,
    /// Its key slots: at least one.
    pub slots: Vec<NewSlotSecret>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// The repository's id.
    pub repository: RepositoryId,
    /// Its slots, in the order given.
    pub slots: Vec<SlotId>,
    /// Head of its log.
    pub head: crate::log::LogHead,
    /// The store, in a few words.
    pub store: String,
}

/// Why no repository could be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{place}: a repository is there already")]
    Exists {
        /// Where.
        place: String,
    },
    /// A parameter or slot is outside what the format allows.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be begun.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateFolderError),
}

impl InitError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } => Kind::Failed,
            Self::Format(_) => Kind::Invalid,
            Self::Store(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::State(error) => error.kind(),
        }
    }
}

/// Makes a repository in the empty store of `environment`.
pub fn init(environment: Environment, new: NewRepository) -> Result<(Writer, InitReport), InitError> {
    let entropy = Arc::clone(&environment.entropy);
    let store = Arc::clone(&environment.store);
    if store.get(&Name::config(), repo_format::CONFIG_BYTES as u64)?.is_some() {
        return Err(InitError::Exists { place: store.describe() });
    }
    let repository = RepositoryId::from_bytes(random(entropy.as_ref()));
    let config = Config { repository, created_ms: environment.clock.now_ms(), ..new.config };
    config.check()?;
    let repository_keys = RepositoryKeys::generate(random(entropy.as_ref()));
    let keys = Arc::new(Keyring::new(&repository_keys, repository));
    let config_bytes = config.encode(&keys);

    store.prepare()?;
    let mut added = Vec::new();
    for slot in &new.slots {
        let new_slot = NewSlot {
            repository,
            slot: SlotId::from_bytes(random(entropy.as_ref())),
            label: slot.label.clone(),
            created_ms: config.created_ms,
            cost: slot.cost,
            salt: random(entropy.as_ref()),
            random: random(entropy.as_ref()),
        };
        let bytes = new_slot.seal(&slot.secret, &repository_keys)?;
        for copy in 0..2 {
            put(&environment, &Name::slot(new_slot.slot, copy), &bytes)?;
        }
        added.push(AddedSlot { slot: new_slot.slot, digest: Digest::of(&bytes) });
    }
    let slots: Vec<SlotId> = added.iter().map(|added| added.slot).collect();
    let first_slot =
        slots.first().copied().ok_or_else(|| FormatError::invalid("new repository", "key slots", 0, "at least 1"))?;
    let log = Log::create(
        Arc::clone(&store),
        Arc::clone(&keys),
        Digest::of(&config_bytes),
        vec![Record::KeyChange(KeyChange { added, revoked: Vec::new(), new_epoch: None })],
        config.created_ms,
        entropy.as_ref(),
    )?;
    put(&environment, &Name::spec(), SPEC.as_bytes())?;
    put(&environment, &Name::config_copy(), &config_bytes)?;
    put(&environment, &Name::config(), &config_bytes)?;

    environment.state.remember_head(&repository, log.head())?;
    let report = InitReport { repository, slots, head: log.head(), store: store.describe() };
    Ok((Writer(Reader::new(environment, config, keys, repository_keys, first_slot, log)), report))
}

fn put(environment: &Environment, name: &Name, bytes: &[u8]) -> Result<(), InitError> {
    match environment.store.put_new(name, bytes)? {
        PutNew::Created => Ok(()),
        PutNew::Exists(_) => Err(InitError::Exists { place: environment.store.describe() }),
    }
}
