//! What is served is what would be restored, read by other people's programs.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use serde_json::Value;
use strongroom_tests::{
    Serving, Site, certificates, disk, fingerprint, has_program, is_same, outcome, random, succeeds, write_full,
    write_sparse,
};

const MIB: usize = 1 << 20;

/// Two disks of one VM, one of them with holes.
struct Subject {
    site: Site,
    images: [PathBuf; 2],
}

impl Subject {
    fn new() -> Self {
        let site = Site::new();
        let images = ["disk0", "disk1"].map(|name| site.path(&format!("{name}.img")));
        let mut bytes = disk(41, 40 * MIB);
        bytes[5 * MIB..29 * MIB].fill(0);
        write_sparse(&images[0], &bytes);
        write_full(&images[1], &disk(42, 3 * MIB + 512));
        let disks = [0, 1].map(|number| format!("--disk=disk{number}={}", images[number].display()));
        site.json(&["backup", "--vm", "web01", &disks[0], &disks[1]]);
        Self { site, images }
    }

    fn image(&self, number: usize) -> &str {
        self.images[number].to_str().unwrap()
    }
}

#[test]
fn every_disk_is_an_export_that_reads_as_the_disk() {
    if !has_program("nbdcopy") || !has_program("qemu-img") {
        return;
    }
    let subject = Subject::new();
    let site = &subject.site;
    let serving = Serving::start(site, "web01", 2, &[]);
    for (number, uri) in serving.uris.iter().enumerate() {
        let name = format!("disk{number}");
        assert!(uri.contains(&format!("/{name}?")), "{uri}");
        for (how, args) in [
            ("nbdcopy", &["--"][..]),
            ("nbdcopy", &["--synchronous"]),
            ("nbdcopy", &["--request-size=4096", "--requests=3"]),
        ] {
            let copy = site.fresh("copy");
            let mut args = args.to_vec();
            args.extend([uri.as_str(), copy.to_str().unwrap()]);
            succeeds(how, &args);
            assert!(is_same(&copy, &subject.images[number]), "{name} by nbdcopy {args:?}");
        }
        let converted = site.fresh("converted");
        succeeds("qemu-img", &["convert", "-f", "raw", "-O", "raw", uri, converted.to_str().unwrap()]);
        let mut found = fs::read(&converted).unwrap();
        found.truncate(fs::metadata(&subject.images[number]).unwrap().len() as usize);
        assert!(found == fs::read(&subject.images[number]).unwrap(), "{name} by qemu-img");
        succeeds("qemu-img", &["compare", "-f", "raw", "-F", "raw", uri, subject.image(number)]);
    }
    let about: Value = serde_json::from_str(&succeeds("nbdinfo", &["--json", "--list", serving.uri()])).unwrap();
    let exports = about["exports"].as_array().unwrap();
    assert_eq!(exports.len(), 2);
    assert_eq!((&exports[0]["export-name"], &exports[0]["is_read_only"]), (&"disk0".into(), &true.into()));
    assert_eq!(exports[1]["export-size"], 3 * MIB + 512);
    assert_eq!(exports[0]["can_multi_conn"], true);
    assert!(!outcome("nbdinfo", &[&serving.uri().replace("disk0", "disk9")]).status.success());
    // Nobody may write.
    assert!(!outcome("qemu-io", &["-f", "raw", "-c", "write 0 512", serving.uri()]).status.success());
    serving.stop().ends(0);
}

#[test]
fn holes_are_told_as_holes() {
    if !has_program("nbdinfo") {
        return;
    }
    let subject = Subject::new();
    let serving = Serving::start(&subject.site, "web01/disk0", 1, &[]);
    let map: Value = serde_json::from_str(&succeeds("nbdinfo", &["--map", "--json", serving.uri()])).unwrap();
    let extents = map.as_array().unwrap();
    let zero: u64 =
        extents.iter().filter(|extent| extent["type"] == 3).map(|extent| extent["length"].as_u64().unwrap()).sum();
    let end =
        extents.iter().map(|extent| extent["offset"].as_u64().unwrap() + extent["length"].as_u64().unwrap()).max();
    assert_eq!(end, Some(40 * MIB as u64));
    assert!(zero >= 24 * MIB as u64 - 32 * 1024, "{zero}");
    let map: Value =
        serde_json::from_str(&succeeds("qemu-img", &["map", "-f", "raw", "--output=json", serving.uri()])).unwrap();
    assert!(map.as_array().unwrap().iter().any(|extent| extent["zero"] == true));
    serving.stop().ends(0);
}

#[test]
fn the_first_thing_said_is_where_and_the_only_document_says_it_too() {
    let subject = Subject::new();
    let socket = subject.site.fresh("s.sock");
    let args = ["--json", "serve", "web01", "--disk", "disk1", "--socket", socket.to_str().unwrap()];
    let serving = Serving::start_with(&subject.site, &args, 1);
    let document: Value = serde_json::from_str(serving.uri()).unwrap();
    assert_eq!((&document["schema"], &document["exit_code"]), (&"strongroom.serve/1".into(), &0.into()));
    let uris = document["result"]["uris"].as_array().unwrap();
    assert_eq!((uris.len(), &uris[0]["disk"]), (1, &"disk1".into()));
    assert_eq!(uris[0]["size_bytes"], 3 * MIB + 512);
    let run = serving.stop().ends(0);
    assert_eq!(run.stdout, "", "nothing more on standard output");
    assert!(!socket.exists(), "the socket is gone with it");
}

#[test]
fn it_ends_with_its_last_client_if_it_should_serve_once() {
    if !has_program("nbdcopy") {
        return;
    }
    let subject = Subject::new();
    let serving = Serving::start(&subject.site, "web01/disk1", 1, &["--once"]);
    let copy = subject.site.text("copy");
    succeeds("nbdcopy", &[serving.uri(), &copy]);
    serving.end().ends(0);
    assert!(is_same(Path::new(&copy), &subject.images[1]));
}

#[test]
fn a_place_that_is_taken_or_open_to_the_world_is_refused() {
    let subject = Subject::new();
    let site = &subject.site;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    site.run(&["serve", "web01", "--listen", &address]).fails(1, &[&address, "taken"]);
    let first = Serving::start(site, "web01", 2, &[]);
    let socket = first.uri().split("socket=").nth(1).unwrap().to_owned();
    site.run(&["serve", "web01", "--socket", &socket]).fails(1, &[&socket, "taken"]);
    let file = site.text("file");
    fs::write(&file, "precious").unwrap();
    site.run(&["serve", "web01", "--socket", &file]).fails(1, &[&file, "taken"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    site.run(&["serve", "web01", "--listen", "0.0.0.0:0"]).fails(2, &["--tls-cert"]);
    site.run(&["serve", "web01", "--listen", "nonsense"]).fails(2, &["nonsense"]);
    site.run(&["serve", "web01", "--disk", "disk9"]).fails(2, &["disk9", "disk0"]);
    site.run(&["serve", "nobody"]).fails(1, &["nobody"]);
    // A server that was killed leaves its socket behind; the next one takes it.
    first.signal(rustix::process::Signal::KILL);
    first.end();
    let second = Serving::start_with(site, &["serve", "web01", "--socket", &socket], 2);
    second.stop().ends(0);
    let tcp = Serving::start_with(site, &["serve", "web01", "--listen", "127.0.0.1:0"], 2);
    assert!(tcp.uri().starts_with("nbd://127.0.0.1:") && !tcp.uri().contains(":0/"), "{}", tcp.uri());
    tcp.stop().ends(0);
}

#[test]
fn damage_is_an_io_error_for_those_who_ask_for_it_and_for_nobody_else() {
    if !has_program("qemu-io") {
        return;
    }
    let site = Site::new();
    let image = site.path("image");
    // Three segments of random bytes: some of them in the damaged frame, most not.
    write_full(&image, &random(43, 40 * MIB));
    site.back_up("v", &image);
    let large = site.packs().into_iter().max_by_key(|name| fs::metadata(site.repository().join(name)).unwrap().len());
    let pack = site.repository().join(large.unwrap());
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut permissions = fs::metadata(&pack).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "the test's own file")]
    permissions.set_readonly(false);
    fs::set_permissions(&pack, permissions).unwrap();
    fs::write(&pack, &bytes).unwrap();

    let serving = Serving::start(&site, "v", 1, &[]);
    let (mut good, mut bad) = (0, 0);
    for mebibyte in 0..40 {
        let command = format!("read {mebibyte}M 1M");
        let output = outcome("qemu-io", &["-f", "raw", "-r", "-c", &command, serving.uri()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if text.contains("Input/output error") {
            bad += 1;
        } else {
            assert!(text.contains("1048576/1048576"), "{text}");
            good += 1;
        }
    }
    assert!((1..=3).contains(&bad) && good >= 37, "{good} good, {bad} bad");
    let run = serving.stop().fails(4, &["damaged", "verify --read-data"]);
    assert!(run.stderr.contains("warning: disk0: chunk "), "{}", run.stderr);
}

#[test]
fn tls_is_required_where_it_is_offered() {
    if !has_program("openssl") || !has_program("nbdcopy") {
        return;
    }
    let subject = Subject::new();
    let site = &subject.site;
    let folder = site.path("tls");
    certificates(&folder);
    let at = |name: &str| folder.join(name).display().to_string();
    let files = [at("server-cert.pem"), at("server-key.pem"), at("ca-cert.pem")];
    let tls = ["--tls-cert", &files[0], "--tls-key", &files[1]];
    let mut args = vec!["serve", "web01/disk1", "--listen", "127.0.0.1:0"];
    args.extend(tls);
    let serving = Serving::start_with(site, &args, 1);
    assert!(serving.uri().starts_with("nbds://"), "{}", serving.uri());
    let pin = fingerprint(Path::new(&files[0]));
    let pinned = format!("disk0={}?tls-pin={pin}", serving.uri());
    site.json(&["backup", "--vm", "again", "--disk", &pinned]);
    site.assert_restores("again", &subject.images[1]);
    // libnbd wants a folder of certificates with the authority's.
    let copy = site.text("copy");
    let uri = format!("{}?tls-certificates={}", serving.uri().replace("127.0.0.1", "localhost"), folder.display());
    succeeds("nbdcopy", &[&uri, &copy]);
    assert!(is_same(Path::new(&copy), &subject.images[1]));
    let plain = serving.uri().replacen("nbds", "nbd", 1);
    site.run(&["backup", "--vm", "x", "--disk", &format!("disk0={plain}")]).fails(2, &["only over TLS"]);
    assert!(!outcome("nbdinfo", &[&plain]).status.success());
    serving.stop().ends(0);
    // Only those with a certificate.
    let mut args = vec!["serve", "web01/disk1", "--listen", "127.0.0.1:0", "--tls-ca", &files[2]];
    args.extend(tls);
    let serving = Serving::start_with(site, &args, 1);
    let pinned = format!("disk0={}?tls-pin={pin}", serving.uri());
    let run = site.run(&["backup", "--vm", "x", "--disk", &pinned]);
    assert!(run.code == 1 || run.code == 6, "{run:?}");
    let known = format!("{pinned}&tls-cert={}&tls-key={}", files[0], files[1]);
    site.json(&["backup", "--vm", "known", "--disk", &known]);
    serving.stop().ends(0);
    let key = ["serve", "web01", "--tls-cert", &files[0], "--tls-key", subject.image(1)];
    site.run(&key).fails(2, &["PEM"]);
}
