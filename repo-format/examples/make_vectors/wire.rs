//! The notations of SPEC.md section 1, sealing of section 6 and the keys of the vectors, written for the vectors alone.

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};

use crate::file::VectorFile;

pub const KEY: [u8; 32] = [0x11; 32];
pub const REPOSITORY: [u8; 16] = *b"vector testbench";

/// With the keys that open it.
pub fn keyed(file: VectorFile) -> VectorFile {
    file.hex("repository", &REPOSITORY).hex("key.1", &KEY)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = vec![];
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

pub fn bytes(value: &[u8]) -> Vec<u8> {
    [&varint(value.len() as u64)[..], value].concat()
}

pub fn text(value: &str) -> Vec<u8> {
    bytes(value.as_bytes())
}

/// A list of what is encoded already.
pub fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [&varint(items.len() as u64)[..], &items.concat()].concat()
}

/// The fields of a record; in whatever order they stand, for a reader refuses some.
#[derive(Clone)]
pub struct Fields(pub Vec<(u64, Vec<u8>)>);

impl Fields {
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(tag, value)| [varint(*tag), bytes(value)].concat()).collect()
    }

    /// With field `tag` replaced, or put where it belongs.
    pub fn with(&self, tag: u64, value: Vec<u8>) -> Self {
        let mut fields = self.without(tag);
        let place = fields.0.partition_point(|(found, _)| *found < tag);
        fields.0.insert(place, (tag, value));
        fields
    }

    pub fn without(&self, tag: u64) -> Self {
        Self(self.0.iter().filter(|(found, _)| *found != tag).cloned().collect())
    }
}

pub fn working_key(purpose: &str) -> [u8; 32] {
    blake3::derive_key(&format!("strongroom v1 {purpose}"), &KEY)
}

/// What a sealed object is: the 64 bytes that are authenticated with it.
#[derive(Clone, Copy)]
pub struct Header {
    pub object_type: u8,
    pub codec: u8,
    pub epoch: u32,
    pub plain_bytes: u64,
    pub object: [u8; 32],
}

/// Sealed under the key of its type, epoch 1.
pub fn seal(header: Header, message: &[u8]) -> Vec<u8> {
    let purpose = match header.object_type {
        1 => "data seal",
        2 => "metadata seal",
        3 | 4 => "directory seal",
        _ => "log seal",
    };
    let aad = [
        &[1, 0, header.object_type, header.codec][..],
        &header.epoch.to_le_bytes(),
        &header.plain_bytes.to_le_bytes(),
        &REPOSITORY,
        &header.object,
    ]
    .concat();
    let mut text = message.to_vec();
    let nonce = [0x42; 24];
    let sealed = XChaCha20Poly1305::new(&working_key(purpose).into()).encrypt_inout_detached(
        &XNonce::from(nonce),
        &aad,
        text.as_mut_slice().into(),
    );
    let tag = sealed.map(|tag| tag.to_vec()).unwrap_or_default();
    [&nonce[..], &text, &tag].concat()
}

/// So many bytes that no compressor shrinks.
pub fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
    out
}

pub fn chunk_id(class: &str, bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&working_key(&format!("chunk id {class}")), bytes).as_bytes()
}
