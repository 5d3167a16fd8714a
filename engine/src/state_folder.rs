//! What a client keeps about repositories outside them: kernel locks of running sessions and VMs, the newest log head
//! seen, the slot used last. Locks die with their process, so none can be stale.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use repo_format::{Digest, RepositoryId, SessionId, SlotId, VmIdentity};
use rustix::fs::{FlockOperation, flock};

use crate::{error::Kind, log::LogHead};

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("state folder: {operation} {}: {source}", path.display())]
pub struct StateFolderError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StateFolderError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        Kind::Failed
    }
}

/// The folder, with a subfolder a repository.
#[derive(Clone, Debug)]
pub struct StateFolder {
    root: PathBuf,
}

/// Held while a session runs. The lock ends with the process; the file stays, so that a later run can tell that the
/// session began here and is gone, until [`SessionLock::discard`] says that nobody will ask any more.
#[derive(Debug)]
pub struct SessionLock {
    path: PathBuf,
    _file: File,
}

impl SessionLock {
    /// The session has ended in the log.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Held while a VM is backed up from this host.
#[derive(Debug)]
pub struct VmLock {
    _file: File,
}

impl StateFolder {
    /// The state folder at `root`; it is made when first written to.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Locks a session of our own that begins.
    pub fn new_session_lock(
        &self,
        repository: &RepositoryId,
        session: &SessionId,
    ) -> Result<SessionLock, StateFolderError> {
        let path = self.folder(repository, "sessions")?.join(session.to_string());
        let file = open_lock(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| wrong("lock", &path, error.into()))?;
        Ok(SessionLock { path, _file: file })
    }

    /// Takes over the lock of a session that began here and whose process is gone. `None`: it is running, or it did not
    /// begin with this state folder, so that nobody here can tell.
    pub fn dead_session_lock(
        &self,
        repository: &RepositoryId,
        session: &SessionId,
    ) -> Result<Option<SessionLock>, StateFolderError> {
        let path = self.folder(repository, "sessions")?.join(session.to_string());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| wrong("open", &path, error))?,
        };
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(SessionLock { path, _file: file }))
    }

    /// Whether the process of a session that began here still holds its lock.
    pub fn runs_here(&self, repository: &RepositoryId, session: &SessionId) -> Result<bool, StateFolderError> {
        let path = self.folder(repository, "sessions")?.join(session.to_string());
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(wrong("open", &path, error)),
            Ok(file) => Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err()),
        }
    }

    /// Notes what the heartbeat of `session` looks like, and gives since when this host has seen it so. A clock that was
    /// set back makes this look the first.
    pub fn look(
        &self,
        repository: &RepositoryId,
        session: &SessionId,
        beat: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<u64, StateFolderError> {
        let path = self.folder(repository, "looks")?.join(session.to_string());
        let seen = Digest::of(beat.unwrap_or_default()).to_string();
        let before = fs::read_to_string(&path).ok();
        let since = before.as_deref().and_then(|text| {
            let (digest, since) = text.trim().split_once(' ')?;
            since.parse::<u64>().ok().filter(|since| digest == seen && *since <= now_ms)
        });
        match since {
            Some(since) => Ok(since),
            None => replace(&path, &format!("{seen} {now_ms}\n")).map(|()| now_ms),
        }
    }

    /// Forgets looks at sessions other than `open`: they have ended.
    pub fn keep_looks_of(&self, repository: &RepositoryId, open: &[SessionId]) -> Result<(), StateFolderError> {
        let folder = self.folder(repository, "looks")?;
        let kept: Vec<String> = open.iter().map(SessionId::to_string).collect();
        let names = fs::read_dir(&folder).map_err(|error| wrong("list", &folder, error))?;
        for entry in names.flatten() {
            if !kept.iter().any(|kept| entry.file_name().to_str() == Some(kept)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Locks a VM; `None` if another process of this host is backing it up.
    pub fn vm_lock(&self, repository: &RepositoryId, vm: &VmIdentity) -> Result<Option<VmLock>, StateFolderError> {
        let name = Digest::of(format!("{vm:?}").as_bytes());
        let path = self.folder(repository, "vms")?.join(name.to_string());
        let file = open_lock(&path)?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(VmLock { _file: file }))
    }

    /// The newest head seen.
    pub fn remembered_head(&self, repository: &RepositoryId) -> Result<Option<LogHead>, StateFolderError> {
        let path = self.root.join(repository.to_string()).join("head");
        match fs::read_to_string(&path) {
            Ok(text) => text.parse().map(Some).map_err(|what: String| wrong("read", &path, io::Error::other(what))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong("read", &path, error)),
        }
    }

    /// Remembers `head`: durable, and never an older one in place of a newer.
    pub fn remember_head(&self, repository: &RepositoryId, head: LogHead) -> Result<(), StateFolderError> {
        let folder = self.folder(repository, "")?;
        let _one_at_a_time = lock_folder(&folder)?;
        match self.remembered_head(repository) {
            Ok(Some(known)) if known.number > head.number || known == head => return Ok(()),
            _ => {}
        }
        replace(&folder.join("head"), &format!("{}\n", head.to_full_text()))
    }

    /// Remembers `head` whatever was remembered before: the operator has accepted it.
    pub fn accept_head(&self, repository: &RepositoryId, head: LogHead) -> Result<(), StateFolderError> {
        let folder = self.folder(repository, "")?;
        let _one_at_a_time = lock_folder(&folder)?;
        replace(&folder.join("head"), &format!("{}\n", head.to_full_text()))
    }

    /// The key slot used last on this host: the one to try first.
    pub fn last_slot(&self, repository: &RepositoryId) -> Option<SlotId> {
        fs::read_to_string(self.root.join(repository.to_string()).join("slot")).ok()?.trim().parse().ok()
    }

    /// Remembers the key slot used.
    pub fn remember_slot(&self, repository: &RepositoryId, slot: SlotId) -> Result<(), StateFolderError> {
        if self.last_slot(repository) == Some(slot) {
            return Ok(());
        }
        replace(&self.folder(repository, "")?.join("slot"), &format!("{slot}\n"))
    }

    pub(crate) fn folder(&self, repository: &RepositoryId, part: &str) -> Result<PathBuf, StateFolderError> {
        let path = self.root.join(repository.to_string()).join(part);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| wrong("create", &path, error))?;
        Ok(path)
    }
}

pub(crate) fn wrong(operation: &'static str, path: &Path, source: io::Error) -> StateFolderError {
    StateFolderError { operation, path: path.to_owned(), source }
}

fn open_lock(path: &Path) -> Result<File, StateFolderError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|error| wrong("open", path, error))
}

fn lock_folder(folder: &Path) -> Result<File, StateFolderError> {
    let path = folder.join("lock");
    let file = open_lock(&path)?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| wrong("lock", &path, error.into()))?;
    Ok(file)
}

/// The name of `path` is durable in its folder.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), StateFolderError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| wrong("sync", folder, error))
}

/// Replaces a small file whole: temporary name, sync, rename, sync of the folder.
fn replace(path: &Path, text: &str) -> Result<(), StateFolderError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(())
    };
    write().map_err(|error| wrong("write", path, error))?;
    sync_folder_of(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> LogHead {
        LogHead { number, digest: Digest::of(&number.to_le_bytes()) }
    }

    #[test]
    fn a_remembered_head_only_grows_unless_the_operator_accepts_another() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (StateFolder::at(folder.path()), RepositoryId::from_bytes([1; 16]));
        assert_eq!(state.remembered_head(&repository).unwrap(), None);
        state.remember_head(&repository, head(5)).unwrap();
        state.remember_head(&repository, head(3)).unwrap();
        assert_eq!(state.remembered_head(&repository).unwrap(), Some(head(5)));
        state.accept_head(&repository, head(3)).unwrap();
        assert_eq!(state.remembered_head(&repository).unwrap(), Some(head(3)));
    }

    #[test]
    fn a_running_session_is_not_dead_and_a_foreign_one_cannot_be_told() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (StateFolder::at(folder.path()), RepositoryId::from_bytes([1; 16]));
        let (ours, foreign) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let lock = state.new_session_lock(&repository, &ours).unwrap();
        assert!(state.dead_session_lock(&repository, &ours).unwrap().is_none());
        assert!(state.dead_session_lock(&repository, &foreign).unwrap().is_none());
        drop(lock);
        let dead = state.dead_session_lock(&repository, &ours).unwrap();
        dead.expect("a session whose process is gone is dead").discard();
        assert!(state.dead_session_lock(&repository, &ours).unwrap().is_none());
    }

    #[test]
    fn a_vm_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (StateFolder::at(folder.path()), RepositoryId::from_bytes([1; 16]));
        let vm = VmIdentity::named("web01").unwrap();
        let lock = state.vm_lock(&repository, &vm).unwrap();
        assert!(lock.is_some() && state.vm_lock(&repository, &vm).unwrap().is_none());
        drop(lock);
        assert!(state.vm_lock(&repository, &vm).unwrap().is_some());
    }
}
