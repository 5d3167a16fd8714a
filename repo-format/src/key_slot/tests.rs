use proptest::prelude::*;

use super::*;
use crate::RecoveryKey;

const CHEAP: KdfCost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };

fn password(text: &str) -> SlotSecret {
    SlotSecret::password(Zeroizing::new(text.to_owned())).unwrap()
}

fn key_file() -> SlotSecret {
    SlotSecret::key_file(Zeroizing::new(vec![6; 32])).unwrap()
}

fn recovery_key(seed: u8) -> SlotSecret {
    SlotSecret::RecoveryKey(RecoveryKey::from_random([seed; 32]))
}

fn new_slot() -> NewSlot {
    NewSlot {
        repository: RepositoryId::from_bytes([1; 16]),
        slot: SlotId::from_bytes([2; 16]),
        label: "Büro".to_owned(),
        created_ms: 3,
        cost: CHEAP,
        salt: [4; 32],
        random: [5; 24],
    }
}

fn keys() -> RepositoryKeys {
    RepositoryKeys::generate([7; 32]).with_next_epoch([8; 32]).unwrap()
}

fn list(keys: &RepositoryKeys) -> Vec<(u32, Key)> {
    keys.iter().map(|(epoch, key)| (epoch, *key)).collect()
}

/// Puts `bytes` at `at` and makes the checksum right again.
fn patched(slot: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = slot.to_vec();
    out[at..at + bytes.len()].copy_from_slice(bytes);
    let check = blake3::hash(&out[..CHECK_AT]);
    out[CHECK_AT..].copy_from_slice(check.as_bytes());
    out
}

/// A slot whose plaintext is `plain`, sealed as it should be.
fn slot_around(plain: &[u8; PLAIN_BYTES]) -> Vec<u8> {
    let mut out = new_slot().seal(&recovery_key(9), &keys()).unwrap();
    let stretched = kdf::stretch(&recovery_key(9), &[4; 32], KdfCost::NONE).unwrap();
    let aad = header(*blake3::hash(&out[..NONCE_AT]).as_bytes()).to_aad(&new_slot().repository);
    let mut text = *plain;
    let tag = XChaCha20Poly1305::new((&*stretched.kek).into())
        .encrypt_inout_detached(&XNonce::from([0; 24]), &aad, text.as_mut_slice().into())
        .unwrap();
    out[NONCE_AT..216].fill(0);
    out[216..728].copy_from_slice(&text);
    out[728..744].copy_from_slice(&tag);
    patched(&out, 0, MAGIC)
}

fn open(bytes: &[u8], secret: &SlotSecret) -> Result<Vec<(u32, Key)>, FormatError> {
    KeySlot::parse(bytes)?.open(secret).map(|keys| list(&keys))
}

#[test]
fn each_kind_of_secret_opens_its_slot() {
    for secret in [password("correct horse"), key_file(), recovery_key(9)] {
        let bytes = new_slot().seal(&secret, &keys()).unwrap();
        assert_eq!(bytes.len(), SLOT_BYTES);
        let slot = KeySlot::parse(&bytes).unwrap();
        assert_eq!((slot.id(), slot.kind(), slot.label()), (SlotId::from_bytes([2; 16]), secret.kind(), "Büro"));
        assert_eq!((slot.repository(), slot.created_ms()), (RepositoryId::from_bytes([1; 16]), 3));
        let cost = if secret.kind() == SlotKind::Password { CHEAP } else { KdfCost::NONE };
        assert_eq!(slot.kdf_cost(), cost);
        assert_eq!(list(&slot.open(&secret).unwrap()), list(&keys()));
    }
}

#[test]
fn another_secret_is_a_wrong_key() {
    let pairs = [
        (password("correct horse"), password("correct horsf")),
        (password("correct horse"), recovery_key(9)),
        (key_file(), SlotSecret::key_file(Zeroizing::new(vec![6; 33])).unwrap()),
        (key_file(), password("correct horse")),
        (recovery_key(9), recovery_key(8)),
        (recovery_key(6), key_file()),
    ];
    for (right, wrong) in pairs {
        let bytes = new_slot().seal(&right, &keys()).unwrap();
        assert_eq!(open(&bytes, &wrong).unwrap_err().kind, ErrorKind::WrongKey);
    }
}

#[test]
fn a_password_counts_in_its_normal_form() {
    let bytes = new_slot().seal(&password("Stra\u{df}e \u{fc}ber"), &keys()).unwrap();
    assert!(open(&bytes, &password("Stra\u{df}e u\u{308}ber")).is_ok());
}

#[test]
fn normal_form_never_outgrows_its_buffer() {
    for c in (0..=0x10_ffff).filter_map(char::from_u32) {
        let normal: usize = c
            .to_string()
            .chars()
            .flat_map(|c| unicode_normalization::UnicodeNormalization::nfc(std::iter::once(c)))
            .map(char::len_utf8)
            .sum();
        assert!(normal <= 3 * c.len_utf8(), "{c:?}");
    }
}

#[test]
fn secrets_beyond_the_limits_are_invalid() {
    let key_file = |length| SlotSecret::key_file(Zeroizing::new(vec![1; length])).map(|_| ());
    assert!(key_file(32).is_ok() && key_file(65536).is_ok());
    assert_eq!(key_file(31).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(key_file(65537).unwrap_err().kind, ErrorKind::Invalid);
    assert!(SlotSecret::password(Zeroizing::default()).is_err());
    let empty = SlotSecret::Password(Zeroizing::default());
    assert_eq!(new_slot().seal(&empty, &keys()).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn any_flipped_bit_is_refused() {
    let bytes = new_slot().seal(&recovery_key(9), &keys()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Bits of the format but the lowest make it a greater one.
        let wanted = if (65..80).contains(&bit) { ErrorKind::Unsupported } else { ErrorKind::Damaged };
        assert_eq!(KeySlot::parse(&damaged).err().unwrap().kind, wanted, "bit {bit}");
    }
}

#[test]
fn any_flipped_bit_is_refused_even_where_the_checksum_was_made_right_again() {
    let bytes = new_slot().seal(&recovery_key(9), &keys()).unwrap();
    for bit in 0..CHECK_AT * 8 {
        let damaged = patched(&bytes, bit / 8, &[bytes[bit / 8] ^ (1 << (bit % 8))]);
        assert!(open(&damaged, &recovery_key(9)).is_err(), "bit {bit}");
    }
}

#[test]
fn any_other_length_is_refused() {
    let bytes = new_slot().seal(&recovery_key(9), &keys()).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(KeySlot::parse(&bytes[..length]).err().unwrap().kind, ErrorKind::Damaged);
    }
    assert!(KeySlot::parse(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn what_a_slot_may_not_hold_is_damage() {
    let bytes = new_slot().seal(&password("x"), &keys()).unwrap();
    let cases: [(usize, &[u8]); 15] = [
        (8, &[0]),
        (10, &[0]),
        (10, &[4]),
        (10, &[2]), // with parameters that are not 0
        (11, &[1]),
        (52, &7_u32.to_le_bytes()),
        (52, &((4_u32 << 20) + 1).to_le_bytes()),
        (56, &0_u32.to_le_bytes()),
        (56, &33_u32.to_le_bytes()),
        (60, &0_u32.to_le_bytes()),
        (60, &17_u32.to_le_bytes()),
        (128, &[64]),
        (128, &[3]), // a byte of the label is then padding, and the label ends within a character
        (130, &[0xff]),
        (744, &[1]),
    ];
    for (at, wrong) in cases {
        let error = KeySlot::parse(&patched(&bytes, at, wrong)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Damaged, "{at}: {wrong:?}");
    }
    assert_eq!(KeySlot::parse(&patched(&bytes, 8, &[2])).err().unwrap().kind, ErrorKind::Unsupported);
    assert!(KeySlot::parse(&patched(&bytes, 991, &[1])).is_err());
}

#[test]
fn parameters_at_the_limits_are_allowed() {
    for (memory_kib, passes, lanes) in [(8, 1, 1), (128, 32, 16), (4 << 20, 1, 1)] {
        assert!(KdfCost { memory_kib, passes, lanes }.check(SlotKind::Password).is_ok());
    }
    assert!(KdfCost { memory_kib: 127, passes: 32, lanes: 16 }.check(SlotKind::Password).is_err());
    assert!(KdfCost { memory_kib: u32::MAX, passes: 1, lanes: u32::MAX }.check(SlotKind::Password).is_err());
    assert!(KdfCost::default().check(SlotKind::Password).is_ok());
}

#[test]
fn a_label_that_does_not_fit_is_invalid() {
    let seal = |label: String| NewSlot { label, ..new_slot() }.seal(&recovery_key(9), &keys());
    assert!(KeySlot::parse(&seal("x".repeat(63)).unwrap()).is_ok_and(|slot| slot.label().len() == 63));
    assert!(KeySlot::parse(&seal(String::new()).unwrap()).is_ok_and(|slot| slot.label().is_empty()));
    assert_eq!(seal("x".repeat(64)).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(seal("x".repeat(300)).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_slot_of_another_repository_does_not_open() {
    let bytes = new_slot().seal(&recovery_key(9), &keys()).unwrap();
    assert_eq!(open(&patched(&bytes, 12, &[9]), &recovery_key(9)).unwrap_err().kind, ErrorKind::Damaged);
}

#[test]
fn fourteen_keys_fit_a_slot() {
    let mut keys = RepositoryKeys::generate([1; 32]);
    for epoch in 2..=14 {
        keys = keys.with_next_epoch([epoch; 32]).unwrap();
    }
    let bytes = new_slot().seal(&recovery_key(9), &keys).unwrap();
    assert_eq!(open(&bytes, &recovery_key(9)), Ok(list(&keys)));
}

#[test]
fn a_plaintext_that_is_no_list_of_keys_is_damage() {
    let good = write_keys(&keys());
    assert_eq!(open(&slot_around(&good), &recovery_key(9)), Ok(list(&keys())));
    let cases: [(usize, u8); 7] = [(0, 0), (0, 15), (3, 1), (4, 0), (4, 2), (40, 3), (0, 1)];
    for (at, byte) in cases {
        let mut plain = good;
        plain[at] = byte;
        assert_eq!(open(&slot_around(&plain), &recovery_key(9)).unwrap_err().kind, ErrorKind::Damaged, "{at}: {byte}");
    }
    let mut plain = good;
    plain[511] = 1;
    assert_eq!(open(&slot_around(&plain), &recovery_key(9)).unwrap_err().kind, ErrorKind::Damaged);
}

#[test]
fn a_broken_random_source_repeats_no_nonce_for_other_keys() {
    let nonce = |keys: &RepositoryKeys| new_slot().seal(&recovery_key(9), keys).unwrap()[NONCE_AT..216].to_vec();
    assert_ne!(nonce(&keys()), nonce(&RepositoryKeys::generate([7; 32])));
    assert_eq!(nonce(&keys()), nonce(&keys()));
}

#[test]
fn a_file_and_a_recovery_key_of_the_same_bytes_stretch_differently() {
    let file = kdf::stretch(&key_file(), &[4; 32], KdfCost::NONE).unwrap();
    let text = kdf::stretch(&recovery_key(6), &[4; 32], KdfCost::NONE).unwrap();
    assert_ne!(*file.kek, *text.kek);
    assert_ne!(*file.commitment, *text.commitment);
    assert_ne!(*file.kek, *file.commitment);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(at in 0_usize..CHECK_AT, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let slot = new_slot().seal(&recovery_key(9), &keys()).unwrap();
        let bytes = &bytes[..bytes.len().min(CHECK_AT - at)];
        let _ = open(&patched(&slot, at, bytes), &recovery_key(9));
    }
}
