//! Repository keys, and the working keys made of them. SPEC.md section 5.
//!
//! **Invariant:** nothing here can be cloned, printed or compared, and everything is wiped when dropped.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{ChunkId, Class, FormatError, RepositoryId, VmIdentity, codec::Put, envelope::ObjectType};

/// How many repository keys fit a key slot.
pub const REPOSITORY_KEYS_MAX: usize = 14;

pub(crate) type Key = [u8; 32];

/// The repository keys, one per epoch from 1 on: what a key slot guards.
pub struct RepositoryKeys {
    /// **Invariant:** 1 to [`REPOSITORY_KEYS_MAX`] keys; the capacity never grows, so no copy is left behind.
    keys: Zeroizing<Vec<Key>>,
}

impl RepositoryKeys {
    /// The key of epoch 1 from fresh random bytes.
    pub fn generate(random: [u8; 32]) -> Self {
        let random = Zeroizing::new(random);
        let mut keys = Vec::with_capacity(REPOSITORY_KEYS_MAX);
        keys.push(*random);
        Self { keys: Zeroizing::new(keys) }
    }

    /// These keys and a fresh one, of the next epoch.
    pub fn with_next_epoch(&self, random: [u8; 32]) -> Result<Self, FormatError> {
        let random = Zeroizing::new(random);
        Self::from_list(self.keys.iter().chain([&*random])).ok_or_else(|| {
            FormatError::invalid(
                "repository keys",
                "epochs",
                self.keys.len() + 1,
                format_args!("at most {REPOSITORY_KEYS_MAX}"),
            )
        })
    }

    /// Keys in the order of their epochs; none if there are none or too many.
    pub(crate) fn from_list<'a>(list: impl Iterator<Item = &'a Key>) -> Option<Self> {
        let mut keys = Zeroizing::new(Vec::with_capacity(REPOSITORY_KEYS_MAX));
        for key in list {
            if keys.len() == REPOSITORY_KEYS_MAX {
                return None;
            }
            keys.push(*key);
        }
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Epochs and keys, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Key)> {
        (1..).zip(self.keys.iter())
    }

    /// The epoch under which a writer seals.
    pub fn newest_epoch(&self) -> u32 {
        self.iter().map(|(epoch, _)| epoch).last().unwrap_or(1)
    }
}

/// Keys of epoch 1: they name and cut, so they never change.
#[derive(Zeroize, ZeroizeOnDrop)]
struct NamingKeys {
    chunk_id_data: Key,
    chunk_id_metadata: Key,
    frame_id: Key,
    cut_hash: Key,
    cut_prf: Key,
    config_mac: Key,
    vm_home_binding: Key,
    fingerprint: Key,
    cache_tag: Key,
    audit_sample: Key,
}

/// Keys of one epoch: they seal.
#[derive(Zeroize, ZeroizeOnDrop)]
struct SealingKeys {
    data_seal: Key,
    metadata_seal: Key,
    directory_seal: Key,
    log_seal: Key,
    nonce: Key,
}

/// All working keys of one repository, derived once.
pub struct Keyring {
    repository: RepositoryId,
    // Boxed, so that moving the ring leaves no copy on the stack.
    naming: Box<NamingKeys>,
    /// Epoch 1 first.
    sealing: Vec<SealingKeys>,
}

fn derive(purpose: &str, repository_key: &Key) -> Key {
    blake3::derive_key(&format!("strongroom v1 {purpose}"), repository_key)
}

impl NamingKeys {
    fn derive(first: &Key) -> Self {
        Self {
            chunk_id_data: derive("chunk id data", first),
            chunk_id_metadata: derive("chunk id metadata", first),
            frame_id: derive("frame id", first),
            cut_hash: derive("cut hash", first),
            cut_prf: derive("cut prf", first),
            config_mac: derive("config mac", first),
            vm_home_binding: derive("vm home binding", first),
            fingerprint: derive("fingerprint", first),
            cache_tag: derive("cache tag", first),
            audit_sample: derive("audit sample", first),
        }
    }
}

impl SealingKeys {
    fn derive(key: &Key) -> Self {
        Self {
            data_seal: derive("data seal", key),
            metadata_seal: derive("metadata seal", key),
            directory_seal: derive("directory seal", key),
            log_seal: derive("log seal", key),
            nonce: derive("nonce", key),
        }
    }
}

impl Keyring {
    /// Derives every working key of `repository`.
    pub fn new(keys: &RepositoryKeys, repository: RepositoryId) -> Self {
        // A list of repository keys is never empty.
        let first = Zeroizing::new(keys.keys.first().copied().unwrap_or_default());
        Self {
            repository,
            naming: Box::new(NamingKeys::derive(&first)),
            sealing: keys.iter().map(|(_, key)| SealingKeys::derive(key)).collect(),
        }
    }

    /// The repository whose keys these are.
    pub const fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// The newest key epoch: the one to seal under.
    pub fn epoch(&self) -> u32 {
        (1..).zip(&self.sealing).map(|(epoch, _)| epoch).last().unwrap_or(1)
    }

    /// The name that a chunk of these bytes has; a metadata chunk's begin with its kind.
    pub fn chunk_id(&self, class: Class, bytes: &[u8]) -> ChunkId {
        let key = match class {
            Class::Data => &self.naming.chunk_id_data,
            Class::Metadata => &self.naming.chunk_id_metadata,
        };
        ChunkId::from_bytes(keyed(key, bytes))
    }

    /// What is shown of a secret so that two of them can be told apart: 8 hexadecimal digits.
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        keyed(&self.naming.fingerprint, secret).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Authenticates bytes of a client's own cache.
    pub fn cache_tag(&self, bytes: &[u8]) -> [u8; 32] {
        keyed(&self.naming.cache_tag, bytes)
    }

    /// The order in which the segments of one disk are audited: [`AuditOrder::place`] says when each is due.
    pub fn audit_order(&self, vm: &VmIdentity, disk: &str) -> AuditOrder {
        let mut subject = Vec::new();
        vm.put(&mut subject);
        subject.put_text(disk);
        AuditOrder { key: keyed(&self.naming.audit_sample, &subject) }
    }

    /// Ties key id, provider, bundle and NVRAM of a VM together; `bound` is their encoding.
    pub(crate) fn vm_home_binding(&self, bound: &[u8]) -> [u8; 32] {
        keyed(&self.naming.vm_home_binding, bound)
    }

    /// Object id of a frame; `chunks` are id and `u64` length of each.
    pub(crate) fn frame_id(&self, chunks: &[u8]) -> [u8; 32] {
        keyed(&self.naming.frame_id, chunks)
    }

    pub(crate) fn config_mac(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.naming.config_mac, bytes)
    }

    pub(crate) fn cut_keys(&self) -> CutKeys {
        CutKeys { hash: first_16(&self.naming.cut_hash), prf: first_16(&self.naming.cut_prf) }
    }

    /// The keys that seal one object; none for an epoch whose key this ring does not have, and for key slots.
    pub(crate) fn seal_keys(&self, object_type: ObjectType, epoch: u32) -> Option<SealKeys<'_>> {
        let keys = self.sealing.get(usize::try_from(epoch).ok()?.checked_sub(1)?)?;
        let seal = match object_type {
            ObjectType::DataFrame => &keys.data_seal,
            ObjectType::MetadataFrame => &keys.metadata_seal,
            ObjectType::DataDirectory | ObjectType::MetadataDirectory => &keys.directory_seal,
            ObjectType::LogBody => &keys.log_seal,
            ObjectType::KeySlot => return None,
        };
        Some(SealKeys { seal, nonce: &keys.nonce })
    }
}

/// A keyed order of the segments of one disk, which nobody without the key can foresee.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct AuditOrder {
    key: Key,
}

impl AuditOrder {
    /// The place of `segment` among `places`: below it, and as good as random.
    pub fn place(&self, segment: u64, places: u64) -> u64 {
        let hash = keyed(&self.key, &segment.to_le_bytes());
        let [first, ..] = hash.as_chunks::<8>().0 else { return 0 };
        u64::from_le_bytes(*first) % places.max(1)
    }
}

/// The two keys of one sealing.
#[derive(Clone, Copy)]
pub(crate) struct SealKeys<'a> {
    pub(crate) seal: &'a Key,
    pub(crate) nonce: &'a Key,
}

/// The AES-128 keys of the chunker `block`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct CutKeys {
    pub(crate) hash: [u8; 16],
    pub(crate) prf: [u8; 16],
}

fn keyed(key: &Key, bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

fn first_16(key: &Key) -> [u8; 16] {
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(key) {
        *to = *from;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails to compile if the type implements the trait: then two implementations would fit.
    macro_rules! assert_without {
        ($type:ty: $($bound:path),+) => {$({
            trait Ambiguous<Marker> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $bound> Ambiguous<u8> for T {}
            <$type as Ambiguous<_>>::item();
        })+};
    }

    fn ring(keys: &RepositoryKeys) -> Keyring {
        Keyring::new(keys, RepositoryId::from_bytes([9; 16]))
    }

    #[test]
    fn keys_are_never_cloned_printed_or_compared() {
        assert_without!(RepositoryKeys: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(Keyring: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(NamingKeys: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(SealingKeys: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(AuditOrder: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(CutKeys: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(crate::RecoveryKey: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
        assert_without!(crate::SlotSecret: Clone, std::fmt::Debug, std::fmt::Display, PartialEq);
    }

    #[test]
    fn a_working_key_is_derived_from_purpose_and_repository_key_as_the_spec_says() {
        let keys = ring(&RepositoryKeys::generate([5; 32]));
        let key = blake3::derive_key("strongroom v1 chunk id data", &[5; 32]);
        assert_eq!(keys.chunk_id(Class::Data, b"x").as_bytes(), blake3::keyed_hash(&key, b"x").as_bytes());
        let key = blake3::derive_key("strongroom v1 metadata seal", &[5; 32]);
        assert_eq!(keys.seal_keys(ObjectType::MetadataFrame, 1).unwrap().seal, &key);
        let key = blake3::derive_key("strongroom v1 cut prf", &[5; 32]);
        assert_eq!(keys.cut_keys().prf, key[..16]);
    }

    #[test]
    fn no_two_purposes_share_a_key() {
        let keys = ring(&RepositoryKeys::generate([5; 32]).with_next_epoch([6; 32]).unwrap());
        let n = &keys.naming;
        let mut all = vec![n.chunk_id_data, n.chunk_id_metadata, n.frame_id, n.cut_hash, n.cut_prf, n.config_mac];
        all.extend([n.vm_home_binding, n.fingerprint, n.cache_tag, n.audit_sample]);
        for s in &keys.sealing {
            all.extend([s.data_seal, s.metadata_seal, s.directory_seal, s.log_seal, s.nonce]);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_new_epoch_changes_seals_and_leaves_names() {
        let first = RepositoryKeys::generate([5; 32]);
        let second = first.with_next_epoch([6; 32]).unwrap();
        assert_eq!((first.newest_epoch(), second.newest_epoch()), (1, 2));
        let (first, second) = (ring(&first), ring(&second));
        assert_eq!(first.chunk_id(Class::Data, b"x"), second.chunk_id(Class::Data, b"x"));
        let seal = |keys: &Keyring, epoch| keys.seal_keys(ObjectType::DataFrame, epoch).map(|keys| *keys.seal);
        assert_eq!(seal(&first, 1), seal(&second, 1));
        assert!(seal(&second, 2).is_some_and(|key| Some(key) != seal(&second, 1)));
        assert_eq!((seal(&first, 2), seal(&first, 0), seal(&first, u32::MAX)), (None, None, None));
    }

    #[test]
    fn more_epochs_than_a_slot_holds_are_refused() {
        let mut keys = RepositoryKeys::generate([1; 32]);
        for epoch in 2..=14 {
            keys = keys.with_next_epoch([epoch; 32]).unwrap();
        }
        assert_eq!(keys.newest_epoch(), 14);
        assert_eq!(keys.with_next_epoch([15; 32]).err().unwrap().kind, crate::ErrorKind::Invalid);
    }

    #[test]
    fn every_segment_has_one_place_in_an_audit_order_and_disks_have_different_ones() {
        let keys = ring(&RepositoryKeys::generate([5; 32]));
        let vm = VmIdentity::named("web01").unwrap();
        let places = |disk: &str| (0..3000).map(|segment| keys.audit_order(&vm, disk).place(segment, 30)).collect();
        let (first, other): (Vec<u64>, Vec<u64>) = (places("disk0"), places("disk1"));
        for place in 0..30 {
            let count = first.iter().filter(|found| **found == place).count();
            assert!((60..150).contains(&count), "{count} of 3000 at place {place}");
        }
        assert_ne!(first, other);
        assert_eq!(keys.audit_order(&vm, "disk0").place(7, 0), 0);
    }

    #[test]
    fn a_fingerprint_is_eight_digits_that_tell_secrets_apart() {
        let keys = ring(&RepositoryKeys::generate([5; 32]));
        let shown = keys.fingerprint(b"bundle");
        assert!(shown.len() == 8 && shown.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(shown, keys.fingerprint(b"bundlf"));
    }
}
