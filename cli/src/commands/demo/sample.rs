//! The sample VM: two sparse disks full of things that look like files, its clone, a VM home and NVRAM. Always the same.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use serde_json::json;

const MIB: u64 = 1 << 20;
const MIB_USIZE: usize = 1 << 20;
const DISK0: (&str, u64) = ("web01-disk0.img", 256 * MIB);
const DISK1: (&str, u64) = ("web01-disk1.img", 64 * MIB);
const CLONE: (&str, u64) = ("web02-disk0.img", 256 * MIB);
/// What all machines of the house have in common, and what each has of its own.
const SYSTEM: u64 = 0x5e7;
const WEB01: u64 = 0x0101;
const WEB02: u64 = 0x0202;
const DATABASE: u64 = 0x0303;

/// The files of both VMs, as they are on night 1.
pub fn make(folder: &Path) -> io::Result<()> {
    make_web01(folder)?;
    write_disk(&folder.join(CLONE.0), CLONE.1, SYSTEM, WEB02)
}

fn make_web01(folder: &Path) -> io::Result<()> {
    write_disk(&folder.join(DISK0.0), DISK0.1, SYSTEM, WEB01)?;
    write_disk(&folder.join(DISK1.0), DISK1.1, DATABASE, DATABASE)?;
    fs::write(folder.join("web01.json"), home_document()?)?;
    fs::write(folder.join("web01.nvram"), nvram())
}

/// What a day of work does to web01: a few records changed, a log grown, a file gone, NVRAM touched by a boot.
pub fn work_a_day(folder: &Path) -> io::Result<()> {
    let disk = File::options().write(true).open(folder.join(DISK0.0))?;
    let mut page = vec![0; 8192];
    for record in 0..24_u64 {
        Random(0xd0 + record).fill(&mut page);
        disk.write_all_at(&page, (3 + 7 * record) * MIB + 16_384)?;
    }
    let mut log = vec![0; MIB_USIZE];
    fill_text(&mut log, 0x1061);
    disk.write_all_at(&log, 199 * MIB + 4096)?;
    disk.write_all_at(&vec![0; 256 << 10], 8 * MIB)?;
    disk.sync_all()?;
    let mut variables = nvram();
    if let Some(boots) = variables.get_mut(4096) {
        *boots = boots.wrapping_add(1);
    }
    fs::write(folder.join("web01.nvram"), variables)
}

/// Compares what came back with night 1, made once more; says what differs.
pub fn compare_night_1(folder: &Path, restored: &Path) -> io::Result<Option<String>> {
    let expected = folder.join("expected");
    fs::create_dir(&expected)?;
    make_web01(&expected)?;
    for (wanted, found) in
        [(DISK0.0, "disk0.img"), (DISK1.0, "disk1.img"), ("web01.json", "web01.json"), ("web01.nvram", "web01.nvram")]
    {
        let (wanted, found) = (expected.join(wanted), restored.join(found));
        if let Some(at) = first_difference(&wanted, &found)? {
            return Ok(Some(format!("{} differs from the original at byte {at}", found.display())));
        }
        let about = fs::metadata(&found)?;
        if about.len() > MIB && about.blocks() * 512 >= about.len() {
            return Ok(Some(format!("{} is not sparse", found.display())));
        }
    }
    Ok(None)
}

/// Flips one bit of one byte.
pub fn flip_byte(path: &Path, at: u64) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&byte.map(|byte| byte ^ 1), at)
}

fn first_difference(one: &Path, other: &Path) -> io::Result<Option<u64>> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(Some(one.metadata()?.len().min(other.metadata()?.len())));
    }
    let (mut here, mut there) = (vec![0; MIB_USIZE], vec![0; MIB_USIZE]);
    let mut at = 0;
    loop {
        let length = one.read(&mut here)?;
        if length == 0 {
            return Ok(None);
        }
        let (here, there) = (here.get(..length).unwrap_or_default(), there.get_mut(..length).unwrap_or_default());
        other.read_exact(there)?;
        if let Some(offset) = here.iter().zip(there.iter()).position(|(one, other)| one != other) {
            return Ok(Some(at + offset as u64));
        }
        at += length as u64;
    }
}

/// A disk in stretches of 1 MiB: holes, text, or what no program can compress. Its last eighth is the machine's own.
fn write_disk(path: &Path, bytes: u64, common: u64, own: u64) -> io::Result<()> {
    let disk = File::options().write(true).create_new(true).open(path)?;
    disk.set_len(bytes)?;
    let stretches = bytes / MIB;
    let mut content = vec![0; MIB_USIZE];
    for stretch in 0..stretches {
        let seed = if stretch < stretches - stretches / 8 { common } else { own };
        let mut random = Random((seed << 20) ^ (stretch + 1));
        match random.next() % 10 {
            0..3 => random.fill(&mut content),
            3..5 => fill_text(&mut content, random.next()),
            _ => continue,
        }
        // Files end where they end: not on a stretch.
        let length = usize::try_from(random.next() % MIB).unwrap_or(MIB_USIZE).max(65_536);
        disk.write_all_at(content.get(..length).unwrap_or_default(), stretch * MIB)?;
    }
    disk.sync_all()
}

fn fill_text(content: &mut [u8], seed: u64) {
    const WORDS: [&str; 16] = [
        "GET ",
        "POST ",
        "/index.html ",
        "/api/orders/",
        "200 ",
        "404 ",
        "web01 ",
        "kernel: ",
        "sshd[",
        "]: ",
        "Accepted ",
        "session ",
        "opened for ",
        "user ",
        "nightly\n",
        "done\n",
    ];
    let mut random = Random(seed | 1);
    let mut rest = content;
    while !rest.is_empty() {
        let draw = random.next();
        let number;
        let word = match WORDS.get(usize::try_from(draw % 20).unwrap_or_default()) {
            Some(word) => word.as_bytes(),
            None => {
                number = format!("{} ", draw >> 40);
                number.as_bytes()
            }
        };
        let length = word.len().min(rest.len());
        let (begin, tail) = rest.split_at_mut(length);
        begin.copy_from_slice(word.get(..length).unwrap_or_default());
        rest = tail;
    }
}

fn home_document() -> io::Result<Vec<u8>> {
    let document = json!({
        "schema": "strongroom.vm-home/1",
        "name": "web01",
        "instanceUuid": "5023f1c4-0b7e-4b86-9c35-5ad1f0d6a001",
        "biosUuid": "42236a90-77aa-4c07-8a40-0a4c4a5b7001",
        "guestId": "debian12_64Guest",
        "hardwareVersion": "vmx-21",
        "firmware": "efi",
        "secureBoot": true,
        "keyId": { "keyId": "0b1f6c0e-sample", "providerId": { "id": "kms-prod" } },
        "encryptionBundle": "sample-bundle-AAECAwQFBgcICQoLDA0ODw",
        "storagePolicy": { "id": "4d5f673c-sample", "name": "VM Encryption Policy", "encrypts": true },
        "vtpm": { "present": true },
        "nvramFileName": "web01.nvram",
        "disks": [
            { "name": "disk0", "keyId": { "keyId": "77aa0b1f-sample", "providerId": { "id": "kms-prod" } } },
            { "name": "disk1" }
        ],
        "configuration": { "numCPUs": 2, "memoryMB": 4096 }
    });
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

fn nvram() -> Vec<u8> {
    let mut bytes = vec![0; 74_232];
    Random(0x4e56).fill(&mut bytes);
    bytes
}

/// xorshift64*: only so that the sample is the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            for (to, from) in eight.iter_mut().zip(self.next().to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_sparse_and_always_the_same() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = (one.path().join("a"), other.path().join("b"));
        for path in [&names.0, &names.1] {
            write_disk(path, 16 * MIB, SYSTEM, WEB01).unwrap();
        }
        assert_eq!(first_difference(&names.0, &names.1).unwrap(), None);
        assert!(fs::metadata(&names.0).unwrap().blocks() * 512 < 16 * MIB);
        flip_byte(&names.1, 5).unwrap();
        assert_eq!(first_difference(&names.0, &names.1).unwrap(), Some(5));
    }
}
