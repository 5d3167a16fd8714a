//! Checkpoints: copies of many entries in one object, so that a cold client reads some objects instead of every entry.
//!
//! **Invariant:** a copy is believed only as the entry that it is: taken up by the chain from `config` on, and linked to by an
//! entry that lies in the log itself. Whatever is wrong with a checkpoint, the entries are read instead, and the state is the
//! same. The digest of the state in a checkpoint decides nothing; `verify` compares it.

use std::sync::Arc;

use repo_format::{
    Checkpoint, CheckpointPart, CheckpointPartBuilder, Digest, ENTRY_BYTES_MAX, EntryHeader, FormatError, LogEntry,
    PART_BYTES_MAX, Record,
};

use super::{Log, LogError, LogHead, State};
use crate::{
    clock::Clock,
    entropy::Entropy,
    store::{Name, PutNew, Reaction, StoreError},
};

/// A log that is not longer is read entry by entry: looking for a checkpoint would cost as much.
const WORTH_LOOKING: u64 = 64;
/// Older checkpoints tried when the newest cannot be used.
const TRIES: usize = 3;
/// A checkpoint is due when so many entries have come since the last one…
const DUE_ENTRIES: u64 = 128;
/// … or a day has passed and some entries have come.
const DUE_MS: u64 = 24 * 3_600_000;
const DUE_ENTRIES_A_DAY: u64 = 16;

/// A part whose entries the chain has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConfirmedPart {
    name: Digest,
    /// Its last entry.
    last: LogHead,
    /// It takes no further entry.
    is_whole: bool,
}

/// Why no checkpoint was written. Nothing is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part cannot be made.
    #[error(transparent)]
    Part(#[from] FormatError),
    /// An entry is not there any more as it was replayed.
    #[error("log entry {number} is not what was replayed: run verify")]
    Entry {
        /// Its number.
        number: u64,
    },
}

// Reading.

impl Log {
    /// Replays the beginning of the log from copies, as far as a checkpoint goes that can be used. What goes wrong is passed
    /// over: the entries are there. Gives the digest of entry `watched` if it came by.
    pub(super) fn replay_copies(&mut self, watched: Option<u64>) -> Option<Digest> {
        let mut at = self.newest_checkpoint_seen(watched)?;
        for _ in 0..TRIES {
            let entry = self.checked_entry(at)?;
            if let Some((log, seen)) = self.replayed_to(&entry, watched) {
                *self = log;
                return seen;
            }
            // The one before it, as that entry has it.
            at = Some(entry.header.checkpoint).filter(|before| (1..at).contains(before))?;
        }
        None
    }

    /// Number of the newest checkpoint, as the newest entry has it. A hint, like all that is asked here.
    fn newest_checkpoint_seen(&self, watched: Option<u64>) -> Option<u64> {
        let newest = self.checked_entry(self.find_end(watched.unwrap_or(0)).ok()??)?;
        let number = if checkpoint_in(&newest).is_some() { newest.header.number } else { newest.header.checkpoint };
        Some(number).filter(|number| *number != 0)
    }

    /// The newest entry of a long log, by leaps that double and then by halves; `from` is where it was once. `None`: the log
    /// is short.
    fn find_end(&self, from: u64) -> Result<Option<u64>, StoreError> {
        let is_there = |number| Ok::<_, StoreError>(self.store.size(&Name::log(number))?.is_some());
        let is_known = from >= WORTH_LOOKING && is_there(from)?;
        let (mut there, mut leap) = if is_known { (from, 1) } else { (0, WORTH_LOOKING) };
        let mut absent = there.saturating_add(leap);
        while is_there(absent)? {
            there = absent;
            leap = leap.saturating_mul(2);
            absent = there.saturating_add(leap);
        }
        while there > 0 && absent - there > 1 {
            let middle = there + (absent - there) / 2;
            if is_there(middle)? {
                there = middle;
            } else {
                absent = middle;
            }
        }
        Ok((there > 0).then_some(there))
    }

    fn raw_entry(&self, number: u64) -> Option<Vec<u8>> {
        self.store.get(&Name::log(number), ENTRY_BYTES_MAX as u64).ok()?
    }

    fn raw_part(&self, name: Digest) -> Option<Vec<u8>> {
        self.store.get(&Name::checkpoint_part(name), PART_BYTES_MAX as u64).ok()?
    }

    fn entry_header(&self, number: u64) -> Option<EntryHeader> {
        let header = EntryHeader::check_public(&self.raw_entry(number)?, &self.keys.repository()).ok()?;
        (header.number == number).then_some(header)
    }

    fn checked_entry(&self, number: u64) -> Option<LogEntry> {
        let entry = LogEntry::open(&self.raw_entry(number)?, &self.keys).ok()?;
        (entry.header.number == number).then_some(entry)
    }

    /// A log replayed from the parts of the checkpoint in `entry`, if every copy in them is an entry of the log.
    fn replayed_to(&self, entry: &LogEntry, watched: Option<u64>) -> Option<(Self, Option<Digest>)> {
        let checkpoint = checkpoint_in(entry)?;
        let mut log = Self::empty(Arc::clone(&self.store), Arc::clone(&self.keys), self.config_digest);
        let mut seen = None;
        for name in &checkpoint.parts {
            let bytes = self.raw_part(*name)?;
            let part = CheckpointPart::decode(&bytes, name, &self.keys.repository()).ok()?;
            (part.first == log.head.number.saturating_add(1)).then_some(())?;
            for (number, entry) in (part.first..).zip(&part.entries) {
                log.take(number, entry).ok()?;
                if watched == Some(number) {
                    seen = Some(log.head.digest);
                }
            }
            log.parts.push(ConfirmedPart { name: *name, last: log.head, is_whole: part.is_whole });
        }
        // Copies that hang together may still be those of another history: the log itself has to go on from them.
        let next = self.entry_header(checkpoint.at.saturating_add(1))?;
        (log.head.number == checkpoint.at && next.previous == log.head.digest).then_some((log, seen))
    }
}

pub(super) fn checkpoint_in(entry: &LogEntry) -> Option<&Checkpoint> {
    entry.records.iter().rev().find_map(|record| match record {
        Record::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    })
}

// Writing.

impl Log {
    /// Writes a checkpoint if one is due: the parts first, then the entry that names them.
    pub(crate) fn checkpoint_if_due(
        &mut self,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<bool, CheckpointError> {
        if !self.is_due(clock.now_ms()) { Ok(false) } else { self.write_checkpoint(clock, entropy) }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let newest = self.state.checkpoints().last();
        let entries = self.head.number.saturating_sub(newest.map_or(0, |newest| newest.entry_number));
        let is_old = newest.is_some_and(|newest| now_ms.saturating_sub(newest.time_ms) >= DUE_MS);
        entries >= DUE_ENTRIES || (is_old && entries >= DUE_ENTRIES_A_DAY)
    }

    /// False: somebody else has written one meanwhile.
    fn write_checkpoint(&mut self, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<bool, CheckpointError> {
        let (at, digest) = (self.head, self.state.digest());
        let checkpoint = Checkpoint { at: at.number, digest, parts: self.put_parts(at)? };
        let newest = self.state.newest_checkpoint();
        let appended = self.append(clock, entropy, &mut |state: &State| {
            let is_newest = state.newest_checkpoint() == newest;
            Ok(is_newest.then(|| Record::Checkpoint(checkpoint.clone())).into_iter().collect())
        })?;
        Ok(!appended.records.is_empty())
    }

    /// Stores copies of all entries up to `at`, which is the head, and gives the names of all parts. Whole ones are there.
    fn put_parts(&mut self, at: LogHead) -> Result<Vec<Digest>, CheckpointError> {
        let repository = self.keys.repository();
        let mut parts: Vec<ConfirmedPart> = self.parts.iter().copied().take_while(|part| part.is_whole).collect();
        let growing = self.parts.get(parts.len()).and_then(|part| Some((part.name, self.raw_part(part.name)?)));
        let growing = growing.as_ref().and_then(|(name, bytes)| CheckpointPart::decode(bytes, name, &repository).ok());
        let mut copied = growing.map(|part| part.entries).unwrap_or_default().into_iter();
        let config = LogHead { number: 0, digest: self.config_digest };
        let mut end = parts.last().map_or(config, |part| part.last);
        while end.number < at.number {
            let mut part = CheckpointPartBuilder::new(&repository, end.number.saturating_add(1));
            while end.number < at.number && !part.is_whole() {
                let number = end.number.saturating_add(1);
                let entry = copied.next().map(<[u8]>::to_vec).or_else(|| self.raw_entry(number));
                let entry = entry.ok_or(CheckpointError::Entry { number })?;
                let header = EntryHeader::check_public(&entry, &repository)?;
                if (header.number, header.previous) != (number, end.digest) {
                    return Err(CheckpointError::Entry { number });
                }
                end = LogHead { number, digest: Digest::of(&entry) };
                part.push(&entry)?;
            }
            let is_whole = part.is_whole();
            let (name, bytes) = part.finish();
            self.put_part(name, &bytes)?;
            parts.push(ConfirmedPart { name, last: end, is_whole });
        }
        // Each entry names the one before it: with the last, all are those that were replayed.
        if end != at {
            return Err(CheckpointError::Entry { number: at.number });
        }
        self.parts = parts;
        Ok(self.parts.iter().map(|part| part.name).collect())
    }

    /// Stores a part. One that is there under its name with other bytes is damaged, and makes room for the right ones.
    fn put_part(&self, name: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let name = Name::checkpoint_part(name);
        for _ in 0..2 {
            match self.store.put_new(&name, bytes)? {
                PutNew::Created => return Ok(()),
                PutNew::Exists(_) => drop(self.store.delete_many(std::slice::from_ref(&name))),
            }
        }
        Err(StoreError::new("create", name, Reaction::Unavailable, "a damaged object of this name cannot be removed"))
    }
}
