//! The private seam under the local store: the few things it asks of a file system, so that a simulated one can stand here.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::DirBuilderExt, unix::fs::OpenOptionsExt},
    path::Path,
};

use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, CWD, FlockOperation, RenameFlags, flock, linkat, renameat_with},
};

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
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Appends up to `bytes` from `offset`; fewer only at the end of the file.
    fn read_at(&self, path: &Path, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<()>;
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// Names in a folder, and whether each is a folder.
    fn names(&self, path: &Path) -> io::Result<Vec<(String, bool)>>;
    /// Is some process writing this file now?
    fn is_being_written(&self, path: &Path) -> io::Result<bool>;
}

/// The real file system.
pub(super) struct RealFs;

struct RealNewFile(File);

impl NewFile for RealNewFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
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
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let file = File::open(path)?;
        into.reserve_exact(bytes);
        let end = into.len() + bytes;
        let mut at = offset;
        while into.len() < end {
            // Spare capacity may exceed what was asked for: what is read too much is cut off below.
            let read = rustix::io::retry_on_intr(|| rustix::io::pread(file.as_fd(), spare_capacity(into), at))?;
            if read == 0 {
                break;
            }
            at += read as u64;
        }
        into.truncate(end);
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

    fn is_being_written(&self, path: &Path) -> io::Result<bool> {
        let file = File::open(path)?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
    }
}
