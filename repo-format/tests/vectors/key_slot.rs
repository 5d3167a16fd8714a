use repo_format::{
    FormatError, KdfCost, KeySlot, NewSlot, RecoveryKey, RepositoryId, RepositoryKeys, SlotId, SlotSecret,
};

use crate::vector::{Outputs, Vector, outputs};

pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let slot = KeySlot::parse(&vector.hex("input"))?;
    let keys = slot.open(&secret(vector))?;
    // The crate shows no keys. Two lists are the same if they seal to the same bytes.
    let wanted = vector.repository_keys("out.");
    assert_eq!(sealed(&keys), sealed(&wanted), "{}: other keys", vector.name());

    let mut found = outputs([
        ("repository", slot.repository().to_string()),
        ("slot", slot.id().to_string()),
        ("kind", slot.kind().name().to_owned()),
        ("label", slot.label().to_owned()),
        ("created", slot.created_ms().to_string()),
        ("memory_kib", slot.kdf_cost().memory_kib.to_string()),
        ("passes", slot.kdf_cost().passes.to_string()),
        ("lanes", slot.kdf_cost().lanes.to_string()),
    ]);
    found.extend(vector.outputs().into_iter().filter(|(name, _)| name.starts_with("key.")));
    Ok(found)
}

fn secret(vector: &Vector) -> SlotSecret {
    if let Some(password) = vector.optional_hex("password") {
        SlotSecret::password(String::from_utf8(password).unwrap().into()).unwrap()
    } else if let Some(text) = vector.optional("recovery_key") {
        SlotSecret::RecoveryKey(RecoveryKey::parse(text).ok().unwrap())
    } else {
        SlotSecret::key_file(vector.hex("key_file").into()).unwrap()
    }
}

fn sealed(keys: &RepositoryKeys) -> Vec<u8> {
    let slot = NewSlot {
        repository: RepositoryId::from_bytes([0; 16]),
        slot: SlotId::from_bytes([0; 16]),
        label: String::new(),
        created_ms: 0,
        cost: KdfCost::default(),
        salt: [0; 32],
        random: [0; 24],
    };
    slot.seal(&SlotSecret::RecoveryKey(RecoveryKey::from_random([0; 32])), keys).unwrap()
}
