//! A disk behind an NBD server is backed up as the same disk in a file would be.

use std::{fs, path::PathBuf, time::Duration};

use engine::{DiskSource, NbdOptions, NbdSource, NbdUri, SourceError};
use strongroom_tests::{
    Peer, Site, certificates, disk, fingerprint, has_program, random, succeeds, write_full, write_sparse,
};

const MIB: usize = 1 << 20;

struct Subject {
    site: Site,
    image: PathBuf,
    root: String,
}

impl Subject {
    /// A site with an image of `bytes`, backed up from its file.
    fn of(bytes: &[u8]) -> Self {
        let site = Site::new();
        let image = site.path("web01.img");
        write_sparse(&image, bytes);
        let root = site.back_up("from-file", &image)["disks"][0]["map_root"].as_str().unwrap().to_owned();
        Self { site, image, root }
    }

    /// Three segments, a hole of one and a half.
    fn usual() -> Self {
        let mut bytes = disk(21, 40 * MIB);
        bytes[6 * MIB..30 * MIB].fill(0);
        Self::of(&bytes)
    }

    fn image(&self) -> &str {
        self.image.to_str().unwrap()
    }

    #[track_caller]
    fn same_through(&self, uri: &str) -> serde_json::Value {
        let stored = self.site.json(&["backup", "--vm", "from-nbd", "--disk", &format!("disk0={uri}")]);
        assert_eq!(stored["disks"][0]["map_root"], self.root.as_str(), "{uri}");
        stored["disks"][0].clone()
    }
}

#[test]
fn an_export_of_nbdkit_has_the_map_of_the_file_behind_it() {
    if !has_program("nbdkit") {
        return;
    }
    let subject = Subject::usual();
    let filters: [(&[&str], &[&str]); 8] = [
        (&[], &[]),
        (&["--filter=error"], &["error-extents=EIO", "error-extents-rate=100%"]),
        (&["--filter=noextents"], &[]),
        (&["--filter=noparallel"], &[]),
        (&["--filter=delay"], &["rdelay=2ms"]),
        (&["--filter=nozero", "--filter=cow"], &[]),
        (
            &["--filter=blocksize-policy"],
            &[
                "blocksize-minimum=4096",
                "blocksize-maximum=65536",
                "blocksize-preferred=4096",
                "blocksize-error-policy=error",
            ],
        ),
        (&["--no-sr"], &[]),
    ];
    for (filter, parameters) in filters {
        let mut args = vec!["-r"];
        args.extend(filter);
        args.extend(["file", subject.image()]);
        args.extend(parameters);
        let peer = Peer::nbdkit(&subject.site, &args);
        let stored = subject.same_through(&peer.uri(""));
        let read_all =
            filter.contains(&"--filter=noextents") || filter.contains(&"--filter=error") || filter.contains(&"--no-sr");
        let read = stored["read_bytes"].as_u64().unwrap();
        assert!(read_all || read < 17 * MIB as u64, "holes were read: {filter:?} {read}");
    }
}

#[test]
fn an_export_in_memory_is_read_to_its_last_sector() {
    if !has_program("nbdkit") {
        return;
    }
    let subject = Subject::of(&random(3, MIB + 512));
    let peer = Peer::nbdkit(&subject.site, &["memory", &format!("{}", MIB + 512)]);
    succeeds("nbdcopy", &[subject.image(), &peer.uri("")]);
    subject.same_through(&peer.uri(""));
}

#[test]
fn exports_of_qemu_nbd_are_read_whatever_lies_behind_them() {
    if !has_program("qemu-nbd") {
        return;
    }
    let subject = Subject::usual();
    for format in ["raw", "qcow2", "vmdk"] {
        let container = subject.site.text(&format!("disk.{format}"));
        succeeds("qemu-img", &["convert", "-f", "raw", "-O", format, subject.image(), &container]);
        let peer = Peer::qemu_nbd(&subject.site, &["-r", "-f", format, "-x", "disk0", &container]);
        let stored = subject.same_through(&peer.uri("disk0"));
        assert!(stored["read_bytes"].as_u64().unwrap() < 17 * MIB as u64, "{format}: {stored}");
    }
}

#[test]
fn an_export_that_is_not_there_is_told_with_those_that_are() {
    if !has_program("qemu-nbd") {
        return;
    }
    let subject = Subject::usual();
    let peer = Peer::qemu_nbd(&subject.site, &["-r", "-f", "raw", "-x", "disk7", subject.image()]);
    let uri = format!("disk0={}", peer.uri("disk8"));
    subject.site.run(&["backup", "--vm", "v", "--disk", &uri]).fails(6, &["disk8", "disk7"]);
}

#[test]
fn what_the_server_cannot_read_is_a_bad_extent_and_nothing_else_is() {
    if !has_program("nbdkit") {
        return;
    }
    let site = Site::new();
    let image = site.path("image");
    let bytes = random(5, 3 * MIB);
    write_full(&image, &bytes);
    // The 16 KiB cell at 1 MiB: any read that touches byte 1 MiB + 5000 fails.
    let bad = MIB + 5000;
    let pread = format!(
        "pread=if [ $4 -le {bad} ] && [ $(($4 + $3)) -gt {bad} ]; then echo EIO a bad sector >&2; exit 1; fi; \
         dd if={} skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none",
        image.display()
    );
    let size = format!("get_size=echo {}", bytes.len());
    let peer = Peer::nbdkit(&site, &["-r", "eval", &size, &pread]);
    let uri = format!("disk0={}", peer.uri(""));
    let run = site.run(&["--json", "backup", "--vm", "v", "--disk", &uri]).ends(3);
    assert_eq!(run.result()["disks"][0]["bad_bytes"], 16384);
    let target = format!("disk0={}", site.text("back"));
    let id = run.result()["point"].as_str().unwrap().to_owned();
    site.run(&["restore", &format!("id:{id}"), "--disk", &target, "--accept-loss", "bad-extents"]).ends(3);
    let mut wanted = bytes;
    wanted[MIB..MIB + 16384].fill(0);
    assert!(fs::read(site.path("back")).unwrap() == wanted);
    site.run(&["backup", "--vm", "w", "--on-bad", "fail", "--disk", &uri]).fails(1, &["16384"]);
}

#[test]
fn a_server_that_dies_and_comes_back_is_read_on() {
    if !has_program("nbdkit") {
        return;
    }
    let subject = Subject::of(&random(7, 48 * MIB));
    let args = ["-r", "--filter=delay", "file", subject.image(), "rdelay=30ms"];
    let mut peer = Peer::nbdkit(&subject.site, &args);
    let uri = format!("disk0={}", peer.uri(""));
    let mut running = subject.site.start(&["--json", "backup", "--vm", "v", "--disk", &uri]);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(250));
        assert!(running.goes_on(), "it was too quick for this test");
        let socket = peer.socket().to_owned();
        peer.kill();
        std::thread::sleep(Duration::from_millis(100));
        peer = Peer::nbdkit_at(&socket, &args);
    }
    let run = running.end().ends(0);
    assert_eq!(run.result()["disks"][0]["map_root"], subject.root.as_str());
    assert_eq!(run.result()["disks"][0]["bad_bytes"], 0);
}

#[test]
fn a_server_that_does_not_come_back_is_no_damage_and_finished_packs_are_used_again() {
    if !has_program("nbdkit") {
        return;
    }
    let site = Site::new();
    let image = site.path("image");
    strongroom_tests::write_random_file(&image, 8, 0, 200 << 20);
    let args = ["-r", "--filter=delay", "file", image.to_str().unwrap(), "rdelay=10ms"];
    let mut peer = Peer::nbdkit(&site, &args);
    let uri = format!("disk0={}&reconnect=1", peer.uri(""));
    let running = site.start(&["backup", "--vm", "v", "--disk", &uri]);
    site.wait_for_packs(2);
    let socket = peer.socket().to_owned();
    peer.kill();
    running.end().fails(6, &["run the same command again"]);
    assert_eq!(site.json(&["list"])["points"], serde_json::json!([]));
    let _peer = Peer::nbdkit_at(&socket, &["-r", "file", image.to_str().unwrap()]);
    let stored = site.json(&["backup", "--vm", "v", "--disk", &uri]);
    assert!(stored["adopted_packs"].as_u64().unwrap() >= 1, "{stored}");
    site.assert_restores("v", &image);
}

#[test]
fn a_server_that_lets_nobody_in_is_unavailable() {
    if !has_program("nbdkit") {
        return;
    }
    let site = Site::new();
    let image = site.path("image");
    write_full(&image, &random(1, MIB));
    let event = site.text("event");
    let peer = Peer::nbdkit(
        &site,
        &[
            "--filter=exitwhen",
            "file",
            image.to_str().unwrap(),
            &format!("exit-when-file-created={event}"),
            "exit-when-poll=1",
        ],
    );
    let uri = format!("disk0={}&reconnect=1", peer.uri(""));
    site.run(&["backup", "--vm", "v", "--disk", &uri]).ends(0);
    fs::write(&event, "").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    site.run(&["backup", "--vm", "v", "--disk", &uri]).fails(6, &["start the server"]);
}

#[test]
fn tls_is_kept_to_whom_it_should() {
    if !has_program("nbdkit") || !has_program("openssl") {
        return;
    }
    let subject = Subject::of(&random(9, 2 * MIB));
    let folder = subject.site.path("tls");
    certificates(&folder);
    let kit = |tls: &str| {
        let certificates = format!("--tls-certificates={}", folder.display());
        Peer::nbdkit(&subject.site, &["-r", tls, &certificates, "file", subject.image()])
    };
    let peer = kit("--tls=require");
    let ca = folder.join("ca-cert.pem").display().to_string();
    let other = folder.join("other/ca-cert.pem").display().to_string();
    let (pin, wrong_pin) =
        (fingerprint(&folder.join("server-cert.pem")), fingerprint(&folder.join("other/server-cert.pem")));
    let secured = peer.uri("").replacen("nbd", "nbds", 1);
    for trust in [format!("tls-ca={ca}"), format!("tls-pin={pin}"), format!("tls-ca={ca}&tls-pin={pin}")] {
        subject.same_through(&format!("{secured}&{trust}"));
    }
    let fails = |uri: &str, code: i32, word: &str| {
        subject.site.run(&["backup", "--vm", "v", "--disk", &format!("disk0={uri}")]).fails(code, &[word]);
    };
    fails(&format!("{secured}&tls-ca={other}"), 1, "handshake");
    fails(&format!("{secured}&tls-pin={wrong_pin}"), 1, "not the pinned one");
    fails(&format!("{secured}&tls-ca={ca}&tls-name=example.net"), 1, "handshake");
    fails(&format!("{secured}&tls-ca={}", subject.image()), 2, "PEM");
    fails(&secured, 2, "tls-pin");
    fails(&peer.uri(""), 2, "only over TLS");
    let peer = kit("--tls=off");
    fails(&format!("{}&tls-pin={pin}", peer.uri("").replacen("nbd", "nbds", 1)), 2, "no TLS");
}

#[test]
fn a_dirty_bitmap_of_qemu_gives_what_changed() {
    if !has_program("qemu-nbd") {
        return;
    }
    let site = Site::new();
    let image = site.text("disk.qcow2");
    succeeds("qemu-img", &["create", "-q", "-f", "qcow2", &image, "3G"]);
    succeeds("qemu-io", &["-f", "qcow2", "-c", "write 0 1M", &image]);
    succeeds("qemu-img", &["bitmap", "-f", "qcow2", "--add", "-g", "65536", &image, "night1"]);
    for write in ["write 1M 64k", "write 130k 1k", "write 2500M 128k"] {
        succeeds("qemu-io", &["-f", "qcow2", "-c", write, &image]);
    }
    let peer = Peer::qemu_nbd(&site, &["-r", "-f", "qcow2", "-B", "night1", "-x", "e", &image]);
    let uri = NbdUri::parse(&peer.uri("e")).unwrap();
    let source = NbdSource::open(&uri, NbdOptions::default()).unwrap();
    let mib = MIB as u64;
    let wanted = [131_072..196_608, mib..mib + 65_536, 2500 * mib..2500 * mib + 131_072];
    assert_eq!(source.dirty_extents("night1").unwrap(), wanted);
    match source.dirty_extents("night2") {
        Err(SourceError::NoBitmap { bitmap, there }) => {
            assert_eq!((bitmap.as_str(), there), ("night2", vec!["night1".to_owned()]))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_night_by_the_dirty_bitmap_of_the_export_reads_only_what_changed() {
    if !has_program("qemu-nbd") {
        return;
    }
    let site = Site::new();
    let image = site.text("disk.qcow2");
    succeeds("qemu-img", &["create", "-q", "-f", "qcow2", &image, "64M"]);
    succeeds("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 40M", &image]);
    succeeds("qemu-img", &["bitmap", "-f", "qcow2", "--add", "-g", "65536", &image, "night1"]);
    let first = Peer::qemu_nbd(&site, &["-r", "-f", "qcow2", "-x", "e", &image]);
    site.json(&["backup", "--vm", "web01", "--disk", &format!("disk0={}", first.uri("e"))]);
    drop(first);
    succeeds("qemu-io", &["-f", "qcow2", "-c", "write -P 9 5M 64k", &image]);
    let peer = Peer::qemu_nbd(&site, &["-r", "-f", "qcow2", "-B", "night1", "-x", "e", &image]);
    let disk = format!("disk0={}", peer.uri("e"));
    let night = ["backup", "--vm", "web01", "--disk", &disk, "--parent", "web01", "--audit", "0", "--changed-areas"];
    let report = site.json(&[&night[..], &["qemu:dirty-bitmap:night1"]].concat());
    assert_eq!(report["disks"][0]["read"], serde_json::json!("changed_areas"), "{report}");
    assert!(report["disks"][0]["read_bytes"].as_u64().unwrap() < 1 << 20, "{report}");
    let whole = site.json(&["backup", "--vm", "whole", "--disk", &disk]);
    assert_eq!(report["disks"][0]["map_root"], whole["disks"][0]["map_root"], "as a full read has it");
    site.run(&[&night[..], &["disk0=qemu:dirty-bitmap:night2"]].concat()).fails(1, &["night2", "night1"]);
    site.run(&[&night[..], &["disk9=qemu:dirty-bitmap:night1"]].concat()).fails(2, &["disk0"]);
}
