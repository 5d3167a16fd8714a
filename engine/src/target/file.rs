//! A file, written as `NAME.part` and named when it is whole and durable; or a block device, written in place.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IoSlice, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::{FileExt, FileTypeExt},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use repo_format::HashedChunk;
use rustix::{
    fs::{self, AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use super::{Room, Start, Target, TargetError};
use crate::byte_ranges;

/// Slices that one vectored write takes on Linux.
const SLICES_MAX: usize = 1024;
const ZEROS_BYTES: usize = 1 << 20;
/// How much is looked at in one read, and the grain in which it is found to be zeros or not.
const LOOK_BYTES: usize = 1 << 20;
const ZERO_GRAIN_BYTES: usize = 4096;
const FILE_NAME_CHARS_MAX: usize = 128;

/// What to do if something of that name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// Leave it alone.
    Refuse,
    /// A file is replaced when the new one is whole, a device is written over.
    Overwrite,
    /// It must be there, and is changed where it lies.
    InPlace,
}

/// What becomes of holes in a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// They stay holes.
    Sparse,
    /// The whole length is reserved on the file system.
    Reserved,
}

/// How a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTargetOptions {
    /// What to do if something is there.
    pub if_exists: IfExists,
    /// What becomes of holes.
    pub space: Space,
}

impl Default for FileTargetOptions {
    fn default() -> Self {
        Self { if_exists: IfExists::Refuse, space: Space::Sparse }
    }
}

/// A file or block device that takes a disk.
pub struct FileTarget {
    path: PathBuf,
    folder: File,
    name: OsString,
    what: What,
    options: FileTargetOptions,
    open: OnceLock<File>,
    /// A failed sync may have dropped pages without a second error: such a file is never named.
    sync_failed: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    File,
    Device,
}

/// Refuses a name that could lead out of its folder.
pub fn check_file_name(name: &str) -> Result<(), TargetError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=FILE_NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(allowed) && name.chars().any(|c| c != '.') {
        return Ok(());
    }
    Err(TargetError::Name { name: name.to_owned() })
}

impl FileTarget {
    /// A target called `name`, which comes from a repository, in `folder`.
    pub fn in_folder(folder: &Path, name: &str, options: FileTargetOptions) -> Result<Self, TargetError> {
        check_file_name(name)?;
        Self::at(&folder.join(name), options)
    }

    /// The target at `path`, which a person named. Nothing is made or changed yet.
    pub fn at(path: &Path, options: FileTargetOptions) -> Result<Self, TargetError> {
        let path = device_behind_link(path).unwrap_or_else(|| path.to_path_buf());
        let name = path.file_name().ok_or_else(|| TargetError::NotAFile { path: path.clone(), found: "a folder" })?;
        let name = name.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = File::from(fs::open(parent, flags, Mode::empty()).map_err(|errno| failed(parent, "open", errno))?);
        let what = match stat_in(&folder, &name).map_err(|errno| failed(&path, "stat", errno))? {
            None if options.if_exists == IfExists::InPlace => return Err(TargetError::Missing { path }),
            None => What::File,
            Some(stat) => {
                let what = what_is(&path, &stat)?;
                if options.if_exists == IfExists::Refuse {
                    return Err(TargetError::Exists { path });
                }
                what
            }
        };
        let (open, sync_failed) = (OnceLock::new(), AtomicBool::new(false));
        Ok(Self { path, folder, name, what, options, open, sync_failed })
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_in_place(&self) -> bool {
        self.options.if_exists == IfExists::InPlace
    }

    /// The name it has until it is whole; a device has only one, and what is changed in place.
    pub fn part_path(&self) -> PathBuf {
        match self.what {
            What::File if self.is_in_place() => self.path.clone(),
            What::File => self.path.with_file_name(self.part_name()),
            What::Device => self.path.clone(),
        }
    }

    fn part_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(".part");
        name
    }

    fn file(&self) -> Result<&File, TargetError> {
        self.open.get().ok_or_else(|| TargetError::NotReady { path: self.path.clone() })
    }

    fn io(&self, operation: &'static str) -> impl Fn(io::Error) -> TargetError {
        let path = self.part_path();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TargetError::Full { path: path.clone() },
            _ => TargetError::Io { path: path.clone(), operation, source },
        }
    }

    /// Makes `NAME.part`, or opens the one that an earlier run left, and keeps every other restore out of it.
    fn open_part(&self) -> Result<(File, Start), TargetError> {
        let part = self.part_name();
        let path = self.part_path();
        let common = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (file, start) =
            match fs::openat(&self.folder, &part, common | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR) {
                Ok(file) => (File::from(file), Start::Zeros),
                Err(Errno::EXIST) => match fs::openat(&self.folder, &part, common | OFlags::NONBLOCK, Mode::empty()) {
                    Ok(file) => (File::from(file), Start::Resumed),
                    Err(Errno::LOOP) => return Err(TargetError::Link { path }),
                    Err(errno) => return Err(failed(&path, "open", errno)),
                },
                Err(errno) => return Err(failed(&path, "create", errno)),
            };
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => TargetError::InUse { path: path.clone() },
            errno => failed(&path, "lock", errno),
        })?;
        // Between open and lock another restore may have named this very file; and a second hard link would let a
        // write here change a file elsewhere.
        let ours = fs::fstat(&file).map_err(|errno| failed(&path, "stat", errno))?;
        let there = stat_in(&self.folder, &part).map_err(|errno| failed(&path, "stat", errno))?;
        if there.is_none_or(|there| (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)) {
            return Err(TargetError::InUse { path });
        }
        if what_is(&path, &ours)? != What::File || ours.st_nlink != 1 {
            return Err(TargetError::NotAFile { path, found: "a name that something else uses" });
        }
        Ok((file, start))
    }

    /// Opens a file to change it where it lies, and keeps every other restore out of it.
    fn open_in_place(&self, wanted_bytes: u64) -> Result<(File, Start), TargetError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat(&self.folder, &self.name, flags, Mode::empty());
        let file = File::from(file.map_err(|errno| failed(&self.path, "open", errno))?);
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => TargetError::InUse { path: self.path.clone() },
            errno => failed(&self.path, "lock", errno),
        })?;
        let stat = fs::fstat(&file).map_err(|errno| failed(&self.path, "stat", errno))?;
        if what_is(&self.path, &stat)? != What::File {
            return Err(TargetError::NotAFile { path: self.path.clone(), found: "something else by now" });
        }
        let found_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let tail_bytes = self.tail(found_bytes, wanted_bytes)?;
        Ok((file, Start::InPlace { tail_bytes }))
    }

    /// What is left of a target behind the disk.
    fn tail(&self, found_bytes: u64, wanted_bytes: u64) -> Result<u64, TargetError> {
        let tail_bytes = found_bytes.checked_sub(wanted_bytes);
        tail_bytes.ok_or_else(|| TargetError::TooSmall { path: self.path.clone(), found_bytes, wanted_bytes })
    }

    /// `O_EXCL` on a block device means: not while it is mounted or otherwise in use.
    fn open_device(&self, wanted_bytes: u64) -> Result<(File, Start), TargetError> {
        let flags = OFlags::RDWR | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.folder, &self.name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::BUSY => TargetError::InUse { path: self.path.clone() },
            errno => failed(&self.path, "open", errno),
        })?;
        let mut file = File::from(file);
        let found_bytes = file.seek(SeekFrom::End(0)).map_err(self.io("seek"))?;
        let tail_bytes = self.tail(found_bytes, wanted_bytes)?;
        match self.is_in_place() {
            true => Ok((file, Start::InPlace { tail_bytes })),
            false => Ok((file, Start::Foreign { tail_bytes })),
        }
    }

    fn sync(&self) -> Result<(), TargetError> {
        let synced = if self.sync_failed.load(Ordering::Acquire) {
            Err(io::Error::other("an earlier sync failed"))
        } else {
            self.file()?.sync_all()
        };
        synced.map_err(self.io("sync")).inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    /// Gives the file its name without ever replacing another, unless that was asked for.
    fn name_it(&self) -> Result<(), TargetError> {
        let (part, exists) = (self.part_name(), || TargetError::Exists { path: self.path.clone() });
        let renamed = match self.options.if_exists {
            // Never asked: what is changed in place has its name.
            IfExists::Overwrite | IfExists::InPlace => fs::renameat(&self.folder, &part, &self.folder, &self.name),
            IfExists::Refuse => {
                match fs::renameat_with(&self.folder, &part, &self.folder, &self.name, RenameFlags::NOREPLACE) {
                    // The file system knows no such rename: a link does not replace anything either.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        fs::linkat(&self.folder, &part, &self.folder, &self.name, AtFlags::empty())
                            .and_then(|()| fs::unlinkat(&self.folder, &part, AtFlags::empty()))
                    }
                    other => other,
                }
            }
        };
        renamed.map_err(|errno| if errno == Errno::EXIST { exists() } else { failed(&self.path, "rename", errno) })?;
        self.folder.sync_all().map_err(self.io("sync the folder"))
    }
}

impl Target for FileTarget {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        // In place there is room for nearly all of it; holes that are filled are noticed by the writes.
        if self.what == What::Device || self.is_in_place() {
            return Ok(None);
        }
        let here = fs::fstat(&self.folder).map_err(|errno| failed(&self.path, "stat", errno))?;
        let system = fs::fstatvfs(&self.folder).map_err(|errno| failed(&self.path, "statvfs", errno))?;
        let part = stat_in(&self.folder, &self.part_name()).map_err(|errno| failed(&self.path, "stat", errno))?;
        let held =
            part.and_then(|part| u64::try_from(part.st_blocks).ok()).map_or(0, |blocks| blocks.saturating_mul(512));
        let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
        Ok(Some(Room { file_system: here.st_dev, free_bytes, held_bytes: held }))
    }

    fn set_len(&self, bytes: u64) -> Result<Start, TargetError> {
        let (file, start) = match self.what {
            What::File if self.is_in_place() => self.open_in_place(bytes)?,
            What::File => self.open_part()?,
            What::Device => self.open_device(bytes)?,
        };
        if self.what == What::File && !self.is_in_place() {
            file.set_len(bytes).map_err(self.io("set the length"))?;
            if self.options.space == Space::Reserved {
                let reserved = fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
                reserved.map_err(|errno| self.io("reserve")(errno.into()))?;
            }
        }
        match self.open.set(file) {
            Ok(()) => Ok(start),
            Err(_) => Err(TargetError::InUse { path: self.path.clone() }),
        }
    }

    fn write_at(&self, offset: u64, chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        let file = self.file()?;
        let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk.bytes())).collect();
        let (mut left, mut offset) = (slices.as_mut_slice(), offset);
        while !left.is_empty() {
            let now = left.get(..left.len().min(SLICES_MAX)).unwrap_or_default();
            match rustix::io::pwritev(file, now, offset) {
                Ok(0) => return Err(self.io("write")(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    IoSlice::advance_slices(&mut left, written);
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.io("write")(errno.into())),
            }
        }
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> Result<(), TargetError> {
        let file = self.file()?;
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(());
        }
        let how = match self.options.space {
            Space::Sparse => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Space::Reserved => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        };
        match fs::fallocate(file, how, range.start, length) {
            Ok(()) => Ok(()),
            // Not every file system and device can; zeros can always be written.
            Err(_) => write_zeros(file, range).map_err(self.io("write zeros")),
        }
    }

    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        let file = self.file()?;
        let mut found = Vec::new();
        let mut buffer = vec![0; LOOK_BYTES];
        let mut at = range.start;
        while at < range.end {
            // Holes of the file are passed over; where there is no such knowledge, everything is looked at.
            at = match fs::seek(file, fs::SeekFrom::Data(at)) {
                Ok(data) => data.max(at),
                Err(Errno::NXIO) => break,
                Err(_) => at,
            };
            let end = range.end.min(at.saturating_add(LOOK_BYTES as u64));
            if at >= end {
                break;
            }
            let length = usize::try_from(end - at).unwrap_or(LOOK_BYTES);
            let look = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(look, at).map_err(self.io("read"))?;
            let mut address = at;
            for piece in look.chunks(ZERO_GRAIN_BYTES) {
                let piece_end = address + piece.len() as u64;
                if piece.iter().any(|byte| *byte != 0) {
                    byte_ranges::push(&mut found, address..piece_end);
                }
                address = piece_end;
            }
            at = end;
        }
        Ok(found)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        self.file()?.read_exact_at(buffer, offset).map_err(self.io("read"))
    }

    fn write_back(&self) -> Result<(), TargetError> {
        let synced = self.file()?.sync_data().map_err(self.io("sync"));
        synced.inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn finish(&self) -> Result<(), TargetError> {
        self.sync()?;
        match self.what {
            What::File if !self.is_in_place() => self.name_it(),
            What::File | What::Device => Ok(()),
        }
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        self.sync()
    }
}

fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(zeros.get(..length).unwrap_or_default(), at)?;
        at += length as u64;
    }
    Ok(())
}

/// Devices have names that are links (`/dev/mapper/…`, `/dev/disk/by-id/…`): those are followed, links to files are not.
fn device_behind_link(path: &Path) -> Option<PathBuf> {
    let is_link = std::fs::symlink_metadata(path).ok()?.is_symlink();
    let is_device = std::fs::metadata(path).ok()?.file_type().is_block_device();
    (is_link && is_device).then(|| path.canonicalize().ok()).flatten()
}

fn stat_in(folder: &File, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn what_is(path: &Path, stat: &Stat) -> Result<What, TargetError> {
    let not = |found| Err(TargetError::NotAFile { path: path.to_path_buf(), found });
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(What::File),
        FileType::BlockDevice => Ok(What::Device),
        FileType::Symlink => Err(TargetError::Link { path: path.to_path_buf() }),
        FileType::Directory => not("a folder"),
        FileType::CharacterDevice => not("a character device"),
        FileType::Fifo => not("a pipe"),
        FileType::Socket => not("a socket"),
        _ => not("something else"),
    }
}

fn failed(path: &Path, operation: &'static str, errno: Errno) -> TargetError {
    let path = path.to_path_buf();
    match errno {
        Errno::NOSPC | Errno::DQUOT => TargetError::Full { path },
        errno => TargetError::Io { path, operation, source: errno.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(if_exists: IfExists) -> FileTargetOptions {
        FileTargetOptions { if_exists, space: Space::Sparse }
    }

    fn here() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk0.img");
        (folder, path)
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let (_folder, path) = here();
        let target = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        assert!(!target.part_path().exists(), "nothing is made before the length is set");
        assert_eq!(target.set_len(5000).unwrap(), Start::Zeros);
        assert!(target.part_path().exists() && !path.exists());
        target.finish().unwrap();
        assert!(path.exists() && !target.part_path().exists());
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; 5000]);
    }

    #[test]
    fn a_restore_with_losses_keeps_the_name_of_an_unfinished_one() {
        let (_folder, path) = here();
        let target = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        target.set_len(10).unwrap();
        target.finish_with_losses().unwrap();
        assert!(target.part_path().exists() && !path.exists());
    }

    #[test]
    fn an_existing_target_is_refused_unless_asked_for() {
        let (_folder, path) = here();
        std::fs::write(&path, b"precious").unwrap();
        let refused = FileTarget::at(&path, options(IfExists::Refuse)).err().unwrap();
        assert!(matches!(refused, TargetError::Exists { .. }));
        let target = FileTarget::at(&path, options(IfExists::Overwrite)).unwrap();
        target.set_len(3).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"precious", "until the new one is whole");
        target.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 3]);
    }

    #[test]
    fn a_target_that_appears_meanwhile_is_not_replaced() {
        let (_folder, path) = here();
        let target = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        target.set_len(3).unwrap();
        std::fs::write(&path, b"precious").unwrap();
        assert!(matches!(target.finish().err().unwrap(), TargetError::Exists { .. }));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn no_link_is_followed() {
        let (folder, path) = here();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, b"precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let at = FileTarget::at(&path, options(IfExists::Overwrite)).err().unwrap();
        assert!(matches!(at, TargetError::Link { .. }));

        std::fs::remove_file(&path).unwrap();
        let target = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, target.part_path()).unwrap();
        assert!(matches!(target.set_len(3).err().unwrap(), TargetError::Link { .. }));

        std::fs::remove_file(target.part_path()).unwrap();
        std::fs::hard_link(&elsewhere, target.part_path()).unwrap();
        assert!(matches!(target.set_len(3).err().unwrap(), TargetError::NotAFile { .. }));
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"precious");
    }

    #[test]
    fn two_restores_do_not_write_one_file() {
        let (_folder, path) = here();
        let first = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        let second = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        first.set_len(3).unwrap();
        assert!(matches!(second.set_len(3).err().unwrap(), TargetError::InUse { .. }));
    }

    #[test]
    fn what_an_earlier_run_left_is_taken_up() {
        let (_folder, path) = here();
        let first = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        first.set_len(3).unwrap();
        std::fs::write(first.part_path(), b"abc").unwrap();
        drop(first);
        let second = FileTarget::at(&path, options(IfExists::Refuse)).unwrap();
        assert_eq!(second.set_len(6).unwrap(), Start::Resumed);
        second.zero_at(1..2).unwrap();
        let mut found = [1; 6];
        second.read_at(0, &mut found).unwrap();
        assert_eq!(&found, b"a\0c\0\0\0");
    }

    #[test]
    fn a_name_from_a_repository_cannot_leave_its_folder() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", "ä", &"x".repeat(129)] {
            assert!(check_file_name(name).is_err(), "{name:?}");
        }
        for name in ["disk0", "web01_1-flat.vmdk", "...x"] {
            assert!(check_file_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_folder_or_a_pipe_is_no_target() {
        let (folder, _) = here();
        let error = FileTarget::at(folder.path(), options(IfExists::Overwrite)).err().unwrap();
        assert!(error.to_string().ends_with("is a folder, not a file or block device"), "{error}");
    }
}
