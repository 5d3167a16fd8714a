//! Records as bytes: kind `varint`, then a `record` of fields.

use super::{
    AddedSlot, Checkpoint, Commit, Condemn, Damaged, Delete, Forget, Hold, KeyChange, Moved, NewPack, Open, Orphan,
    Pin, Record, Swept, Verified, VerifiedHow,
};
use crate::{
    chunk::Class,
    codec::{Put, Reader, RecordReader, RecordWriter},
    error::FormatError,
    ids::{ChunkId, Digest, PackName, SessionId, SlotId},
    ordinal::{self, PackOrdinal},
    restore_point::Completeness,
    vm_identity::VmIdentity,
};

const WHAT: &str = "log record";

mod kind {
    pub(super) const OPEN: u64 = 2;
    pub(super) const COMMIT: u64 = 4;
    pub(super) const CLOSE: u64 = 6;
    pub(super) const KEY_CHANGE: u64 = 8;
    pub(super) const PIN: u64 = 10;
    pub(super) const MOVED: u64 = 12;
    pub(super) const FORGET: u64 = 14;
    pub(super) const CONDEMN: u64 = 16;
    pub(super) const DELETE: u64 = 18;
    pub(super) const FENCE: u64 = 20;
    pub(super) const SWEPT: u64 = 21;
    pub(super) const DAMAGED: u64 = 22;
    pub(super) const HOLD: u64 = 24;
    pub(super) const CHECKPOINT: u64 = 25;
    pub(super) const RELEASE: u64 = 26;
    pub(super) const VERIFIED: u64 = 27;
}

impl Record {
    /// Writes kind and payload.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let (kind, mut fields) = match self {
            Self::Open(open) => (kind::OPEN, open.fields()),
            Self::Commit(commit) => (kind::COMMIT, commit.fields()?),
            Self::Close { session } => (kind::CLOSE, only_session(session)),
            Self::KeyChange(change) => (kind::KEY_CHANGE, change.fields()),
            Self::Pin(pin) => (kind::PIN, pin.fields()),
            Self::Moved(moved) => (kind::MOVED, moved.fields()?),
            Self::Forget(forget) => (kind::FORGET, forget.fields()),
            Self::Condemn(condemn) => (kind::CONDEMN, packs(&condemn.packs)?),
            Self::Delete(delete) => (kind::DELETE, delete.fields()?),
            Self::Fence { session } => (kind::FENCE, only_session(session)),
            Self::Swept(swept) => (kind::SWEPT, swept.fields()?),
            Self::Damaged(damaged) => (kind::DAMAGED, damaged.fields()?),
            Self::Hold(hold) => (kind::HOLD, hold.fields()),
            Self::Checkpoint(checkpoint) => (kind::CHECKPOINT, checkpoint.fields()),
            Self::Release { point } => (kind::RELEASE, only_point(point)),
            Self::Verified(verified) => (kind::VERIFIED, verified.fields()?),
            Self::Skipped { kind } => {
                return Err(FormatError::invalid(WHAT, "kind", kind, "one that this program writes"));
            }
        };
        out.put_varint(kind);
        out.put_bytes(&fields.finish());
        Ok(())
    }

    /// Reads kind and payload. An unknown odd kind is skipped, an unknown even one unsupported.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let kind = reader.varint("kind")?;
        let payload = reader.bytes("payload")?;
        let record = |known: &[u64]| RecordReader::new(WHAT, payload, known);
        match kind {
            kind::OPEN => Open::read(&record(&[0, 2])?).map(Self::Open),
            kind::COMMIT => Commit::read(&record(&[0, 2, 4, 6, 8, 10, 12])?).map(Self::Commit),
            kind::CLOSE => Ok(Self::Close { session: record(&[0])?.required(0, "session", session)? }),
            kind::KEY_CHANGE => KeyChange::read(&record(&[0, 2, 4])?).map(Self::KeyChange),
            kind::PIN => Pin::read(&record(&[0, 2])?).map(Self::Pin),
            kind::MOVED => Moved::read(&record(&[0, 2, 4])?).map(Self::Moved),
            kind::FORGET => Forget::read(&record(&[0])?).map(Self::Forget),
            kind::CONDEMN => Ok(Self::Condemn(Condemn { packs: record(&[0])?.required(0, "packs", ordinal::read)? })),
            kind::DELETE => Delete::read(&record(&[0, 2])?).map(Self::Delete),
            kind::FENCE => Ok(Self::Fence { session: record(&[0])?.required(0, "session", session)? }),
            kind::SWEPT => Swept::read(&record(&[0, 2])?).map(Self::Swept),
            kind::DAMAGED => Damaged::read(&record(&[0])?).map(Self::Damaged),
            kind::HOLD => Hold::read(&record(&[0, 2, 4])?).map(Self::Hold),
            kind::CHECKPOINT => Checkpoint::read(&record(&[0, 2, 4])?).map(Self::Checkpoint),
            kind::RELEASE => Ok(Self::Release { point: record(&[0])?.required(0, "point", chunk_id)? }),
            kind::VERIFIED => Verified::read(&record(&[0, 2, 4])?).map(Self::Verified),
            unknown if unknown % 2 == 1 => Ok(Self::Skipped { kind: unknown }),
            unknown => Err(FormatError::unsupported(WHAT, "kind", unknown, "a newer program is needed")),
        }
    }
}

impl Open {
    fn fields(&self) -> RecordWriter {
        let mut fields = only_session(&self.session);
        fields.optional(1, self.host.as_ref(), |out, host| out.put_text(host));
        let adopts = Some(&self.adopts).filter(|adopts| !adopts.is_empty());
        fields.optional(2, adopts, |out, adopts| put_ids(out, adopts, SessionId::as_bytes));
        fields.optional(3, self.slot, |out, slot| out.extend_from_slice(slot.as_bytes()));
        fields.optional(5, self.program_version.as_ref(), |out, version| out.put_text(version));
        fields
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            session: record.required(0, "session", session)?,
            host: record.optional(1, "host", |reader| reader.text("host"))?,
            adopts: record.optional(2, "adopts", |reader| ids(reader, SessionId::from_bytes))?.unwrap_or_default(),
            slot: record.optional(3, "slot", slot)?,
            program_version: record.optional(5, "program version", |reader| reader.text("program version"))?,
        })
    }
}

impl Commit {
    fn fields(&self) -> Result<RecordWriter, FormatError> {
        let mut fields = only_session(&self.session);
        let uses = encoded(&self.uses)?;
        fields.optional(1, self.vm_name.as_ref(), |out, name| out.put_text(name));
        fields.field(2, |out| self.vm.put(out));
        fields.optional(3, self.completeness, |out, completeness| completeness.put(out));
        fields.field(4, |out| out.put_varint(self.number));
        fields.optional(6, self.previous, |out, point| out.extend_from_slice(point.as_bytes()));
        fields.field(8, |out| out.extend_from_slice(self.point.as_bytes()));
        fields.field(10, |out| put_new_packs(out, &self.new_packs));
        fields.field(12, |out| out.extend_from_slice(&uses));
        Ok(fields)
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            session: record.required(0, "session", session)?,
            vm_name: record.optional(1, "VM name", |reader| reader.text("VM name"))?,
            vm: record.required(2, "VM identity", VmIdentity::read)?,
            completeness: record.optional(3, "completeness", Completeness::read)?,
            number: record.required(4, "number", |reader| reader.varint("number"))?,
            previous: record.optional(6, "previous point", chunk_id)?,
            point: record.required(8, "point", chunk_id)?,
            new_packs: record.required(10, "new packs", new_packs)?,
            uses: record.required(12, "uses", ordinal::read)?,
        })
    }
}

impl KeyChange {
    fn fields(&self) -> RecordWriter {
        let mut fields = RecordWriter::new();
        fields.field(0, |out| {
            out.put_count(self.added.len());
            for added in &self.added {
                out.extend_from_slice(added.slot.as_bytes());
                out.extend_from_slice(added.digest.as_bytes());
            }
        });
        fields.field(2, |out| put_ids(out, &self.revoked, SlotId::as_bytes));
        fields.optional(4, self.new_epoch, |out, epoch| out.put_varint(u64::from(epoch)));
        fields
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        let added = |reader: &mut Reader<'_>| {
            reader.list("added slots", SlotId::BYTES + Digest::BYTES, |reader| {
                Ok(AddedSlot { slot: slot(reader)?, digest: Digest::from_bytes(reader.array("digest")?) })
            })
        };
        Ok(Self {
            added: record.required(0, "added", added)?,
            revoked: record.required(2, "revoked", |reader| ids(reader, SlotId::from_bytes))?,
            new_epoch: record.optional(4, "new key epoch", |reader| reader.varint_u32("new key epoch"))?,
        })
    }
}

impl Pin {
    fn fields(&self) -> RecordWriter {
        let mut fields = only_session(&self.session);
        fields.field(2, |out| out.extend_from_slice(self.point.as_bytes()));
        fields
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self { session: record.required(0, "session", session)?, point: record.required(2, "point", chunk_id)? })
    }
}

impl Moved {
    fn fields(&self) -> Result<RecordWriter, FormatError> {
        let mut fields = only_session(&self.session);
        let from = encoded(&self.from)?;
        fields.field(2, |out| put_new_packs(out, &self.new_packs));
        fields.field(4, |out| out.extend_from_slice(&from));
        Ok(fields)
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            session: record.required(0, "session", session)?,
            new_packs: record.required(2, "new packs", new_packs)?,
            from: record.required(4, "from", ordinal::read)?,
        })
    }
}

impl Forget {
    fn fields(&self) -> RecordWriter {
        let mut fields = RecordWriter::new();
        fields.field(0, |out| put_ids(out, &self.points, ChunkId::as_bytes));
        fields.optional(1, self.reason.as_ref(), |out, reason| out.put_text(reason));
        fields
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            points: record.required(0, "points", |reader| ids(reader, ChunkId::from_bytes))?,
            reason: record.optional(1, "reason", |reader| reader.text("reason"))?,
        })
    }
}

impl Delete {
    fn fields(&self) -> Result<RecordWriter, FormatError> {
        let mut fields = packs(&self.packs)?;
        fields.field(2, |out| {
            out.put_count(self.orphans.len());
            for orphan in &self.orphans {
                out.extend_from_slice(orphan.pack.as_bytes());
                out.extend_from_slice(orphan.owner.as_bytes());
            }
        });
        Ok(fields)
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        let orphans = |reader: &mut Reader<'_>| {
            reader.list("orphans", PackName::BYTES + SessionId::BYTES, |reader| {
                Ok(Orphan { pack: PackName::from_bytes(reader.array("pack")?), owner: session(reader)? })
            })
        };
        Ok(Self {
            packs: record.required(0, "packs", ordinal::read)?,
            orphans: record.required(2, "orphans", orphans)?,
        })
    }
}

impl Swept {
    fn fields(&self) -> Result<RecordWriter, FormatError> {
        let mut fields = packs(&self.packs)?;
        fields.field(2, |out| put_ids(out, &self.orphans, PackName::as_bytes));
        Ok(fields)
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            packs: record.required(0, "packs", ordinal::read)?,
            orphans: record.required(2, "orphans", |reader| ids(reader, PackName::from_bytes))?,
        })
    }
}

impl Damaged {
    fn fields(&self) -> Result<RecordWriter, FormatError> {
        let mut fields = packs(&self.packs)?;
        fields.optional(1, self.reason.as_ref(), |out, reason| out.put_text(reason));
        Ok(fields)
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            packs: record.required(0, "packs", ordinal::read)?,
            reason: record.optional(1, "reason", |reader| reader.text("reason"))?,
        })
    }
}

impl Hold {
    fn fields(&self) -> RecordWriter {
        let mut fields = only_point(&self.point);
        fields.field(2, |out| out.put_text(&self.reason));
        fields.optional(4, self.until_ms, |out, until| out.put_varint(until));
        fields
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            point: record.required(0, "point", chunk_id)?,
            reason: record.required(2, "reason", |reader| reader.text("reason"))?,
            until_ms: record.optional(4, "until", |reader| reader.varint("until"))?,
        })
    }
}

impl Checkpoint {
    fn fields(&self) -> RecordWriter {
        let mut fields = RecordWriter::new();
        fields.field(0, |out| out.put_varint(self.at));
        fields.field(2, |out| out.extend_from_slice(self.digest.as_bytes()));
        fields.field(4, |out| put_ids(out, &self.parts, Digest::as_bytes));
        fields
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            at: record.required(0, "at", |reader| reader.varint("at"))?,
            digest: record.required(2, "digest", |reader| reader.array("digest").map(Digest::from_bytes))?,
            parts: record.required(4, "parts", |reader| ids(reader, Digest::from_bytes))?,
        })
    }
}

impl Verified {
    fn fields(&self) -> Result<RecordWriter, FormatError> {
        let mut fields = packs(&self.packs)?;
        let how = match self.how {
            VerifiedHow::Name => 1,
            VerifiedHow::Contents => 2,
        };
        fields.field(2, |out| out.push(how));
        fields.optional(4, self.slot, |out, slot| out.extend_from_slice(slot.as_bytes()));
        Ok(fields)
    }

    fn read(record: &RecordReader<'_>) -> Result<Self, FormatError> {
        let how = |reader: &mut Reader<'_>| match reader.u8("how")? {
            1 => Ok(VerifiedHow::Name),
            2 => Ok(VerifiedHow::Contents),
            found => Err(reader.damaged("how", found, "1 or 2")),
        };
        Ok(Self {
            packs: record.required(0, "packs", ordinal::read)?,
            how: record.required(2, "how", how)?,
            slot: record.optional(4, "slot", slot)?,
        })
    }
}

fn only_session(session: &SessionId) -> RecordWriter {
    let mut fields = RecordWriter::new();
    fields.field(0, |out| out.extend_from_slice(session.as_bytes()));
    fields
}

fn only_point(point: &ChunkId) -> RecordWriter {
    let mut fields = RecordWriter::new();
    fields.field(0, |out| out.extend_from_slice(point.as_bytes()));
    fields
}

fn packs(ordinals: &[PackOrdinal]) -> Result<RecordWriter, FormatError> {
    let ordinals = encoded(ordinals)?;
    let mut fields = RecordWriter::new();
    fields.field(0, |out| out.extend_from_slice(&ordinals));
    Ok(fields)
}

fn encoded(ordinals: &[PackOrdinal]) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    ordinal::put(&mut bytes, ordinals)?;
    Ok(bytes)
}

fn put_new_packs(out: &mut Vec<u8>, packs: &[NewPack]) {
    out.put_count(packs.len());
    for pack in packs {
        out.extend_from_slice(pack.name.as_bytes());
        out.push(pack.class.to_wire());
        out.put_varint(pack.bytes);
    }
}

fn new_packs(reader: &mut Reader<'_>) -> Result<Vec<NewPack>, FormatError> {
    reader.list("new packs", PackName::BYTES + 2, |reader| {
        let name = PackName::from_bytes(reader.array("pack name")?);
        let class = reader.u8("class")?;
        let class = Class::from_wire(class).ok_or_else(|| reader.damaged("class", class, "1 or 2"))?;
        Ok(NewPack { name, class, bytes: reader.varint("pack bytes")? })
    })
}

fn put_ids<T, const N: usize>(out: &mut Vec<u8>, list: &[T], as_bytes: fn(&T) -> &[u8; N]) {
    out.put_count(list.len());
    list.iter().for_each(|id| out.extend_from_slice(as_bytes(id)));
}

fn ids<T, const N: usize>(reader: &mut Reader<'_>, from_bytes: fn([u8; N]) -> T) -> Result<Vec<T>, FormatError> {
    reader.list("ids", N, |reader| reader.array("id").map(from_bytes))
}

fn session(reader: &mut Reader<'_>) -> Result<SessionId, FormatError> {
    reader.array("session").map(SessionId::from_bytes)
}

fn slot(reader: &mut Reader<'_>) -> Result<SlotId, FormatError> {
    reader.array("slot").map(SlotId::from_bytes)
}

fn chunk_id(reader: &mut Reader<'_>) -> Result<ChunkId, FormatError> {
    reader.array("id").map(ChunkId::from_bytes)
}
