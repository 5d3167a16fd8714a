//! What a run does in vCenter, written down before it is done, so that whoever comes after a killed run can undo it.
//!
//! ```text
//!   intended(effect) ──► the effect itself ──► made(object) ──► undone │ kept
//! ```
//!
//! A run that is killed between *intended* and *made* leaves an effect of which nobody knows whether it happened: it is
//! looked for by what the effect says of itself (a snapshot by its name and our description, a VM by its name).

use engine::{JobJournal, StateFolder, StateFolderError};
use repo_format::RepositoryId;
use serde::{Deserialize, Serialize};

/// Something that is done in vCenter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Change tracking is switched on. It stays on: later nights want it.
    EnableChangeTracking {
        /// The VM.
        vm: String,
    },
    /// A snapshot to read from.
    CreateSnapshot {
        /// The VM.
        vm: String,
        /// The snapshot's name, which no other run uses.
        name: String,
    },
    /// A VM to restore into.
    CreateVm {
        /// The folder.
        folder: String,
        /// The VM's name.
        name: String,
    },
    /// A snapshot that HotAdd needs for writing.
    CreateWriteSnapshot {
        /// The VM.
        vm: String,
        /// The snapshot's name.
        name: String,
    },
    /// Change tracking of a VM whose disks are written is switched off.
    DisableChangeTracking {
        /// The VM.
        vm: String,
    },
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Intended {
        number: u64,
        vcenter: String,
        #[serde(flatten)]
        effect: Effect,
    },
    Made {
        number: u64,
        object: String,
    },
    Undone {
        number: u64,
    },
    Kept {
        number: u64,
    },
}

/// An effect that was neither undone nor kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEffect {
    number: u64,
    /// Instance uuid of the vCenter it is in.
    pub vcenter: String,
    /// The effect.
    pub effect: Effect,
    /// The object it made; `None`: nobody knows whether it was made.
    pub object: Option<String>,
}

/// An effect that was written down and is to be done now. Whoever drops it leaves it to the cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an effect that was intended has to be made, undone or kept"]
pub struct Intent(u64);

/// Why there is no journal to write to: then nothing may be done.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateFolderError),
    /// A line of somebody else.
    #[error("job journal {run}: line {line} cannot be read: {what}")]
    Line {
        /// The run.
        run: String,
        /// From 1.
        line: usize,
        /// Why.
        what: String,
    },
}

impl JournalError {
    /// How to react.
    pub fn kind(&self) -> engine::Kind {
        match self {
            Self::State(error) => error.kind(),
            Self::Line { .. } => engine::Kind::Failed,
        }
    }
}

/// The journal of one run against one vCenter.
#[derive(Debug)]
pub struct Journal {
    lines: JobJournal,
    vcenter: String,
    next: u64,
    open: Vec<OpenEffect>,
}

impl Journal {
    /// Begins the journal of `run` against the vCenter with this instance uuid.
    pub fn begin(
        state: &StateFolder,
        repository: &RepositoryId,
        run: &str,
        vcenter: &str,
    ) -> Result<Self, JournalError> {
        let lines = JobJournal::begin(state, repository, run)?;
        Ok(Self { lines, vcenter: vcenter.to_owned(), next: 0, open: Vec::new() })
    }

    /// The journals of runs that are gone, with what each left behind.
    pub fn of_dead_runs(state: &StateFolder, repository: &RepositoryId) -> Result<Vec<Self>, JournalError> {
        JobJournal::of_dead_jobs(state, repository)?.into_iter().map(Self::read).collect()
    }

    /// Whether a run that began here still lives.
    pub fn is_alive(state: &StateFolder, repository: &RepositoryId, run: &str) -> Result<bool, JournalError> {
        Ok(JobJournal::is_alive(state, repository, run)?)
    }

    fn read(lines: JobJournal) -> Result<Self, JournalError> {
        let mut journal = Self { lines, vcenter: String::new(), next: 0, open: Vec::new() };
        for (at, text) in (1..).zip(journal.lines.lines()?) {
            let line = serde_json::from_str(&text);
            let wrong = |error: serde_json::Error| JournalError::Line {
                run: journal.lines.name().to_owned(),
                line: at,
                what: error.to_string(),
            };
            journal.apply(line.map_err(wrong)?);
        }
        Ok(journal)
    }

    /// What the run is called.
    pub fn run(&self) -> &str {
        self.lines.name()
    }

    /// What was neither undone nor kept, in the order it was intended in.
    pub fn open(&self) -> &[OpenEffect] {
        &self.open
    }

    /// Writes down that `effect` will be done. Durable when this returns.
    pub fn intend(&mut self, effect: Effect) -> Result<Intent, JournalError> {
        let number = self.next;
        self.write(Line::Intended { number, vcenter: self.vcenter.clone(), effect })?;
        Ok(Intent(number))
    }

    /// It was done and made `object`: what a cleanup needs to undo it.
    pub fn made(&mut self, intent: Intent, object: &str) -> Result<(), JournalError> {
        self.write(Line::Made { number: intent.0, object: object.to_owned() })
    }

    /// It was undone, or is known not to have happened.
    pub fn undone(&mut self, intent: Intent) -> Result<(), JournalError> {
        self.write(Line::Undone { number: intent.0 })
    }

    /// It stays: it was wanted.
    pub fn kept(&mut self, intent: Intent) -> Result<(), JournalError> {
        self.write(Line::Kept { number: intent.0 })
    }

    /// The handle of an effect of a dead run.
    pub fn intent_of(&self, open: &OpenEffect) -> Intent {
        Intent(open.number)
    }

    /// The run has ended. The file goes if nothing is left to be undone, else it waits for a cleanup.
    pub fn close(self) -> Result<(), JournalError> {
        if self.open.is_empty() {
            self.lines.close()?;
        }
        Ok(())
    }

    fn write(&mut self, line: Line) -> Result<(), JournalError> {
        let text = serde_json::to_string(&line).map_err(|error| JournalError::Line {
            run: self.lines.name().to_owned(),
            line: 0,
            what: error.to_string(),
        })?;
        self.lines.append(&text)?;
        self.apply(line);
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Intended { number, vcenter, effect } => {
                self.next = self.next.max(number.saturating_add(1));
                self.open.push(OpenEffect { number, vcenter, effect, object: None });
            }
            Line::Made { number, object } => {
                if let Some(effect) = self.open.iter_mut().find(|effect| effect.number == number) {
                    effect.object = Some(object);
                }
            }
            Line::Undone { number } | Line::Kept { number } => self.open.retain(|effect| effect.number != number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Effect {
        Effect::CreateSnapshot { vm: "vm-16".to_owned(), name: "strongroom 1".to_owned() }
    }

    #[test]
    fn a_dead_run_says_what_it_has_done_and_what_it_may_have_done() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (StateFolder::at(folder.path()), RepositoryId::from_bytes([1; 16]));
        let mut run = Journal::begin(&state, &repository, "run-1", "vc-1").unwrap();
        let tracking = run.intend(Effect::EnableChangeTracking { vm: "vm-16".to_owned() }).unwrap();
        run.kept(tracking).unwrap();
        let first = run.intend(snapshot()).unwrap();
        run.made(first, "snapshot-7").unwrap();
        let _unsure = run.intend(Effect::CreateVm { folder: "group-v3".to_owned(), name: "web01".to_owned() }).unwrap();
        drop(run);

        let mut dead = Journal::of_dead_runs(&state, &repository).unwrap().pop().unwrap();
        let open: Vec<_> = dead.open().iter().map(|open| (open.effect.clone(), open.object.clone())).collect();
        assert_eq!(open[0], (snapshot(), Some("snapshot-7".to_owned())));
        assert_eq!(open[1].1, None);
        assert_eq!((open.len(), dead.open()[0].vcenter.as_str()), (2, "vc-1"));

        let intents: Vec<_> = dead.open().iter().map(|open| dead.intent_of(open)).collect();
        for intent in intents {
            dead.undone(intent).unwrap();
        }
        dead.close().unwrap();
        assert!(Journal::of_dead_runs(&state, &repository).unwrap().is_empty());
    }

    #[test]
    fn a_run_that_ends_with_something_left_behind_keeps_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (StateFolder::at(folder.path()), RepositoryId::from_bytes([1; 16]));
        let mut run = Journal::begin(&state, &repository, "run-1", "vc-1").unwrap();
        let intent = run.intend(snapshot()).unwrap();
        run.made(intent, "snapshot-7").unwrap();
        run.close().unwrap();
        assert_eq!(Journal::of_dead_runs(&state, &repository).unwrap()[0].open().len(), 1);
    }
}
