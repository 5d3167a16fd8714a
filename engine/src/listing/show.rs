//! One restore point in full. Secrets appear as their length and fingerprint only.

use std::ops::Range;

use repo_format::{
    ChunkId, Digest, DiskHome, DiskRecord, Encryption, Extent, Keyring, RestorePoint, StoragePolicy, Stream, VmHome,
};

use super::list::loss_as_none;
use crate::{
    byte_ranges,
    map_walk::{Found, MapWalk, Visitor},
    read_error::ReadError,
    repository::Reader,
    restore::{read_home, read_point},
    verdict::{Verdict, judge},
};

/// A restore point.
#[derive(Clone, Debug)]
pub struct ShownPoint {
    /// Its id.
    pub id: ChunkId,
    /// Its record.
    pub record: RestorePoint,
    /// What surrounds the disks; `None` if there is none or it cannot be read.
    pub home: Option<HomeSummary>,
    /// What it is worth.
    pub verdict: Verdict,
}

/// What may be shown of a VM home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeSummary {
    /// The configuration record.
    pub document: StreamSummary,
    /// The VM's name.
    pub name: Option<String>,
    /// Instance uuid.
    pub instance_uuid: Option<String>,
    /// BIOS uuid.
    pub bios_uuid: Option<String>,
    /// Whether key id and bundle are there.
    pub encryption: Encryption,
    /// The KMS key.
    pub kms_key_id: Option<String>,
    /// Its provider.
    pub kms_provider: Option<String>,
    /// Guest operating system id.
    pub guest_id: Option<String>,
    /// Hardware version.
    pub hardware_version: Option<String>,
    /// `encryption.bundle`.
    pub encryption_bundle: Option<SecretSummary>,
    /// Storage policy.
    pub storage_policy: Option<StoragePolicy>,
    /// Firmware.
    pub firmware: Option<String>,
    /// Secure boot.
    pub secure_boot: Option<bool>,
    /// vTPM.
    pub vtpm: Option<bool>,
    /// Name and content of the NVRAM file.
    pub nvram: Option<(String, StreamSummary)>,
    /// Disks.
    pub disks: Vec<DiskHome>,
}

/// A secret, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSummary {
    /// Its length.
    pub bytes: u64,
    /// First hex digits of a keyed hash.
    pub fingerprint: String,
}

/// A stream, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub digest: Digest,
}

impl StreamSummary {
    fn of(stream: &Stream) -> Self {
        Self { bytes: stream.length, digest: stream.digest }
    }
}

impl HomeSummary {
    /// What may be shown of `home`.
    pub(crate) fn of(home: &VmHome, keys: &Keyring) -> Self {
        let secret = |bytes: &[u8]| SecretSummary { bytes: bytes.len() as u64, fingerprint: keys.fingerprint(bytes) };
        Self {
            document: StreamSummary::of(&home.document),
            name: home.name.clone(),
            instance_uuid: home.instance_uuid.clone(),
            bios_uuid: home.bios_uuid.clone(),
            encryption: home.encryption(),
            kms_key_id: home.kms_key_id.clone(),
            kms_provider: home.kms_provider.clone(),
            guest_id: home.guest_id.clone(),
            hardware_version: home.hardware_version.clone(),
            encryption_bundle: home.encryption_bundle.as_ref().map(|bundle| secret(bundle.expose())),
            storage_policy: home.storage_policy.clone(),
            firmware: home.firmware.clone(),
            secure_boot: home.secure_boot,
            vtpm: home.vtpm,
            nvram: home
                .nvram
                .as_ref()
                .map(|nvram| (nvram.file_name.as_str().to_owned(), StreamSummary::of(&nvram.content))),
            disks: home.disks.clone(),
        }
    }
}

/// All that may be shown of restore point `id`.
pub fn show(reader: &Reader, id: ChunkId) -> Result<ShownPoint, ReadError> {
    let record = read_point(reader, id)?;
    let home = match record.vm_home {
        Some(home) => loss_as_none(read_home(reader, home))?,
        None => None,
    };
    let verdict = judge(&record, home.as_ref());
    let home = home.map(|home| HomeSummary::of(&home, reader.keys()));
    Ok(ShownPoint { id, record, home, verdict })
}

/// Shows where a disk holds data, in ascending order; neighbouring data is one range.
pub fn disk_extents(reader: &Reader, disk: &DiskRecord, visit: &mut dyn FnMut(Range<u64>)) -> Result<(), ReadError> {
    let map = MapWalk::open(reader, disk.map_root)?;
    let mut data = DataRanges { map: &map, open: 0..0, visit };
    map.for_each_segment(0..map.segment_count(), &mut data)?;
    data.flush();
    Ok(())
}

struct DataRanges<'v> {
    map: &'v MapWalk<'v>,
    open: Range<u64>,
    visit: &'v mut dyn FnMut(Range<u64>),
}

impl DataRanges<'_> {
    fn flush(&mut self) {
        let range = std::mem::replace(&mut self.open, 0..0);
        if byte_ranges::length(&range) > 0 {
            (self.visit)(range);
        }
    }
}

impl Visitor for DataRanges<'_> {
    type Error = ReadError;

    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), ReadError> {
        let map = match found {
            Found::Hole => return Ok(()),
            Found::Unreadable { error, .. } => return Err(error),
            Found::Map { map, .. } => map,
        };
        let mut offset = self.map.bytes_of(&segments).start;
        for extent in map.extents() {
            let range = offset..offset + u64::from(extent.length());
            offset = range.end;
            if !matches!(extent, Extent::Data(_)) {
                continue;
            }
            if self.open.end != range.start {
                self.flush();
                self.open.start = range.start;
            }
            self.open.end = range.end;
        }
        Ok(())
    }
}
