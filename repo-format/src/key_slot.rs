//! Key slots: the repository keys, sealed under one secret. SPEC.md section 7.
//!
//! ```text
//!    0  magic "SRMKSLOT"        8        128  label: u8 length, 63 bytes padded with 0     64
//!    8  format u16              2        192  nonce                                        24
//!   10  kind u8                 1        216  ciphertext                                  512
//!   11  reserved u8             1        728  tag                                          16
//!   12  repository id          16        744  reserved                                    248
//!   28  slot id                16        992  BLAKE3 of bytes 0…991                        32
//!   44  created u64             8
//!   52  memory KiB, passes, lanes u32   12
//!   64  salt                   32
//!   96  commitment             32
//! ```

mod kdf;
mod secret;

use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::{
    kdf::KdfCost,
    secret::{SlotKind, SlotSecret},
};
use crate::{
    ErrorKind, FORMAT, FormatError, REPOSITORY_KEYS_MAX, RepositoryId, RepositoryKeys, SlotId,
    codec::Reader,
    envelope::{ObjectHeader, ObjectType, hedged_nonce},
    keys::Key,
};

const WHAT: &str = "key slot";
const MAGIC: &[u8; 8] = b"SRMKSLOT";
const NONCE_AT: usize = 192;
const PLAIN_BYTES: usize = 512;
const CHECK_AT: usize = 992;
const RESERVED_BYTES: usize = 248;

/// Length of a key slot.
pub const SLOT_BYTES: usize = 1024;

/// The longest label, in bytes.
pub const SLOT_LABEL_BYTES_MAX: usize = 63;

const _: () = assert!(8 + 2 + 1 + 1 + 16 + 16 + 8 + 12 + 32 + 32 + 1 + SLOT_LABEL_BYTES_MAX == NONCE_AT);
const _: () = assert!(NONCE_AT + 24 + PLAIN_BYTES + 16 + RESERVED_BYTES == CHECK_AT && CHECK_AT + 32 == SLOT_BYTES);
const _: () = assert!(4 + REPOSITORY_KEYS_MAX * 36 <= PLAIN_BYTES);

/// A slot as it was read; its checksum is right.
pub struct KeySlot {
    kind: SlotKind,
    repository: RepositoryId,
    slot: SlotId,
    created_ms: u64,
    cost: KdfCost,
    salt: [u8; 32],
    commitment: [u8; 32],
    label: String,
    /// BLAKE3 of what stands before the nonce.
    object: [u8; 32],
    nonce: [u8; 24],
    ciphertext: [u8; PLAIN_BYTES],
    tag: [u8; 16],
}

impl KeySlot {
    /// Reads a slot without opening it.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(MAGIC)?;
        reader.format()?;
        // Before anything else that it covers: a flipped bit is damage, whatever field it hit.
        check_sum(bytes)?;
        if bytes.len() != SLOT_BYTES {
            return Err(FormatError::damaged(WHAT, "length", bytes.len(), format_args!("must be {SLOT_BYTES}")));
        }
        let kind_byte = reader.u8("kind")?;
        let kind = SlotKind::from_wire(kind_byte)
            .ok_or_else(|| reader.damaged("kind", kind_byte, "1 (password), 2 (key file) or 3 (recovery key)"))?;
        reader.reserved("reserved", 1)?;
        let slot = Self {
            kind,
            repository: RepositoryId::from_bytes(reader.array("repository id")?),
            slot: SlotId::from_bytes(reader.array("slot id")?),
            created_ms: reader.u64("created")?,
            cost: KdfCost {
                memory_kib: reader.u32("memory")?,
                passes: reader.u32("passes")?,
                lanes: reader.u32("lanes")?,
            },
            salt: reader.array("salt")?,
            commitment: reader.array("commitment")?,
            label: read_label(&mut reader)?,
            object: *blake3::hash(bytes.get(..NONCE_AT).unwrap_or_default()).as_bytes(),
            nonce: reader.array("nonce")?,
            ciphertext: reader.array("ciphertext")?,
            tag: reader.array("tag")?,
        };
        reader.reserved("reserved", RESERVED_BYTES)?;
        reader.take("checksum", 32)?;
        reader.end()?;
        slot.cost.check(kind).map_err(|error| FormatError { kind: ErrorKind::Damaged, ..error })?;
        Ok(slot)
    }

    /// Its id.
    pub const fn id(&self) -> SlotId {
        self.slot
    }

    /// What kind of secret opens it.
    pub const fn kind(&self) -> SlotKind {
        self.kind
    }

    /// What its maker called it; anybody can read it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// When it was made, by the maker's clock.
    pub const fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// What opening costs; all zero unless the secret is a password.
    pub const fn kdf_cost(&self) -> KdfCost {
        self.cost
    }

    /// The repository whose keys it holds.
    pub const fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// Opens the slot.
    pub fn open(&self, secret: &SlotSecret) -> Result<RepositoryKeys, FormatError> {
        if secret.kind() != self.kind {
            return Err(FormatError::wrong_key(WHAT, "kind", self.kind.name(), secret.kind().name()));
        }
        let stretched = kdf::stretch(secret, &self.salt, self.cost)?;
        if !bool::from(stretched.commitment.as_slice().ct_eq(&self.commitment)) {
            return Err(FormatError::wrong_key(WHAT, "commitment", "another secret", "the secret of this slot"));
        }
        let mut plain = Zeroizing::new(self.ciphertext);
        let aad = header(self.object).to_aad(&self.repository);
        XChaCha20Poly1305::new((&*stretched.kek).into())
            .decrypt_inout_detached(&XNonce::from(self.nonce), &aad, plain.as_mut_slice().into(), &Tag::from(self.tag))
            .map_err(|_| FormatError::damaged(WHAT, "tag", "does not authenticate", "the bytes that were sealed"))?;
        read_keys(plain.as_slice())
    }
}

/// A slot to be made.
pub struct NewSlot {
    /// The repository whose keys it will hold.
    pub repository: RepositoryId,
    /// Its id, random.
    pub slot: SlotId,
    /// What to call it: at most 63 bytes, for anybody to read.
    pub label: String,
    /// Now.
    pub created_ms: u64,
    /// What opening shall cost if the secret is a password.
    pub cost: KdfCost,
    /// Random.
    pub salt: [u8; 32],
    /// Random.
    pub random: [u8; 24],
}

impl NewSlot {
    /// The bytes of the slot: [`SLOT_BYTES`] of them.
    pub fn seal(&self, secret: &SlotSecret, keys: &RepositoryKeys) -> Result<Vec<u8>, FormatError> {
        let kind = secret.kind();
        let cost = if kind == SlotKind::Password { self.cost } else { KdfCost::NONE };
        cost.check(kind)?;
        let label_bytes =
            u8::try_from(self.label.len()).ok().filter(|length| usize::from(*length) <= SLOT_LABEL_BYTES_MAX);
        let label_bytes = label_bytes.ok_or_else(|| {
            let wanted = format_args!("at most {SLOT_LABEL_BYTES_MAX}");
            FormatError::invalid(WHAT, "label", format_args!("{} bytes", self.label.len()), wanted)
        })?;
        let stretched = kdf::stretch(secret, &self.salt, cost)?;

        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[kind.to_wire(), 0]);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(self.slot.as_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        for number in [cost.memory_kib, cost.passes, cost.lanes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(stretched.commitment.as_slice());
        out.push(label_bytes);
        out.extend_from_slice(self.label.as_bytes());
        out.resize(NONCE_AT, 0);

        let aad = header(*blake3::hash(&out).as_bytes()).to_aad(&self.repository);
        let mut text = Zeroizing::new(write_keys(keys));
        let nonce = hedged_nonce(&stretched.kek, &self.random, &aad, text.as_slice());
        let tag = XChaCha20Poly1305::new((&*stretched.kek).into())
            .encrypt_inout_detached(&XNonce::from(nonce), &aad, text.as_mut_slice().into())
            .map_err(|_| FormatError::invalid(WHAT, "plaintext", PLAIN_BYTES, "a length the cipher takes"))?;
        out.extend_from_slice(&nonce);
        out.extend_from_slice(text.as_slice());
        out.extend_from_slice(&tag);
        out.resize(CHECK_AT, 0);
        let check = blake3::hash(&out);
        out.extend_from_slice(check.as_bytes());
        Ok(out)
    }
}

fn header(object: [u8; 32]) -> ObjectHeader {
    ObjectHeader { object_type: ObjectType::KeySlot, codec: 0, epoch: 0, plain_bytes: PLAIN_BYTES as u64, object }
}

/// The last 32 bytes are the BLAKE3 of all before them.
fn check_sum(bytes: &[u8]) -> Result<(), FormatError> {
    match bytes.split_last_chunk::<32>() {
        Some((body, check)) if blake3::hash(body) == *check => Ok(()),
        _ => Err(FormatError::damaged(WHAT, "checksum", "does not match", "the BLAKE3 of all bytes before it")),
    }
}

fn read_label(reader: &mut Reader<'_>) -> Result<String, FormatError> {
    let length = usize::from(reader.u8("label")?);
    let Some(padding) = SLOT_LABEL_BYTES_MAX.checked_sub(length) else {
        return Err(reader.damaged("label", length, format_args!("at most {SLOT_LABEL_BYTES_MAX} bytes")));
    };
    let label = reader.take("label", length)?;
    reader.reserved("padding of the label", padding)?;
    std::str::from_utf8(label).map(str::to_owned).map_err(|error| reader.damaged("label", error, "UTF-8"))
}

fn write_keys(keys: &RepositoryKeys) -> [u8; PLAIN_BYTES] {
    let mut plain = [0; PLAIN_BYTES];
    let count = keys.newest_epoch().to_le_bytes();
    let entries = keys.iter().flat_map(|(epoch, key)| epoch.to_le_bytes().into_iter().chain(*key));
    for (to, from) in plain.iter_mut().zip(count.into_iter().chain(entries)) {
        *to = from;
    }
    plain
}

fn read_keys(plain: &[u8]) -> Result<RepositoryKeys, FormatError> {
    let mut reader = Reader::new(WHAT, plain);
    let count = reader.u32("count of keys")?;
    if !(1..=REPOSITORY_KEYS_MAX).contains(&usize::try_from(count).unwrap_or(0)) {
        return Err(reader.damaged("count of keys", count, format_args!("1 … {REPOSITORY_KEYS_MAX}")));
    }
    let mut keys: Zeroizing<Vec<Key>> = Zeroizing::new(Vec::with_capacity(REPOSITORY_KEYS_MAX));
    for epoch in 1..=count {
        let found = reader.u32("epoch")?;
        if found != epoch {
            return Err(reader.damaged("epoch", found, format_args!("must be {epoch}")));
        }
        keys.push(reader.array("key")?);
    }
    let left = reader.remaining();
    reader.reserved("padding of the keys", left)?;
    RepositoryKeys::from_list(keys.iter())
        .ok_or_else(|| FormatError::damaged(WHAT, "count of keys", count, format_args!("1 … {REPOSITORY_KEYS_MAX}")))
}

#[cfg(test)]
mod tests;
