//! A disk comes back into an NBD export: written, zeroed, flushed.

use strongroom_tests::{Peer, Site, disk, has_program, is_same, random, succeeds, write_full};

const MIB: usize = 1 << 20;

#[test]
fn a_disk_comes_back_into_an_export_whatever_was_there() {
    if !has_program("nbdkit") {
        return;
    }
    for chunker in ["block", "fastcdc"] {
        let site = Site::with(&["--chunker", chunker]);
        let (image, target) = (site.path("image"), site.path("target"));
        let mut bytes = disk(31, 20 * MIB);
        bytes[3 * MIB..9 * MIB + 512].fill(0);
        write_full(&image, &bytes);
        site.back_up("v", &image);
        let policies: [&[&str]; 4] =
            [&[], &["--filter=nozero"], &["--filter=blocksize-policy"], &["--filter=multi-conn"]];
        for policy in policies {
            write_full(&target, &random(32, 20 * MIB));
            let mut args = policy.to_vec();
            args.extend(["file", target.to_str().unwrap()]);
            if policy == ["--filter=blocksize-policy"] {
                let sizes = ["blocksize-minimum=4096", "blocksize-maximum=1M", "blocksize-preferred=4096"];
                args.extend(sizes);
                args.push("blocksize-error-policy=error");
            }
            if policy == ["--filter=multi-conn"] {
                args.push("multi-conn-mode=emulate");
            }
            let peer = Peer::nbdkit(&site, &args);
            let to = format!("disk0={}", peer.uri(""));
            let done = site.json(&["restore", "v", "--disk", &to, "--overwrite", "--yes"]);
            assert_eq!(done["disks"][0]["tail_bytes"], 0);
            drop(peer);
            assert!(is_same(&target, &image), "{chunker} {policy:?}");
        }
    }
}

#[test]
fn a_larger_export_keeps_its_tail_and_a_qcow2_takes_a_disk() {
    if !has_program("qemu-nbd") {
        return;
    }
    let site = Site::new();
    let (image, target) = (site.path("image"), site.text("target.qcow2"));
    write_full(&image, &disk(33, 9 * MIB));
    site.back_up("v", &image);
    succeeds("qemu-img", &["create", "-q", "-f", "qcow2", &target, "10M"]);
    let peer = Peer::qemu_nbd(&site, &["-f", "qcow2", "-x", "e", &target]);
    let done = site.json(&["restore", "v", "--disk", &format!("disk0={}", peer.uri("e")), "--overwrite", "--yes"]);
    assert_eq!(done["disks"][0]["tail_bytes"], MIB);
    drop(peer);
    let raw = site.text("raw");
    succeeds("qemu-img", &["convert", "-O", "raw", &target, &raw]);
    let mut found = std::fs::read(&raw).unwrap();
    assert!(found[9 * MIB..].iter().all(|byte| *byte == 0));
    found.truncate(9 * MIB);
    assert!(found == std::fs::read(&image).unwrap());
}

#[test]
fn an_export_that_does_not_fit_or_may_not_be_written_is_refused() {
    if !has_program("nbdkit") {
        return;
    }
    let site = Site::new();
    let image = site.path("image");
    write_full(&image, &disk(34, 2 * MIB));
    site.back_up("v", &image);
    let restore = |peer: &Peer, more: &[&str]| {
        let to = format!("disk0={}", peer.uri(""));
        let mut args = vec!["restore", "v", "--disk", &to];
        args.extend(more);
        site.run(&args)
    };
    let small = Peer::nbdkit(&site, &["memory", "1M"]);
    restore(&small, &["--overwrite", "--yes"]).fails(2, &["1048576", "2097152"]);
    let exact = Peer::nbdkit(&site, &["memory", "2M"]);
    restore(&exact, &[]).fails(2, &["--overwrite"]);
    restore(&exact, &["--overwrite"]).ends(2);
    let sealed = Peer::nbdkit(&site, &["-r", "memory", "2M"]);
    restore(&sealed, &["--overwrite", "--yes"]).fails(2, &["read-only"]);
    let mut gone = Peer::nbdkit(&site, &["memory", "2M"]);
    gone.kill();
    restore(&gone, &["--overwrite", "--yes"]).fails(6, &["cannot connect"]);
    let full =
        Peer::nbdkit(&site, &["--filter=error", "memory", "2M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"]);
    restore(&full, &["--overwrite", "--yes"]).fails(6, &["no space"]);
    let broken = Peer::nbdkit(&site, &["--filter=error", "memory", "2M", "error=EIO", "error-rate=100%"]);
    restore(&broken, &["--overwrite", "--yes"]).fails(1, &["error 5"]);
}
