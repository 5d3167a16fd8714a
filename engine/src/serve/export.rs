//! A disk of a point as clients see it: the point below, what they wrote above it.

use std::{io, ops::Range, sync::Arc};

use super::{
    overlay::OverlayDisk,
    point_disk::{PointDisk, push},
};
use crate::nbd::{
    Export, Fault, Piece, Shared, ZeroHow,
    wire::{Extent, block_status, error_code},
};

/// A disk of a point, and where writes to it go.
pub(super) struct PointExport<'r> {
    pub(super) disk: PointDisk<'r>,
    pub(super) overlay: Option<OverlayDisk<'r>>,
    pub(super) description: String,
}

/// Of the overlay, or of the point below it.
enum Trouble {
    Io(io::Error),
    Point(Fault),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Trouble {
    fn fault(self, at: u64) -> Fault {
        match self {
            Self::Point(fault) => fault,
            Self::Io(error) => {
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let code = if full { error_code::ENOSPC } else { error_code::EIO };
                Fault { error: code, at, message: format!("overlay: {error}") }
            }
        }
    }
}

impl PointExport<'_> {
    fn overlay(&self, at: u64) -> Result<&OverlayDisk<'_>, Fault> {
        let read_only = || Fault { error: error_code::EPERM, at, message: "the export is read-only".to_owned() };
        self.overlay.as_ref().ok_or_else(read_only)
    }

    /// The point's bytes.
    fn base(&self, range: Range<u64>) -> Result<Vec<u8>, Trouble> {
        let mut pieces = Vec::new();
        let length = usize::try_from(range.end - range.start).unwrap_or_default();
        self.disk.read(range, &mut pieces).map_err(Trouble::Point)?;
        let mut bytes = Vec::with_capacity(length);
        for piece in &pieces {
            match piece {
                Piece::Bytes(shared) => bytes.extend_from_slice(shared.bytes()),
                Piece::Zeros(count) => bytes.resize(bytes.len() + usize::try_from(*count).unwrap_or_default(), 0),
            }
        }
        Ok(bytes)
    }
}

impl Export for PointExport<'_> {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn description(&self) -> String {
        self.description.clone()
    }

    fn bytes(&self) -> u64 {
        self.disk.bytes()
    }

    fn is_writable(&self) -> bool {
        self.overlay.is_some()
    }

    fn read(&self, range: Range<u64>, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let Some(overlay) = &self.overlay else { return self.disk.read(range, pieces) };
        let mut at = range.start;
        while at < range.end {
            let (written, end) = overlay.run(&(at..range.end));
            if written {
                let bytes = overlay.read(&(at..end)).map_err(|error| Trouble::Io(error).fault(at))?;
                let length = bytes.len();
                pieces.push(Piece::Bytes(Shared::new(Arc::new(bytes), 0..length)));
            } else {
                self.disk.read(at..end, pieces)?;
            }
            at = end;
        }
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Vec<Extent>, Fault> {
        let Some(overlay) = &self.overlay else { return self.disk.status(range) };
        let mut extents: Vec<(u64, u32)> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let (written, end) = overlay.run(&(at..range.end));
            if written {
                let (hole, end) = overlay.hole(&(at..end));
                push(&mut extents, end - at, if hole { block_status::HOLE | block_status::ZERO } else { 0 });
                at = end;
            } else {
                let below = self.disk.status(at..end)?;
                for extent in below {
                    push(&mut extents, u64::from(extent.bytes), extent.status);
                    at += u64::from(extent.bytes);
                }
                if at < end {
                    break;
                }
            }
        }
        let extent = |(bytes, status)| Some(Extent { bytes: u32::try_from(bytes).ok()?, status });
        Ok(extents.into_iter().filter_map(extent).collect())
    }

    fn will_read(&self, range: Range<u64>) {
        self.disk.will_read(&range);
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.overlay(offset)?.write(offset, bytes, &|range| self.base(range));
        written.map_err(|trouble| trouble.fault(offset))
    }

    fn zero(&self, range: Range<u64>, how: ZeroHow) -> Result<(), Fault> {
        let overlay = self.overlay(range.start)?;
        let zeroed = overlay.zero(&range, how == ZeroHow::MayPunch, &|range| self.base(range));
        zeroed.map_err(|trouble| trouble.fault(range.start))
    }

    fn flush(&self) -> Result<(), Fault> {
        match &self.overlay {
            Some(overlay) => overlay.flush().map_err(|error| Trouble::Io(error).fault(0)),
            None => Ok(()),
        }
    }
}
