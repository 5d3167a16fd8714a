//! Adding an entry: decided from exactly the head, created at exactly the next number, or not at all.

use std::sync::Arc;

use repo_format::{AttemptId, Digest, ENTRY_BYTES_MAX, EntryHeader, Keyring, LogEntry, Record};

use super::{Log, LogError, LogHead, Refusal, State};
use crate::{
    clock::Clock,
    entropy::{Entropy, random},
    store::{Name, PutNew, Reaction, Store, StoreError},
};

/// Lost races and unknown outcomes before giving up.
const TRIES: u32 = 1000;
/// An outcome that stays unknown: the same bytes are sent again, this often.
const SENDS: u32 = 3;

/// What was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The head after it.
    pub head: LogHead,
    /// The records written.
    pub records: Vec<Record>,
}

impl Log {
    /// Begins the log of a new repository.
    pub fn create(
        store: Arc<dyn Store>,
        keys: Arc<Keyring>,
        config_digest: Digest,
        records: Vec<Record>,
        time_ms: u64,
        entropy: &dyn Entropy,
    ) -> Result<Self, LogError> {
        let mut log = Self::empty(store, keys, config_digest);
        let bytes = log.entry(&records, time_ms, entropy)?;
        match log.send(1, &bytes)? {
            PutNew::Created => log.take(1, &bytes)?,
            PutNew::Exists(_) => {
                let exists = StoreError::new("create", Name::log(1), Reaction::Invalid, "a log is there already");
                return Err(exists.into());
            }
        }
        Ok(log)
    }

    /// Adds what `decide` makes of the state at the head. When another writer comes first, its entry is taken in and
    /// `decide` is asked again. If it decides nothing, nothing is written.
    pub fn append(
        &mut self,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        decide: &mut dyn FnMut(&State) -> Result<Vec<Record>, Refusal>,
    ) -> Result<Appended, LogError> {
        for _ in 0..TRIES {
            self.refresh()?;
            let records = decide(&self.state)?;
            if records.is_empty() {
                return Ok(Appended { head: self.head, records });
            }
            let number = self.head.number.saturating_add(1);
            let bytes = self.entry(&records, clock.now_ms(), entropy)?;
            match self.send(number, &bytes)? {
                PutNew::Created => {
                    self.take(number, &bytes)?;
                    return match self.voids.iter().find(|void| void.entry_number == number) {
                        // Success is never reported of a record that does nothing.
                        Some(void) => Err(LogError::OwnVoid(void.clone())),
                        None => Ok(Appended { head: self.head, records }),
                    };
                }
                PutNew::Exists(other) => self.take(number, &other)?,
            }
        }
        Err(LogError::Contended { number: self.head.number.saturating_add(1), tries: TRIES })
    }

    fn entry(&self, records: &[Record], time_ms: u64, entropy: &dyn Entropy) -> Result<Vec<u8>, LogError> {
        let number = self.head.number.saturating_add(1);
        let header = EntryHeader {
            epoch: self.keys.epoch(),
            repository: self.keys.repository(),
            number,
            previous: self.head.digest,
            checkpoint: self.state.newest_checkpoint(),
            attempt: AttemptId::from_bytes(random(entropy)),
        };
        let entry = LogEntry { header, time_ms, records: records.to_vec() };
        entry.seal(&self.keys, random(entropy)).map_err(|source| LogError::Entry { number, source })
    }

    /// Creates entry `number`. After an unclear answer the name is read; if it is absent, **the same bytes** are sent
    /// again: a late arrival of the first request is then still ours. No higher number is tried meanwhile.
    fn send(&self, number: u64, bytes: &[u8]) -> Result<PutNew, LogError> {
        let name = Name::log(number);
        let mut last = None;
        for _ in 0..SENDS {
            match self.store.put_new(&name, bytes) {
                Ok(put) => return Ok(put),
                Err(error) if matches!(error.reaction, Reaction::Unknown | Reaction::Unavailable) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
            match self.store.get(&name, ENTRY_BYTES_MAX as u64) {
                Ok(Some(found)) if found == bytes => return Ok(PutNew::Created),
                Ok(Some(found)) => return Ok(PutNew::Exists(found)),
                Ok(None) | Err(_) => {}
            }
        }
        let last = last.map_or_else(String::new, |error| error.to_string());
        let what =
            format!("whether it exists is not known ({last}); it may still appear, and the next run will see it");
        Err(StoreError::new("create", name, Reaction::Unavailable, what).into())
    }
}
