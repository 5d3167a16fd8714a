//! A segment map: entries up to the end, each `varint` length × 4 + what, for data followed by the chunk id.

use crate::{
    chunk::{ChunkRef, MetadataChunk, MetadataKind},
    codec::{Put, Reader},
    config::Chunking,
    error::FormatError,
    ids::ChunkId,
};

const WHAT: &str = "segment map";
const DATA: u64 = 0;
const HOLE: u64 = 1;
const BAD: u64 = 2;

/// A stretch of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// These bytes are in a chunk.
    Data(ChunkRef),
    /// All zero.
    Hole {
        /// In bytes.
        length: u32,
    },
    /// Could not be read when the disk was backed up.
    Bad {
        /// In bytes.
        length: u32,
    },
}

impl Extent {
    /// In bytes.
    pub fn length(&self) -> u32 {
        match self {
            Self::Data(ChunkRef { length, .. }) | Self::Hole { length } | Self::Bad { length } => *length,
        }
    }

    /// Both as one, if both are hole or both bad.
    fn merged(self, next: Self) -> Option<Self> {
        let length = self.length().checked_add(next.length());
        match (self, next) {
            (Self::Hole { .. }, Self::Hole { .. }) => length.map(|length| Self::Hole { length }),
            (Self::Bad { .. }, Self::Bad { .. }) => length.map(|length| Self::Bad { length }),
            _ => None,
        }
    }
}

/// The extents of one segment, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMap {
    extents: Vec<Extent>,
}

impl SegmentMap {
    /// A map of these extents; neighbouring holes, and neighbouring bad stretches, become one.
    pub fn new(extents: Vec<Extent>) -> Self {
        let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
        for extent in extents.into_iter().filter(|extent| extent.length() > 0) {
            match merged.last_mut().and_then(|last| last.merged(extent).map(|both| *last = both)) {
                Some(()) => {}
                None => merged.push(extent),
            }
        }
        Self { extents: merged }
    }

    /// The extents.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Whether all of the segment is one hole; then the parent says so and the map is not stored.
    pub fn is_hole(&self) -> bool {
        matches!(self.extents.as_slice(), [] | [Extent::Hole { .. }])
    }

    /// The map as a metadata chunk.
    pub fn encode(&self) -> MetadataChunk {
        let mut payload = Vec::with_capacity(self.extents.len() * 36);
        for extent in &self.extents {
            let what = match extent {
                Extent::Data(_) => DATA,
                Extent::Hole { .. } => HOLE,
                Extent::Bad { .. } => BAD,
            };
            payload.put_varint(u64::from(extent.length()) * 4 + what);
            if let Extent::Data(chunk) = extent {
                payload.extend_from_slice(chunk.id.as_bytes());
            }
        }
        MetadataChunk::new(MetadataKind::SegmentMap, &payload)
    }

    /// Reads the map of a segment of `segment_bytes`.
    pub fn decode(chunk: &MetadataChunk, segment_bytes: u64, chunking: &Chunking) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, chunk.payload_of(MetadataKind::SegmentMap)?);
        let mut extents: Vec<Extent> = Vec::new();
        let mut sum = 0_u64;
        while !reader.is_empty() {
            let extent = read_extent(&mut reader, chunking)?;
            if extents.last().is_some_and(|last| last.merged(extent).is_some()) {
                return Err(reader.damaged("extents", "two holes or two bad ones side by side", "one"));
            }
            let start = sum;
            sum = sum.saturating_add(u64::from(extent.length()));
            if sum > segment_bytes {
                return Err(reader.damaged("extent lengths", format_args!("at least {sum} together"), segment_bytes));
            }
            let on_cells =
                |place: u64| place == segment_bytes || place.is_multiple_of(chunking.min_bytes().max(1).into());
            // Chunks of a run end anywhere, but the run begins and ends where its neighbours do.
            let anywhere = matches!(extent, Extent::Data(_));
            if !anywhere && (!on_cells(start) || !on_cells(sum)) {
                let wanted = format_args!("from cell to cell of {}", chunking.min_bytes());
                return Err(reader.damaged("extent", format_args!("{start} … {sum}"), wanted));
            }
            extents.push(extent);
        }
        if sum != segment_bytes {
            return Err(reader.damaged("extent lengths", format_args!("{sum} together"), segment_bytes));
        }
        let map = Self { extents };
        if map.is_hole() {
            return Err(reader.damaged("extents", "one hole", "such a map is not stored"));
        }
        Ok(map)
    }

    /// Reads a map of a segment whose place on a disk is not known, hence not how long it should be.
    pub fn decode_anywhere(chunk: &MetadataChunk, chunking: &Chunking) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, chunk.payload_of(MetadataKind::SegmentMap)?);
        let mut segment_bytes = 0_u64;
        while !reader.is_empty() {
            segment_bytes = segment_bytes.saturating_add(u64::from(read_extent(&mut reader, chunking)?.length()));
        }
        Self::decode(chunk, segment_bytes, chunking)
    }
}

fn read_extent(reader: &mut Reader<'_>, chunking: &Chunking) -> Result<Extent, FormatError> {
    let value = reader.varint("extent")?;
    let length = u32::try_from(value / 4).map_err(|_| reader.damaged("extent length", value / 4, "below 2^32"))?;
    if length == 0 {
        return Err(reader.damaged("extent length", 0, "at least 1"));
    }
    match value % 4 {
        DATA if length > chunking.max_bytes() => {
            Err(reader.damaged("chunk length", length, format_args!("at most {}", chunking.max_bytes())))
        }
        DATA => Ok(Extent::Data(ChunkRef { id: ChunkId::from_bytes(reader.array("chunk id")?), length })),
        HOLE => Ok(Extent::Hole { length }),
        BAD => Ok(Extent::Bad { length }),
        what => Err(reader.damaged("extent", what, "0 data, 1 hole or 2 bad")),
    }
}
