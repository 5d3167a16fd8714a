//! Nights by changed areas against full reads of the same disks.

#![allow(clippy::single_range_in_vec_init, reason = "one range is what is wanted")]
#![allow(clippy::cast_possible_truncation, reason = "disks of tests are small")]

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use repo_format::{ChunkerKind, Chunking, Config, Extent, KdfCost, Record, RepositoryId};

use super::*;
use crate::{
    audit::AuditShare,
    changed_areas::ChangedAreas,
    entropy::{Entropy, SeededEntropy},
    map_walk::MapWalk,
    monitor::Silent,
    repository::{NewRepository, NewSlotSecret, init},
    source::{MemorySource, SourceError},
    store::{MemoryStore, Prefix, Store},
    test_repository::{environment, secret},
};

const CELL: u64 = 4096;

/// Numbers that a seed makes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

fn fill(seed: u64, into: &mut [u8]) {
    SeededEntropy::new(seed).fill(into);
}

struct Place {
    writer: Writer,
    store: Arc<MemoryStore>,
    _folder: tempfile::TempDir,
}

/// A repository with small chunks, segments of 2^`segment_log2` and small packs.
fn place(chunker: ChunkerKind, segment_log2: u8) -> Place {
    let chunking = Chunking { chunker, min_log2: 12, avg_log2: 13, max_log2: 14 };
    let config = Config {
        shard_log2: 12,
        segment_log2,
        frame_bytes_max: 1 << 16,
        data_pack_bytes: 1 << 18,
        metadata_pack_bytes: 1 << 18,
        ..Config::new(RepositoryId::from_bytes([0; 16]), chunking, 1)
    };
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let slot = NewSlotSecret { secret: secret(), label: "test".to_owned(), cost: KdfCost::default() };
    let environment = environment(Arc::clone(&store), &folder);
    let (writer, _) = init(environment, NewRepository { config, slots: vec![slot] }).unwrap();
    Place { writer, store, _folder: folder }
}

/// The clock stands still here: a tag of its own keeps two points apart.
static JOBS: AtomicU64 = AtomicU64::new(0);

fn job(vm: &str, source: Box<dyn DiskSource>, changes: Option<Changes>) -> BackupJob<'static> {
    BackupJob {
        identity: VmIdentity::named(vm).unwrap(),
        vm_name: vm.to_owned(),
        disks: vec![JobDisk { name: "disk0".to_owned(), uuid: None, change_id: None, read_whole: None, source }],
        changes,
        home: None,
        tag: Some(JOBS.fetch_add(1, Ordering::Relaxed).to_string()),
        hold: None,
        recorded: None,
        consistency: Consistency::Unknown,
    }
}

fn options(threads: usize) -> BackupOptions {
    BackupOptions { threads, compression: Compression::Zstd(1), on_bad: OnBad::Keep }
}

impl Place {
    fn full(&mut self, vm: &str, source: Box<dyn DiskSource>) -> BackupReport {
        backup(&mut self.writer, &job(vm, source, None), &options(2), &Silent).unwrap()
    }

    fn by_changes(
        &mut self,
        vm: &str,
        source: Box<dyn DiskSource>,
        parent: ChunkId,
        areas: &[Range<u64>],
        audit: AuditShare,
    ) -> BackupReport {
        let changes = self.changes(source.as_ref(), parent, areas, audit);
        backup(&mut self.writer, &job(vm, source, Some(changes)), &options(2), &Silent).unwrap()
    }

    fn changes(&self, source: &dyn DiskSource, parent: ChunkId, areas: &[Range<u64>], audit: AuditShare) -> Changes {
        let areas = ChangedAreas::of(source.bytes(), areas.iter().cloned()).unwrap();
        Changes { parent, areas: vec![("disk0".to_owned(), areas)], audit }
    }

    /// The disk as its map tells it, chunk by chunk.
    fn bytes_of(&self, root: ChunkId) -> Vec<u8> {
        let reader = &self.writer.0;
        let walk = MapWalk::open(reader, root).unwrap();
        let mut bytes = Vec::new();
        for index in 0..walk.segment_count() {
            let range = walk.bytes_of(&(index..index + 1));
            let edit = crate::map_edit::MapEdit::open(&walk, [index]).unwrap();
            let map = crate::pipeline::BaseMaps::segment_map(&edit, index).unwrap();
            for extent in map.extents() {
                match extent {
                    Extent::Data(chunk) => {
                        let place = reader.locate_all(&chunk.id).unwrap()[0];
                        let pack = reader.pack(place.pack).unwrap();
                        let mut buffers = crate::pack_reader::FrameBuffers::new().unwrap();
                        let frame = pack.read_frame(place.frame, &mut buffers).unwrap();
                        let position = usize::try_from(place.position).unwrap();
                        bytes.extend_from_slice(frame.chunk(position, reader.keys()).unwrap().bytes());
                    }
                    other => bytes.resize(bytes.len() + other.length() as usize, 0),
                }
            }
            assert_eq!(bytes.len() as u64, range.end);
        }
        bytes
    }
}

fn one_in(places: u64) -> AuditShare {
    AuditShare::OneIn(NonZeroU64::new(places).unwrap())
}

fn root(report: &BackupReport) -> ChunkId {
    report.disks[0].map_root
}

fn by_changed_areas(report: &BackupReport) -> bool {
    matches!(report.disks[0].how, HowRead::ChangedAreas { .. })
}

/// A guest at work: a few edits of any alignment. Gives what was touched.
fn work(disk: &mut [u8], random: &mut Random) -> Vec<Range<u64>> {
    let mut touched = Vec::new();
    for _ in 0..random.below(7) {
        let start = match random.below(3) {
            0 => random.below(disk.len() as u64),
            _ => random.below(disk.len() as u64 / CELL) * CELL,
        };
        let length = match random.below(4) {
            0 => 1 + random.below(300),
            1 | 2 => (1 + random.below(4)) * CELL,
            _ => 1 + random.below(120_000),
        };
        let end = (start + length).min(disk.len() as u64);
        let into = &mut disk[start as usize..end as usize];
        match random.below(6) {
            0 | 1 => into.fill(0),
            2 => into.fill(1 + random.below(3) as u8),
            3 => {}
            _ => fill(random.next(), into),
        }
        touched.push(start..end);
    }
    crate::byte_ranges::coalesced(touched)
}

/// A source of these bytes that tells of its holes or not.
fn source(disk: &[u8], tells_holes: bool) -> Box<dyn DiskSource> {
    let source = MemorySource::new(disk.to_vec());
    if !tells_holes {
        return Box::new(source);
    }
    // Holes of 512 bytes, as file systems and virtual disks may have them.
    let data = disk.chunks(512).enumerate().filter(|(_, sector)| sector.iter().any(|byte| *byte != 0));
    let ranges = data.map(|(at, sector)| at as u64 * 512..at as u64 * 512 + sector.len() as u64).collect();
    Box::new(source.with_allocated(crate::byte_ranges::coalesced(ranges)))
}

/// The law of format: whatever the history, the map of a changed-area night is the map of a full read.
#[test]
fn a_night_by_changed_areas_has_the_map_of_a_full_read() {
    let mut nights = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let chunker = if seed % 2 == 0 { ChunkerKind::Block } else { ChunkerKind::FastCdc };
        let mut place = place(chunker, 14 + random.below(3) as u8);
        // One in six has two levels of nodes.
        let bytes = if seed % 6 == 0 { 5 << 20 } else { 100_000 + random.below(900_000) };
        let mut disk = vec![0; bytes as usize];
        for _ in 0..4 {
            work(&mut disk, &mut random);
        }
        let mut before = place.full("web01", source(&disk, true));
        for night in 0..8 {
            let areas = work(&mut disk, &mut random);
            let audit = [AuditShare::Off, one_in(3), AuditShare::ALL][random.below(3) as usize];
            let tells_holes = random.below(2) == 0;
            let from = source(&disk, tells_holes);
            let changes = place.changes(from.as_ref(), before.point, &areas, audit);
            let threads = 1 + random.below(4) as usize;
            let job = job("web01", from, Some(changes));
            let after = backup(&mut place.writer, &job, &options(threads), &Silent).unwrap();
            assert!(by_changed_areas(&after), "seed {seed}, night {night}: {:?}", after.disks[0].how);
            let full = place.full("other", source(&disk, !tells_holes));
            assert_eq!(root(&after), root(&full), "seed {seed}, night {night}, {chunker:?}");
            let (after_disk, full_disk) = (&after.disks[0], &full.disks[0]);
            assert_eq!(
                (after_disk.data_bytes, after_disk.hole_bytes, after_disk.bad_bytes),
                (full_disk.data_bytes, full_disk.hole_bytes, full_disk.bad_bytes)
            );
            before = after;
            nights += 1;
        }
        if seed % 10 == 0 {
            assert_eq!(place.bytes_of(root(&before)), disk, "seed {seed}");
        }
    }
    assert_eq!(nights, 480);
}

/// A disk of which little exists, and that counts its reads.
struct SparseDisk {
    bytes: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
    reads: Arc<AtomicU64>,
}

impl DiskSource for SparseDisk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError> {
        Ok(self.pieces.iter().map(|(start, piece)| *start..*start + piece.len() as u64).collect())
    }

    fn allocated_within(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, SourceError> {
        let touches = |piece: &Range<u64>| piece.start < range.end && range.start < piece.end;
        Ok(self.allocated()?.into_iter().filter(touches).collect())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.reads.fetch_add(into.len() as u64, Ordering::Relaxed);
        into.fill(0);
        let end = offset + into.len() as u64;
        for (start, piece) in &self.pieces {
            let (from, to) = (offset.max(*start), end.min(*start + piece.len() as u64));
            if from < to {
                into[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&piece[(from - start) as usize..(to - start) as usize]);
            }
        }
        Ok(())
    }
}

#[test]
fn maps_of_every_height_are_edited_and_untouched_nodes_are_kept_unread() {
    // Segments of 16 KiB: up to 256, 65536 and more of them.
    for (bytes, height) in [(2 << 20, 0), (100 << 20, 1), ((1 << 30) + 777, 2)] {
        let mut place = place(ChunkerKind::Block, 14);
        let piece = |seed: u64| {
            let mut piece = vec![0; 50_000];
            fill(seed, &mut piece);
            piece
        };
        let reads = Arc::new(AtomicU64::new(0));
        let disk = |pieces: &[(u64, u64)]| {
            let pieces = pieces.iter().map(|(at, seed)| (*at, piece(*seed))).collect();
            Box::new(SparseDisk { bytes, pieces, reads: Arc::clone(&reads) })
        };
        let end = bytes - 50_000;
        let first = place.full("web01", disk(&[(0, 1), (bytes / 2, 2), (end, 3)]));
        assert_eq!(MapWalk::open(&place.writer.0, root(&first)).unwrap().root().height, height);
        reads.store(0, Ordering::Relaxed);
        // One piece changes, one is trimmed, one is new where all was zero.
        let (changed, new) = (end..bytes, bytes / 4..bytes / 4 + 50_000);
        let areas = [new.clone(), bytes / 2..bytes / 2 + 50_000, changed];
        let now = [(0, 1), (new.start, 5), (end, 6)];
        let second = place.by_changes("web01", disk(&now), first.point, &areas, AuditShare::Off);
        let read = reads.load(Ordering::Relaxed);
        assert_eq!(read, second.disks[0].read_bytes);
        assert!(read < 200_000, "{read} bytes read of what has not changed");
        assert_eq!(root(&second), root(&place.full("other", disk(&now))), "height {height}");
        // All gone: the map of a disk of zeros.
        let all = [0..50_000, new.clone(), bytes / 2..bytes / 2 + 50_000, end..bytes];
        let third = place.by_changes("web01", disk(&[]), second.point, &all, AuditShare::Off);
        assert_eq!(root(&third), root(&place.full("other", disk(&[]))), "height {height}");
        assert_eq!(third.disks[0].data_bytes, 0);
    }
}

#[test]
fn nothing_changed_is_the_same_map_and_reads_nothing() {
    let mut place = place(ChunkerKind::FastCdc, 16);
    let mut disk = vec![0; 700_000];
    fill(1, &mut disk);
    let first = place.full("web01", source(&disk, false));
    let second = place.by_changes("web01", source(&disk, false), first.point, &[], AuditShare::Off);
    assert_eq!(root(&first), root(&second));
    assert_eq!((second.disks[0].read_bytes, second.disks[0].changed_bytes, second.number), (0, 0, 2));
    assert!(by_changed_areas(&second));
}

#[test]
fn the_point_tells_its_base_and_what_the_audit_found() {
    let mut place = place(ChunkerKind::Block, 16);
    let mut disk = vec![0; 700_000];
    fill(1, &mut disk);
    let first = place.full("web01", source(&disk, false));
    disk[5] ^= 1;
    let second = place.by_changes("web01", source(&disk, false), first.point, &[5..6], AuditShare::ALL);
    let record =
        |place: &Place, report: &BackupReport| place.writer.restore_point(report.point).unwrap().disks.remove(0);
    let told = record(&place, &second);
    assert_eq!(told.base, Some(first.point));
    assert_eq!(told.audit, Some(repo_format::AuditRecord { one_in: 1, segments: 11, misses: 0 }));
    assert_eq!(told.read_bytes, Some(second.disks[0].read_bytes));
    assert_eq!((record(&place, &first).base, record(&place, &first).audit), (None, None));
    // A change that the list hides.
    disk[5] ^= 2;
    disk[650_000] ^= 2;
    let third = place.by_changes("web01", source(&disk, false), second.point, &[5..6], AuditShare::ALL);
    let told = record(&place, &third);
    assert_eq!((told.base, told.audit.map(|audit| audit.misses)), (None, Some(1)));
    assert_eq!(third.disks[0].how, HowRead::Whole { reason: Some(FullRead::AuditMiss { segments: 1 }) });
    let misses = &third.disks[0].audit.as_ref().unwrap().misses;
    assert!(
        misses.len() == 1 && misses[0].contains(&650_000) && misses[0].end - misses[0].start <= 1 << 15,
        "{misses:?}"
    );
    assert_eq!(root(&third), root(&place.full("other", source(&disk, false))));
}

#[test]
fn a_miss_in_a_segment_that_was_touched_elsewhere_is_found() {
    for chunker in [ChunkerKind::Block, ChunkerKind::FastCdc] {
        let mut place = place(chunker, 18);
        let mut disk = vec![0; 1 << 18];
        fill(1, &mut disk);
        let first = place.full("web01", source(&disk, false));
        disk[1000] ^= 1;
        disk[200_000] ^= 1;
        let second = place.by_changes("web01", source(&disk, false), first.point, &[1000..1001], AuditShare::ALL);
        let misses = &second.disks[0].audit.as_ref().unwrap().misses;
        assert!(misses.iter().any(|range| range.contains(&200_000)), "{misses:?}");
        assert!(misses.iter().all(|range| !range.contains(&1000)), "{misses:?}");
        assert_eq!(root(&second), root(&place.full("other", source(&disk, false))));
    }
}

#[test]
fn a_disk_that_the_parent_cannot_speak_for_is_read_whole_and_the_reason_is_told() {
    let mut place = place(ChunkerKind::Block, 16);
    let mut disk = vec![0; 300_000];
    fill(1, &mut disk);
    let first = place.full("web01", source(&disk, false));
    let reason = |report: &BackupReport| match &report.disks[0].how {
        HowRead::Whole { reason: Some(reason) } => reason.clone(),
        other => panic!("{other:?}"),
    };
    // Resized.
    let mut grown = disk.clone();
    grown.resize(310_000, 7);
    let report = place.by_changes("web01", source(&grown, false), first.point, &[0..1], AuditShare::Off);
    assert_eq!(reason(&report), FullRead::Resized { before_bytes: 300_000, now_bytes: 310_000 });
    assert_eq!(root(&report), root(&place.full("other", source(&grown, false))));
    // New.
    let changes = place.changes(source(&disk, false).as_ref(), first.point, &[], AuditShare::Off);
    let mut new = job("web01", source(&disk, false), Some(changes));
    new.disks[0].name = "disk1".to_owned();
    new.changes.as_mut().unwrap().areas[0].0 = "disk1".to_owned();
    let report = backup(&mut place.writer, &new, &options(1), &Silent).unwrap();
    assert_eq!(reason(&report), FullRead::NewDisk { parent: first.point });
    // No list.
    new.changes.as_mut().unwrap().areas.clear();
    new.tag = Some("without a list".to_owned());
    let report = backup(&mut place.writer, &new, &options(1), &Silent).unwrap();
    assert_eq!(reason(&report), FullRead::NoAreas);
    // Bad extents in the parent.
    let bad = MemorySource::new(disk.clone()).with_unreadable(vec![70_000..70_001]);
    let bad = place.full("web01", Box::new(bad));
    let report = place.by_changes("web01", source(&disk, false), bad.point, &[], AuditShare::Off);
    assert_eq!(reason(&report), FullRead::BadExtents { bad_bytes: 4096 });
    assert_eq!(root(&report), root(&first));
}

#[test]
fn a_parent_of_another_vm_or_of_none_or_forgotten_is_refused_and_nothing_is_committed() {
    let mut place = place(ChunkerKind::Block, 16);
    let disk = vec![1; 100_000];
    let first = place.full("web01", source(&disk, false));
    let attempt = |place: &mut Place, vm: &str, parent: ChunkId| {
        let changes = place.changes(source(&disk, false).as_ref(), parent, &[], AuditShare::Off);
        let points = place.writer.state().points().len();
        let error = backup(&mut place.writer, &job(vm, source(&disk, false), Some(changes)), &options(1), &Silent);
        assert_eq!(place.writer.state().points().len(), points);
        error.unwrap_err()
    };
    let error = attempt(&mut place, "web02", first.point);
    assert!(matches!(error, BackupError::ParentOfOtherVm { .. }) && error.kind() == Kind::Invalid, "{error}");
    let error = attempt(&mut place, "web01", ChunkId::from_bytes([7; 32]));
    assert!(matches!(error, BackupError::UnknownParent { .. }) && error.kind() == Kind::Invalid, "{error}");
    let forget = Record::Forget(repo_format::Forget { points: vec![first.point], reason: None });
    place.writer.append(&mut |_| Ok(vec![forget.clone()])).unwrap();
    let error = attempt(&mut place, "web01", first.point);
    assert!(matches!(error, BackupError::UnknownParent { .. }), "{error}");
}

#[test]
fn the_base_is_pinned_before_its_map_is_used_and_a_dry_run_pins_nothing() {
    let mut place = place(ChunkerKind::Block, 16);
    let disk = vec![1; 100_000];
    let first = place.full("web01", source(&disk, false));
    let entries = |place: &Place| {
        let mut count = 0;
        let counted = &mut |_| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        };
        place.store.list(Prefix::Log, counted).unwrap();
        count
    };
    let before = entries(&place);
    place.by_changes("web01", source(&disk, false), first.point, &[0..9], AuditShare::Off);
    // Open, Pin, and Commit with Close.
    assert_eq!(entries(&place), before + 3);
    let sessions = place.writer.state().open_sessions().count();
    assert_eq!(sessions, 0);
}

#[test]
fn a_parent_whose_map_is_damaged_is_no_base() {
    for damaged in 0..6 {
        let mut place = place(ChunkerKind::Block, 14);
        let mut disk = vec![0; 5 << 20];
        for (number, cell) in disk.chunks_mut(1 << 16).enumerate() {
            fill(number as u64, &mut cell[..4096]);
        }
        let first = place.full("web01", source(&disk, true));
        let mut packs = Vec::new();
        let gathered = &mut |listed: crate::store::Listed| {
            packs.push(listed.name);
            std::ops::ControlFlow::Continue(())
        };
        place.store.list(Prefix::Packs, gathered).unwrap();
        let metadata: Vec<_> = (place.writer.state().packs())
            .filter(|(_, pack)| pack.class == Class::Metadata)
            .map(|(_, pack)| crate::store::Name::pack(pack.name))
            .collect();
        let name = &metadata[0];
        let mut bytes = place.store.get(name, u64::MAX).unwrap().unwrap();
        // Everything from the first frame on, a part at a time: what is not needed tonight may be damaged unseen.
        let part = bytes.len() / 8;
        bytes[part * damaged..part * (damaged + 1)].fill(0x55);
        place.store.tamper(name, Some(bytes));
        place.writer.0.reload_index();
        fill(99, &mut disk[1000..2000]);
        let report = place.by_changes("web01", source(&disk, true), first.point, &[1000..2000], AuditShare::Off);
        let whole = matches!(&report.disks[0].how, HowRead::Whole { reason: Some(FullRead::UnreadableMap(_)) });
        assert!(whole || by_changed_areas(&report), "{:?}", report.disks[0].how);
        let full = place.full("other", source(&disk, true));
        assert_eq!(root(&report), root(&full), "part {damaged}");
    }
}

/// How many points it takes until a lie about `lies` segments is found, by nothing but empty lists.
fn points_until_found(place: &mut Place, vm: &str, disk: &[u8], lies: u64, random: &mut Random) -> u64 {
    let segments = (disk.len() as u64) >> 14;
    let mut parent = place.full(vm, source(disk, false)).point;
    let mut now = disk.to_vec();
    for _ in 0..lies {
        let at = (random.below(segments) << 14) + random.below(1 << 14);
        now[at as usize] ^= 0x80;
    }
    for point in 1..=30 {
        let report = place.by_changes(vm, source(&now, false), parent, &[], AuditShare::default());
        if report.disks[0].audit.as_ref().is_some_and(|audit| audit.missed_segments > 0) {
            return point;
        }
        assert!(by_changed_areas(&report));
        parent = report.point;
    }
    panic!("{vm}: a lie about {lies} segments was not found in 30 points");
}

#[test]
fn a_list_that_hides_changes_is_found_out_within_thirty_points() {
    let mut place = place(ChunkerKind::Block, 14);
    let mut disk = vec![0; 200 << 14];
    fill(1, &mut disk);
    for (lies, trials) in [(1, 16), (3, 16), (10, 16), (30, 16)] {
        let mut random = Random(lies);
        let found: Vec<u64> = (0..trials)
            .map(|trial| points_until_found(&mut place, &format!("vm-{lies}-{trial}"), &disk, lies, &mut random))
            .collect();
        assert!(found.iter().all(|points| *points <= 30));
    }
}

#[test]
fn an_honest_list_is_never_called_a_lie() {
    let mut place = place(ChunkerKind::Block, 14);
    let mut random = Random(5);
    let mut disk = vec![0; 1 << 20];
    for _ in 0..10 {
        work(&mut disk, &mut random);
    }
    let mut parent = place.full("web01", source(&disk, true)).point;
    for night in 0..120 {
        let areas = work(&mut disk, &mut random);
        let report = place.by_changes("web01", source(&disk, night % 2 == 0), parent, &areas, one_in(4));
        assert!(by_changed_areas(&report), "night {night}: {:?}", report.disks[0]);
        parent = report.point;
    }
}

#[test]
fn bytes_that_cannot_be_read_in_a_changed_area_are_bad_as_a_full_read_finds_them() {
    for chunker in [ChunkerKind::Block, ChunkerKind::FastCdc] {
        let mut place = place(chunker, 16);
        let mut disk = vec![0; 400_000];
        fill(1, &mut disk);
        let first = place.full("web01", source(&disk, false));
        fill(2, &mut disk[100_000..140_000]);
        let failing = || Box::new(MemorySource::new(disk.clone()).with_unreadable(vec![120_000..120_001]));
        let report = place.by_changes("web01", failing(), first.point, &[100_000..140_000], AuditShare::Off);
        assert_eq!(report.completeness, Completeness::Incomplete);
        assert_eq!(root(&report), root(&place.full("other", failing())));
        assert_eq!(report.disks[0].bad_bytes, 4096);
    }
}
