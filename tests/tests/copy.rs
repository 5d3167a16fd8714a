//! A second repository: points arrive whole, once, and under its own keys.

use std::{fs, path::Path, thread, time::Duration};

use engine::{DiskSource, MemorySource, OnBad};
use serde_json::{Value, json};
use strongroom_tests::{PASSWORD, Site, back_up, disk, random, write_full, write_random_file};

const MIB: usize = 1 << 20;

/// A second site whose repository has another password.
struct Pair {
    from: Site,
    into: Site,
}

impl Pair {
    fn new() -> Self {
        Self { from: Site::new(), into: Site::new() }
    }

    fn args<'a>(&self, place: &'a str, password: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["copy", "--from", place, "--from-password-file", password][..], more].concat()
    }

    #[track_caller]
    fn copy(&self, more: &[&str]) -> Value {
        let (place, password) = (self.from.repository(), self.from.path("password"));
        self.into.json(&self.args(place.to_str().unwrap(), password.to_str().unwrap(), more))
    }

    fn run(&self, more: &[&str]) -> strongroom_tests::Run {
        let (place, password) = (self.from.repository(), self.from.path("password"));
        self.into.run(&self.args(place.to_str().unwrap(), password.to_str().unwrap(), more))
    }

    fn night(&self, vm: &str, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let image = self.from.path(name);
        write_full(&image, bytes);
        self.from.back_up(vm, &image);
        image
    }
}

#[test]
fn points_arrive_whole_and_a_second_run_sends_nothing() {
    let pair = Pair::new();
    let first = disk(1, 6 * MIB + 99);
    let mut second = first.clone();
    second[3 * MIB..3 * MIB + 5000].fill(7);
    let images = [pair.night("web01", "one.img", &first), pair.night("web01", "two.img", &second)];
    let other = pair.night("db01", "three.img", &disk(3, 2 * MIB));
    let planned = pair.copy(&["-n"]);
    assert_eq!(planned["copied"].as_array().unwrap().len(), 3);
    assert_eq!(pair.into.json(&["list"])["points"], json!([]));
    let done = pair.copy(&[]);
    assert_eq!((done["copied"].as_array().unwrap().len(), &done["failed"]), (3, &json!([])));
    pair.into.assert_restores("web01@latest~1", &images[0]);
    pair.into.assert_restores("web01", &images[1]);
    pair.into.assert_restores("db01", &other);
    let night = done["copied"][1]["stored_bytes"].as_u64().unwrap();
    // Two short packs, each with two parity shards.
    assert!(night < 5 << 18, "only what differs is sent: {night} bytes");
    let again = pair.copy(&[]);
    assert_eq!((again["copied"].as_array().unwrap().len(), &again["sent_bytes"]), (0, &json!(0)));
    assert_eq!(again["skipped"].as_array().unwrap().len(), 3);
    assert_eq!(pair.into.json(&["verify", "--read-data"])["problems"], json!([]));
    // A night later: only the new point.
    second[MIB..MIB + 5000].fill(9);
    let image = pair.night("web01", "four.img", &second);
    let later = pair.copy(&["web01"]);
    assert_eq!((later["copied"].as_array().unwrap().len(), later["skipped"].as_array().unwrap().len()), (1, 2));
    pair.into.assert_restores("web01", &image);
}

#[test]
fn nothing_of_the_other_repository_is_used_as_it_is() {
    let pair = Pair::new();
    pair.night("web01", "one.img", &disk(1, 4 * MIB));
    pair.copy(&[]);
    let (theirs, ours) = (pair.from.packs(), pair.into.packs());
    assert!(!ours.is_empty() && ours.iter().all(|pack| !theirs.contains(pack)));
    let map = |site: &Site| site.json(&["show", "web01"])["point"]["disks"][0]["map_root"].clone();
    assert_ne!(map(&pair.from), map(&pair.into), "names are keyed");
}

#[test]
fn what_was_recorded_then_is_what_the_copy_tells() {
    let pair = Pair::new();
    let bytes = random(5, MIB);
    let bad = 300_000_u64..310_000;
    let source = Box::new(MemorySource::new(bytes).with_unreadable(vec![bad])) as Box<dyn DiskSource>;
    back_up(&pair.from, "web01", vec![("disk0", source)], 1, OnBad::Keep).unwrap();
    let done = pair.copy(&[]);
    assert_eq!(done["failed"], json!([]));
    let show = |site: &Site| {
        let id = site.json(&["list"])["points"][0]["id"].as_str().unwrap().to_owned();
        site.json(&["show", &format!("id:{id}")])["point"].clone()
    };
    let (original, copy) = (show(&pair.from), show(&pair.into));
    for field in ["started", "finished", "host", "completeness", "vm"] {
        assert_eq!(original[field], copy[field], "{field}");
    }
    assert_eq!(original["disks"][0]["bad_bytes"], copy["disks"][0]["bad_bytes"]);
    assert!(copy["disks"][0]["bad_bytes"].as_u64().unwrap() > 0, "{copy}");
}

#[test]
fn a_vm_home_comes_along_byte_for_byte() {
    let pair = Pair::new();
    let image = pair.from.path("web01.img");
    write_full(&image, &disk(1, MIB));
    let home = pair.from.path("home.json");
    let document = r#"{"schema":"strongroom.vm-home/1", "name":"web01", "keyId":{"keyId":"0b1f","providerId":{"id":"kms-prod"}},
        "encryptionBundle":"VGhpcyBpcyBhIGJ1bmRsZQ==", "nvramFileName":"web01.nvram", "configuration":{"b":1,"a":[null]}}"#;
    fs::write(&home, document).unwrap();
    fs::write(pair.from.path("nvram"), random(8, 70_000)).unwrap();
    let [image, home, nvram] = [&image, &home, &pair.from.path("nvram")].map(|path| path.to_str().unwrap().to_owned());
    let run = pair.from.run(&[
        "backup",
        "--vm",
        "web01",
        "--disk",
        &format!("disk0={image}"),
        "--vm-home",
        &home,
        "--nvram",
        &nvram,
    ]);
    assert!([0, 3].contains(&run.code), "{}", run.stderr);
    pair.copy(&[]);
    let (home_out, nvram_out) = (pair.into.path("home.json"), pair.into.path("nvram"));
    let id = pair.into.json(&["list"])["points"][0]["id"].as_str().unwrap().to_owned();
    let args = [
        "restore",
        &format!("id:{id}"),
        "--vm-home-out",
        home_out.to_str().unwrap(),
        "--nvram-out",
        nvram_out.to_str().unwrap(),
    ];
    pair.into.run(&args).ends(0);
    assert_eq!(fs::read(&home_out).unwrap(), fs::read(&home).unwrap());
    assert_eq!(fs::read(&nvram_out).unwrap(), fs::read(&nvram).unwrap());
}

#[test]
fn a_damaged_point_is_left_out_and_named_and_the_others_are_copied() {
    let pair = Pair::new();
    pair.night("hurt", "hurt.img", &random(1, 3 * MIB));
    let hurt: Vec<String> = pair.from.packs();
    let whole = pair.night("whole", "whole.img", &random(2, 3 * MIB));
    let largest =
        hurt.iter().max_by_key(|pack| fs::metadata(pair.from.repository().join(pack)).unwrap().len()).unwrap();
    flip_in_the_middle(&pair.from.repository().join(largest));
    let run = pair.run(&["--json"]).ends(4);
    let result = run.result();
    assert_eq!((result["copied"].as_array().unwrap().len(), result["failed"].as_array().unwrap().len()), (1, 1));
    assert_eq!(result["failed"][0]["vm"], json!("hurt"));
    pair.into.assert_restores("whole", &whole);
    pair.into.run(&["show", "hurt"]).fails(1, &["no VM \"hurt\""]);
}

fn flip_in_the_middle(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_copy_killed_at_any_moment_is_finished_by_the_next_one() {
    let pair = Pair::new();
    let image = pair.from.path("big.img");
    write_random_file(&image, 1, 0, 80 << 20);
    pair.from.back_up("big", &image);
    let (place, password) = (pair.from.repository(), pair.from.path("password"));
    let args = pair.args(place.to_str().unwrap(), password.to_str().unwrap(), &[]);
    for milliseconds in [60, 150, 300] {
        let run = pair.into.start(&args);
        thread::sleep(Duration::from_millis(milliseconds));
        run.signal(rustix::process::Signal::KILL);
        run.end();
    }
    pair.copy(&[]);
    pair.into.assert_restores("big", &image);
    assert_eq!(pair.into.json(&["verify", "--read-data"])["problems"], json!([]));
}

#[test]
fn a_copy_that_makes_no_sense_is_refused() {
    let pair = Pair::new();
    pair.night("web01", "one.img", &disk(1, MIB));
    let (place, password) = (pair.from.repository(), pair.from.path("password"));
    let (place, password) = (place.to_str().unwrap(), password.to_str().unwrap());
    pair.from.run(&pair.args(place, password, &[])).fails(2, &["onto itself"]);
    pair.run(&["web02"]).fails(1, &["web02"]);
    pair.into.run(&["copy", "--from", place]).fails(2, &["--from-password-file"]);
    let wrong = pair.into.path("wrong");
    fs::write(&wrong, format!("not {PASSWORD}")).unwrap();
    pair.into.run(&pair.args(place, wrong.to_str().unwrap(), &[])).fails(12, &[]);
    pair.into.run(&pair.args("/nowhere", password, &[])).fails(10, &[]);
    pair.into.run(&["copy"]).fails(2, &["--from"]);
    assert_eq!(pair.into.json(&["list"])["points"], json!([]));
}
