//! The private seam under the local store: the few things it asks of a file system, so that a simulated one can stand here.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::OnceLock,
};

use crate::aligned::{ALIGNMENT, lead};
use rustix::fs::{AtFlags, CWD, FlockOperation, RenameFlags, flock, linkat, renameat_with};

/// A file being written. It carries a kernel lock, so that a leftover of a dead process can be told from a file in use.
pub(super) trait NewFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// After an error the file counts as not there; it is never synced again (the kernel may have dropped its pages).
    fn sync(&mut self) -> io::Result<()>;
}

/// What the local store asks of a file system.
pub(super) trait Fs: Send + Sync {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;
    /// Gives `from` the second name `to`, which must not exist.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder, and those above it; one that is there is left as it is.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Appends up to `bytes` from `offset`; fewer only at the end of the file.
    fn read_at(&self, path: &Path, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<()>;
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// Names in a folder, and whether each is a folder.
    fn names(&self, path: &Path) -> io::Result<Vec<(String, bool)>>;
    fn is_dir(&self, path: &Path) -> bool;
    /// Keeps other processes from preparing this folder, as long as this one lives; `false` if one is at it.
    fn lock_dir(&self, path: &Path) -> io::Result<bool>;
    /// Is some process writing this file now?
    fn is_being_written(&self, path: &Path) -> io::Result<bool>;
}

/// The real file system.
#[derive(Default)]
pub(super) struct RealFs {
    locked: OnceLock<File>,
}

struct RealNewFile(File);

/// Bytes that go through an aligned buffer at a time: it stays in the second-level cache.
const PIECE_BYTES: usize = 128 << 10;

impl NewFile for RealNewFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if lead(bytes) == 0 || bytes.len() < PIECE_BYTES {
            return self.0.write_all(bytes);
        }
        // From where a large vector begins the kernel copies four times as slowly as from an aligned address: one copy more
        // of our own is cheaper.
        let mut buffer = vec![0; PIECE_BYTES + ALIGNMENT];
        let start = lead(&buffer);
        for piece in bytes.chunks(PIECE_BYTES) {
            let aligned = buffer.get_mut(start..start + piece.len()).ok_or(io::ErrorKind::InvalidInput)?;
            aligned.copy_from_slice(piece);
            self.0.write_all(aligned)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Fs for RealFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // Without flock (some network file systems) leftovers stay until somebody removes them: they do no harm.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Box::new(RealNewFile(file)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match linkat(CWD, from, CWD, to, AtFlags::empty()) {
            // No hard links here: a rename that refuses to replace does the same.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM | rustix::io::Errno::NOSYS) => {
                Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
            }
            other => Ok(other?),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        // No more than the file has: a wrong length must not become an allocation.
        let left = file.metadata()?.len().saturating_sub(offset);
        into.reserve_exact(usize::try_from(left).unwrap_or(usize::MAX).min(bytes));
        file.take(bytes as u64).read_to_end(into)?;
        Ok(())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()))
            })
            .collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn lock_dir(&self, path: &Path) -> io::Result<bool> {
        if self.locked.get().is_some() {
            return Ok(true);
        }
        let folder = File::open(path)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            // Without flock (some network file systems) there is no more to be had.
            _ => {
                let _ = self.locked.set(folder);
                Ok(true)
            }
        }
    }

    fn is_being_written(&self, path: &Path) -> io::Result<bool> {
        let file = File::open(path)?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
    }
}
