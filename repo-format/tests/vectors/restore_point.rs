use repo_format::{DiskRecord, FormatError, MetadataChunk, RestorePoint, VmIdentity};

use crate::vector::{Outputs, Vector, insert, outputs, to_hex};

pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let point = RestorePoint::decode(&MetadataChunk::from_bytes(vector.hex("input"))?)?;
    let vm = match &point.vm {
        VmIdentity::Named(name) => format!("named {}", name.as_str()),
        VmIdentity::VCenter { vcenter, instance } => format!("vcenter {} {}", to_hex(vcenter), to_hex(instance)),
    };
    let mut found = outputs([
        ("vm", vm),
        ("vm_name", point.vm_name.clone()),
        ("disks", point.disks.len().to_string()),
        ("started", point.started_ms.to_string()),
        ("finished", point.finished_ms.to_string()),
        ("consistency", (point.consistency as u8).to_string()),
        ("completeness", (point.completeness as u8).to_string()),
    ]);
    insert(&mut found, "program_version", point.program_version.as_ref());
    insert(&mut found, "tag", point.tag.as_ref());
    insert(&mut found, "host", point.host.as_ref());
    insert(&mut found, "vm_home", point.vm_home);
    point.disks.iter().enumerate().for_each(|(index, disk)| show(&mut found, index, disk));
    Ok(found)
}

fn show(found: &mut Outputs, index: usize, disk: &DiskRecord) {
    let name = |field: &str| format!("disk.{index}.{field}");
    insert(found, &name("name"), Some(&disk.name));
    insert(found, &name("uuid"), disk.uuid.as_ref());
    insert(found, &name("bytes"), Some(disk.bytes));
    insert(found, &name("data_bytes"), disk.data_bytes);
    insert(found, &name("map_root"), Some(disk.map_root));
    insert(found, &name("bad_bytes"), Some(disk.bad_bytes));
    insert(found, &name("read_bytes"), disk.read_bytes);
    insert(found, &name("novel_bytes"), disk.novel_bytes);
    insert(found, &name("stored_bytes"), disk.stored_bytes);
    insert(found, &name("changed_bytes"), disk.changed_bytes);
    insert(found, &name("change_id"), disk.change_id.as_ref());
    insert(found, &name("base"), disk.base);
    let audit =
        disk.audit.map(|audit| format!("1 in {}: {} segments, {} misses", audit.one_in, audit.segments, audit.misses));
    insert(found, &name("audit"), audit);
}
