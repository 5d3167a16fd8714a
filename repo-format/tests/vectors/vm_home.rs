use repo_format::{FormatError, MetadataChunk, StoragePolicy, Stream, VmHome};

use crate::vector::{Outputs, Vector, insert, outputs, to_hex};

pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let home = VmHome::decode(&MetadataChunk::from_bytes(vector.hex("input"))?, &vector.keyring())?;
    let mut found = outputs([
        ("document", stream(&home.document)),
        ("encryption", (home.encryption() as u8).to_string()),
        ("disks", home.disks.len().to_string()),
    ]);
    insert(&mut found, "name", home.name.as_ref());
    insert(&mut found, "instance_uuid", home.instance_uuid.as_ref());
    insert(&mut found, "bios_uuid", home.bios_uuid.as_ref());
    insert(&mut found, "kms_key_id", home.kms_key_id.as_ref());
    insert(&mut found, "kms_provider", home.kms_provider.as_ref());
    insert(&mut found, "guest_id", home.guest_id.as_ref());
    insert(&mut found, "hardware_version", home.hardware_version.as_ref());
    insert(&mut found, "encryption_bundle", home.encryption_bundle.as_ref().map(|bundle| to_hex(bundle.expose())));
    insert(&mut found, "storage_policy", home.storage_policy.as_ref().map(policy));
    insert(&mut found, "firmware", home.firmware.as_ref());
    insert(&mut found, "secure_boot", home.secure_boot.map(u8::from));
    insert(&mut found, "vtpm", home.vtpm.map(u8::from));
    let nvram = home.nvram.as_ref().map(|nvram| format!("{} {}", nvram.file_name.as_str(), stream(&nvram.content)));
    insert(&mut found, "nvram", nvram);
    for (index, disk) in home.disks.iter().enumerate() {
        insert(&mut found, &format!("disk.{index}.name"), Some(&disk.name));
        insert(&mut found, &format!("disk.{index}.kms_key_id"), disk.kms_key_id.as_ref());
        insert(&mut found, &format!("disk.{index}.kms_provider"), disk.kms_provider.as_ref());
        insert(&mut found, &format!("disk.{index}.storage_policy"), disk.storage_policy.as_ref().map(policy));
    }
    Ok(found)
}

/// `ID/NAME/ENCRYPTS`.
fn policy(policy: &StoragePolicy) -> String {
    format!("{}/{}/{}", policy.id, policy.name, policy.encrypts as u8)
}

/// `LENGTH BLAKE3 ID:LENGTH …`.
fn stream(stream: &Stream) -> String {
    let pieces: String = stream.pieces.iter().map(|piece| format!(" {}:{}", piece.id, piece.length)).collect();
    format!("{} {}{pieces}", stream.length, stream.digest)
}
