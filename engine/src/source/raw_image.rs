//! A raw image file or a block device. Holes of a file are found by SEEK_HOLE; a device is read whole.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, FileTypeExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, SeekFrom, fadvise, seek};

use super::{DiskSource, SourceError};

/// Why an image cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceOpenError {
    /// It cannot be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a pipe or a socket.
    #[error("{} is neither a file nor a block device", path.display())]
    NoDisk {
        /// The path.
        path: PathBuf,
    },
    /// It holds nothing.
    #[error("{} is empty (0 bytes)", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
}

/// A raw image or block device, open for reading.
///
/// Buffered reads, no memory map: a file that shrinks under a map would kill the program (SIGBUS).
pub struct RawImage {
    file: File,
    bytes: u64,
    seeks_holes: bool,
}

impl RawImage {
    /// Opens the image at `path`.
    pub fn open(path: &Path) -> Result<Self, SourceOpenError> {
        let open = |source| SourceOpenError::Open { path: path.to_owned(), source };
        let kind = std::fs::metadata(path).map_err(open)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(SourceOpenError::NoDisk { path: path.to_owned() });
        }
        let file = File::open(path).map_err(open)?;
        let bytes = seek(&file, SeekFrom::End(0)).map_err(|error| open(error.into()))?;
        if bytes == 0 {
            return Err(SourceOpenError::Empty { path: path.to_owned() });
        }
        // Only a hint; a file system that does not know it reads all the same.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(Self { file, bytes, seeks_holes: kind.is_file() })
    }
}

impl DiskSource for RawImage {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError> {
        self.allocated_within(&(0..self.bytes))
    }

    fn allocated_within(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, SourceError> {
        if !self.seeks_holes {
            return Ok(vec![range.clone()]);
        }
        let mut ranges = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let start = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(rustix::io::Errno::NXIO) => break,
                // No hole information here: everything may be data.
                Err(_) if ranges.is_empty() => return Ok(vec![range.clone()]),
                Err(error) => return Err(SourceError::Read { offset: at, source: error.into() }),
            };
            if start >= range.end {
                break;
            }
            let end = seek(&self.file, SeekFrom::Hole(start))
                .map_err(|error| SourceError::Read { offset: start, source: error.into() })?
                .min(self.bytes);
            if end <= start {
                break;
            }
            ranges.push(start..end);
            at = end;
        }
        Ok(ranges)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.file.read_exact_at(into, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => SourceError::Shrunk { offset },
            _ => SourceError::Read { offset, source },
        })
    }
}
