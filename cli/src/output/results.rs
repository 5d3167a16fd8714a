//! The results of all commands. The schemas in `docs/schemas/` are made of these very structs.
//!
//! Field names end in their unit, times are RFC 3339 in UTC, ids are full hex, secrets are length and fingerprint.

use schemars::JsonSchema;
use serde::Serialize;

use super::{AuditLine, HeadLine, HealedLine, ShowAudit};

/// `strongroom.init/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct InitResult {
    /// Id of the new repository.
    pub id: String,
    /// `block` or `fastcdc`.
    pub chunker: String,
    /// Smallest chunk that a cut makes.
    pub chunk_min_bytes: u32,
    /// Usual chunk.
    pub chunk_avg_bytes: u32,
    /// Largest chunk.
    pub chunk_max_bytes: u32,
    /// Head of its log.
    pub head: HeadLine,
    /// The store.
    pub store: String,
    /// Only one writer may use it.
    pub single_writer: bool,
    /// Parity shards in 512 of a pack; 0: damaged packs cannot be mended from themselves.
    pub parity_shards: u8,
    /// File that holds the recovery key; null if it was shown or not made.
    pub recovery_key_file: Option<String>,
    /// Whether there is a recovery key.
    pub recovery_key: bool,
}

/// `strongroom.backup/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct BackupResult {
    /// Id of the restore point; null on a dry run.
    pub point: Option<String>,
    /// Number of the point in its VM's chain; null on a dry run.
    pub number: Option<u64>,
    /// The VM.
    pub vm: String,
    /// Nothing was written.
    pub dry_run: bool,
    /// Its disks.
    pub disks: Vec<BackupDisk>,
    /// What the point is worth; null on a dry run.
    pub verdict: Option<VerdictLine>,
    /// Head of the log after the commit.
    pub head: HeadLine,
    /// Bytes of all packs that were added, metadata included.
    pub stored_bytes: u64,
    /// Finished packs taken over from a run that did not end.
    pub adopted_packs: u64,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// One disk of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BackupDisk {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Data on it.
    pub data_bytes: u64,
    /// Zeros on it.
    pub hole_bytes: u64,
    /// What could not be read.
    pub bad_bytes: u64,
    /// What was read of the source.
    pub read_bytes: u64,
    /// Bytes of segments that were not known.
    pub changed_bytes: u64,
    /// Bytes of chunks that were not known.
    pub new_bytes: u64,
    /// Bytes of the frames made of them.
    pub stored_bytes: u64,
    /// Root of the disk map; null on a dry run.
    pub map_root: Option<String>,
    /// `whole`, or `changed_areas`.
    pub read: String,
    /// Why it was read whole although changed areas were given.
    pub full_read_reason: Option<String>,
    /// The point that the changed areas were counted from, if they were used.
    pub parent: Option<String>,
    /// How many changed areas were used.
    pub changed_areas: Option<u64>,
    /// Bytes in them.
    pub changed_area_bytes: Option<u64>,
    /// What was read and compared of the rest.
    pub audit: Option<AuditLine>,
}

/// What a restore point is worth.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerdictLine {
    /// `unchanged`, `with_losses`, `incomplete`, `damaged`, `impossible`, `unknown`; others may come.
    pub verdict: String,
    /// As a person reads it.
    pub sentence: String,
}

/// `strongroom.list/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListResult {
    /// Restore points in log order.
    pub points: Vec<PointLine>,
}

/// One line of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PointLine {
    /// Its id.
    pub id: String,
    /// Time of its log entry.
    pub time: String,
    /// The same in milliseconds since 1970.
    pub time_ms: u64,
    /// Its VM.
    pub vm: String,
    /// Number in the VM's chain.
    pub number: u64,
    /// Number of disks; null if the record cannot be read.
    pub disk_count: Option<u64>,
    /// Size of the disks together.
    pub size_bytes: Option<u64>,
    /// Bytes of segments that differed from the point before.
    pub changed_bytes: Option<u64>,
    /// Bytes of frames that it added.
    pub stored_bytes: Option<u64>,
    /// The operator's mark.
    pub tag: Option<String>,
    /// Why it is held.
    pub held: Option<String>,
    /// What it is worth.
    pub verdict: VerdictLine,
}

/// `strongroom.show/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShowResult {
    /// The restore point.
    pub point: ShowPoint,
    /// Where the disks hold data, if it was asked for.
    pub extents: Option<Vec<ExtentLine>>,
    /// The configuration record, if it was asked for.
    pub config: Option<String>,
}

/// A restore point in full.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShowPoint {
    /// Its id.
    pub id: String,
    /// Time of its log entry.
    pub time: String,
    /// Number in the VM's chain.
    pub number: u64,
    /// Its VM's name.
    pub vm: String,
    /// Who the VM is.
    pub identity: String,
    /// The point before it.
    pub parent: Option<String>,
    /// When the backup began.
    pub started: String,
    /// When the last disk was read.
    pub finished: String,
    /// The host that made it.
    pub host: Option<String>,
    /// The program that made it.
    pub program: Option<String>,
    /// The operator's mark.
    pub tag: Option<String>,
    /// `unknown`, `crash`, `file_system`, `application` or `powered_off`.
    pub consistency: String,
    /// Nothing is missing.
    pub complete: bool,
    /// Why it is held.
    pub held: Option<String>,
    /// Its disks.
    pub disks: Vec<ShowDisk>,
    /// What surrounds the disks.
    pub vm_home: Option<HomeLine>,
    /// What it is worth.
    pub verdict: VerdictLine,
}

/// A disk of a restore point.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShowDisk {
    /// Its name.
    pub name: String,
    /// What the source calls it.
    pub uuid: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// Data on it.
    pub data_bytes: Option<u64>,
    /// What could not be read.
    pub bad_bytes: u64,
    /// What was read of the source.
    pub read_bytes: Option<u64>,
    /// Bytes of segments that differed from the point before.
    pub changed_bytes: Option<u64>,
    /// Bytes of chunks that were not known.
    pub new_bytes: Option<u64>,
    /// Bytes of the frames made of them.
    pub stored_bytes: Option<u64>,
    /// Root of the disk map.
    pub map_root: String,
    /// The point whose map stood for what was not read; null if all was read.
    pub base: Option<String>,
    /// What the audit of the changed areas found.
    pub audit: Option<ShowAudit>,
}

/// What may be shown of a VM home.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HomeLine {
    /// The VM's name.
    pub name: Option<String>,
    /// Instance uuid.
    pub instance_uuid: Option<String>,
    /// BIOS uuid.
    pub bios_uuid: Option<String>,
    /// `clear`, `whole` or `incomplete`.
    pub encryption: String,
    /// KMS key id.
    pub key_id: Option<String>,
    /// KMS provider.
    pub provider_id: Option<String>,
    /// `encryption.bundle`, as far as it is shown.
    pub bundle: SecretLine,
    /// Storage policy.
    pub storage_policy: Option<PolicyLine>,
    /// Guest operating system.
    pub guest_id: Option<String>,
    /// Hardware version.
    pub hardware_version: Option<String>,
    /// `bios`, `efi` or another.
    pub firmware: Option<String>,
    /// Secure boot.
    pub secure_boot: Option<bool>,
    /// vTPM.
    pub vtpm: Option<bool>,
    /// NVRAM.
    pub nvram: Option<StreamLine>,
    /// The document.
    pub document: StreamLine,
    /// What is known of the disks.
    pub disks: Vec<HomeDisk>,
}

/// A secret, as far as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SecretLine {
    /// Whether it is there.
    pub present: bool,
    /// Its length.
    pub bytes: Option<u64>,
    /// The first digits of its keyed hash: equal secrets of one repository have equal ones.
    pub fingerprint: Option<String>,
}

/// A content, as far as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StreamLine {
    /// File name.
    pub name: Option<String>,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub blake3: String,
}

/// A storage policy.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it encrypts; null if nobody said.
    pub encrypts: Option<bool>,
}

/// What a VM home knows of a disk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HomeDisk {
    /// Its name.
    pub name: String,
    /// KMS key id.
    pub key_id: Option<String>,
    /// KMS provider.
    pub provider_id: Option<String>,
    /// Storage policy.
    pub storage_policy: Option<PolicyLine>,
}

/// A stretch of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExtentLine {
    /// The disk.
    pub disk: String,
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
}

/// `strongroom.diff/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffResult {
    /// The point before.
    pub before: String,
    /// The point after.
    pub after: String,
    /// They are of different VMs.
    pub other_vm: bool,
    /// Disks of either.
    pub disks: Vec<DiffDisk>,
    /// Fields of the VM home that differ.
    pub vm_home: Vec<HomeChangeLine>,
    /// What differs, if it was asked for.
    pub extents: Option<Vec<ExtentLine>>,
}

/// The difference of one disk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffDisk {
    /// Its name.
    pub name: String,
    /// `both`, `added` or `removed`.
    pub side: String,
    /// Size before.
    pub before_bytes: u64,
    /// Size after.
    pub after_bytes: u64,
    /// Bytes of chunks that differ.
    pub changed_bytes: u64,
    /// Segments that differ.
    pub changed_segments: u64,
}

/// A field of the VM home that differs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HomeChangeLine {
    /// The field.
    pub field: String,
    /// Before; secrets as length and fingerprint.
    pub before: String,
    /// After.
    pub after: String,
}

/// `strongroom.restore/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct RestoreResult {
    /// The restore point.
    pub point: String,
    /// Its VM.
    pub vm: String,
    /// Its time.
    pub time: String,
    /// Nothing was written.
    pub dry_run: bool,
    /// What came back.
    pub disks: Vec<RestoreDisk>,
    /// File that the VM home's document was written to.
    pub vm_home_file: Option<String>,
    /// File that the NVRAM was written to.
    pub nvram_file: Option<String>,
    /// What could not be read.
    pub problems: Vec<ProblemLine>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// One disk of a restore.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RestoreDisk {
    /// Its name.
    pub name: String,
    /// Where it was written to.
    pub target: String,
    /// Its size.
    pub size_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes that were right already: an earlier run had written them, or they were so in place.
    pub skipped_bytes: u64,
    /// Bytes that are zero.
    pub hole_bytes: u64,
    /// Bytes that were something else in place, and are zeros now.
    pub zeroed_bytes: u64,
    /// Bytes that were not looked at, because the base has them too.
    pub shared_bytes: u64,
    /// Stretches that could not be read when they were backed up; zeros now.
    pub bad: Vec<RangeLine>,
    /// Stretches that could not be read now; the file is called NAME.part.
    pub lost: Vec<RangeLine>,
    /// Bytes of a larger device left as they were.
    pub tail_bytes: u64,
}

/// A stretch of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RangeLine {
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
}

/// Trouble with one object of the repository.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProblemLine {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What it costs; empty: nothing.
    pub costs: Vec<CostLine>,
}

/// What a restore point loses.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CostLine {
    /// The restore point.
    pub point: String,
    /// Its VM.
    pub vm: String,
    /// `point`, `vm_home` or `disk`.
    pub part: String,
    /// The disk.
    pub disk: Option<String>,
    /// Bytes lost.
    pub lost_bytes: u64,
    /// Where.
    pub ranges: Vec<RangeLine>,
}

/// `strongroom.verify/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyResult {
    /// `quick`, `read_data` or `no_key`.
    pub depth: String,
    /// All problems.
    pub problems: Vec<ProblemLine>,
    /// Packs that were damaged and are mended.
    pub healed: Vec<HealedLine>,
    /// Restore points whose maps were walked.
    pub points_checked: u64,
    /// Packs read whole.
    pub packs_checked: u64,
    /// Packs that are there.
    pub packs_total: u64,
    /// Bytes read of them.
    pub read_bytes: u64,
    /// When the pack that was not read for longest was read; null: never, or there is none.
    pub oldest_verified: Option<String>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// `strongroom.stats/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatsResult {
    /// All VMs together.
    pub totals: StatsTotals,
    /// By VM.
    pub vms: Vec<StatsVm>,
    /// Unique and stored bytes were counted, not estimated.
    pub exact: bool,
    /// Points that could not be read and are not counted.
    pub unreadable_points: u64,
}

/// All VMs together.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatsTotals {
    /// Restore points.
    pub points: u64,
    /// Sizes of all their disks.
    pub logical_bytes: u64,
    /// Data on all their disks.
    pub allocated_bytes: u64,
    /// Distinct chunks.
    pub distinct_bytes: u64,
    /// What the packs take.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
}

/// One VM.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatsVm {
    /// Its name.
    pub vm: String,
    /// Restore points.
    pub points: u64,
    /// Sizes of all their disks.
    pub logical_bytes: u64,
    /// Data on all their disks.
    pub allocated_bytes: u64,
    /// Chunks that no other VM has.
    pub unique_bytes: u64,
    /// What these take in the packs.
    pub stored_bytes: u64,
}

/// `strongroom.key/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyResult {
    /// What was done: `list`, `add`, `change`, `remove`, `recovery`.
    pub action: String,
    /// Slots after it.
    pub slots: Vec<SlotLine>,
    /// File that holds a new recovery key.
    pub recovery_key_file: Option<String>,
}

/// A key slot.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SlotLine {
    /// Its id.
    pub id: String,
    /// `password`, `key file` or `recovery key`; null if it cannot be read.
    pub kind: Option<String>,
    /// What it is called.
    pub label: Option<String>,
    /// When it was made.
    pub created: Option<String>,
    /// When a session was last opened by it.
    pub last_used: Option<String>,
    /// It opened the repository just now.
    pub current: bool,
}

/// `strongroom.demo/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct DemoResult {
    /// The steps.
    pub steps: Vec<DemoStep>,
    /// How long it took.
    pub elapsed_seconds: f64,
    /// Where everything was left, if it was.
    pub folder: Option<String>,
}

/// A step of the tour.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DemoStep {
    /// What it shows.
    pub name: String,
    /// Whether it did.
    pub ok: bool,
}

/// `strongroom.completions/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct CompletionsResult {
    /// The shell.
    pub shell: String,
    /// The script.
    pub script: String,
}

/// `strongroom.version/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct VersionResult {
    /// Program version.
    pub version: String,
    /// Formats that are read and written.
    pub formats: Vec<u16>,
    /// What this build can do.
    pub features: Vec<String>,
}

/// `strongroom.generate/1`
#[derive(Debug, Serialize, JsonSchema)]
pub struct GenerateResult {
    /// Files written.
    pub files: Vec<String>,
}
