//! Disks read and written by VMware's library, here a stand-in that ends the process when one of the library's rules is broken.

use std::{fs, thread, time::Duration};

use engine::{DiskSource, SourceError, Start, Target};
use strongroom_tests::{Like, StandIn, disk, program, random, write_full, write_sparse};
use vsphere::{
    disk::{DiskPlace, VddkDisk, VddkVm},
    transport::{Access, DiskState, Transport},
    vddk::{Launch, VmAccess, VmLogin},
};
use zeroize::Zeroizing;

const MIB: usize = 1 << 20;
const CANARY: &str = "canary-S3cret-7391";

fn launch(stand_in: &StandIn) -> Launch {
    Launch::new(stand_in.libdir()).program(program())
}

fn access(access: Access) -> VmAccess {
    let login = VmLogin {
        vm: "vm-16".to_owned(),
        server: "vc1".to_owned(),
        port: 443,
        user: "svc".to_owned(),
        password: Zeroizing::new(CANARY.to_owned()),
        thumbprint: "AA:BB".to_owned(),
    };
    VmAccess { login, snapshot: (access == Access::Read).then(|| "snapshot-9".to_owned()), access }
}

fn place(name: &str) -> DiskPlace {
    DiskPlace {
        name: name.to_owned(),
        path: format!("[ds] web01/{name}.vmdk"),
        state: DiskState::Clear,
        allowed: "nbdssl".parse().unwrap(),
    }
}

fn reading(stand_in: &StandIn) -> VddkVm {
    VddkVm::start("web01", launch(stand_in), access(Access::Read)).unwrap()
}

/// The disk in one read a mebibyte.
fn bytes_of(disk: &VddkDisk) -> Result<Vec<u8>, SourceError> {
    let mut bytes = vec![0; usize::try_from(disk.bytes()).unwrap()];
    for (number, part) in bytes.chunks_mut(MIB).enumerate() {
        disk.read_at((number * MIB) as u64, part)?;
    }
    Ok(bytes)
}

/// Ends the helper, which must have kept every rule.
#[track_caller]
fn ends_well(vm: VddkVm) {
    assert_eq!(vm.end(), Vec::<String>::new());
}

#[test]
fn two_disks_read_in_parallel_are_the_files_below() {
    let stand_in = StandIn::install("");
    let contents = [random(1, 5 * MIB + 512), disk(2, 9 * MIB)];
    contents.iter().enumerate().for_each(|(number, bytes)| write_full(&stand_in.disk(&format!("disk{number}")), bytes));
    let vm = reading(&stand_in);
    assert_eq!(vm.library().major, 8);
    let disks: Vec<VddkDisk> = (0..2).map(|number| vm.open(place(&format!("disk{number}"))).unwrap()).collect();
    thread::scope(|scope| {
        for (disk, bytes) in disks.iter().zip(&contents) {
            scope.spawn(move || assert!(bytes_of(disk).unwrap() == *bytes));
            scope.spawn(move || assert!(bytes_of(disk).unwrap() == *bytes));
        }
    });
    assert_eq!(disks[0].transport(), Transport::Nbdssl);
    assert_eq!(disks[0].about().sector_bytes, Some((512, 4096)));
    drop(disks);
    ends_well(vm);
}

#[test]
fn holes_are_those_of_the_allocated_blocks_and_an_odd_tail_is_read() {
    let stand_in = StandIn::install("");
    let mut bytes = vec![0; 20 * MIB + 512];
    bytes[3 * MIB..4 * MIB].fill(7);
    write_sparse(&stand_in.disk("disk0"), &bytes);
    let vm = reading(&stand_in);
    let disk = vm.open(place("disk0")).unwrap();
    let tail = (20 * MIB) as u64;
    assert_eq!(disk.allocated().unwrap(), [(3 * MIB) as u64..(4 * MIB) as u64, tail..tail + 512]);
    assert_eq!(disk.allocated_within(&(0..tail)).unwrap().len(), 1);
    assert!(bytes_of(&disk).unwrap() == bytes);
    drop(disk);
    ends_well(vm);
}

#[test]
fn an_encrypted_disk_that_is_opened_over_san_is_closed_with_nothing_read() {
    let stand_in = StandIn::install("mode = \"san\"\nencrypted = [\"web01/disk0.vmdk\"]\n");
    write_full(&stand_in.disk("disk0"), &random(3, MIB));
    let vm = reading(&stand_in);
    let refused = vm.open(DiskPlace { state: DiskState::Encrypted, ..place("disk0") }).err().unwrap();
    assert_eq!(refused.to_string(), "web01 disk0: encrypted, but opened by \"san\"; nothing was read");
    assert_eq!(refused.hint(), Some("--transport nbdssl"));
    ends_well(vm);
}

#[test]
fn a_sector_that_cannot_be_read_is_named_with_what_the_library_said() {
    let stand_in = StandIn::install("fail = [\"Read:16@2048\"]\n");
    let bytes = random(4, 3 * MIB);
    write_full(&stand_in.disk("disk0"), &bytes);
    let vm = reading(&stand_in);
    let disk = vm.open(place("disk0")).unwrap();
    let error = disk.read_at(2048 * 512, &mut [0; 4096]).unwrap_err();
    assert_eq!(error.to_string(), "read failed at byte 1048576: VDDK error 16 (The file read failed)");
    let SourceError::Read { source, .. } = &error else { panic!("{error:?}") };
    let lines = std::error::Error::source(source.get_ref().unwrap()).unwrap().to_string();
    assert!(lines.contains("stand-in: Read of 8 sectors at 2048 fails"), "{lines}");
    assert!(lines.contains("stand-in: 7 of 18446744073709551615, text, 0xbeef"), "{lines}");
    assert!(!lines.contains("CEIP"), "{lines}");
    // The rest of the disk is as good as ever.
    let mut rest = vec![0; MIB];
    disk.read_at(2 * MIB as u64, &mut rest).unwrap();
    assert!(rest == bytes[2 * MIB..]);
    drop(disk);
    ends_well(vm);
}

#[test]
fn a_read_that_fails_twice_is_read_the_third_time() {
    let stand_in = StandIn::install("fail = [\"Read:16@100\"]\ntimes = 2\n");
    let bytes = random(5, MIB);
    write_full(&stand_in.disk("disk0"), &bytes);
    let vm = reading(&stand_in);
    let disk = vm.open(place("disk0")).unwrap();
    assert!(bytes_of(&disk).unwrap() == bytes);
    drop(disk);
    ends_well(vm);
}

#[test]
fn a_helper_that_crashes_once_costs_no_byte() {
    let stand_in = StandIn::install("crash = \"Read@4096\"\nstrikes = 1\n");
    let bytes = random(6, 5 * MIB);
    write_full(&stand_in.disk("disk0"), &bytes);
    let vm = reading(&stand_in);
    let disk = vm.open(place("disk0")).unwrap();
    assert!(bytes_of(&disk).unwrap() == bytes);
    assert_eq!(fs::read(stand_in.libdir().join("strikes")).unwrap(), b"x");
}

#[test]
fn a_disk_that_brings_its_helper_down_twice_fails_alone() {
    let stand_in = StandIn::install("crash = \"Read@4096\"\n");
    let bytes = random(7, 5 * MIB);
    write_full(&stand_in.disk("disk0"), &bytes);
    write_full(&stand_in.disk("disk1"), &bytes[..MIB]);
    let vm = reading(&stand_in);
    let disks = ["disk0", "disk1"].map(|name| vm.open(place(name)).unwrap());
    let error = bytes_of(&disks[0]).unwrap_err();
    let begin = "the VDDK helper ended by signal 11; restarted once, ended again (at byte 2097152 of the disk)";
    assert_eq!(error.to_string(), begin);
    let SourceError::Reader { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.source().unwrap().to_string().contains("will not come back"), "{source:?}");
    assert!(bytes_of(&disks[1]).unwrap() == bytes[..MIB]);
}

#[test]
fn a_helper_that_gives_no_answer_is_ended_and_the_disk_read_on() {
    let stand_in = StandIn::install("hang = \"Read@2048\"\nstrikes = 1\n");
    let bytes = random(8, 3 * MIB);
    write_full(&stand_in.disk("disk0"), &bytes);
    let launch = launch(&stand_in).patience(Duration::from_secs(3));
    let vm = VddkVm::start("web01", launch, access(Access::Read)).unwrap();
    let disk = vm.open(place("disk0")).unwrap();
    assert!(bytes_of(&disk).unwrap() == bytes);
}

#[test]
fn older_libraries_are_read_whole() {
    for (version, sector_bytes) in [(Like::Old, Some((512, 4096))), (Like::Version6, None)] {
        let stand_in = StandIn::like(version, "");
        let mut bytes = vec![0; 4 * MIB + 512];
        bytes[MIB..2 * MIB].fill(9);
        write_sparse(&stand_in.disk("disk0"), &bytes);
        let vm = reading(&stand_in);
        assert!(!vm.library().block_query);
        let disk = vm.open(place("disk0")).unwrap();
        assert_eq!(disk.about().sector_bytes, sector_bytes);
        assert_eq!(disk.allocated().unwrap(), vec![0..bytes.len() as u64]);
        assert!(bytes_of(&disk).unwrap() == bytes);
        drop(disk);
        ends_well(vm);
    }
}

#[test]
fn what_is_written_is_in_the_file_and_hotadd_is_cleaned_up_after() {
    let stand_in = StandIn::install("mode = \"hotadd\"\n");
    write_sparse(&stand_in.disk("disk0"), &vec![0; 4 * MIB]);
    let access = VmAccess { snapshot: Some("snapshot-9".to_owned()), ..access(Access::Write) };
    let vm = VddkVm::start("web01", launch(&stand_in), access).unwrap();
    let place = DiskPlace { allowed: "hotadd,nbdssl".parse().unwrap(), ..place("disk0") };
    let target = vm.open_new(&place).unwrap();
    assert_eq!(target.set_len(4 * MIB as u64).unwrap(), Start::Zeros);
    target.zero_at(3 * MIB as u64..4 * MIB as u64 - 100).unwrap();
    target.finish().unwrap();
    let existing = vm.open_existing(&DiskPlace { name: "again".to_owned(), ..place });
    assert!(existing.is_ok());
    drop((target, existing));
    ends_well(vm);
    assert!(fs::read(stand_in.disk("disk0")).unwrap() == vec![0; 4 * MIB]);
}

#[test]
fn no_secret_is_where_another_process_could_look() {
    let stand_in = StandIn::install(&format!("password = \"{CANARY}\"\n"));
    write_full(&stand_in.disk("disk0"), &random(9, MIB));
    let vm = reading(&stand_in);
    let disk = vm.open(place("disk0")).unwrap();
    let helpers = helpers_of(std::process::id(), stand_in.libdir().to_str().unwrap());
    assert_eq!(helpers.len(), 1);
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{file}", helpers[0])).unwrap();
        assert!(!text.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{file}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", helpers[0])).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0 ")), "{limits}");
    drop(disk);
    ends_well(vm);
}

/// Helper processes of a program that have a stand-in loaded.
fn helpers_of(parent: u32, libdir: &str) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |id: &u32| {
        let file = |name: &str| fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        let status = String::from_utf8_lossy(&file("status")).into_owned();
        status.contains(&format!("PPid:\t{parent}\n")) && String::from_utf8_lossy(&file("environ")).contains(libdir)
    };
    ids.filter(is_ours).collect()
}

#[test]
fn empty_names_and_missing_libraries_are_refused_in_words() {
    let stand_in = StandIn::install("");
    let mut nobody = access(Access::Read);
    nobody.login.thumbprint.clear();
    let refused = VddkVm::start("web01", launch(&stand_in), nobody).err().unwrap().to_string();
    assert_eq!(refused, "web01: the certificate's thumbprint is empty, and the VDDK needs it");
    let nowhere = Launch::new("/nonexistent").program(program());
    let refused = VddkVm::start("web01", nowhere, access(Access::Read)).err().unwrap().to_string();
    assert!(refused.contains("no libvixDiskLib.so.9, .8, .7 or .6 in /nonexistent"), "{refused}");
    let vm = reading(&stand_in);
    let refused = vm.open(place("none")).err().unwrap().to_string();
    assert_eq!(refused, "web01 none: open failed: VDDK error 4 (A file was not found)");
    ends_well(vm);
}
