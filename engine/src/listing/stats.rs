//! What restore points are, and what they take: logical, allocated, unique and stored bytes, by VM.
//!
//! Memory is bounded: chunks are kept by the first 8 bytes of their id, at most [`CHUNKS_MAX`] of them. With more
//! distinct chunks than that, only those whose id begins below a threshold are kept (ids are uniform), and unique and
//! stored bytes are estimates with a standard error of about 1 in 1000; the report says so.

use std::collections::{HashMap, HashSet};

use repo_format::{ChunkId, Class, Extent, VmIdentity};

use crate::{
    log::PackStatus,
    map_walk::{Found, MapWalk, Visitor},
    monitor::Monitor,
    read_error::ReadError,
    repository::Reader,
};

/// Chunks kept in memory: about 40 bytes each.
const CHUNKS_MAX: usize = 4 << 20;
/// Maps of one VM remembered as counted: 16 bytes of each name.
const MAPS_MAX: usize = 1 << 20;
const SHARED: u32 = u32::MAX;

/// Figures of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All VMs together.
    pub totals: Totals,
    /// By VM, in the order of their first point.
    pub vms: Vec<VmStats>,
    /// Whether distinct, unique and stored bytes of chunks were counted, not estimated.
    pub exact: bool,
    /// Restore points that could not be read and are not counted.
    pub unreadable_points: u64,
}

/// Figures of all VMs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Live points.
    pub points: u64,
    /// Lengths of all their disks.
    pub logical_bytes: u64,
    /// Data on all their disks.
    pub allocated_bytes: u64,
    /// Distinct chunks.
    pub distinct_bytes: u64,
    /// Packs that are there.
    pub stored_bytes: u64,
    /// Packs that are there.
    pub packs: u64,
}

/// Figures of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmStats {
    /// Who it is.
    pub identity: VmIdentity,
    /// What it was called in its newest point.
    pub vm_name: String,
    /// Live points.
    pub points: u64,
    /// Lengths of all their disks.
    pub logical_bytes: u64,
    /// Data on all their disks.
    pub allocated_bytes: u64,
    /// Distinct chunks that no other VM has.
    pub unique_bytes: u64,
    /// What these take in the packs.
    pub stored_bytes: u64,
}

/// Counts everything that is live.
pub fn stats(reader: &Reader, monitor: &dyn Monitor) -> Result<Stats, ReadError> {
    let mut chunks = Chunks::default();
    let mut vms: Vec<VmStats> = Vec::new();
    let mut numbers: HashMap<VmIdentity, u32> = HashMap::new();
    // VM after VM, so that one set of counted maps is enough.
    let mut points: Vec<_> = reader.live_points().collect();
    for (point, _) in &points {
        let next = u32::try_from(numbers.len()).unwrap_or(SHARED - 1);
        numbers.entry(point.identity.clone()).or_insert(next);
    }
    points.sort_by_key(|(point, _)| numbers.get(&point.identity).copied());
    let (mut counted, mut unreadable_points) = (HashSet::new(), 0);
    for (point, record) in points {
        if vms.last().is_none_or(|vm| vm.identity != point.identity) {
            counted.clear();
            vms.push(VmStats::new(point.identity.clone(), point.vm_name.clone()));
        }
        let owner = numbers.get(&point.identity).copied().unwrap_or(SHARED);
        let Some(vm) = vms.last_mut() else { continue };
        let Some(record) = super::list::loss_as_none(record)? else {
            unreadable_points += 1;
            continue;
        };
        vm.vm_name.clone_from(&point.vm_name);
        vm.points += 1;
        for disk in &record.disks {
            vm.logical_bytes += disk.bytes;
            let Some(map) = super::list::loss_as_none(MapWalk::open(reader, disk.map_root))? else { continue };
            let skip = disk.data_bytes.is_some();
            let mut count = Count { chunks: &mut chunks, counted: &mut counted, owner, skip, data_bytes: 0 };
            map.for_each_segment(0..map.segment_count(), &mut count)?;
            vm.allocated_bytes += disk.data_bytes.unwrap_or(count.data_bytes);
        }
        if monitor.interrupted() {
            break;
        }
    }
    count_stored(reader, &mut chunks)?;
    let mut totals = Totals::default();
    for (owner, vm) in (0_u32..).zip(&mut vms) {
        let (unique, stored) = chunks.sums(|chunk| chunk.owner == owner);
        (vm.unique_bytes, vm.stored_bytes) = (unique, stored);
        totals.points += vm.points;
        totals.logical_bytes += vm.logical_bytes;
        totals.allocated_bytes += vm.allocated_bytes;
    }
    (totals.distinct_bytes, _) = chunks.sums(|_| true);
    for (_, pack) in reader.state().packs().filter(|(_, pack)| pack.status != PackStatus::Deleted) {
        totals.packs += 1;
        totals.stored_bytes += pack.bytes;
    }
    Ok(Stats { totals, vms, exact: chunks.shift == 0, unreadable_points })
}

impl VmStats {
    fn new(identity: VmIdentity, vm_name: String) -> Self {
        Self { identity, vm_name, points: 0, logical_bytes: 0, allocated_bytes: 0, unique_bytes: 0, stored_bytes: 0 }
    }
}

/// What chunks take is in the directories: a chunk's share of its frame.
fn count_stored(reader: &Reader, chunks: &mut Chunks) -> Result<(), ReadError> {
    let data = |pack: &crate::log::PackState| pack.class == Class::Data && pack.status != PackStatus::Deleted;
    for (ordinal, _) in reader.state().packs().filter(|(_, pack)| data(pack)) {
        let Some(pack) = super::list::loss_as_none(reader.pack(ordinal))? else { continue };
        for frame in pack.directory().frames() {
            for chunk in &frame.chunks {
                let share =
                    u64::from(frame.sealed_bytes) * u64::from(chunk.length) / u64::from(frame.plain_bytes.max(1));
                chunks.stored(&chunk.id, share);
            }
        }
    }
    Ok(())
}

struct Chunk {
    length: u32,
    stored: u32,
    owner: u32,
}

/// Distinct chunks: all of them, or those whose id begins with `shift` zero bits.
#[derive(Default)]
struct Chunks {
    by_prefix: HashMap<u64, Chunk>,
    shift: u32,
}

fn prefix(id: &ChunkId) -> u64 {
    id.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Chunks {
    fn add(&mut self, id: &ChunkId, length: u32, owner: u32) {
        let prefix = prefix(id);
        if prefix.leading_zeros() < self.shift {
            return;
        }
        let chunk = self.by_prefix.entry(prefix).or_insert(Chunk { length, stored: 0, owner });
        if chunk.owner != owner {
            chunk.owner = SHARED;
        }
        if self.by_prefix.len() > CHUNKS_MAX {
            self.shift += 1;
            let shift = self.shift;
            self.by_prefix.retain(|prefix, _| prefix.leading_zeros() >= shift);
        }
    }

    /// The first pack that has a chunk counts.
    fn stored(&mut self, id: &ChunkId, bytes: u64) {
        if let Some(chunk) = self.by_prefix.get_mut(&prefix(id))
            && chunk.stored == 0
        {
            chunk.stored = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// Lengths and stored bytes of the chunks that count, scaled up if they are a sample.
    fn sums(&self, counts: impl Fn(&Chunk) -> bool) -> (u64, u64) {
        let chosen = self.by_prefix.values().filter(|chunk| counts(chunk));
        let (length, stored) = chosen.fold((0_u64, 0_u64), |(length, stored), chunk| {
            (length + u64::from(chunk.length), stored + u64::from(chunk.stored))
        });
        let scale = 1_u64.checked_shl(self.shift).unwrap_or(u64::MAX);
        (length.saturating_mul(scale), stored.saturating_mul(scale))
    }
}

struct Count<'c> {
    chunks: &'c mut Chunks,
    counted: &'c mut HashSet<u128>,
    owner: u32,
    /// The disk's data bytes are known: maps that were counted for this VM need not be read again.
    skip: bool,
    data_bytes: u64,
}

impl Visitor for Count<'_> {
    type Error = ReadError;

    fn skips(&mut self, id: &ChunkId) -> bool {
        let key = id.as_bytes().first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        if self.skip && self.counted.contains(&key) {
            return true;
        }
        if self.counted.len() < MAPS_MAX {
            self.counted.insert(key);
        }
        false
    }

    fn segments(&mut self, _segments: std::ops::Range<u64>, found: Found) -> Result<(), ReadError> {
        if let Found::Map { map, .. } = found {
            for extent in map.extents() {
                if let Extent::Data(chunk) = extent {
                    self.chunks.add(&chunk.id, chunk.length, self.owner);
                    self.data_bytes += u64::from(chunk.length);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ChunkId {
        // Spread over the whole range, as keyed hashes are.
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        ChunkId::from_bytes(bytes)
    }

    #[test]
    fn what_two_vms_have_is_unique_to_neither() {
        let mut chunks = Chunks::default();
        chunks.add(&id(1), 10, 0);
        chunks.add(&id(1), 10, 1);
        chunks.add(&id(2), 7, 1);
        chunks.add(&id(2), 7, 1);
        chunks.stored(&id(2), 3);
        chunks.stored(&id(2), 3);
        assert_eq!(chunks.sums(|chunk| chunk.owner == 0), (0, 0));
        assert_eq!(chunks.sums(|chunk| chunk.owner == 1), (7, 3));
        assert_eq!(chunks.sums(|_| true).0, 17);
    }

    #[test]
    fn more_chunks_than_fit_are_estimated_closely() {
        let mut chunks = Chunks::default();
        let count = CHUNKS_MAX as u64 + 1000;
        (1..=count).for_each(|number| chunks.add(&id(number), 1, 0));
        assert!(chunks.shift > 0 && chunks.by_prefix.len() <= CHUNKS_MAX);
        let (bytes, _) = chunks.sums(|_| true);
        assert!(bytes.abs_diff(count) * 200 < count, "{bytes} for {count}");
    }
}
