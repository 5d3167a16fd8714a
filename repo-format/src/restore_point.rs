//! Restore points: one state of one VM (SPEC.md section 14).

use crate::{
    chunk::{MetadataChunk, MetadataKind},
    codec::{Put, Reader, RecordReader, RecordWriter},
    error::FormatError,
    ids::ChunkId,
    vm_identity::VmIdentity,
};

#[cfg(test)]
mod tests;

const WHAT: &str = "restore point";
const DISK: &str = "disk of a restore point";

/// What the disks of a restore point have in common in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Not known.
    Unknown,
    /// As after a power cut.
    Crash,
    /// File systems were quiet.
    FileSystem,
    /// Applications were quiet.
    Application,
    /// The VM was off.
    PoweredOff,
}

impl Consistency {
    const ALL: [Self; 5] = [Self::Unknown, Self::Crash, Self::FileSystem, Self::Application, Self::PoweredOff];

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        one_of(reader, "consistency", &Self::ALL)
    }
}

/// Whether a restore point has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Completeness {
    /// It has.
    Whole,
    /// There are bad extents, or the VM home lacks a part.
    Incomplete,
}

impl Completeness {
    const ALL: [Self; 2] = [Self::Whole, Self::Incomplete];

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.push(self as u8);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        one_of(reader, "completeness", &Self::ALL)
    }
}

/// Reads a number that stands for the value at its place in `all`.
fn one_of<T: Copy>(reader: &mut Reader<'_>, field: &str, all: &[T]) -> Result<T, FormatError> {
    let found = reader.u8(field)?;
    let value = all.get(usize::from(found)).copied();
    value.ok_or_else(|| reader.damaged(field, found, format_args!("below {}", all.len())))
}

/// One disk of a restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRecord {
    /// Unique in the point, such as `scsi0:0`.
    pub name: String,
    /// What the source calls it.
    pub uuid: Option<String>,
    /// Size of the disk.
    pub bytes: u64,
    /// Bytes that are neither hole nor bad.
    pub data_bytes: Option<u64>,
    /// Its map.
    pub map_root: ChunkId,
    /// Bytes that could not be read.
    pub bad_bytes: u64,
    /// Bytes read from the source.
    pub read_bytes: Option<u64>,
    /// Bytes of chunks that were not known.
    pub novel_bytes: Option<u64>,
    /// Bytes of the frames of those chunks.
    pub stored_bytes: Option<u64>,
    /// Bytes in segments whose map differs from the previous point's.
    pub changed_bytes: Option<u64>,
    /// From which the source can tell later what changed since.
    pub change_id: Option<String>,
    /// The point whose map stands for what was not read; missing if the whole disk was read.
    pub base: Option<ChunkId>,
    /// What became of the audit of the changed areas.
    pub audit: Option<AuditRecord>,
}

/// Segments were read although they were said to be unchanged, and compared with the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Each point audits one in so many segments; each segment is due once in so many points.
    pub one_in: u64,
    /// Segments audited for this point.
    pub segments: u64,
    /// Those that had changed outside of the changed areas.
    pub misses: u64,
}

impl AuditRecord {
    fn put(self, out: &mut Vec<u8>) {
        [self.one_in, self.segments, self.misses].into_iter().for_each(|number| out.put_varint(number));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            one_in: reader.varint("audit: one in")?,
            segments: reader.varint("audit: segments")?,
            misses: reader.varint("audit: misses")?,
        })
    }
}

/// One state of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePoint {
    /// The VM.
    pub vm: VmIdentity,
    /// The program that made the point.
    pub program_version: Option<String>,
    /// The VM's name at that time.
    pub vm_name: String,
    /// What the operator called the point.
    pub tag: Option<String>,
    /// The disks.
    pub disks: Vec<DiskRecord>,
    /// The host that made the point.
    pub host: Option<String>,
    /// What surrounds the disks.
    pub vm_home: Option<ChunkId>,
    /// When it was begun, in milliseconds since 1970.
    pub started_ms: u64,
    /// When the last disk was read.
    pub finished_ms: u64,
    /// What the disks have in common in time.
    pub consistency: Consistency,
    /// Whether something is missing.
    pub completeness: Completeness,
}

impl DiskRecord {
    fn encode(&self) -> Vec<u8> {
        let mut fields = RecordWriter::new();
        let number = |out: &mut Vec<u8>, value| out.put_varint(value);
        let text = |out: &mut Vec<u8>, value: &String| out.put_text(value);
        fields.field(0, |out| out.put_text(&self.name));
        fields.optional(1, self.uuid.as_ref(), text);
        fields.field(2, |out| out.put_varint(self.bytes));
        fields.optional(3, self.data_bytes, number);
        fields.field(4, |out| out.extend_from_slice(self.map_root.as_bytes()));
        fields.optional(5, Some(self.bad_bytes).filter(|bytes| *bytes > 0), number);
        fields.optional(7, self.read_bytes, number);
        fields.optional(9, self.novel_bytes, number);
        fields.optional(11, self.stored_bytes, number);
        fields.optional(13, self.changed_bytes, number);
        fields.optional(15, self.change_id.as_ref(), text);
        fields.optional(17, self.base, |out, base| out.extend_from_slice(base.as_bytes()));
        fields.optional(19, self.audit, |out, audit| audit.put(out));
        fields.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record = RecordReader::new(DISK, bytes, &[0, 2, 4])?;
        let number = |tag, field| record.optional(tag, field, |reader| reader.varint(field));
        Ok(Self {
            name: record.required(0, "name", |reader| reader.text("name"))?,
            uuid: record.optional(1, "uuid", |reader| reader.text("uuid"))?,
            bytes: record.required(2, "bytes", |reader| reader.varint("bytes"))?,
            data_bytes: number(3, "data bytes")?,
            map_root: record.required(4, "map root", |reader| reader.array("map root").map(ChunkId::from_bytes))?,
            bad_bytes: number(5, "bad bytes")?.unwrap_or(0),
            read_bytes: number(7, "read bytes")?,
            novel_bytes: number(9, "novel bytes")?,
            stored_bytes: number(11, "stored bytes")?,
            changed_bytes: number(13, "changed bytes")?,
            change_id: record.optional(15, "change id", |reader| reader.text("change id"))?,
            base: record.optional(17, "base", |reader| reader.array("base").map(ChunkId::from_bytes))?,
            audit: record.optional(19, "audit", AuditRecord::read)?,
        })
    }
}

impl RestorePoint {
    /// The point as a metadata chunk; that chunk's id is the point's.
    pub fn encode(&self) -> MetadataChunk {
        let mut fields = RecordWriter::new();
        let text = |out: &mut Vec<u8>, value: &String| out.put_text(value);
        fields.field(0, |out| self.vm.put(out));
        fields.optional(1, self.program_version.as_ref(), text);
        fields.field(2, |out| out.put_text(&self.vm_name));
        fields.optional(3, self.tag.as_ref(), text);
        fields.field(4, |out| {
            out.put_count(self.disks.len());
            self.disks.iter().for_each(|disk| out.put_bytes(&disk.encode()));
        });
        fields.optional(5, self.host.as_ref(), text);
        fields.optional(6, self.vm_home, |out, home| out.extend_from_slice(home.as_bytes()));
        fields.field(8, |out| out.put_varint(self.started_ms));
        fields.field(10, |out| out.put_varint(self.finished_ms));
        fields.field(12, |out| out.push(self.consistency as u8));
        fields.field(14, |out| self.completeness.put(out));
        MetadataChunk::new(MetadataKind::RestorePoint, &fields.finish())
    }

    /// Reads a point.
    pub fn decode(chunk: &MetadataChunk) -> Result<Self, FormatError> {
        let payload = chunk.payload_of(MetadataKind::RestorePoint)?;
        let record = RecordReader::new(WHAT, payload, &[0, 2, 4, 6, 8, 10, 12, 14])?;
        let disk = |reader: &mut Reader<'_>| reader.bytes("disk").and_then(DiskRecord::decode);
        let point = Self {
            vm: record.required(0, "VM identity", VmIdentity::read)?,
            program_version: record.optional(1, "program version", |reader| reader.text("program version"))?,
            vm_name: record.required(2, "VM name", |reader| reader.text("VM name"))?,
            tag: record.optional(3, "tag", |reader| reader.text("tag"))?,
            disks: record.required(4, "disks", |reader| reader.list("disks", 1, disk))?,
            host: record.optional(5, "host", |reader| reader.text("host"))?,
            vm_home: record.optional(6, "VM home", |reader| reader.array("VM home").map(ChunkId::from_bytes))?,
            started_ms: record.required(8, "started", |reader| reader.varint("started"))?,
            finished_ms: record.required(10, "finished", |reader| reader.varint("finished"))?,
            consistency: record.required(12, "consistency", Consistency::read)?,
            completeness: record.required(14, "completeness", Completeness::read)?,
        };
        point.check_disk_names()?;
        Ok(point)
    }

    fn check_disk_names(&self) -> Result<(), FormatError> {
        let mut names: Vec<&str> = self.disks.iter().map(|disk| disk.name.as_str()).collect();
        names.sort_unstable();
        match names.array_windows().find(|[before, after]| before == after) {
            None => Ok(()),
            Some([name, _]) => Err(FormatError::damaged(WHAT, "disk name", format_args!("{name:?} twice"), "unique")),
        }
    }
}
