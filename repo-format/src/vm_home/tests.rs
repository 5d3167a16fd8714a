use super::*;
use crate::test_kit::{broken, chunk_id, damage, flaw, keys, other_keys};
use crate::{ChunkRef, Digest, ErrorKind, HashedChunk};

const TAG_ENCRYPTION: u64 = 2;
const TAG_BINDING: u64 = 20;

fn stream(content: &[u8]) -> Stream {
    let length = u32::try_from(content.len()).unwrap();
    let pieces = vec![ChunkRef { id: chunk_id(1), length }];
    Stream { length: u64::from(length), digest: Digest::of(content), pieces }
}

fn policy(encrypts: PolicyEncrypts) -> StoragePolicy {
    StoragePolicy { id: "aa6d5a82".to_owned(), name: "VM Encryption Policy".to_owned(), encrypts }
}

fn home() -> VmHome {
    VmHome {
        document: stream(b"<config/>"),
        name: Some("db-1".to_owned()),
        instance_uuid: Some("5002".to_owned()),
        bios_uuid: Some("4202".to_owned()),
        kms_key_id: Some("key-7".to_owned()),
        kms_provider: Some("kms-1".to_owned()),
        guest_id: Some("rhel9_64Guest".to_owned()),
        hardware_version: Some("vmx-21".to_owned()),
        encryption_bundle: Some(SecretBytes::new(b"vmware:key/list/(pair/...)".to_vec())),
        storage_policy: Some(policy(PolicyEncrypts::Yes)),
        firmware: Some("efi".to_owned()),
        secure_boot: Some(true),
        vtpm: Some(true),
        nvram: Some(Nvram { file_name: FileName::new("db-1.nvram").unwrap(), content: stream(b"nvram") }),
        disks: vec![
            DiskHome {
                name: "scsi0:0".to_owned(),
                kms_key_id: Some("key-8".to_owned()),
                kms_provider: Some("kms-1".to_owned()),
                storage_policy: Some(policy(PolicyEncrypts::Unknown)),
            },
            DiskHome { name: "scsi0:1".to_owned(), kms_key_id: None, kms_provider: None, storage_policy: None },
        ],
    }
}

fn bare_home() -> VmHome {
    VmHome {
        document: Stream { length: 0, digest: Digest::of(b""), pieces: vec![] },
        name: None,
        instance_uuid: None,
        bios_uuid: None,
        kms_key_id: None,
        kms_provider: None,
        guest_id: None,
        hardware_version: None,
        encryption_bundle: None,
        storage_policy: None,
        firmware: None,
        secure_boot: None,
        vtpm: None,
        nvram: None,
        disks: vec![],
    }
}

fn fields(chunk: &MetadataChunk) -> std::collections::BTreeMap<u64, Vec<u8>> {
    let mut fields = std::collections::BTreeMap::new();
    let mut reader = Reader::new("test", &chunk.bytes()[1..]);
    while !reader.is_empty() {
        let tag = reader.varint("tag").unwrap();
        fields.insert(tag, reader.bytes("value").unwrap().to_vec());
    }
    fields
}

/// `home` with one field of its encoding replaced or, with `None`, taken away.
fn altered(home: &VmHome, tag: u64, value: Option<&[u8]>) -> Result<VmHome, FormatError> {
    let mut fields = fields(&home.encode(&keys()));
    match value {
        Some(value) => fields.insert(tag, value.to_vec()),
        None => fields.remove(&tag),
    };
    let mut payload = Vec::new();
    for (tag, value) in fields {
        payload.put_varint(tag);
        payload.put_bytes(&value);
    }
    VmHome::decode(&MetadataChunk::new(MetadataKind::VmHome, &payload), &keys())
}

/// `home` with parts of `other`, under the binding of `home`.
fn spliced(alter: impl FnOnce(&mut VmHome)) -> Result<VmHome, FormatError> {
    let mut other = home();
    alter(&mut other);
    let binding = fields(&home().encode(&keys())).remove(&TAG_BINDING).unwrap();
    altered(&other, TAG_BINDING, Some(&binding))
}

#[test]
fn homes_with_every_field_and_with_the_needed_ones_read_back() {
    let keys = keys();
    for home in [home(), bare_home()] {
        let chunk = home.encode(&keys);
        let read = VmHome::decode(&chunk, &keys).unwrap();
        assert_eq!(format!("{read:?}"), format!("{home:?}"));
        assert_eq!(
            read.encryption_bundle.as_ref().map(SecretBytes::expose),
            home.encryption_bundle.as_ref().map(SecretBytes::expose)
        );
        assert!(read.encode(&keys) == chunk);
    }
}

#[test]
fn one_home_has_one_id() {
    let keys = keys();
    let (first, second) = (home().encode(&keys), home().encode(&keys));
    assert_eq!(HashedChunk::of_metadata(&first, &keys).id(), HashedChunk::of_metadata(&second, &keys).id());
}

#[test]
fn parts_of_another_vm_are_refused() {
    assert!(spliced(|_| {}).is_ok());
    assert_eq!(damage(spliced(|home| home.kms_key_id = Some("key-9".to_owned()))), "binding");
    assert_eq!(damage(spliced(|home| home.kms_provider = Some("kms-2".to_owned()))), "binding");
    assert_eq!(damage(spliced(|home| home.kms_provider = None)), "binding");
    assert_eq!(damage(spliced(|home| home.encryption_bundle = Some(SecretBytes::new(b"x".to_vec())))), "binding");
    let nvram = Nvram { file_name: FileName::new("db-1.nvram").unwrap(), content: stream(b"other") };
    assert_eq!(damage(spliced(|home| home.nvram = Some(nvram))), "binding");
    assert_eq!(damage(spliced(|home| home.nvram = None)), "binding");
}

#[test]
fn parts_that_change_places_are_refused() {
    let swapped = spliced(|home| std::mem::swap(&mut home.kms_key_id, &mut home.kms_provider));
    assert_eq!(damage(swapped), "binding");
    let moved = spliced(|home| {
        home.kms_key_id = Some("key-7k".to_owned());
        home.kms_provider = Some("ms-1".to_owned());
    });
    assert_eq!(damage(moved), "binding");
}

#[test]
fn the_binding_is_made_with_the_key_of_the_repository() {
    assert_eq!(damage(VmHome::decode(&home().encode(&keys()), &other_keys())), "binding");
}

#[test]
fn a_home_says_whether_it_can_decrypt_its_vm() {
    let cases = [
        (true, true, Encryption::Whole),
        (true, false, Encryption::Incomplete),
        (false, true, Encryption::Incomplete),
        (false, false, Encryption::Clear),
    ];
    for (key_id, bundle, encryption) in cases {
        let mut home = home();
        home.kms_key_id = home.kms_key_id.filter(|_| key_id);
        home.encryption_bundle = home.encryption_bundle.filter(|_| bundle);
        assert_eq!(VmHome::decode(&home.encode(&keys()), &keys()).unwrap().encryption(), encryption);
        for stated in (0..4).filter(|stated| *stated != encryption as u8) {
            assert_eq!(damage(altered(&home, TAG_ENCRYPTION, Some(&[stated]))), "encryption");
        }
    }
}

#[test]
fn a_home_without_a_needed_field_is_refused() {
    for tag in [0, TAG_ENCRYPTION, TAG_BINDING, 22] {
        damage(altered(&home(), tag, None));
    }
    for tag in [1, 3, 5, 7, 9, 10, 12, 14, 16] {
        assert!(altered(&home(), tag, None).is_ok(), "{tag}");
    }
}

#[test]
fn an_unknown_odd_field_is_skipped_and_an_unknown_even_one_is_unsupported() {
    assert!(altered(&home(), 23, Some(b"later")).is_ok());
    assert_eq!(flaw(altered(&home(), 24, Some(b"later"))).0, ErrorKind::Unsupported);
}

#[test]
fn values_outside_their_range_are_refused() {
    assert_eq!(damage(altered(&home(), 14, Some(&[2]))), "secure boot");
    assert_eq!(damage(altered(&home(), 16, Some(&[2]))), "vTPM");
    assert_eq!(damage(altered(&home(), 10, Some(&[0, 0, 3]))), "policy encrypts");
    assert_eq!(damage(altered(&home(), 10, Some(&[0, 0, 1, 0]))), "storage policy");
    assert_eq!(damage(altered(&home(), 0, Some(&[0; 33]))), "pieces");
}

#[test]
fn file_names_that_could_leave_their_folder_are_refused() {
    let long = "x".repeat(129);
    for name in ["", ".", "..", "...", "a/b", "a\\b", "a b", "a\0", "é", "../x", "a:b", &long] {
        assert_eq!(flaw(FileName::new(name)).0, ErrorKind::Invalid, "{name:?}");
        let mut value = Vec::new();
        value.put_text(name);
        stream(b"nvram").put(&mut value);
        assert_eq!(damage(altered(&home(), 18, Some(&value))), "NVRAM file name", "{name:?}");
    }
    for name in ["a", ".x", "x..", "A-Z_09.nvram", &long[..128]] {
        assert_eq!(FileName::new(name).unwrap().as_str(), name);
    }
}

#[test]
fn a_broken_home_is_refused_or_another_and_its_secrets_stay_together() {
    let keys = keys();
    let chunk = home().encode(&keys);
    let whole = home();
    for payload in broken(&chunk.bytes()[1..]) {
        if let Ok(read) = VmHome::decode(&MetadataChunk::new(MetadataKind::VmHome, &payload), &keys) {
            let bundle = |home: &VmHome| home.encryption_bundle.as_ref().map(|bundle| bundle.expose().to_vec());
            assert_eq!((&read.kms_key_id, &read.kms_provider), (&whole.kms_key_id, &whole.kms_provider));
            assert_eq!(bundle(&read), bundle(&whole));
            assert_eq!(read.nvram.map(|nvram| nvram.content.digest), Some(Digest::of(b"nvram")));
        }
    }
}

#[test]
fn the_bundle_is_not_printed() {
    let printed = format!("{:?}", home());
    assert!(printed.contains("SecretBytes(26 bytes)") && !printed.contains("vmware:key"));
}
