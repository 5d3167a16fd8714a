//! A repository in a folder.
//!
//! An object is written under `tmp/`, synced, linked to its name and its folder synced; only then is it there. **Any error
//! of a sync means that object does not exist**: it is never synced again, since the kernel marks pages clean after a failed one.

mod fs;

#[cfg(test)]
mod tests;

use std::{
    io,
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use repo_format::FullPack;

use self::fs::{Fs, RealFs};
use super::{Caps, Deleted, Listed, Name, Prefix, PutNew, RESERVE_BYTES, Reaction, Store, StoreError};

/// A temporary file that a sweeper has taken for a leftover is written again, this often.
const TRIES: usize = 4;

/// A repository's folder.
pub struct LocalStore {
    root: PathBuf,
    fs: Box<dyn Fs>,
    /// Makes the names of this process's temporary files its own.
    writer: String,
    next: AtomicU64,
    /// A sync of a folder has failed: which names are durable is not known any more, and syncing again would not tell.
    broken: AtomicBool,
}

impl LocalStore {
    /// The store in folder `root`, which need not exist yet.
    pub fn at(root: &Path) -> Self {
        Self::over(Box::<RealFs>::default(), root)
    }

    fn over(fs: Box<dyn Fs>, root: &Path) -> Self {
        let random: [u8; 8] = crate::entropy::random(&crate::entropy::SystemEntropy);
        let writer = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { root: root.to_owned(), fs, writer, next: AtomicU64::new(0), broken: AtomicBool::new(false) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn error(&self, operation: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::from_io(operation, path.display(), source)
    }

    /// Writes and syncs `body` under a temporary name.
    fn write_temporary(&self, body: &[u8]) -> Result<PathBuf, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("tmp").join(format!("{}-{number}", self.writer));
        let mut file = self.fs.create(&path).map_err(|source| self.error("create", &path, source))?;
        if let Err(source) = file.write_all(body).and_then(|()| file.sync()) {
            drop(file);
            let _ = self.fs.unlink(&path);
            return Err(self.error("write", &path, source));
        }
        Ok(path)
    }

    /// A failed sync of a folder leaves open which of its names are there, and a second one would lie. So the store stops:
    /// nobody must find in the page cache what a power cut would take away, and call it committed.
    fn sync_parent(&self, path: &Path) -> Result<(), StoreError> {
        let parent = path.parent().unwrap_or(&self.root);
        self.fs.sync_dir(parent).map_err(|source| {
            self.broken.store(true, Ordering::SeqCst);
            StoreError { reaction: Reaction::Unknown, ..self.error("sync folder", parent, source) }
        })
    }

    fn refuse_if_broken(&self) -> Result<(), StoreError> {
        if !self.broken.load(Ordering::SeqCst) {
            return Ok(());
        }
        let what =
            "a folder could not be synced, so what this run wrote last may not last: check the disk, start again";
        Err(StoreError::new("use", self.root.display(), Reaction::Unavailable, what))
    }

    /// Links a temporary file holding `body` to `path`; `false` if that name is taken.
    fn publish(&self, path: &Path, body: &[u8]) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let temporary = self.write_temporary(body)?;
            let linked = self.fs.link(&temporary, path);
            let _ = self.fs.unlink(&temporary);
            match linked {
                Ok(()) => return self.sync_parent(path).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && path.parent().is_some_and(|parent| self.fs.is_dir(parent)) => {}
                Err(source) => return Err(self.error("link", path, source)),
            }
        }
        Err(StoreError::new("link", path.display(), Reaction::Unknown, "its temporary file keeps disappearing"))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let length = match self.fs.length(path) {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other.map_err(|source| self.error("read", path, source))?,
        };
        if length > bytes_max {
            let what = format!("it has {length} bytes, at most {bytes_max} are right");
            return Err(StoreError::new("read", path.display(), Reaction::Damaged, what));
        }
        let mut bytes = Vec::new();
        match self.fs.read_at(path, 0, usize::try_from(length).unwrap_or(usize::MAX), &mut bytes) {
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(self.error("read", path, source)),
            Ok(()) => Ok(Some(bytes)),
        }
    }

    /// Removes what an `init` that did not end has left. A folder that holds anything else is left alone.
    fn clear_unfinished_init(&self) -> Result<(), StoreError> {
        let foreign = |what: &str| {
            StoreError::new(
                "prepare",
                self.root.display(),
                Reaction::Invalid,
                format!("the folder is not empty: {what}"),
            )
        };
        let mut removable = Vec::new();
        for (name, is_dir) in self.fs.names(&self.root).map_err(|source| self.error("list", &self.root, source))? {
            let path = self.root.join(&name);
            match (name.as_str(), is_dir) {
                ("lost+found", true) => {}
                ("keys" | "log" | "tmp" | "sess" | "ckpt", true) => {
                    for (file, _) in self.fs.names(&path).map_err(|source| self.error("list", &path, source))? {
                        removable.push(path.join(file));
                    }
                }
                ("packs", true) => {
                    for (folder, is_dir) in self.fs.names(&path).map_err(|source| self.error("list", &path, source))? {
                        let folder = path.join(folder);
                        if !is_dir
                            || !self.fs.names(&folder).map_err(|source| self.error("list", &folder, source))?.is_empty()
                        {
                            return Err(foreign("packs"));
                        }
                    }
                }
                ("SPEC.md" | "reserve" | "config.copy", false) => removable.push(path),
                (other, _) => return Err(foreign(other)),
            }
        }
        removable.iter().try_for_each(|path| self.fs.unlink(path).map_err(|source| self.error("remove", path, source)))
    }
}

/// Not there, or a part of the path is no folder.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Store for LocalStore {
    fn put_new(&self, name: &Name, body: &[u8]) -> Result<PutNew, StoreError> {
        self.refuse_if_broken()?;
        let path = self.path(name);
        if self.publish(&path, body)? {
            return Ok(PutNew::Created);
        }
        // A network file system may have lost the answer to our own request: equal bytes are ours.
        match self.read(&path, u64::MAX)? {
            Some(found) if found == body => self.sync_parent(&path).map(|()| PutNew::Created),
            Some(found) => Ok(PutNew::Exists(found)),
            None => Err(StoreError::new("create", path.display(), Reaction::Unknown, "it was there and is not now")),
        }
    }

    fn put_pack(&self, pack: &FullPack) -> Result<(), StoreError> {
        self.refuse_if_broken()?;
        let path = self.path(&Name::pack(pack.name()));
        if self.publish(&path, pack.bytes())? {
            return Ok(());
        }
        if self.read(&path, pack.bytes().len() as u64).ok().flatten().is_some_and(|found| found == pack.bytes()) {
            return self.sync_parent(&path);
        }
        // The one plain rename: both objects bear this name, and only ours has the bytes for it.
        let temporary = self.write_temporary(pack.bytes())?;
        self.fs.rename(&temporary, &path).map_err(|source| {
            let _ = self.fs.unlink(&temporary);
            self.error("rename", &path, source)
        })?;
        self.sync_parent(&path)
    }

    fn get(&self, name: &Name, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.refuse_if_broken()?;
        self.read(&self.path(name), bytes_max)
    }

    fn get_range(&self, name: &Name, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), StoreError> {
        self.refuse_if_broken()?;
        let path = self.path(name);
        let before = into.len();
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.fs.read_at(&path, range.start, wanted, into).map_err(|source| self.error("read", &path, source))?;
        match into.len() - before == wanted {
            true => Ok(()),
            false => {
                let what = format!(
                    "it ends at byte {}, but {} was wanted",
                    range.start + (into.len() - before) as u64,
                    range.end
                );
                Err(StoreError::new("read", path.display(), Reaction::Damaged, what))
            }
        }
    }

    fn size(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        self.refuse_if_broken()?;
        let path = self.path(name);
        match self.fs.length(&path) {
            Err(error) if is_absent(&error) => Ok(None),
            other => other.map(Some).map_err(|source| self.error("read", &path, source)),
        }
    }

    fn list(&self, prefix: Prefix, tell: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut folders = vec![prefix.as_str().to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.root.join(&folder);
            let names = match self.fs.names(&path) {
                Err(error) if is_absent(&error) => continue,
                other => other.map_err(|source| self.error("list", &path, source))?,
            };
            for (file, is_dir) in names {
                let text = format!("{folder}/{file}");
                if is_dir {
                    folders.push(text);
                } else if let Some(name) = Name::parse(&text)
                    && let Some(bytes) = self.size(&name)?
                    && tell(Listed { name, bytes }).is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn delete_many(&self, names: &[Name]) -> Vec<(Name, Result<Deleted, StoreError>)> {
        let delete = |name: &Name| {
            let path = self.path(name);
            let result = match self.fs.unlink(&path) {
                Err(error) if is_absent(&error) => Ok(Deleted::Gone),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Deleted::Retained),
                other => other.map(|()| Deleted::Gone).map_err(|source| self.error("remove", &path, source)),
            };
            (name.clone(), result)
        };
        names.iter().map(delete).collect()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.fs.make_dir(&self.root).map_err(|source| self.error("create folder", &self.root, source))?;
        if !self.fs.lock_dir(&self.root).map_err(|source| self.error("lock", &self.root, source))? {
            let what = "another process is making a repository there";
            return Err(StoreError::new("prepare", self.root.display(), Reaction::Invalid, what));
        }
        self.clear_unfinished_init()?;
        let packs = (0..=255_u8).map(|first| format!("packs/{first:02x}"));
        let folders = ["tmp", "keys", "log", "sess", "ckpt", "packs"].into_iter().map(str::to_owned);
        for folder in folders.chain(packs) {
            let path = self.root.join(folder);
            self.fs.make_dir(&path).map_err(|source| self.error("create folder", &path, source))?;
        }
        for folder in ["packs", ""] {
            let path = self.root.join(folder);
            self.fs.sync_dir(&path).map_err(|source| self.error("sync folder", &path, source))?;
        }
        if let Some(parent) = self.root.parent().filter(|parent| self.fs.is_dir(parent)) {
            self.fs.sync_dir(parent).map_err(|source| self.error("sync folder", parent, source))?;
        }
        self.publish(&self.path(&Name::reserve()), &vec![0; RESERVE_BYTES]).map(drop)
    }

    fn sweep_unfinished(&self) -> Result<(), StoreError> {
        let folder = self.root.join("tmp");
        for (name, is_dir) in self.fs.names(&folder).map_err(|source| self.error("list", &folder, source))? {
            let path = folder.join(&name);
            // Whoever is still writing holds a kernel lock; a process that is gone holds none.
            if !is_dir && matches!(self.fs.is_being_written(&path), Ok(false)) {
                let _ = self.fs.unlink(&path);
            }
        }
        Ok(())
    }

    fn caps(&self) -> Caps {
        Caps { exclusive_create: true }
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}
