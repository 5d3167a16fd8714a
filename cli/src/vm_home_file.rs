//! The document of `--vm-home`: JSON, schema `strongroom.vm-home/1`. Its bytes are kept as they are; its fields are what
//! the restore point knows by name.

use std::{fs, io::Read, path::Path};

use engine::{CapturedHome, HOME_CONTENT_BYTES_MAX};
use repo_format::{Digest, DiskHome, FileName, PolicyEncrypts, SecretBytes, StoragePolicy, Stream, VmHome};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{exit::Exit, failure::Failure};

const SCHEMA: &str = "strongroom.vm-home/1";
const NVRAM_NAME: &str = "nvram";

/// The document. Fields that are not here are refused: a misspelt `encryptionBundle` must not be found out at restore.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    schema: Option<String>,
    name: Option<String>,
    instance_uuid: Option<String>,
    bios_uuid: Option<String>,
    guest_id: Option<String>,
    hardware_version: Option<String>,
    firmware: Option<String>,
    secure_boot: Option<bool>,
    key_id: Option<CryptoKeyId>,
    /// Its buffer is handed on, not copied.
    encryption_bundle: Option<String>,
    storage_policy: Option<Policy>,
    vtpm: Option<Vtpm>,
    nvram_file_name: Option<String>,
    #[serde(default)]
    disks: Vec<Disk>,
    /// Anything: the VM's configuration as the caller has it.
    #[serde(rename = "configuration")]
    _configuration: Option<serde::de::IgnoredAny>,
}

/// As in VMware's `CryptoKeyId`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CryptoKeyId {
    key_id: String,
    provider_id: Option<ProviderId>,
}

/// As in VMware's `CryptoKeyId`: an object with an id; the plain id is taken too.
#[derive(Deserialize)]
#[serde(untagged)]
enum ProviderId {
    Plain(String),
    Object(ProviderObject),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderObject {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    id: String,
    name: String,
    encrypts: Option<bool>,
}

/// What else is in it is the caller's.
#[derive(Deserialize)]
struct Vtpm {
    present: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Disk {
    name: String,
    key_id: Option<CryptoKeyId>,
    storage_policy: Option<Policy>,
}

/// Reads the document and the NVRAM file beside it.
pub fn capture(document: &Path, nvram: Option<&Path>) -> Result<CapturedHome, Failure> {
    let bytes = read(document, "VM home document")?;
    let (record, nvram_name) = parse(&bytes).map_err(|what| {
        Failure::new(
            Exit::Invalid,
            what,
            document.display(),
            format!("correct the document; its schema is {SCHEMA}, in the README"),
        )
    })?;
    let nvram = match nvram {
        Some(path) => {
            let beside = path.file_name().and_then(|name| name.to_str()).and_then(|name| FileName::new(name).ok());
            let name = nvram_name.or(beside);
            let name = name.map_or_else(|| FileName::new(NVRAM_NAME), Ok);
            let name = name.map_err(|error| Failure::new(Exit::Invalid, error, path.display(), "rename the file"))?;
            Some((name, read(path, "NVRAM file")?))
        }
        None => None,
    };
    Ok(CapturedHome { record, document: bytes, nvram })
}

fn read(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |what: String| Failure::new(Exit::Invalid, what, path.display(), "check the path and its permissions");
    let io = |error: std::io::Error| failed(format!("the {what} cannot be read: {error}"));
    let file = fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len().min(HOME_CONTENT_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length + 1).unwrap_or_default()));
    file.take(HOME_CONTENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 {
        0 => Err(failed(format!("the {what} is empty"))),
        length if length > HOME_CONTENT_BYTES_MAX => {
            Err(failed(format!("the {what} has more than {HOME_CONTENT_BYTES_MAX} bytes")))
        }
        _ => Ok(bytes),
    }
}

/// The typed record, and what the NVRAM file is called. Document and NVRAM are filled in when they are stored.
fn parse(bytes: &[u8]) -> Result<(VmHome, Option<FileName>), String> {
    let wrong = |error: serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text);
        format!("malformed VM home: {place}: {text}")
    };
    let document: Document = serde_json::from_slice(bytes).map_err(wrong)?;
    if let Some(other) = document.schema.filter(|schema| schema != SCHEMA) {
        return Err(format!("malformed VM home: schema is {other:?}, wanted {SCHEMA:?}"));
    }
    let name = document.nvram_file_name.as_deref().map(FileName::new).transpose();
    let nvram_name = name.map_err(|error| format!("malformed VM home: nvramFileName: {error}"))?;
    let (kms_key_id, kms_provider) = key(document.key_id);
    let bundle = document.encryption_bundle.map(|text| SecretBytes::new(text.into_bytes()));
    let record = VmHome {
        document: Stream { length: 0, digest: Digest::of(&[]), pieces: Vec::new() },
        name: document.name,
        instance_uuid: document.instance_uuid,
        bios_uuid: document.bios_uuid,
        kms_key_id,
        kms_provider,
        guest_id: document.guest_id,
        hardware_version: document.hardware_version,
        encryption_bundle: bundle,
        storage_policy: document.storage_policy.map(policy),
        firmware: document.firmware,
        secure_boot: document.secure_boot,
        vtpm: document.vtpm.map(|vtpm| vtpm.present),
        nvram: None,
        disks: document.disks.into_iter().map(disk).collect(),
    };
    Ok((record, nvram_name))
}

fn key(key: Option<CryptoKeyId>) -> (Option<String>, Option<String>) {
    let Some(key) = key else { return (None, None) };
    let provider = key.provider_id.map(|provider| match provider {
        ProviderId::Plain(id) | ProviderId::Object(ProviderObject { id }) => id,
    });
    (Some(key.key_id), provider)
}

fn policy(policy: Policy) -> StoragePolicy {
    let encrypts = match policy.encrypts {
        Some(true) => PolicyEncrypts::Yes,
        Some(false) => PolicyEncrypts::No,
        None => PolicyEncrypts::Unknown,
    };
    StoragePolicy { id: policy.id, name: policy.name, encrypts }
}

fn disk(disk: Disk) -> DiskHome {
    let (kms_key_id, kms_provider) = key(disk.key_id);
    DiskHome { name: disk.name, kms_key_id, kms_provider, storage_policy: disk.storage_policy.map(policy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{
        "schema": "strongroom.vm-home/1",
        "name": "web01", "instanceUuid": "i", "biosUuid": "b", "guestId": "debian12_64Guest", "hardwareVersion": "vmx-21",
        "firmware": "efi", "secureBoot": true,
        "keyId": {"keyId": "0b1f", "providerId": {"id": "kms-prod"}},
        "encryptionBundle": "AAEC",
        "storagePolicy": {"id": "p-1", "name": "VM Encryption Policy", "encrypts": true},
        "vtpm": {"present": true, "version": "2.0"},
        "nvramFileName": "web01.nvram",
        "disks": [{"name": "disk0", "keyId": {"keyId": "77aa", "providerId": "kms-prod"}, "storagePolicy": {"id": "p", "name": "n"}}],
        "configuration": {"anything": [1, {"goes": null}]}
    }"#;

    #[test]
    fn every_field_finds_its_place() {
        let (home, nvram) = parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(home.name.as_deref(), Some("web01"));
        assert_eq!((home.kms_key_id.as_deref(), home.kms_provider.as_deref()), (Some("0b1f"), Some("kms-prod")));
        assert_eq!(home.encryption_bundle.as_ref().map(|bundle| bundle.expose().to_vec()), Some(b"AAEC".to_vec()));
        assert_eq!(home.storage_policy.as_ref().map(|policy| policy.encrypts), Some(PolicyEncrypts::Yes));
        assert_eq!((home.secure_boot, home.vtpm, home.firmware.as_deref()), (Some(true), Some(true), Some("efi")));
        assert_eq!(home.disks[0].kms_provider.as_deref(), Some("kms-prod"));
        assert_eq!(home.disks[0].storage_policy.as_ref().map(|policy| policy.encrypts), Some(PolicyEncrypts::Unknown));
        assert_eq!(nvram.as_ref().map(FileName::as_str), Some("web01.nvram"));
    }

    #[test]
    fn a_malformed_document_is_refused_with_its_place() {
        let error = parse(b"{\n  \"schema\": \"strongroom.vm-home/1\",\n  \"encryptionbundle\": \"x\"\n}").unwrap_err();
        assert!(error.starts_with("malformed VM home: line 3, column 20: unknown field `encryptionbundle`"), "{error}");
        assert!(parse(b"{").unwrap_err().contains("line 1, column 1"));
        assert!(parse(b"[]").is_err() && parse(b"").is_err());
    }

    #[test]
    fn a_document_of_another_schema_is_refused() {
        let error = parse(br#"{"schema": "strongroom.vm-home/2"}"#).unwrap_err();
        assert!(error.contains("wanted \"strongroom.vm-home/1\""), "{error}");
    }

    #[test]
    fn an_nvram_name_that_could_leave_its_folder_is_refused() {
        let text = r#"{"schema": "strongroom.vm-home/1", "nvramFileName": "../x"}"#;
        assert!(parse(text.as_bytes()).unwrap_err().contains("nvramFileName"));
    }

    #[test]
    fn the_document_is_kept_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (path, nvram) = (folder.path().join("home.json"), folder.path().join("a b.nvram"));
        fs::write(&path, WHOLE).unwrap();
        fs::write(&nvram, b"\0\x01").unwrap();
        let home = capture(&path, Some(&nvram)).ok().unwrap();
        assert_eq!(home.document.as_slice(), WHOLE.as_bytes());
        assert_eq!(
            home.nvram.map(|(name, bytes)| (name.as_str().to_owned(), bytes.to_vec())),
            Some(("web01.nvram".to_owned(), vec![0, 1]))
        );
    }
}
