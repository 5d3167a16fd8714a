//! Reading the log: entry after entry, until one is absent; most of them from copies, where a checkpoint has some. A listing
//! is never asked.

use std::sync::Arc;

use repo_format::{Digest, ENTRY_BYTES_MAX, EntryHeader, FormatError, Keyring, LogEntry};

use super::{Log, LogError, LogHead, State};
use crate::store::{Name, Store};

impl Log {
    /// Replays the log of the repository whose config has `config_digest`.
    ///
    /// `remembered` is the newest head this client has seen: a log that does not contain it is refused, unless the operator
    /// has typed the digest of the head that is there (`accepted`).
    pub fn open(
        store: Arc<dyn Store>,
        keys: Arc<Keyring>,
        config_digest: Digest,
        remembered: Option<LogHead>,
        accepted: Option<Digest>,
    ) -> Result<Self, LogError> {
        let mut log = Self::empty(store, keys, config_digest);
        let watched = remembered.map(|head| head.number);
        let copied = log.replay_copies(watched);
        let seen = log.replay(watched)?.or(copied);
        let next = log.head.number.saturating_add(1);
        for later in [Some(next.saturating_add(1)), watched.filter(|watched| *watched > next)].into_iter().flatten() {
            if log.is_gap(next, later)? {
                return Err(LogError::Gap { number: next, later });
            }
        }
        if let Some(remembered) = remembered
            && seen != Some(remembered.digest)
            && accepted != Some(log.head.digest)
        {
            return Err(LogError::History { remembered, found: log.head });
        }
        match log.head.number {
            0 => Err(LogError::Lost),
            _ => Ok(log),
        }
    }

    pub(super) fn empty(store: Arc<dyn Store>, keys: Arc<Keyring>, config_digest: Digest) -> Self {
        let head = LogHead { number: 0, digest: config_digest };
        Self { store, keys, head, state: State::new(), voids: Vec::new(), config_digest, parts: Vec::new() }
    }

    /// Takes in what others have added.
    pub fn refresh(&mut self) -> Result<(), LogError> {
        self.replay(None).map(drop)
    }

    /// Replays to the end; gives the digest of entry `watched` if it came by.
    fn replay(&mut self, watched: Option<u64>) -> Result<Option<Digest>, LogError> {
        let mut seen = (watched == Some(0)).then_some(self.config_digest);
        loop {
            let number = self.head.number.saturating_add(1);
            let Some(bytes) = self.store.get(&Name::log(number), ENTRY_BYTES_MAX as u64)? else { return Ok(seen) };
            self.take(number, &bytes)?;
            if watched == Some(number) {
                seen = Some(self.head.digest);
            }
        }
    }

    /// Is `later` there, and `number` not? The order of the questions matters: others may be writing both right now.
    fn is_gap(&self, number: u64, later: u64) -> Result<bool, LogError> {
        Ok(self.store.size(&Name::log(later))?.is_some() && self.store.size(&Name::log(number))?.is_none())
    }

    /// Applies entry `number`, the next one.
    pub(super) fn take(&mut self, number: u64, bytes: &[u8]) -> Result<(), LogError> {
        let wrong = |source| LogError::Entry { number, source };
        let header = EntryHeader::check_public(bytes, &self.keys.repository()).map_err(wrong)?;
        if header.number != number {
            return Err(wrong(FormatError::damaged("log entry", "number", header.number, number)));
        }
        if header.previous != self.head.digest {
            return Err(LogError::Broken { number, found: header.previous, wanted: self.head.digest });
        }
        let entry = LogEntry::open(bytes, &self.keys).map_err(wrong)?;
        self.voids.extend(self.state.apply(&entry));
        self.head = LogHead { number, digest: Digest::of(bytes) };
        Ok(())
    }
}
