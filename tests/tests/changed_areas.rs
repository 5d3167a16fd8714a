//! Nights by changed areas, as people run them.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;
use strongroom_tests::{Site, disk, random, write_full, write_random_file, write_sparse};

const MIB: usize = 1 << 20;

/// A VM with one image and a first point.
struct Night {
    site: Site,
    image: PathBuf,
    bytes: Vec<u8>,
}

impl Night {
    fn first(options: &[&str], bytes: Vec<u8>) -> Self {
        let site = Site::with(options);
        let image = site.path("web01.img");
        write_full(&image, &bytes);
        site.back_up("web01", &image);
        Self { site, image, bytes }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        write_full(&self.image, &self.bytes);
    }

    fn list(&self, text: &str) -> String {
        fs::write(self.site.path("areas"), text).unwrap();
        self.site.text("areas")
    }

    fn args<'a>(&'a self, list: &'a str, parent: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let image = self.image.to_str().unwrap();
        let mut args = vec!["backup", "--vm", "web01", image, "--changed-areas", list, "--parent", parent];
        args.extend(more);
        args
    }

    /// Backs up by changed areas; it must be done without attention.
    #[track_caller]
    fn night(&self, list: &str, more: &[&str]) -> Value {
        self.site.json(&self.args(&self.list(list), "web01", more))["disks"][0].clone()
    }

    /// The map root that a full read gives.
    fn full_root(&self) -> Value {
        self.site.back_up("another", &self.image)["disks"][0]["map_root"].clone()
    }
}

#[test]
fn a_night_by_changed_areas_reads_little_and_has_the_map_of_a_full_read() {
    for chunker in ["block", "fastcdc"] {
        let mut night = Night::first(&["--chunker", chunker], disk(1, 40 * MIB + 1234));
        let (one, two) = (random(2, 70_000), random(3, 3));
        night.write(9 * MIB + 5, &one);
        night.write(40 * MIB + 1000, &two);
        let json =
            format!(r#"[{{"start":{},"length":70000}},{{"start":{},"length":3}}]"#, 9 * MIB + 5, 40 * MIB + 1000);
        let stored = night.night(&json, &["--audit", "0"]);
        assert_eq!(stored["map_root"], night.full_root(), "{chunker}");
        assert_eq!(stored["read"], "changed_areas");
        assert_eq!((&stored["changed_areas"], &stored["changed_area_bytes"]), (&2.into(), &70_003.into()));
        assert!(stored["read_bytes"].as_u64().unwrap() < 1_200_000, "{stored}");
        night.site.assert_restores("web01", &night.image);
        let shown = night.site.json(&["show", "web01"]);
        assert_eq!(shown["point"]["disks"][0]["base"], shown["point"]["parent"]);
        night.site.run(&["verify", "--read-data"]).ends(0);
    }
}

#[test]
fn what_became_a_hole_is_a_hole() {
    let bytes = disk(1, 20 * MIB);
    let mut night = Night::first(&[], bytes);
    night.bytes[3 * MIB..18 * MIB].fill(0);
    write_sparse(&night.image, &night.bytes);
    let stored = night.night(&format!("{} {}\n", 3 * MIB, 15 * MIB), &["--audit", "0"]);
    assert_eq!(stored["map_root"], night.full_root());
    assert!(stored["read_bytes"].as_u64().unwrap() < MIB as u64, "{stored}");
    night.site.assert_restores("web01", &night.image);
}

#[test]
fn the_lines_of_a_diff_are_a_list_of_changed_areas() {
    let mut night = Night::first(&[], disk(1, 20 * MIB));
    night.write(5 * MIB, &random(2, 300_000));
    night.site.back_up("web01", &night.image);
    let diff = night.site.run(&["diff", "web01@latest~1", "web01", "--extents"]).ends(0).stdout;
    let list = night.list(&diff);
    let again = night.site.json(&night.args(&list, "web01@latest~1", &[]));
    assert_eq!(again["disks"][0]["read"], "changed_areas", "{again}");
    assert_eq!(again["disks"][0]["map_root"], night.full_root());
}

#[test]
fn a_list_that_is_wrong_is_refused_with_its_line_and_nothing_is_written() {
    let night = Night::first(&[], disk(1, MIB));
    let before = night.site.objects();
    let table = [
        ("5000 100\n0 10\n", "line 2: the area begins at byte 0"),
        ("0 100\n50 10\n", "line 2: the area begins at byte 50"),
        ("0 100\n1048570 7\n", "line 2: the area ends at byte 1048577, beyond the disk"),
        ("0 100\nwhatever\n", "line 2: \"whatever\" is neither"),
        ("{\"start\":", "line 1:"),
        ("[{\"start\":0,\"length\":5},\n\n{\"start\":3,\"length\":5}]", "line 3: the area begins at byte 3"),
        ("{\"startOffset\":0,\"length\":4096,\"changedArea\":[]}", "the first 4096 bytes of a disk of 1048576"),
        ("<xml/>", "line 1"),
    ];
    for (text, what) in table {
        let list = night.list(text);
        night.site.run(&night.args(&list, "web01", &[])).fails(2, &[what]);
    }
    let missing = night.site.text("nowhere");
    night.site.run(&night.args(&missing, "web01", &[])).fails(2, &["cannot be read"]);
    assert_eq!(night.site.objects(), before);
}

#[test]
fn an_empty_list_says_that_nothing_has_changed() {
    let night = Night::first(&[], disk(1, 5 * MIB));
    for text in ["[]", "", "# nothing\n", "{\"startOffset\":0,\"length\":5242880}"] {
        let stored = night.night(text, &["--audit", "0"]);
        assert_eq!((&stored["read_bytes"], &stored["new_bytes"]), (&0.into(), &0.into()), "{text}");
        assert_eq!(stored["map_root"], night.full_root());
    }
    // An empty file may also be a program that failed: it is said.
    let list = night.list("");
    let run = night.site.run(&night.args(&list, "web01", &[])).ends(0);
    assert!(run.stderr.contains("empty file"), "{}", run.stderr);
}

#[test]
fn a_parent_must_be_named_known_and_of_this_vm() {
    let night = Night::first(&[], disk(1, MIB));
    night.site.back_up("web02", &night.image);
    let list = night.list("[]");
    let image = night.image.to_str().unwrap();
    night.site.run(&["backup", "--vm", "web01", image, "--changed-areas", &list]).fails(2, &["--parent"]);
    night.site.run(&["backup", "--vm", "web01", image, "--parent", "web01"]).fails(2, &["--changed-areas"]);
    let before = night.site.json(&["list"])["points"].as_array().unwrap().len();
    night.site.run(&night.args(&list, "web02", &[])).fails(2, &["is a restore point of web02"]);
    night.site.run(&night.args(&list, "nobody", &[])).fails(2, &["--parent", "nobody"]);
    night.site.run(&night.args(&list, "id:abcdef01", &[])).fails(2, &["--parent"]);
    night.site.run(&night.args(&list, "web01@latest~7", &[])).fails(2, &["--parent"]);
    night.site.run(&night.args(&list, "web01/disk0", &[])).fails(2, &["names a disk"]);
    assert_eq!(night.site.json(&["list"])["points"].as_array().unwrap().len(), before);
}

#[test]
fn a_resized_or_new_disk_is_read_whole_and_the_reason_is_told() {
    let mut night = Night::first(&[], disk(1, 2 * MIB));
    night.bytes.extend(random(5, 4096));
    write_full(&night.image, &night.bytes);
    let list = night.list("[]");
    let run = night.site.run(&night.args(&list, "web01", &[])).ends(0);
    assert!(
        run.stdout.contains("read whole: it had 2097152 bytes in the parent and has 2101248 now"),
        "{}",
        run.stdout
    );
    night.site.assert_restores("web01", &night.image);
    let other = night.site.path("other.img");
    write_full(&other, &disk(9, MIB));
    let (first, second) = (format!("disk0={}", night.image.display()), format!("data={}", other.display()));
    let (areas, new_areas) = (format!("disk0={list}"), format!("data={list}"));
    let two = ["backup", "--vm", "web01", "--disk", &first, "--disk", &second, "--parent", "web01"];
    let one_list = night.site.json(&[&two[..], &["--changed-areas", &areas]].concat());
    assert_eq!(one_list["disks"][0]["read"], "changed_areas");
    assert_eq!(one_list["disks"][1]["full_read_reason"], "no changed areas were given for it");
    let both = [&two[..], &["--changed-areas", &areas, "--changed-areas", &new_areas]].concat();
    assert_eq!(night.site.json(&both)["disks"][1]["read"], "changed_areas");
    let parent = [&both[..8], &["web01@latest~2"], &both[9..]].concat();
    let new_disk = night.site.json(&parent)["disks"][1]["full_read_reason"].as_str().unwrap().to_owned();
    assert!(new_disk.ends_with("has no such disk"), "{new_disk}");
    // Whose list is it?
    night.site.run(&[&two[..], &["--changed-areas", &list]].concat()).ends(0);
    let list = night.list("0 5\n");
    night.site.run(&[&two[..], &["--changed-areas", &list]].concat()).fails(2, &["DISK=FILE"]);
    let unknown = format!("disk7={list}");
    night.site.run(&[&two[..], &["--changed-areas", &unknown]].concat()).fails(2, &["disk7"]);
}

#[test]
fn a_list_that_hides_a_change_is_found_out_and_the_point_is_right() {
    let mut night = Night::first(&[], disk(1, 40 * MIB));
    night.write(20 * MIB + 77, &random(4, 10));
    let list = night.list("[]");
    for audit in [&["--audit", "100%"][..], &["--read-all"]] {
        let parent = night.site.json(&["list", "web01"])["points"][0]["id"].as_str().unwrap().to_owned();
        let run = night.site.run(&[&["--json"][..], &night.args(&list, &parent, audit)].concat()).ends(3);
        let told = run.result()["disks"][0].clone();
        assert_eq!((&told["read"], &told["audit"]["missed_segments"]), (&"whole".into(), &1.into()), "{told}");
        let start = told["audit"]["misses"][0]["start_bytes"].as_u64().unwrap();
        let length = told["audit"]["misses"][0]["length_bytes"].as_u64().unwrap();
        assert!((start..start + length).contains(&(20 * MIB as u64 + 77)) && length <= 512 * 1024, "{told}");
        assert_eq!(told["map_root"], night.full_root());
        let shown = night.site.json(&["show", "web01"])["point"]["disks"][0].clone();
        assert_eq!((&shown["audit"]["missed_segments"], &shown["base"]), (&1.into(), &Value::Null));
        night.site.assert_restores("web01", &night.image);
    }
    // Believed, the lie is in the point: that is what the audit is for.
    let parent = night.site.json(&["list", "web01"])["points"][0]["id"].as_str().unwrap().to_owned();
    night.site.run(&night.args(&list, &parent, &["--audit", "0"])).ends(0);
}

#[test]
fn a_dry_run_tells_what_a_night_stores_and_writes_nothing() {
    let mut night = Night::first(&[], disk(1, 20 * MIB));
    night.write(6 * MIB, &random(4, 100_000));
    let list = night.list(&format!("{} 100000\n", 6 * MIB));
    let before = night.site.objects();
    let planned = night.site.json(&night.args(&list, "web01", &["-n"]));
    assert_eq!(night.site.objects(), before);
    let done = night.site.json(&night.args(&list, "web01", &[]));
    for field in ["read_bytes", "new_bytes", "stored_bytes", "map_root", "read", "changed_bytes"] {
        assert_eq!(planned["disks"][0][field], done["disks"][0][field], "{field}");
    }
}

#[test]
fn a_night_that_is_killed_is_begun_again_from_the_same_parent() {
    let site = Site::new();
    let image = site.path("web01.img");
    write_random_file(&image, 1, 0, 64 << 20);
    site.back_up("web01", &image);
    write_random_file(&image, 2, 0, 200 << 20);
    let list = site.text("areas");
    fs::write(&list, "[]").unwrap();
    // Another size: all of it is read and stored, which takes long enough.
    let args = ["backup", "--vm", "web01", image.to_str().unwrap(), "--changed-areas", &list, "--parent", "web01"];
    let packs = site.packs().len();
    let running = site.start(&args);
    site.wait_for_packs(packs + 1);
    running.signal(rustix::process::Signal::KILL);
    running.end();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(site.json(&["list"])["points"].as_array().unwrap().len(), 1);
    let again = site.json(&args);
    assert!(again["adopted_packs"].as_u64().unwrap() > 0, "{again}");
    site.assert_restores("web01", &image);
    site.run(&["verify", "--read-data"]).ends(0);
}

#[test]
fn a_restore_in_place_writes_only_what_differs() {
    let mut night = Night::first(&[], disk(1, 40 * MIB));
    let target = night.site.path("target");
    fs::copy(&night.image, &target).unwrap();
    night.write(10 * MIB, &random(7, 200_000));
    night.bytes[30 * MIB..31 * MIB].fill(0);
    write_sparse(&night.image, &night.bytes);
    night.site.back_up("web01", &night.image);
    let to = format!("disk0={}", target.display());
    let args = ["restore", "web01", "--disk", &to, "--in-place"];
    night.site.run(&args).fails(2, &["--yes"]);
    let before = fs::read(&target).unwrap();
    let dry = night.site.json(&[&args[..], &["-n"]].concat());
    assert_eq!(fs::read(&target).unwrap(), before, "a dry run has written");
    let done = night.site.json(&[&args[..], &["--yes"]].concat());
    for field in ["written_bytes", "skipped_bytes", "zeroed_bytes"] {
        assert_eq!(dry["disks"][0][field], done["disks"][0][field], "{field}");
    }
    assert!(strongroom_tests::is_same(&target, &night.image));
    let written = done["disks"][0]["written_bytes"].as_u64().unwrap();
    assert!((200_000..1_300_000).contains(&written), "{done}");
    let zeroed = done["disks"][0]["zeroed_bytes"].as_u64().unwrap();
    assert!(zeroed > 0 && zeroed <= MIB as u64 + 300_000, "{done}");
    // Once more: all is right.
    let again = night.site.json(&[&args[..], &["--yes"]].concat());
    assert_eq!((&again["disks"][0]["written_bytes"], &again["disks"][0]["zeroed_bytes"]), (&0.into(), &0.into()));
}

#[test]
fn a_restore_in_place_with_a_base_does_not_read_what_both_points_share() {
    let mut night = Night::first(&[], disk(1, 40 * MIB));
    let target = night.site.path("target");
    fs::copy(&night.image, &target).unwrap();
    night.write(10 * MIB, &random(7, 200_000));
    night.site.back_up("web01", &night.image);
    // The guest has run on since the base, and somebody knows where it has written.
    let mut guest = fs::read(&target).unwrap();
    guest[35 * MIB..35 * MIB + 5000].fill(9);
    fs::write(&target, &guest).unwrap();
    let list = night.list(&format!("{} 5000\n", 35 * MIB));
    let to = format!("disk0={}", target.display());
    let args = [
        "restore",
        "web01",
        "--disk",
        &to,
        "--in-place",
        "--base",
        "web01@latest~1",
        "--changed-areas",
        &list,
        "--yes",
    ];
    let done = night.site.json(&args);
    assert!(strongroom_tests::is_same(&target, &night.image));
    let looked_at = 40 * MIB as u64 - done["disks"][0]["shared_bytes"].as_u64().unwrap();
    assert!(looked_at < 2_000_000, "{done}");
    // What nobody told of stays: that is the bargain.
    guest = fs::read(&target).unwrap();
    guest[100] ^= 1;
    fs::write(&target, &guest).unwrap();
    night.site.json(&args);
    assert_eq!(fs::read(&target).unwrap(), guest);
}

#[test]
fn a_restore_in_place_is_refused_where_it_makes_no_sense() {
    let night = Night::first(&[], disk(1, MIB));
    night.site.back_up("web02", &night.image);
    let (target, small) = (night.site.path("none"), night.site.path("small"));
    write_full(&small, &[1; 1000]);
    let to = |path: &PathBuf| format!("disk0={}", path.display());
    let (none, small) = (to(&target), to(&small));
    night.site.run(&["restore", "web01", "--disk", &none, "--in-place", "--yes"]).fails(2, &["does not exist"]);
    night.site.run(&["restore", "web01", "--disk", &small, "--in-place", "--yes"]).fails(2, &["1000", "1048576"]);
    assert_eq!(fs::read(night.site.path("small")).unwrap(), [1; 1000]);
    let larger = night.site.path("larger");
    write_full(&larger, &vec![7; 2 * MIB]);
    let larger_to = to(&larger);
    let run = night.site.run(&["restore", "web01", "--disk", &larger_to, "--in-place", "--yes"]).ends(0);
    assert!(run.stderr.contains("as they were"), "{}", run.stderr);
    let bytes = fs::read(&larger).unwrap();
    assert!(bytes[..MIB] == night.bytes[..] && bytes[MIB..].iter().all(|byte| *byte == 7));
    let base = ["restore", "web01", "--disk", &larger_to, "--in-place", "--base", "web02", "--yes"];
    night.site.run(&base).fails(2, &["--base", "web02"]);
}
