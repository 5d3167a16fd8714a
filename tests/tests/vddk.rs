//! Disks read and written by VMware's library, here a stand-in that ends the process when one of the library's rules is broken.

use std::{fs, sync::Arc, thread, time::Duration};

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
