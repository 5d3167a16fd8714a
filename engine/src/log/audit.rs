//! Reads the whole log once more, entry by entry, and holds the newest checkpoints against it.

use std::sync::Arc;

use repo_format::{CheckpointPart, Digest, ENTRY_BYTES_MAX, EntryHeader, PART_BYTES_MAX};

use super::{CheckpointState, Log};
use crate::{
    problem::Problem,
    store::{Name, Reaction, StoreError},
};

/// What the entries in the log say of the places where checkpoints were taken.
struct Derived {
    problems: Vec<Problem>,
    /// By checkpoint: digest of the entry it ends with, and of the state then. `None`: an entry up to there cannot be read.
    found: Vec<Option<(Digest, Digest)>>,
}

impl Log {
    /// What is wrong with entries and checkpoints. An open log has believed neither more nor less than the entries say; yet a
    /// file of the log may be gone while a copy of it was read, and a checkpoint may lie.
    pub(crate) fn audit(&self) -> Result<Vec<Problem>, StoreError> {
        let checkpoints = self.state.checkpoints();
        let Derived { mut problems, found } = self.derive_again(checkpoints)?;
        for (checkpoint, found) in checkpoints.iter().zip(found) {
            problems.extend(self.audit_checkpoint(checkpoint, found)?);
        }
        Ok(problems)
    }

    fn derive_again(&self, checkpoints: &[CheckpointState]) -> Result<Derived, StoreError> {
        let mut log = Self::empty(Arc::clone(&self.store), Arc::clone(&self.keys), self.config_digest);
        let mut derived = Derived { problems: Vec::new(), found: vec![None; checkpoints.len()] };
        for number in 1..=self.head.number {
            let object = format_args!("log entry {number}").to_string();
            let what = match read(self, &Name::log(number), ENTRY_BYTES_MAX)? {
                Err(what) => what,
                // After a gap the rest can only be looked at without the state.
                Ok(bytes) if log.head.number < number - 1 => {
                    match EntryHeader::check_public(&bytes, &self.keys.repository()) {
                        Ok(header) if header.number == number => continue,
                        Ok(header) => format!("says that it is entry {}", header.number),
                        Err(error) => error.to_string(),
                    }
                }
                Ok(bytes) => match log.take(number, &bytes) {
                    Ok(()) => {
                        for (checkpoint, found) in checkpoints.iter().zip(&mut derived.found) {
                            if checkpoint.checkpoint.at == number && number < checkpoint.entry_number {
                                *found = Some((log.head.digest, log.state.digest()));
                            }
                        }
                        continue;
                    }
                    Err(error) => {
                        derived.problems.push(Problem::new("log", error));
                        continue;
                    }
                },
            };
            derived.problems.push(Problem::new(object, what));
        }
        if log.head.number == self.head.number && log.head != self.head {
            derived.problems.push(Problem::new("log", "is not what was read a moment ago"));
        }
        Ok(derived)
    }

    fn audit_checkpoint(
        &self,
        state: &CheckpointState,
        found: Option<(Digest, Digest)>,
    ) -> Result<Vec<Problem>, StoreError> {
        let object = format!("checkpoint in log entry {}", state.entry_number);
        let checkpoint = &state.checkpoint;
        let mut problems = Vec::new();
        if checkpoint.at >= state.entry_number {
            let what = format_args!("speaks of entry {}, which does not come before it", checkpoint.at);
            return Ok(vec![Problem::new(object, what)]);
        }
        if found.is_some_and(|(_, digest)| digest != checkpoint.digest) {
            problems.push(Problem::new(&object, "says another state than the entries: what wrote it is wrong"));
        }
        let (mut end, mut previous) = (0, self.config_digest);
        for name in &checkpoint.parts {
            let object = format!("checkpoint part {name}");
            let bytes = match read(self, &Name::checkpoint_part(*name), PART_BYTES_MAX)? {
                Ok(bytes) => bytes,
                Err(what) => return Ok(with(problems, object, what)),
            };
            let repository = self.keys.repository();
            let part = CheckpointPart::decode(&bytes, name, &repository);
            match part
                .and_then(|part| Ok((part.first, part.entries.len(), part.check_chain(Some(previous), &repository)?)))
            {
                Ok((first, count, last)) if first == end + 1 => (end, previous) = (end + count as u64, last),
                Ok((first, ..)) => {
                    let what = format!("begins with entry {first}, where {} was due", end + 1);
                    return Ok(with(problems, object, what));
                }
                Err(error) => return Ok(with(problems, object, error.to_string())),
            }
        }
        if end != checkpoint.at {
            let what = format!("has copies of {end} entries where {} were due", checkpoint.at);
            problems.push(Problem::new(&object, what));
        } else if found.is_some_and(|(last, _)| last != previous) {
            problems.push(Problem::new(&object, "has copies of entries that are not those of the log"));
        }
        Ok(problems)
    }
}

fn with(mut problems: Vec<Problem>, object: String, what: String) -> Vec<Problem> {
    problems.push(Problem::new(object, what));
    problems
}

/// The bytes, or why they are not there.
fn read(log: &Log, name: &Name, bytes_max: usize) -> Result<Result<Vec<u8>, String>, StoreError> {
    match log.store.get(name, bytes_max as u64) {
        Ok(Some(bytes)) => Ok(Ok(bytes)),
        Ok(None) => Ok(Err("is missing".to_owned())),
        Err(error) if error.reaction == Reaction::Damaged => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
