//! What is read before a key is known.

use repo_format::{Config, KeySlot, RecoveryKey, RepositoryKeys, SLOT_BYTES, SlotKind, SlotSecret};

use super::{KEYS, with_hash};
use crate::{
    Outcome,
    seal::{Header, KEY_SLOT, REPOSITORY, seal_with, working_key},
};

const KEY_FILE: [u8; 32] = [0x33; 32];

/// A config as it is, and with a right MAC and checksum over its first bytes. What is accepted encodes to the same bytes.
pub fn config(bytes: &[u8]) -> Outcome {
    let _ = decode_config(bytes);
    let signed = bytes.get(..72.min(bytes.len())).unwrap_or_default();
    let mac = blake3::keyed_hash(&working_key("config mac"), signed);
    let whole = with_hash(&[signed, mac.as_bytes()].concat());
    let decoded = decode_config(&whole);
    if let Ok(config) = &decoded {
        assert_eq!(config.encode(&KEYS), whole);
    }
    Outcome::of(&decoded)
}

fn decode_config(bytes: &[u8]) -> Result<Config, repo_format::FormatError> {
    let public = Config::check_public(bytes);
    let unverified = Config::decode(bytes)?;
    assert!(public.is_ok());
    unverified.verify(&KEYS)
}

/// A slot as it is, and with a right checksum. Passwords are not tried: Argon2id is slow by design.
pub fn key_slot(bytes: &[u8]) -> Outcome {
    let _ = KeySlot::parse(bytes);
    let whole = with_hash(bytes.get(..(SLOT_BYTES - 32).min(bytes.len())).unwrap_or_default());
    let parsed = KeySlot::parse(&whole);
    if let Ok(slot) = &parsed
        && slot.kind() == SlotKind::KeyFile
        && let Ok(secret) = key_file()
    {
        return Outcome::of(&slot.open(&secret));
    }
    Outcome::of(&parsed)
}

fn key_file() -> Result<SlotSecret, repo_format::FormatError> {
    SlotSecret::key_file(KEY_FILE.to_vec().into())
}

/// The sealed content of a slot that its key file opens.
pub fn key_slot_content(bytes: &[u8]) -> Outcome {
    let mut content = bytes.to_vec();
    content.resize(512, 0);
    let slot = slot_around(&content);
    let opened = key_file().and_then(|secret| KeySlot::parse(&slot)?.open(&secret));
    if let Ok(keys) = &opened {
        assert!((1..=14).contains(&RepositoryKeys::newest_epoch(keys)));
    }
    Outcome::of(&opened)
}

/// A key file slot with this content.
pub(crate) fn slot_around(content: &[u8]) -> Vec<u8> {
    let salt = [0x55; 32];
    let mut stretched = [0; 64];
    let mut hasher = blake3::Hasher::new_derive_key("strongroom v1 key file");
    hasher.update(&salt).update(&KEY_FILE).finalize_xof().fill(&mut stretched);
    let (kek, commitment) = stretched.split_at(32);
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(b"SRMKSLOT");
    slot.extend_from_slice(&[1, 0, 2, 0]);
    slot.extend_from_slice(REPOSITORY.as_bytes());
    slot.extend_from_slice(&[0x66; 16]);
    slot.extend_from_slice(&[0; 8 + 12]);
    slot.extend_from_slice(&salt);
    slot.extend_from_slice(commitment);
    slot.extend_from_slice(&[0; 64]);
    let kek: [u8; 32] = std::array::from_fn(|place| kek.get(place).copied().unwrap_or_default());
    let object = *blake3::hash(&slot).as_bytes();
    let header = Header { object_type: KEY_SLOT, codec: 0, plain_bytes: 512, object };
    slot.extend_from_slice(&seal_with(&kek, 0, &header, content));
    slot.extend_from_slice(&[0; 248]);
    with_hash(&slot)
}

/// A recovery key as text. What is accepted is written in one way only.
pub fn recovery_key(bytes: &[u8]) -> Outcome {
    let parsed = RecoveryKey::parse(&String::from_utf8_lossy(bytes));
    if let Ok(key) = &parsed {
        let text = key.to_text();
        assert_eq!(text.len(), 62);
        assert!(RecoveryKey::parse(&text).is_ok_and(|again| again.to_text() == text));
    }
    Outcome::of(&parsed)
}
