//! Sealing: XChaCha20-Poly1305 under a header that says what the object is. SPEC.md section 6.
//!
//! ```text
//! sealed = nonce 24 | ciphertext | tag 16
//! header =  0  format       u16
//!           2  type         u8
//!           3  codec        u8
//!           4  key epoch    u32
//!           8  plain length u64
//!          16  repository   16
//!          32  object       32     = 64 bytes, authenticated, not stored
//! ```
//!
//! **Invariant:** bytes that do not authenticate are never handed out; the buffer they came in is zero afterwards.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::{R20, hchacha};
use zeroize::Zeroizing;

use crate::{
    FORMAT, FormatError, Keyring, RepositoryId,
    keys::{Key, SealKeys},
};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 64;

/// How much longer a sealed object is than its plaintext.
pub const SEALED_OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

/// What is sealed; each type is bound to its number, most to their own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ObjectType {
    DataFrame = 1,
    MetadataFrame = 2,
    DataDirectory = 3,
    MetadataDirectory = 4,
    LogBody = 5,
    KeySlot = 6,
}

impl ObjectType {
    const fn name(self) -> &'static str {
        match self {
            Self::DataFrame => "data frame",
            Self::MetadataFrame => "metadata frame",
            Self::DataDirectory => "directory of a data pack",
            Self::MetadataDirectory => "directory of a metadata pack",
            Self::LogBody => "log body",
            Self::KeySlot => "key slot",
        }
    }
}

/// What is authenticated along with a sealed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectHeader {
    pub(crate) object_type: ObjectType,
    /// 0 stored, 1 zstd; only frames know the latter.
    pub(crate) codec: u8,
    pub(crate) epoch: u32,
    /// Length before compression.
    pub(crate) plain_bytes: u64,
    pub(crate) object: [u8; 32],
}

impl ObjectHeader {
    pub(crate) fn to_aad(self, repository: &RepositoryId) -> [u8; HEADER_BYTES] {
        let mut aad = [0; HEADER_BYTES];
        let fields = FORMAT
            .to_le_bytes()
            .into_iter()
            .chain([self.object_type as u8, self.codec])
            .chain(self.epoch.to_le_bytes())
            .chain(self.plain_bytes.to_le_bytes())
            .chain(*repository.as_bytes())
            .chain(self.object);
        for (to, from) in aad.iter_mut().zip(fields) {
            *to = from;
        }
        aad
    }

    fn damaged(&self, field: &str, found: impl ToString, wanted: impl ToString) -> FormatError {
        FormatError::damaged(self.object_type.name(), field, found, wanted)
    }

    fn no_key(&self, keys: &Keyring) -> FormatError {
        let wanted = format_args!("this slot holds keys up to epoch {}", keys.epoch());
        FormatError::wrong_key(self.object_type.name(), "key epoch", self.epoch, wanted)
    }
}

/// A nonce that repeats only if `random`, header and message all do: a broken random source alone cannot repeat it.
pub(crate) fn hedged_nonce(nonce_key: &Key, random: &[u8; 24], aad: &[u8; HEADER_BYTES], message: &[u8]) -> [u8; 24] {
    let mut nonce = [0; NONCE_BYTES];
    let mut hasher = blake3::Hasher::new_keyed(nonce_key);
    // usize is at most 64 bits on every target.
    hasher.update(random).update(&(aad.len() as u64).to_le_bytes()).update(aad).update(message);
    hasher.finalize_xof().fill(&mut nonce);
    nonce
}

/// Seals `message` under the key of the header's type and epoch.
pub(crate) fn seal(
    keys: &Keyring,
    header: &ObjectHeader,
    message: &[u8],
    random: [u8; 24],
) -> Result<Vec<u8>, FormatError> {
    let SealKeys { seal, nonce } =
        keys.seal_keys(header.object_type, header.epoch).ok_or_else(|| header.no_key(keys))?;
    let aad = header.to_aad(&keys.repository());
    let nonce = hedged_nonce(nonce, &random, &aad, message);
    let mut sealed = Vec::with_capacity(message.len() + SEALED_OVERHEAD);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(message);
    let too_long =
        || FormatError::invalid(header.object_type.name(), "plaintext", message.len(), "a length the cipher takes");
    let (key, nonce) = cipher(seal, &nonce).ok_or_else(too_long)?;
    let (_, text) = sealed.split_at_mut_checked(NONCE_BYTES).ok_or_else(too_long)?;
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| too_long())?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens a sealed object where it lies; the plaintext is a part of the buffer. On failure the buffer is zero.
pub(crate) fn open_in_place<'b>(
    keys: &Keyring,
    header: &ObjectHeader,
    sealed: &'b mut [u8],
) -> Result<&'b [u8], FormatError> {
    match keys.seal_keys(header.object_type, header.epoch) {
        Some(SealKeys { seal, .. }) => open_with_key(seal, &header.to_aad(&keys.repository()), header, sealed),
        None => {
            sealed.fill(0);
            Err(header.no_key(keys))
        }
    }
}

fn open_with_key<'b>(
    key: &Key,
    aad: &[u8; HEADER_BYTES],
    header: &ObjectHeader,
    sealed: &'b mut [u8],
) -> Result<&'b [u8], FormatError> {
    let sealed_bytes = sealed.len();
    let Some(text_bytes) = sealed_bytes.checked_sub(SEALED_OVERHEAD) else {
        sealed.fill(0);
        return Err(header.damaged("sealed length", sealed_bytes, format_args!("at least {SEALED_OVERHEAD}")));
    };
    // A codec of 0 says that the plaintext is the message.
    if header.codec == 0 && u64::try_from(text_bytes) != Ok(header.plain_bytes) {
        sealed.fill(0);
        return Err(header.damaged("plain length", text_bytes, format_args!("must be {}", header.plain_bytes)));
    }
    let authentic = try_open(key, aad, sealed).is_some();
    if !authentic {
        sealed.fill(0);
    }
    match sealed.get(NONCE_BYTES..NONCE_BYTES + text_bytes) {
        Some(plain) if authentic => Ok(plain),
        _ => Err(header.damaged("tag", "does not authenticate", "the bytes that were sealed")),
    }
}

fn try_open(key: &Key, aad: &[u8; HEADER_BYTES], sealed: &mut [u8]) -> Option<()> {
    let (nonce, text) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
    let (key, nonce) = cipher(key, nonce)?;
    key.open_in_place(nonce, Aad::from(aad), text).ok()?;
    Some(())
}

/// XChaCha20-Poly1305 as ChaCha20-Poly1305 under a key made by HChaCha20 from the nonce's first 16 bytes.
/// aws-lc has no XChaCha, and is more than twice as fast as the crate that has; the tests compare both.
fn cipher(key: &Key, nonce: &[u8; NONCE_BYTES]) -> Option<(LessSafeKey, Nonce)> {
    let (head, tail) = nonce.split_first_chunk::<16>()?;
    let subkey = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(key.into(), head.into())));
    let mut short = [0; 12];
    for (to, from) in short.iter_mut().skip(4).zip(tail) {
        *to = *from;
    }
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*subkey).ok()?;
    Some((LessSafeKey::new(key), Nonce::assume_unique_for_key(short)))
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::{
        KeyInit, XChaCha20Poly1305, XNonce,
        aead::{Aead, Payload},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{ErrorKind, RepositoryKeys};

    const TYPES: [ObjectType; 5] = [
        ObjectType::DataFrame,
        ObjectType::MetadataFrame,
        ObjectType::DataDirectory,
        ObjectType::MetadataDirectory,
        ObjectType::LogBody,
    ];

    fn keys() -> Keyring {
        keys_of(9)
    }

    fn keys_of(repository: u8) -> Keyring {
        Keyring::new(&RepositoryKeys::generate([5; 32]), RepositoryId::from_bytes([repository; 16]))
    }

    fn header(object_type: ObjectType, plain_bytes: usize) -> ObjectHeader {
        ObjectHeader { object_type, codec: 0, epoch: 1, plain_bytes: plain_bytes as u64, object: [3; 32] }
    }

    proptest! {
        #[test]
        fn a_seal_is_xchacha20_poly1305_byte_for_byte(
            message in proptest::collection::vec(any::<u8>(), 0..300),
            random: [u8; 24],
            object: [u8; 32],
            object_type in proptest::sample::select(&TYPES[..]),
        ) {
            let keys = keys();
            let header = ObjectHeader { object, ..header(object_type, message.len()) };
            let sealed = seal(&keys, &header, &message, random).unwrap();
            let aad = header.to_aad(&keys.repository());
            let (nonce, text) = sealed.split_first_chunk::<24>().unwrap();
            let key = keys.seal_keys(object_type, 1).unwrap().seal;
            let crate_text = XChaCha20Poly1305::new(key.into())
                .encrypt(&XNonce::from(*nonce), Payload { msg: &message, aad: &aad })
                .unwrap();
            prop_assert_eq!(text, &crate_text[..]);
        }
    }

    #[test]
    fn what_was_sealed_opens() {
        let keys = keys();
        for length in [0, 1, 63, 64, 65, 4096, 100_000] {
            let message = vec![7; length];
            for object_type in TYPES {
                let header = header(object_type, length);
                let mut sealed = seal(&keys, &header, &message, [1; 24]).unwrap();
                assert_eq!(sealed.len(), length + SEALED_OVERHEAD);
                assert_eq!(open_in_place(&keys, &header, &mut sealed), Ok(&message[..]));
            }
        }
    }

    #[test]
    fn the_header_is_laid_out_as_drawn() {
        let header = ObjectHeader {
            object_type: ObjectType::LogBody,
            codec: 1,
            epoch: 0x0403_0201,
            plain_bytes: 7,
            object: [0xee; 32],
        };
        let mut wanted = vec![1, 0, 5, 1, 1, 2, 3, 4, 7, 0, 0, 0, 0, 0, 0, 0];
        wanted.extend([0xaa; 16]);
        wanted.extend([0xee; 32]);
        assert_eq!(header.to_aad(&RepositoryId::from_bytes([0xaa; 16])).to_vec(), wanted);
    }

    #[test]
    fn any_flipped_bit_is_refused_and_leaves_a_buffer_of_zeros() {
        let keys = keys();
        let header = header(ObjectType::DataFrame, 50);
        let sealed = seal(&keys, &header, &[7; 50], [1; 24]).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_in_place(&keys, &header, &mut damaged).unwrap_err().kind, ErrorKind::Damaged);
            assert!(damaged.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn any_other_length_is_refused_and_leaves_a_buffer_of_zeros() {
        let keys = keys();
        for codec in [0, 1] {
            let header = ObjectHeader { codec, ..header(ObjectType::DataFrame, 50) };
            let sealed = seal(&keys, &header, &[7; 50], [1; 24]).unwrap();
            for length in 0..sealed.len() {
                let mut short = sealed[..length].to_vec();
                assert_eq!(open_in_place(&keys, &header, &mut short).unwrap_err().kind, ErrorKind::Damaged);
                assert!(short.iter().all(|byte| *byte == 0));
            }
            let mut long = [&sealed[..], &[0]].concat();
            assert!(open_in_place(&keys, &header, &mut long).is_err());
            assert!(long.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn an_object_is_refused_in_the_place_of_another() {
        let keys = keys();
        let right = header(ObjectType::DataFrame, 50);
        let sealed = seal(&keys, &right, &[7; 50], [1; 24]).unwrap();
        let others = [
            ObjectHeader { object_type: ObjectType::MetadataFrame, ..right },
            ObjectHeader { object_type: ObjectType::DataDirectory, ..right },
            ObjectHeader { codec: 1, ..right },
            ObjectHeader { plain_bytes: 51, ..right },
            ObjectHeader { object: [4; 32], ..right },
        ];
        for other in others {
            assert_eq!(open_in_place(&keys, &other, &mut sealed.clone()).unwrap_err().kind, ErrorKind::Damaged);
        }
        assert!(open_in_place(&keys_of(8), &right, &mut sealed.clone()).is_err(), "another repository's id");
    }

    #[test]
    fn both_directories_share_a_key_and_are_still_told_apart() {
        let keys = keys();
        let mut sealed = seal(&keys, &header(ObjectType::DataDirectory, 5), &[7; 5], [1; 24]).unwrap();
        assert!(open_in_place(&keys, &header(ObjectType::MetadataDirectory, 5), &mut sealed).is_err());
    }

    #[test]
    fn an_epoch_without_a_key_is_a_wrong_key_and_leaves_a_buffer_of_zeros() {
        let keys = keys();
        for epoch in [0, 2, u32::MAX] {
            let header = ObjectHeader { epoch, ..header(ObjectType::LogBody, 5) };
            assert_eq!(seal(&keys, &header, &[7; 5], [1; 24]).unwrap_err().kind, ErrorKind::WrongKey);
            let mut sealed = [1; 45];
            assert_eq!(open_in_place(&keys, &header, &mut sealed).unwrap_err().kind, ErrorKind::WrongKey);
            assert_eq!(sealed, [0; 45]);
        }
    }

    #[test]
    fn a_broken_random_source_repeats_no_nonce_for_another_message_or_header() {
        let keys = keys();
        let broken = [0; 24];
        let nonce =
            |header: &ObjectHeader, message: &[u8]| seal(&keys, header, message, broken).unwrap()[..24].to_vec();
        let mut nonces = vec![];
        for object_type in TYPES {
            for message in [&[0; 50][..], &[1; 50], &[0; 51]] {
                nonces.push(nonce(&header(object_type, message.len()), message));
            }
        }
        nonces.push(nonce(&ObjectHeader { object: [4; 32], ..header(ObjectType::DataFrame, 50) }, &[0; 50]));
        nonces.push(nonce(&ObjectHeader { codec: 1, ..header(ObjectType::DataFrame, 50) }, &[0; 50]));
        nonces.push(nonce(&ObjectHeader { plain_bytes: 7, ..header(ObjectType::DataFrame, 50) }, &[0; 50]));
        let count = nonces.len();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), count);
        let again = || nonce(&header(ObjectType::DataFrame, 50), &[0; 50]);
        assert_eq!(again(), again());
    }

    #[test]
    fn a_sound_random_source_makes_another_nonce_for_the_same_message() {
        let keys = keys();
        let header = header(ObjectType::DataFrame, 50);
        let nonce = |random| seal(&keys, &header, &[0; 50], random).unwrap()[..24].to_vec();
        assert_ne!(nonce([1; 24]), nonce([2; 24]));
    }
}
