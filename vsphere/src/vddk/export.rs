//! An open disk as an NBD export.

use std::{
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use engine::{
    Export, Fault, Piece, Shared, ZeroHow,
    nbd_wire::{BlockSizes, Extent, block_status, error_code},
};

use super::{
    allocated::everything,
    buffer::{REQUEST_BYTES_MAX, SECTOR_BYTES},
    library::{CallError, Purpose},
    worker::{Answer, Asker},
};

/// Who hears of a request that failed: the bytes of the disk it was about, and what the library said.
pub(super) type Trouble = Arc<dyn Fn(&str, &Range<u64>, &CallError) + Send + Sync>;

/// A disk that a client may choose.
pub(super) struct DiskExport {
    name: String,
    sectors: u64,
    purpose: Purpose,
    asker: Mutex<Option<Asker>>,
    allocated: OnceLock<Vec<Range<u64>>>,
    /// Held while blocks are asked for: once for each disk.
    asking: Mutex<()>,
    trouble: Trouble,
}

impl DiskExport {
    pub(super) fn new(name: String, sectors: u64, purpose: Purpose, asker: Asker, trouble: Trouble) -> Self {
        let (asker, asking) = (Mutex::new(Some(asker)), Mutex::new(()));
        Self { name, sectors, purpose, asker, allocated: OnceLock::new(), asking, trouble }
    }

    /// Clients that have chosen it get nothing any more.
    pub(super) fn close(&self) {
        self.asker.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn asker(&self, at: u64) -> Result<Asker, Fault> {
        let asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        asker.ok_or_else(|| closed(at))
    }

    fn failed(&self, range: &Range<u64>, error: &CallError) -> Fault {
        (self.trouble)(&self.name, range, error);
        let message = format!("VDDK error {} ({})", error.code, error.text);
        Fault { error: error_code::EIO, at: range.start, message }
    }

    fn settle<T>(&self, range: &Range<u64>, answer: Answer<T>) -> Result<T, Fault> {
        let outcome = answer.wait().ok_or_else(|| closed(range.start))?;
        outcome.map_err(|error| self.failed(range, &error))
    }

    fn allocated(&self) -> Result<&[Range<u64>], Fault> {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.allocated.get() {
            return Ok(known);
        }
        let outcome = self.asker(0)?.allocated().wait().ok_or_else(|| closed(0))?;
        // A library that cannot tell costs time, no bytes.
        let found = outcome.unwrap_or_else(|error| {
            super::helper::say(&format!("{}: blocks in use are not known: error {}", self.name, error.code));
            everything(self.sectors)
        });
        Ok(self.allocated.get_or_init(|| found))
    }

    /// Writes bytes at a multiple of the sector size, several requests at once.
    fn write_pieces<'b>(&self, offset: u64, pieces: impl Iterator<Item = &'b [u8]>) -> Result<(), Fault> {
        let asker = self.asker(offset)?;
        let mut answers = Vec::new();
        let mut at = offset;
        for piece in pieces {
            let mut buffer = asker.room(piece.len() as u64 / SECTOR_BYTES);
            let end = at + piece.len() as u64;
            match buffer.bytes_mut() {
                room if room.len() == piece.len() => room.copy_from_slice(piece),
                _ => return Err(unaligned(at)),
            }
            answers.push((at..end, asker.write(at / SECTOR_BYTES, buffer)));
            at = end;
        }
        answers.into_iter().try_for_each(|(range, answer)| self.settle(&range, answer))
    }
}

fn closed(at: u64) -> Fault {
    Fault { error: error_code::ESHUTDOWN, at, message: "the disk was closed".to_owned() }
}

fn unaligned(at: u64) -> Fault {
    Fault { error: error_code::EINVAL, at, message: format!("not a multiple of {SECTOR_BYTES} bytes") }
}

fn whole_sectors(range: &Range<u64>) -> Result<(), Fault> {
    let is_whole = range.start.is_multiple_of(SECTOR_BYTES) && range.end.is_multiple_of(SECTOR_BYTES);
    if is_whole { Ok(()) } else { Err(unaligned(range.start)) }
}

/// Ranges of at most one request each.
fn requests(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let step = REQUEST_BYTES_MAX as u64;
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min(at.saturating_add(step));
        let next = at..end;
        at = end;
        (!next.is_empty()).then_some(next)
    })
}

impl Export for DiskExport {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        self.name.clone()
    }

    fn bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR_BYTES)
    }

    fn is_writable(&self) -> bool {
        self.purpose == Purpose::Write
    }

    fn blocks(&self) -> BlockSizes {
        BlockSizes { min_bytes: 512, preferred_bytes: 1 << 20, max_bytes: 1 << 20 }
    }

    fn read(&self, range: Range<u64>, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        whole_sectors(&range)?;
        let asker = self.asker(range.start)?;
        let asked: Vec<_> = requests(range)
            .map(|part| {
                let answer = asker.read(part.start / SECTOR_BYTES, (part.end - part.start) / SECTOR_BYTES);
                (part, answer)
            })
            .collect();
        for (part, answer) in asked {
            let buffer = self.settle(&part, answer)?;
            let length = buffer.bytes().len();
            pieces.push(Piece::Bytes(Shared::new(Arc::new(buffer), 0..length)));
        }
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Vec<Extent>, Fault> {
        let known = self.allocated()?;
        let mut extents = Vec::new();
        let mut push = |bytes: u64, status| {
            let mut left = bytes;
            while left > 0 {
                // A length of the protocol has 32 bits; whole sectors of them.
                let now = u32::try_from(left).unwrap_or(u32::MAX - 511);
                extents.push(Extent { bytes: now, status });
                left -= u64::from(now);
            }
        };
        let mut at = range.start;
        let first = known.partition_point(|used| used.end <= at);
        for used in known.get(first..).unwrap_or_default() {
            let start = used.start.clamp(at, range.end);
            push(start - at, block_status::HOLE | block_status::ZERO);
            let end = used.end.min(range.end);
            push(end.saturating_sub(start), 0);
            at = end.max(start);
            if at >= range.end {
                break;
            }
        }
        push(range.end.saturating_sub(at), block_status::HOLE | block_status::ZERO);
        Ok(extents)
    }

    fn will_read(&self, _: Range<u64>) {}

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        whole_sectors(&(offset..offset.saturating_add(bytes.len() as u64)))?;
        self.write_pieces(offset, bytes.chunks(REQUEST_BYTES_MAX))
    }

    /// The library has no zeros of its own: they are written.
    fn zero(&self, range: Range<u64>, _: ZeroHow) -> Result<(), Fault> {
        whole_sectors(&range)?;
        let zeros = vec![0; REQUEST_BYTES_MAX];
        for part in requests(range) {
            let length = usize::try_from(part.end - part.start).unwrap_or(usize::MAX).min(zeros.len());
            self.write_pieces(part.start, std::iter::once(zeros.get(..length).unwrap_or_default()))?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        let answer = self.asker(0)?.flush();
        self.settle(&(0..self.bytes()), answer)
    }
}
