use crate::{
    file::VectorFile,
    wire::{Fields, bytes, hex, keyed, list, text, varint, working_key},
};

const PIECE: [u8; 32] = [0x41; 32];
const BUNDLE: &[u8] = b"vmware:key/list/(pair/(fqid/...))";

fn stream(content: &[u8]) -> Vec<u8> {
    let length = varint(content.len() as u64);
    let pieces = if content.is_empty() { vec![] } else { vec![[&length[..], &PIECE].concat()] };
    [&length[..], blake3::hash(content).as_bytes(), &list(&pieces)].concat()
}

fn shown(content: &[u8]) -> String {
    let piece = if content.is_empty() { String::new() } else { format!(" {}:{}", hex(&PIECE), content.len()) };
    format!("{} {}{piece}", content.len(), blake3::hash(content))
}

fn policy(encrypts: u8) -> Vec<u8> {
    [&text("aa6d5a82")[..], &text("VM Encryption Policy"), &[encrypts]].concat()
}

fn nvram(name: &str, content: &[u8]) -> Vec<u8> {
    [&text(name)[..], &stream(content)].concat()
}

/// With the binding its parts have.
fn bound(fields: &Fields) -> Fields {
    let value = |tag: u64| fields.0.iter().find(|(found, _)| *found == tag).map(|(_, value)| value.clone());
    let mut parts: Vec<u8> = vec![];
    for tag in [4, 6, 8] {
        parts.extend(value(tag).map_or_else(|| vec![0], |value| [&[1][..], &value].concat()));
    }
    let digest = fields.0.iter().any(|(tag, _)| *tag == 18).then(|| blake3::hash(b"nvram"));
    parts.extend(digest.map_or_else(|| vec![0], |digest| [&[1][..], digest.as_bytes()].concat()));
    let binding = blake3::keyed_hash(&working_key("vm home binding"), &parts);
    fields.with(20, binding.as_bytes().to_vec())
}

/// The needed fields only.
fn bare() -> Fields {
    bound(&Fields(vec![(0, stream(b"")), (2, vec![0]), (22, list(&[]))]))
}

fn disk() -> Fields {
    Fields(vec![(0, text("scsi0:0")), (2, text("key-8")), (4, text("kms-2")), (6, policy(2))])
}

fn full() -> Fields {
    bound(
        &bare()
            .with(0, stream(b"<config/>"))
            .with(1, text("db-1"))
            .with(2, vec![1])
            .with(3, text("5002"))
            .with(4, text("key-7"))
            .with(5, text("4202"))
            .with(6, text("kms-1"))
            .with(7, text("rhel9_64Guest"))
            .with(8, bytes(BUNDLE))
            .with(9, text("vmx-21"))
            .with(10, policy(1))
            .with(12, text("efi"))
            .with(14, vec![1])
            .with(16, vec![1])
            .with(18, nvram("db-1.nvram", b"nvram"))
            .with(22, list(&[bytes(&disk().encode()), bytes(&Fields(vec![(0, text("scsi0:1"))]).encode())])),
    )
}

fn input(file: VectorFile, fields: &Fields) -> VectorFile {
    keyed(file).hex("input", &[&[5][..], &fields.encode()].concat())
}

fn accepted(name: &str, claim: &str, fields: &Fields) -> VectorFile {
    input(VectorFile::new("vm_home", name, claim).accepted(), fields)
}

fn accepted_full() -> VectorFile {
    accepted("full", "every field of a VM home has its place", &full())
        .field("out.document", shown(b"<config/>"))
        .field("out.name", "db-1")
        .field("out.encryption", 1)
        .field("out.instance_uuid", "5002")
        .field("out.bios_uuid", "4202")
        .field("out.kms_key_id", "key-7")
        .field("out.kms_provider", "kms-1")
        .field("out.guest_id", "rhel9_64Guest")
        .field("out.hardware_version", "vmx-21")
        .hex("out.encryption_bundle", BUNDLE)
        .field("out.storage_policy", "aa6d5a82/VM Encryption Policy/1")
        .field("out.firmware", "efi")
        .field("out.secure_boot", 1)
        .field("out.vtpm", 1)
        .field("out.nvram", format!("db-1.nvram {}", shown(b"nvram")))
        .field("out.disks", 2)
        .field("out.disk.0.name", "scsi0:0")
        .field("out.disk.0.kms_key_id", "key-8")
        .field("out.disk.0.kms_provider", "kms-2")
        .field("out.disk.0.storage_policy", "aa6d5a82/VM Encryption Policy/2")
        .field("out.disk.1.name", "scsi0:1")
}

fn damaged(name: &str, claim: &str, fields: &Fields) -> VectorFile {
    input(VectorFile::new("vm_home", name, claim).rejected("damaged"), fields)
}

fn unsupported(name: &str, claim: &str, fields: &Fields) -> VectorFile {
    input(VectorFile::new("vm_home", name, claim).rejected("unsupported"), fields)
}

pub fn all() -> Vec<VectorFile> {
    let bare_accepted = |name, claim, fields: &Fields| {
        accepted(name, claim, fields).field("out.document", shown(b"")).field("out.encryption", 0).field("out.disks", 0)
    };
    let mut files = vec![
        bare_accepted("bare", "the needed fields of a VM home are enough", &bare()),
        accepted_full(),
        accepted(
            "incomplete",
            "a key id without a bundle is incomplete",
            &bound(&bare().with(2, vec![2]).with(4, text("key-7"))),
        )
        .field("out.document", shown(b""))
        .field("out.encryption", 2)
        .field("out.kms_key_id", "key-7")
        .field("out.disks", 0),
        bare_accepted("unknown_odd", "an unknown odd field of a VM home is skipped", &bare().with(23, vec![1])),
        unsupported(
            "unknown_even",
            "an unknown even field of a VM home needs a newer program",
            &bare().with(24, vec![1]),
        ),
    ];
    files.extend(wrong_bindings());
    files.extend(wrong_values());
    for (tag, what) in [(0, "document"), (2, "encryption"), (20, "binding"), (22, "disks")] {
        let claim = format!("a VM home without field {tag} is damaged");
        files.push(damaged(&format!("no_{what}"), &claim, &bare().without(tag)));
    }
    files
}

fn wrong_bindings() -> Vec<VectorFile> {
    let full = full();
    vec![
        damaged("binding", "a binding of another value is refused", &full.with(20, vec![7; 32])),
        damaged("other_key_id", "another key id is not bound", &full.with(4, text("key-9"))),
        damaged("other_provider", "another provider is not bound", &full.with(6, text("kms-9"))),
        damaged("other_bundle", "another bundle is not bound", &full.with(8, bytes(b"vmware:key/list/(other)"))),
        damaged("other_nvram", "another NVRAM is not bound", &full.with(18, nvram("db-1.nvram", b"other"))),
        damaged(
            "swapped",
            "key id and provider cannot change places",
            &full.with(4, text("kms-1")).with(6, text("key-7")),
        ),
        damaged("no_provider", "a bound provider cannot be left out", &full.without(6)),
        damaged(
            "shifted",
            "a letter cannot move from key id to provider",
            &full.with(4, text("key-")).with(6, text("7kms-1")),
        ),
    ]
}

fn wrong_values() -> Vec<VectorFile> {
    let full = full();
    let named = |name: &str| full.with(18, nvram(name, b"nvram"));
    let document = |value: Vec<u8>| full.with(0, value);
    let digest = blake3::hash(b"abc");
    let pieces = |length: u64, pieces: &[u64]| {
        let pieces: Vec<_> = pieces.iter().map(|piece| [&varint(*piece)[..], &PIECE].concat()).collect();
        [&varint(length)[..], digest.as_bytes(), &list(&pieces)].concat()
    };
    let mut files = vec![
        damaged("encryption_0", "a VM with key id and bundle is not clear", &full.with(2, vec![0])),
        damaged("encryption_1", "a VM without key id and bundle is not whole", &bare().with(2, vec![1])),
        damaged("encryption_3", "no encryption is 3", &full.with(2, vec![3])),
        damaged("secure_boot_2", "secure boot is 0 or 1", &full.with(14, vec![2])),
        damaged("vtpm_2", "a vTPM is 0 or 1", &full.with(16, vec![2])),
        damaged("policy_3", "a policy encrypts, does not, or nobody knows", &full.with(10, policy(3))),
        damaged("policy_left_over", "nothing follows a policy", &full.with(10, [policy(1), vec![0]].concat())),
        damaged("binding_short", "a binding has 32 bytes", &full.with(20, vec![1; 31])),
        damaged("pieces_below", "the pieces of a stream sum up to it", &document(pieces(4, &[3]))),
        damaged("pieces_above", "the pieces of a stream do not exceed it", &document(pieces(2, &[3]))),
        damaged("piece_0", "no piece of a stream is empty", &document(pieces(3, &[3, 0]))),
        damaged(
            "disk_no_name",
            "a disk of a VM home has a name",
            &full.with(22, list(&[bytes(&disk().without(0).encode())])),
        ),
        unsupported(
            "disk_unknown_even",
            "an unknown even field of its disk needs a newer program",
            &full.with(22, list(&[bytes(&disk().with(8, vec![]).encode())])),
        ),
        keyed(VectorFile::new("vm_home", "kind", "a chunk of another kind is no VM home").rejected("damaged"))
            .hex("input", &[&[4][..], &bare().encode()].concat()),
    ];
    for (what, name) in [
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("slash", "../db-1.nvram".to_owned()),
        ("backslash", "a\\b".to_owned()),
        ("space", "a b".to_owned()),
        ("letter", "b\u{fc}ro.nvram".to_owned()),
        ("long", "x".repeat(129)),
    ] {
        let claim = format!("an NVRAM file name is refused: {what}");
        files.push(damaged(&format!("file_name_{what}"), &claim, &named(&name)));
    }
    files
}
