//! VM homes: what surrounds the disks of a VM, without which encrypted ones are worth nothing (SPEC.md section 15).
//!
//! **Invariant:** key id, provider, bundle and NVRAM leave [`VmHome::decode`] together as they went in, or not at all.

mod secret;

#[cfg(test)]
mod tests;

pub use secret::SecretBytes;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    chunk::{MetadataChunk, MetadataKind},
    codec::{Put, Reader, RecordReader, RecordWriter},
    error::FormatError,
    keys::Keyring,
    stream::Stream,
};

const WHAT: &str = "VM home";
const DISK: &str = "disk of a VM home";
const FILE_NAME_BYTES_MAX: usize = 128;

/// Whether a VM home has what decrypts an encrypted VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// Neither key id nor bundle: the VM is not encrypted.
    Clear,
    /// Key id and bundle.
    Whole,
    /// One of them.
    Incomplete,
}

/// Whether a storage policy encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyEncrypts {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// Nobody said.
    Unknown,
}

/// A VMware storage policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoragePolicy {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it encrypts.
    pub encrypts: PolicyEncrypts,
}

/// A name a file can safely get back: `[A-Za-z0-9._-]{1,128}`, not only dots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileName(String);

impl FileName {
    /// Refuses what could leave its folder or is no plain name.
    pub fn new(name: &str) -> Result<Self, FormatError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let length = (1..=FILE_NAME_BYTES_MAX).contains(&name.len());
        if length && name.bytes().all(plain) && name.bytes().any(|byte| byte != b'.') {
            return Ok(Self(name.to_owned()));
        }
        let wanted = "1 … 128 letters, digits, dots, dashes, underscores; not only dots";
        Err(FormatError::invalid(WHAT, "file name", format_args!("{name:?}"), wanted))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A VM's NVRAM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nvram {
    /// What the file is called.
    pub file_name: FileName,
    /// What is in it.
    pub content: Stream,
}

/// What a VM home knows of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskHome {
    /// The disk, as the restore point calls it.
    pub name: String,
    /// The KMS key it is encrypted with.
    pub kms_key_id: Option<String>,
    /// The provider of that key.
    pub kms_provider: Option<String>,
    /// Its storage policy.
    pub storage_policy: Option<StoragePolicy>,
}

/// What surrounds the disks.
#[derive(Clone, Debug)]
pub struct VmHome {
    /// The configuration record as it was given, byte for byte.
    pub document: Stream,
    /// The VM's name.
    pub name: Option<String>,
    /// Instance uuid.
    pub instance_uuid: Option<String>,
    /// BIOS uuid.
    pub bios_uuid: Option<String>,
    /// The KMS key the VM is encrypted with.
    pub kms_key_id: Option<String>,
    /// The provider of that key.
    pub kms_provider: Option<String>,
    /// Guest operating system id.
    pub guest_id: Option<String>,
    /// Hardware version.
    pub hardware_version: Option<String>,
    /// `encryption.bundle`.
    pub encryption_bundle: Option<SecretBytes>,
    /// The VM's storage policy.
    pub storage_policy: Option<StoragePolicy>,
    /// `bios`, `efi` or another.
    pub firmware: Option<String>,
    /// Whether secure boot is on.
    pub secure_boot: Option<bool>,
    /// Whether there is a vTPM.
    pub vtpm: Option<bool>,
    /// NVRAM.
    pub nvram: Option<Nvram>,
    /// What is known of the disks.
    pub disks: Vec<DiskHome>,
}

impl VmHome {
    /// Whether key id and bundle are there.
    pub fn encryption(&self) -> Encryption {
        match (&self.kms_key_id, &self.encryption_bundle) {
            (None, None) => Encryption::Clear,
            (Some(_), Some(_)) => Encryption::Whole,
            _ => Encryption::Incomplete,
        }
    }

    fn binding(&self, keys: &Keyring) -> [u8; 32] {
        let mut bound = Zeroizing::new(Vec::new());
        let digest = self.nvram.as_ref().map(|nvram| nvram.content.digest);
        for part in [
            self.kms_key_id.as_ref().map(String::as_bytes),
            self.kms_provider.as_ref().map(String::as_bytes),
            self.encryption_bundle.as_ref().map(SecretBytes::expose),
        ] {
            put_option(&mut bound, part, |out, bytes| out.put_bytes(bytes));
        }
        put_option(&mut bound, digest, |out, digest| out.extend_from_slice(digest.as_bytes()));
        keys.vm_home_binding(&bound)
    }

    /// The home as a metadata chunk, its secrets bound together.
    pub fn encode(&self, keys: &Keyring) -> MetadataChunk {
        let mut fields = RecordWriter::new();
        let text = |out: &mut Vec<u8>, value: &String| out.put_text(value);
        let flag = |out: &mut Vec<u8>, value: bool| out.push(value.into());
        fields.field(0, |out| self.document.put(out));
        fields.optional(1, self.name.as_ref(), text);
        fields.field(2, |out| out.push(self.encryption() as u8));
        fields.optional(3, self.instance_uuid.as_ref(), text);
        fields.optional(4, self.kms_key_id.as_ref(), text);
        fields.optional(5, self.bios_uuid.as_ref(), text);
        fields.optional(6, self.kms_provider.as_ref(), text);
        fields.optional(7, self.guest_id.as_ref(), text);
        fields.optional(8, self.encryption_bundle.as_ref(), |out, bundle| out.put_bytes(bundle.expose()));
        fields.optional(9, self.hardware_version.as_ref(), text);
        fields.optional(10, self.storage_policy.as_ref(), |out, policy| policy.put(out));
        fields.optional(12, self.firmware.as_ref(), text);
        fields.optional(14, self.secure_boot, flag);
        fields.optional(16, self.vtpm, flag);
        fields.optional(18, self.nvram.as_ref(), |out, nvram| {
            out.put_text(nvram.file_name.as_str());
            nvram.content.put(out);
        });
        fields.field(20, |out| out.extend_from_slice(&self.binding(keys)));
        fields.field(22, |out| {
            out.put_count(self.disks.len());
            self.disks.iter().for_each(|disk| out.put_bytes(&disk.encode()));
        });
        MetadataChunk::new(MetadataKind::VmHome, &Zeroizing::new(fields.finish()))
    }

    /// Reads a home; refuses it whole if its parts do not belong together.
    pub fn decode(chunk: &MetadataChunk, keys: &Keyring) -> Result<Self, FormatError> {
        let payload = chunk.payload_of(MetadataKind::VmHome)?;
        let record = RecordReader::new(WHAT, payload, &[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22])?;
        let text = |tag, field| record.optional(tag, field, |reader| reader.text(field));
        let flag = |tag, field| record.optional(tag, field, |reader| read_flag(reader, field));
        let disk = |reader: &mut Reader<'_>| reader.bytes("disk").and_then(DiskHome::decode);
        let home = Self {
            document: record.required(0, "document", Stream::read)?,
            name: text(1, "name")?,
            instance_uuid: text(3, "instance uuid")?,
            kms_key_id: text(4, "KMS key id")?,
            bios_uuid: text(5, "BIOS uuid")?,
            kms_provider: text(6, "KMS provider")?,
            guest_id: text(7, "guest id")?,
            encryption_bundle: record.optional(8, "encryption.bundle", |reader| {
                reader.bytes("encryption.bundle").map(SecretBytes::copied)
            })?,
            hardware_version: text(9, "hardware version")?,
            storage_policy: record.optional(10, "storage policy", StoragePolicy::read)?,
            firmware: text(12, "firmware")?,
            secure_boot: flag(14, "secure boot")?,
            vtpm: flag(16, "vTPM")?,
            nvram: record.optional(18, "NVRAM", Nvram::read)?,
            disks: record.required(22, "disks", |reader| reader.list("disks", 1, disk))?,
        };
        let stated = record.required(2, "encryption", |reader| reader.u8("encryption"))?;
        if stated != home.encryption() as u8 {
            return Err(FormatError::damaged(WHAT, "encryption", stated, format_args!("{:?}", home.encryption())));
        }
        let binding = record.required(20, "binding", |reader| reader.array::<32>("binding"))?;
        if !bool::from(binding.ct_eq(&home.binding(keys))) {
            let wanted = "KMS key id, provider, encryption.bundle and NVRAM of one VM";
            return Err(FormatError::damaged(WHAT, "binding", "another", wanted));
        }
        Ok(home)
    }
}

impl StoragePolicy {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_text(&self.id);
        out.put_text(&self.name);
        out.push(self.encrypts as u8);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let id = reader.text("policy id")?;
        let name = reader.text("policy name")?;
        let encrypts = match reader.u8("policy encrypts")? {
            0 => PolicyEncrypts::No,
            1 => PolicyEncrypts::Yes,
            2 => PolicyEncrypts::Unknown,
            found => return Err(reader.damaged("policy encrypts", found, "0, 1 or 2")),
        };
        Ok(Self { id, name, encrypts })
    }
}

impl Nvram {
    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let name = reader.text("NVRAM file name")?;
        let file_name =
            FileName::new(&name).map_err(|error| reader.damaged("NVRAM file name", error.found, error.wanted))?;
        Ok(Self { file_name, content: Stream::read(reader)? })
    }
}

impl DiskHome {
    fn encode(&self) -> Vec<u8> {
        let mut fields = RecordWriter::new();
        let text = |out: &mut Vec<u8>, value: &String| out.put_text(value);
        fields.field(0, |out| out.put_text(&self.name));
        fields.optional(2, self.kms_key_id.as_ref(), text);
        fields.optional(4, self.kms_provider.as_ref(), text);
        fields.optional(6, self.storage_policy.as_ref(), |out, policy| policy.put(out));
        fields.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record = RecordReader::new(DISK, bytes, &[0, 2, 4, 6])?;
        Ok(Self {
            name: record.required(0, "name", |reader| reader.text("name"))?,
            kms_key_id: record.optional(2, "KMS key id", |reader| reader.text("KMS key id"))?,
            kms_provider: record.optional(4, "KMS provider", |reader| reader.text("KMS provider"))?,
            storage_policy: record.optional(6, "storage policy", StoragePolicy::read)?,
        })
    }
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

fn read_flag(reader: &mut Reader<'_>, field: &str) -> Result<bool, FormatError> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(reader.damaged(field, found, "0 or 1")),
    }
}
