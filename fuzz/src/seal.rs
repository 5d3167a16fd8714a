//! The repository of the targets, and sealing as SPEC.md sections 5 and 6 have it, written a second time.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use repo_format::{Keyring, RepositoryId, RepositoryKeys};

pub(crate) const REPOSITORY: RepositoryId = RepositoryId::from_bytes(*b"fuzz repository!");
const REPOSITORY_KEY: [u8; 32] = [0x42; 32];
const SECOND_KEY: [u8; 32] = [0x43; 32];

pub(crate) const DATA_FRAME: u8 = 1;
pub(crate) const METADATA_FRAME: u8 = 2;
pub(crate) const DATA_DIRECTORY: u8 = 3;
pub(crate) const LOG_BODY: u8 = 5;
pub(crate) const KEY_SLOT: u8 = 6;

/// What a sealed object is.
pub(crate) struct Header {
    pub(crate) object_type: u8,
    pub(crate) codec: u8,
    pub(crate) plain_bytes: u64,
    pub(crate) object: [u8; 32],
}

/// The working keys as the crate derives them; two epochs.
pub(crate) fn keyring() -> Keyring {
    let keys = RepositoryKeys::generate(REPOSITORY_KEY);
    Keyring::new(&keys.with_next_epoch(SECOND_KEY).unwrap_or(keys), REPOSITORY)
}

/// A working key of epoch 1.
pub(crate) fn working_key(purpose: &str) -> [u8; 32] {
    blake3::derive_key(&format!("strongroom v1 {purpose}"), &REPOSITORY_KEY)
}

/// Seals under a working key of epoch 1.
pub(crate) fn seal(header: &Header, message: &[u8]) -> Vec<u8> {
    let purpose = match header.object_type {
        DATA_FRAME => "data seal",
        METADATA_FRAME => "metadata seal",
        DATA_DIRECTORY => "directory seal",
        _ => "log seal",
    };
    seal_with(&working_key(purpose), 1, header, message)
}

/// Seals under `key`; the nonce is always the same, which matters to nobody here.
pub(crate) fn seal_with(key: &[u8; 32], epoch: u32, header: &Header, message: &[u8]) -> Vec<u8> {
    let aad = aad(epoch, header);
    let nonce = [7; 24];
    let payload = Payload { msg: message, aad: &aad };
    let text = XChaCha20Poly1305::new(key.into()).encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
    [&nonce[..], &text].concat()
}

fn aad(epoch: u32, header: &Header) -> Vec<u8> {
    [
        &1_u16.to_le_bytes()[..],
        &[header.object_type, header.codec],
        &epoch.to_le_bytes(),
        &header.plain_bytes.to_le_bytes(),
        REPOSITORY.as_bytes(),
        &header.object,
    ]
    .concat()
}

/// The plaintext of a log body under a header of epoch 1; empty if it does not open.
pub(crate) fn open_log_body(header: &[u8], sealed: &[u8]) -> Vec<u8> {
    let plain_bytes = sealed.len().saturating_sub(40) as u64;
    let object = *blake3::hash(header).as_bytes();
    let aad = aad(1, &Header { object_type: LOG_BODY, codec: 0, plain_bytes, object });
    let (nonce, text) = sealed.split_first_chunk::<24>().unwrap_or((&[0; 24], &[]));
    let cipher = XChaCha20Poly1305::new((&working_key("log seal")).into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad }).unwrap_or_default()
}
