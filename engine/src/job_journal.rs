//! What a job does outside of the repository, written down before it is done: a killed job leaves the list of what the next
//! one has to undo.
//!
//! A journal is a file in the state folder, a line an effect, locked by the kernel while its job lives. A line counts when
//! its end is there: it was made durable before the effect was begun, so one that is torn stands for nothing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use repo_format::RepositoryId;
use rustix::fs::{FlockOperation, flock};

use crate::state_folder::{StateFolder, StateFolderError, sync_folder_of, wrong};

const FOLDER: &str = "jobs";
const ENDING: &str = "journal";
/// A job has some dozens of effects; nothing longer is ours.
const JOURNAL_BYTES_MAX: u64 = 16 << 20;

/// The journal of one job.
#[derive(Debug)]
pub struct JobJournal {
    path: PathBuf,
    file: File,
    name: String,
}

impl JobJournal {
    /// Begins the journal of a job that is called `name`, which no other job of this repository is: letters, digits, dashes.
    pub fn begin(state: &StateFolder, repository: &RepositoryId, name: &str) -> Result<Self, StateFolderError> {
        let path = state.folder(repository, FOLDER)?.join(name).with_extension(ENDING);
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| wrong("create", &path, error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| wrong("lock", &path, error.into()))?;
        sync_folder_of(&path)?;
        Ok(Self { path, file, name: name.to_owned() })
    }

    /// The journals of jobs that began here and are gone, oldest name first. Each is locked by whoever has it.
    pub fn of_dead_jobs(state: &StateFolder, repository: &RepositoryId) -> Result<Vec<Self>, StateFolderError> {
        let folder = state.folder(repository, FOLDER)?;
        let names = fs::read_dir(&folder).map_err(|error| wrong("list", &folder, error))?;
        let mut paths: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        paths.sort();
        Ok(paths.into_iter().filter_map(|path| locked(&path)).collect())
    }

    /// Whether a job of that name began here and still lives.
    pub fn is_alive(state: &StateFolder, repository: &RepositoryId, name: &str) -> Result<bool, StateFolderError> {
        let path = state.folder(repository, FOLDER)?.join(name).with_extension(ENDING);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(wrong("open", &path, error)),
            Ok(file) => Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err()),
        }
    }

    /// What the job is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a line; it is durable when this returns. A line has no line feed in it.
    pub fn append(&mut self, line: &str) -> Result<(), StateFolderError> {
        let write = || {
            if line.contains('\n') {
                return Err(io::Error::other("a line feed within a line"));
            }
            (&self.file).write_all(format!("{line}\n").as_bytes())?;
            self.file.sync_data()
        };
        write().map_err(|error| wrong("write", &self.path, error))
    }

    /// The lines that count.
    pub fn lines(&self) -> Result<Vec<String>, StateFolderError> {
        let text = whole_lines(&self.path).map_err(|error| wrong("read", &self.path, error))?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// Nothing is left to be undone: the journal goes.
    pub fn close(self) -> Result<(), StateFolderError> {
        fs::remove_file(&self.path).map_err(|error| wrong("remove", &self.path, error))?;
        sync_folder_of(&self.path)
    }
}

/// Everything up to the last line feed.
fn whole_lines(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    Ok(bytes)
}

/// `None`: its job lives, or the file has gone.
fn locked(path: &Path) -> Option<JobJournal> {
    let file = OpenOptions::new().read(true).append(true).open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    // Somebody may have closed it between the listing and the lock.
    path.exists().then_some(())?;
    // What is torn goes, so that the next line does not continue it.
    file.set_len(whole_lines(path).ok()?.len() as u64).ok()?;
    let name = path.file_stem()?.to_str()?.to_owned();
    Some(JobJournal { path: path.to_owned(), file, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, StateFolder, RepositoryId) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::at(folder.path());
        (folder, state, RepositoryId::from_bytes([1; 16]))
    }

    #[test]
    fn what_a_dead_job_wrote_is_there_and_a_living_job_is_left_alone() {
        let (_folder, state, repository) = place();
        let mut living = JobJournal::begin(&state, &repository, "run-1").unwrap();
        living.append("intended snapshot").unwrap();
        assert!(JobJournal::of_dead_jobs(&state, &repository).unwrap().is_empty());
        assert!(JobJournal::is_alive(&state, &repository, "run-1").unwrap());
        drop(living);
        assert!(!JobJournal::is_alive(&state, &repository, "run-1").unwrap());
        let dead = JobJournal::of_dead_jobs(&state, &repository).unwrap();
        assert_eq!(dead[0].name(), "run-1");
        assert_eq!(dead[0].lines().unwrap(), ["intended snapshot"]);
        assert!(JobJournal::of_dead_jobs(&state, &repository).unwrap().is_empty(), "one job at a time undoes it");
    }

    #[test]
    fn a_torn_line_stands_for_nothing_and_more_can_be_added_after_it() {
        let (_folder, state, repository) = place();
        let mut journal = JobJournal::begin(&state, &repository, "run-1").unwrap();
        journal.append("one").unwrap();
        (&journal.file).write_all(b"tor").unwrap();
        assert_eq!(journal.lines().unwrap(), ["one"]);
        drop(journal);
        let mut journal = JobJournal::of_dead_jobs(&state, &repository).unwrap().pop().unwrap();
        journal.append("two").unwrap();
        assert_eq!(journal.lines().unwrap(), ["one", "two"]);
        journal.close().unwrap();
        assert!(JobJournal::of_dead_jobs(&state, &repository).unwrap().is_empty());
    }

    #[test]
    fn a_name_is_taken_once() {
        let (_folder, state, repository) = place();
        let _journal = JobJournal::begin(&state, &repository, "run-1").unwrap();
        assert!(JobJournal::begin(&state, &repository, "run-1").is_err());
    }
}
