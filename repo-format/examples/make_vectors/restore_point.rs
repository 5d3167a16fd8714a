use crate::{
    file::VectorFile,
    wire::{Fields, bytes, hex, list, text, varint},
};

const ROOT: [u8; 32] = [0x31; 32];
const HOME: [u8; 32] = [0x32; 32];
const BASE: [u8; 32] = [0x33; 32];
const STARTED: u64 = 1_790_000_000_000;

fn named(name: &str) -> Vec<u8> {
    [&[0][..], &text(name)].concat()
}

fn disk(name: &str) -> Fields {
    Fields(vec![(0, text(name)), (2, varint(1 << 40)), (4, ROOT.to_vec())])
}

fn disks(disks: &[Fields]) -> Vec<u8> {
    list(&disks.iter().map(|disk| bytes(&disk.encode())).collect::<Vec<_>>())
}

/// The needed fields only.
fn bare() -> Fields {
    Fields(vec![
        (0, named("db-1")),
        (2, text("db-1")),
        (4, disks(&[])),
        (8, varint(STARTED)),
        (10, varint(STARTED + 1)),
        (12, vec![0]),
        (14, vec![0]),
    ])
}

fn full_disk() -> Fields {
    disk("scsi0:0")
        .with(1, text("6000C298"))
        .with(3, varint(1 << 33))
        .with(5, varint(4096))
        .with(7, varint(300))
        .with(9, varint(0))
        .with(11, varint(u64::MAX))
        .with(13, varint(127))
        .with(15, text("52 de c0/3"))
        .with(17, BASE.to_vec())
        .with(19, [varint(30), varint(400), varint(2)].concat())
}

fn full() -> Fields {
    bare()
        .with(0, [&[1][..], &[0x21; 16], &[0x22; 16]].concat())
        .with(1, text("0.1.0"))
        .with(3, text("before the update"))
        .with(4, disks(&[full_disk(), disk("scsi0:1")]))
        .with(5, text("backup-1"))
        .with(6, HOME.to_vec())
        .with(12, vec![4])
        .with(14, vec![1])
}

fn input(file: VectorFile, fields: &Fields) -> VectorFile {
    file.hex("input", &[&[4][..], &fields.encode()].concat())
}

fn accepted(name: &str, claim: &str, fields: &Fields) -> VectorFile {
    input(VectorFile::new("restore_point", name, claim).accepted(), fields)
}

fn accepted_bare(name: &str, claim: &str, fields: &Fields, vm: &str) -> VectorFile {
    accepted(name, claim, fields)
        .field("out.vm", vm)
        .field("out.vm_name", "db-1")
        .field("out.disks", 0)
        .field("out.started", STARTED)
        .field("out.finished", STARTED + 1)
        .field("out.consistency", 0)
        .field("out.completeness", 0)
}

fn accepted_full() -> VectorFile {
    let vm = format!("vcenter {} {}", hex(&[0x21; 16]), hex(&[0x22; 16]));
    accepted("full", "every field has its place", &full())
        .field("out.vm", vm)
        .field("out.program_version", "0.1.0")
        .field("out.vm_name", "db-1")
        .field("out.tag", "before the update")
        .field("out.disks", 2)
        .field("out.host", "backup-1")
        .hex("out.vm_home", &HOME)
        .field("out.started", STARTED)
        .field("out.finished", STARTED + 1)
        .field("out.consistency", 4)
        .field("out.completeness", 1)
        .field("out.disk.0.name", "scsi0:0")
        .field("out.disk.0.uuid", "6000C298")
        .field("out.disk.0.bytes", 1_u64 << 40)
        .field("out.disk.0.data_bytes", 1_u64 << 33)
        .hex("out.disk.0.map_root", &ROOT)
        .field("out.disk.0.bad_bytes", 4096)
        .field("out.disk.0.read_bytes", 300)
        .field("out.disk.0.novel_bytes", 0)
        .field("out.disk.0.stored_bytes", u64::MAX)
        .field("out.disk.0.changed_bytes", 127)
        .field("out.disk.0.change_id", "52 de c0/3")
        .hex("out.disk.0.base", &BASE)
        .field("out.disk.0.audit", "1 in 30: 400 segments, 2 misses")
        .field("out.disk.1.name", "scsi0:1")
        .field("out.disk.1.bytes", 1_u64 << 40)
        .hex("out.disk.1.map_root", &ROOT)
        .field("out.disk.1.bad_bytes", 0)
}

fn damaged(name: &str, claim: &str, fields: &Fields) -> VectorFile {
    input(VectorFile::new("restore_point", name, claim).rejected("damaged"), fields)
}

fn unsupported(name: &str, claim: &str, fields: &Fields) -> VectorFile {
    input(VectorFile::new("restore_point", name, claim).rejected("unsupported"), fields)
}

pub fn all() -> Vec<VectorFile> {
    let mut backwards = bare();
    backwards.0.swap(0, 1);
    let mut twice = bare();
    twice.0.insert(1, (2, text("db-2")));
    let one_disk = |fields: Fields| bare().with(4, disks(&[fields]));
    let mut files = vec![
        accepted_bare("bare", "the needed fields are enough", &bare(), "named db-1"),
        accepted_full(),
        accepted_bare("unknown_odd", "an unknown odd field is skipped", &bare().with(17, vec![1, 2, 3]), "named db-1"),
        unsupported("unknown_even", "an unknown even field needs a newer program", &bare().with(16, vec![1])),
        unsupported(
            "disk_unknown_even",
            "an unknown even field of a disk needs a newer program",
            &one_disk(disk("a").with(6, vec![])),
        ),
        damaged("tags_descend", "tags ascend", &backwards),
        damaged("tag_twice", "no tag stands twice", &twice),
        damaged("text_not_utf8", "a text is UTF-8", &bare().with(2, vec![1, 0xff])),
        damaged("text_short", "a text ends where its field ends", &bare().with(2, [&text("db-1")[..], b"x"].concat())),
        damaged("time_varint", "a time is the shortest varint", &bare().with(8, vec![0x80, 0])),
        damaged("time_left_over", "nothing follows a time in its field", &bare().with(8, vec![1, 0])),
        damaged("consistency_5", "no consistency is 5", &bare().with(12, vec![5])),
        damaged("completeness_2", "no completeness is 2", &bare().with(14, vec![2])),
        damaged("home_short", "the id of a VM home has 32 bytes", &bare().with(6, vec![1; 31])),
        damaged("identity_2", "no kind of identity is 2", &bare().with(0, vec![2, 1, 0x61])),
        damaged("identity_nfd", "a name is NFC", &bare().with(0, named("Mu\u{308}nchen"))),
        damaged("identity_empty", "a name is not empty", &bare().with(0, named(""))),
        damaged("identity_long", "a name has at most 255 bytes", &bare().with(0, named(&"x".repeat(256)))),
        damaged("identity_control", "a name has no control characters", &bare().with(0, named("a\nb"))),
        damaged("disk_twice", "disk names are unique", &bare().with(4, disks(&[disk("a"), disk("a")]))),
        damaged("disks_count", "the number of disks is that of the list", &bare().with(4, vec![9])),
        damaged(
            "disk_audit_short",
            "an audit is three numbers",
            &one_disk(disk("a").with(19, [varint(30), varint(1)].concat())),
        ),
        damaged(
            "disk_audit_left_over",
            "nothing follows the numbers of an audit",
            &one_disk(disk("a").with(19, vec![30, 1, 0, 0])),
        ),
        damaged("disk_base_short", "the id of a base has 32 bytes", &one_disk(disk("a").with(17, vec![1; 31]))),
        damaged("disk_no_root", "a disk has a map root", &one_disk(disk("a").without(4))),
        damaged("disk_no_name", "a disk has a name", &one_disk(disk("a").without(0))),
        damaged("disk_no_bytes", "a disk has a size", &one_disk(disk("a").without(2))),
        VectorFile::new("restore_point", "kind", "a chunk of another kind is no restore point")
            .rejected("damaged")
            .hex("input", &[&[5][..], &bare().encode()].concat()),
    ];
    for (tag, what) in [
        (0, "identity"),
        (2, "vm_name"),
        (4, "disks"),
        (8, "started"),
        (10, "finished"),
        (12, "consistency"),
        (14, "completeness"),
    ] {
        let claim = format!("a restore point without field {tag} is damaged");
        files.push(damaged(&format!("no_{what}"), &claim, &bare().without(tag)));
    }
    files
}
