use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use repo_format::{FormatError, KdfCost, NewSlot, RecoveryKey, RepositoryId, RepositoryKeys, SlotId, SlotSecret};

use crate::file::{VectorFile, patched};

const REPOSITORY: [u8; 16] = *b"vector testbench";
const SLOT: [u8; 16] = *b"a slot's own id!";
const SALT: [u8; 32] = [0x5a; 32];
const CREATED_MS: u64 = 1_790_000_000_000;
const RECOVERY: [u8; 32] = [0x77; 32];
const PASSWORD: &str = "Tür \u{1f511} 7";
/// A toy: real slots ask for 256 MiB.
const COST: KdfCost = KdfCost { memory_kib: 64, passes: 2, lanes: 2 };
const NO_COST: KdfCost = KdfCost { memory_kib: 0, passes: 0, lanes: 0 };

fn key(epoch: u8) -> [u8; 32] {
    [0x10 + epoch; 32]
}

fn keys(count: u8) -> Result<RepositoryKeys, FormatError> {
    (2..=count).try_fold(RepositoryKeys::generate(key(1)), |keys, epoch| keys.with_next_epoch(key(epoch)))
}

fn password(text: &str) -> Result<SlotSecret, FormatError> {
    SlotSecret::password(text.to_owned().into())
}

fn recovery_key() -> SlotSecret {
    SlotSecret::RecoveryKey(RecoveryKey::from_random(RECOVERY))
}

fn recovery_text() -> String {
    RecoveryKey::from_random(RECOVERY).to_text().to_string()
}

fn seal(secret: &SlotSecret, label: &str, keys: &RepositoryKeys) -> Result<Vec<u8>, FormatError> {
    let slot = NewSlot {
        repository: RepositoryId::from_bytes(REPOSITORY),
        slot: SlotId::from_bytes(SLOT),
        label: label.to_owned(),
        created_ms: CREATED_MS,
        cost: COST,
        salt: SALT,
        random: [0x24; 24],
    };
    slot.seal(secret, keys)
}

/// `slot` with `patch` at `at`, and the checksum made right again.
fn rechecked(slot: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut out = patched(slot, at, patch);
    out.truncate(992);
    let check = blake3::hash(&out);
    out.extend_from_slice(check.as_bytes());
    out
}

/// A slot for the recovery key around any plaintext, sealed as SPEC.md says.
fn slot_around(plain: &[u8]) -> Result<Vec<u8>, FormatError> {
    let slot = seal(&recovery_key(), "", &keys(1)?)?;
    let head = slot.get(..192).unwrap_or_default();
    let mut stretched = blake3::Hasher::new_derive_key("strongroom v1 recovery key");
    let mut kek = [0; 32];
    stretched.update(&SALT).update(&RECOVERY).finalize_xof().fill(&mut kek);
    let mut aad = vec![1, 0, 6, 0, 0, 0, 0, 0];
    aad.extend_from_slice(&512_u64.to_le_bytes());
    aad.extend_from_slice(&REPOSITORY);
    aad.extend_from_slice(blake3::hash(head).as_bytes());
    let mut text = plain.to_vec();
    let nonce = [0x42; 24];
    let tag = XChaCha20Poly1305::new(&kek.into())
        .encrypt_inout_detached(&XNonce::from(nonce), &aad, text.as_mut_slice().into())
        .map_err(|error| FormatError::invalid("vector", "plaintext", error, "512 bytes"))?;
    Ok(rechecked(&slot, 192, &[&nonce[..], &text, &tag].concat()))
}

/// What section 7 says of the plaintext, `count` and epochs as given.
fn plain(count: u32, epochs: &[u32]) -> Vec<u8> {
    let mut plain = count.to_le_bytes().to_vec();
    for epoch in epochs {
        plain.extend_from_slice(&epoch.to_le_bytes());
        plain.extend_from_slice(&[0x33; 32]);
    }
    plain.resize(512, 0);
    plain
}

fn opened(file: VectorFile, kind: &str, cost: KdfCost, label: &str, keys: u8) -> VectorFile {
    let file = file
        .hex("out.repository", &REPOSITORY)
        .hex("out.slot", &SLOT)
        .field("out.kind", kind)
        .field("out.label", label)
        .field("out.created", CREATED_MS)
        .field("out.memory_kib", cost.memory_kib)
        .field("out.passes", cost.passes)
        .field("out.lanes", cost.lanes);
    (1..=keys).fold(file, |file, epoch| file.hex(&format!("out.key.{epoch}"), &key(epoch)))
}

fn vector(name: &str, claim: &str) -> VectorFile {
    VectorFile::new("key_slot", name, claim)
}

fn damaged(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    vector(name, claim).rejected("damaged").field("recovery_key", recovery_text()).hex("input", input)
}

fn unsupported(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    vector(name, claim).rejected("unsupported").field("recovery_key", recovery_text()).hex("input", input)
}

fn damaged_password(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    vector(name, claim).rejected("damaged").hex("password", PASSWORD.as_bytes()).hex("input", input)
}

pub fn all() -> Result<Vec<VectorFile>, FormatError> {
    let mut files = accepted_ones()?;
    files.extend(wrong_secrets()?);
    files.extend(wrong_forms()?);
    files.extend(wrong_parameters()?);
    files.extend(wrong_plaintexts()?);
    Ok(files)
}

fn accepted_ones() -> Result<Vec<VectorFile>, FormatError> {
    let by_password = seal(&password(PASSWORD)?, "Büro", &keys(1)?)?;
    let file_bytes: Vec<u8> = (0..=255).collect();
    let by_file = seal(&SlotSecret::key_file(file_bytes.clone().into())?, "", &keys(1)?)?;
    let label = "x".repeat(63);
    let by_text = seal(&recovery_key(), &label, &keys(2)?)?;
    let full = seal(&recovery_key(), "", &keys(14)?)?;
    let shouted = recovery_text().to_uppercase();
    let (left, right) = shouted.split_at(31);
    let by_password_vector = |name, claim, typed: &str| {
        let file = vector(name, claim).accepted().hex("password", typed.as_bytes()).hex("input", &by_password);
        opened(file, "password", COST, "Büro", 1)
    };
    let by_text_vector = |name, claim, text: &str, input: &[u8], label: &str, keys| {
        let file = vector(name, claim).accepted().field("recovery_key", text).hex("input", input);
        opened(file, "recovery key", NO_COST, label, keys)
    };
    Ok(vec![
        by_password_vector("password", "a password opens its slot", PASSWORD),
        by_password_vector("password_nfd", "a password counts in its NFC form", "Tu\u{308}r \u{1f511} 7"),
        opened(
            vector("key_file", "a key file opens its slot")
                .accepted()
                .hex("key_file", &file_bytes)
                .hex("input", &by_file),
            "key file",
            NO_COST,
            "",
            1,
        ),
        by_text_vector("recovery_key", "a recovery key opens its slot", &recovery_text(), &by_text, &label, 2),
        by_text_vector(
            "recovery_key_shouted",
            "case and spaces of a recovery key do not matter",
            &format!("{left} {right}"),
            &by_text,
            &label,
            2,
        ),
        by_text_vector("fourteen_keys", "a slot holds fourteen keys", &recovery_text(), &full, "", 14),
    ])
}

fn wrong_secrets() -> Result<Vec<VectorFile>, FormatError> {
    let by_password = seal(&password(PASSWORD)?, "", &keys(1)?)?;
    let by_text = seal(&recovery_key(), "", &keys(1)?)?;
    let other = RecoveryKey::from_random([0x78; 32]).to_text().to_string();
    let wrong = |name, claim| vector(name, claim).rejected("wrong_key");
    Ok(vec![
        wrong("wrong_password", "another password does not open a slot")
            .hex("password", b"tuer 7")
            .hex("input", &by_password),
        wrong("wrong_recovery_key", "another recovery key does not open a slot")
            .field("recovery_key", other)
            .hex("input", &by_text),
        wrong("wrong_kind", "the bytes of a recovery key as a key file do not open its slot")
            .hex("key_file", &RECOVERY)
            .hex("input", &by_text),
        wrong("commitment", "the commitment decides before the tag does")
            .field("recovery_key", recovery_text())
            .hex("input", &rechecked(&by_text, 96, &[0; 32])),
    ])
}

fn wrong_forms() -> Result<Vec<VectorFile>, FormatError> {
    let good = seal(&recovery_key(), "abc", &keys(1)?)?;
    let flipped = |at: usize| good.get(at).map_or(0, |byte| byte ^ 1);
    Ok(vec![
        unsupported("format_2", "a newer format is unsupported", &rechecked(&good, 8, &[2])),
        unsupported(
            "format_2_unchecked",
            "a newer format is unsupported whatever its checksum",
            &patched(&good, 8, &[2]),
        ),
        damaged("format_0", "no format is 0", &rechecked(&good, 8, &[0])),
        damaged("magic", "a key slot begins with its magic", &rechecked(&good, 0, b"s")),
        damaged("checksum", "a slot whose checksum does not match is ignored", &patched(&good, 300, &[flipped(300)])),
        damaged("short", "a slot is not 1023 bytes", good.get(..1023).unwrap_or_default()),
        damaged("long", "a slot is not 1025 bytes", &[&good[..], &[0]].concat()),
        damaged("kind_0", "no kind is 0", &rechecked(&good, 10, &[0])),
        damaged("kind_4", "no kind is 4", &rechecked(&good, 10, &[4])),
        damaged("reserved_11", "the reserved byte 11 is 0", &rechecked(&good, 11, &[1])),
        damaged("reserved_744", "the reserved bytes 744 … 991 are 0", &rechecked(&good, 991, &[1])),
        damaged("label_long", "a label has at most 63 bytes", &rechecked(&good, 128, &[64])),
        damaged("label_padding", "behind the label there are zeros", &rechecked(&good, 128, &[2])),
        damaged("label_not_utf8", "a label is UTF-8", &rechecked(&good, 129, &[0xff])),
        damaged("relabelled", "a label cannot be changed without the secret", &rechecked(&good, 129, b"x")),
        damaged("another_repository", "a slot opens under its own repository id only", &rechecked(&good, 12, &[0])),
        damaged("nonce", "a changed nonce does not authenticate", &rechecked(&good, 192, &[flipped(192)])),
        damaged("ciphertext", "a changed ciphertext does not authenticate", &rechecked(&good, 727, &[flipped(727)])),
        damaged("tag", "a changed tag does not authenticate", &rechecked(&good, 743, &[flipped(743)])),
    ])
}

fn wrong_parameters() -> Result<Vec<VectorFile>, FormatError> {
    let good = seal(&password(PASSWORD)?, "", &keys(1)?)?;
    let by_text = seal(&recovery_key(), "", &keys(1)?)?;
    let cost = |memory_kib: u32, passes: u32, lanes: u32| {
        rechecked(&good, 52, &[memory_kib, passes, lanes].map(u32::to_le_bytes).concat())
    };
    Ok(vec![
        damaged_password("memory_small", "Argon2id has at least 8 KiB for each lane", &cost(15, 1, 2)),
        damaged_password("memory_large", "Argon2id has at most 4 GiB", &cost((4 << 20) + 1, 1, 1)),
        damaged_password("passes_0", "Argon2id makes at least one pass", &cost(64, 0, 1)),
        damaged_password("passes_33", "Argon2id makes at most 32 passes", &cost(64, 33, 1)),
        damaged_password("lanes_0", "Argon2id has at least one lane", &cost(64, 1, 0)),
        damaged_password("lanes_17", "Argon2id has at most 16 lanes", &cost(1024, 1, 17)),
        damaged("needless_parameters", "a recovery key has no KDF parameters", &rechecked(&by_text, 56, &[1])),
    ])
}

fn wrong_plaintexts() -> Result<Vec<VectorFile>, FormatError> {
    let mut padded = plain(1, &[1]);
    padded.pop();
    padded.push(1);
    Ok(vec![
        damaged("count_0", "a slot holds at least one key", &slot_around(&plain(0, &[]))?),
        damaged("count_15", "a slot holds at most fourteen keys", &slot_around(&plain(15, &[1]))?),
        damaged("epoch_0", "epochs begin at 1", &slot_around(&plain(1, &[0]))?),
        damaged("epoch_gap", "epochs have no gaps", &slot_around(&plain(2, &[1, 3]))?),
        damaged("epoch_order", "epochs ascend", &slot_around(&plain(2, &[2, 1]))?),
        damaged("plaintext_padding", "behind the keys there are zeros", &slot_around(&padded)?),
    ])
}
