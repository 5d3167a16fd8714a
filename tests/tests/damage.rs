//! Whatever is damaged is found and named, and no restore gives a wrong byte.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use strongroom_tests::{Site, disk, random, write_full};

const MIB: usize = 1 << 20;

/// A repository with two nights, a VM home, two key slots; and the disk it came from.
struct Subject {
    site: Site,
    disk0: PathBuf,
    points: BTreeSet<String>,
}

/// One place to damage: which object, where in it, what for.
#[derive(Clone, Debug)]
struct Place {
    object: String,
    offset: usize,
    part: &'static str,
}

/// A data pack holds chunks of disks; a metadata pack all the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Data,
    Metadata,
}

impl Subject {
    fn new() -> Self {
        let site = Site::new();
        let disk0 = site.path("web01.img");
        let bytes = disk(1, 5 * MIB + 77);
        fs::write(site.path("home.json"), r#"{"keyId": {"keyId": "k"}, "encryptionBundle": "YnVuZGxl"}"#).unwrap();
        fs::write(site.path("nvram"), random(2, 9000)).unwrap();
        let home = [site.text("home.json"), site.text("nvram")];
        let mut points = BTreeSet::new();
        for night in 0..2 {
            let mut bytes = bytes.clone();
            bytes[MIB..MIB + 9000].copy_from_slice(&random(night + 3, 9000));
            write_full(&disk0, &bytes);
            let image = disk0.to_str().unwrap();
            let stored = site.json(&["backup", "--vm", "web01", image, "--vm-home", &home[0], "--nvram", &home[1]]);
            points.insert(stored["point"].as_str().unwrap().to_owned());
        }
        Self { site, disk0, points }
    }

    fn file(&self, object: &str) -> PathBuf {
        self.site.repository().join(object)
    }

    fn class(&self, pack: &str) -> Class {
        if fs::read(self.file(pack)).unwrap()[10] == 1 { Class::Data } else { Class::Metadata }
    }

    /// Every kind of place in every kind of object.
    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for object in self.site.objects() {
            let bytes = fs::read(self.file(&object)).unwrap();
            let mut add = |offset, part| places.push(Place { object: object.clone(), offset, part });
            if object.starts_with("packs/") {
                let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
                let (a, b) = (field(72), field(80));
                let length = u32::from_le_bytes(bytes[88..92].try_into().unwrap()) as usize;
                let shard = u32::from_le_bytes(bytes[92..96].try_into().unwrap()) as usize;
                add(3, "magic");
                add(30, "head");
                add(70, "footer A");
                add(shard - 1, "zeros after footer A");
                add(shard, "first nonce");
                add(shard + (a - shard) / 2, "frame area");
                add(a - 1, "last tag");
                add(a + 100, "directory A");
                if a + length < b {
                    add(a + length, "padding");
                }
                add(b + length - 1, "directory B");
                add(bytes.len() - shard + 97, "footer B");
                add(bytes.len() - 1, "zeros after footer B");
            } else if object.starts_with("keys/") || object.starts_with("config") || object.starts_with("log/") {
                for (offset, part) in [(1, "magic"), (bytes.len() / 3, "middle"), (bytes.len() - 1, "checksum")] {
                    add(offset, part);
                }
            }
        }
        places
    }

    /// The problems that `verify` finds, as `object: what` lines, and the points that they cost.
    fn problems(&self, options: &[&str]) -> (String, BTreeSet<String>) {
        let mut args = vec!["verify", "--json"];
        args.extend(options);
        let run = self.site.run(&args).ends(4);
        let document = run.document();
        let (mut said, mut cost) = (document["error"].to_string(), BTreeSet::new());
        for problem in document["result"]["problems"].as_array().into_iter().flatten() {
            said.push_str(&format!("\n{}: {}", problem["object"], problem["what"]));
            let costs = problem["costs"].as_array().unwrap().iter();
            cost.extend(costs.map(|cost| cost["point"].as_str().unwrap().to_owned()));
        }
        (said, cost)
    }

    /// What a person must read to find the object: the digits of its name.
    fn is_named(said: &str, object: &str) -> bool {
        let name = object.rsplit('/').next().unwrap();
        said.contains(name.strip_prefix("000").map_or(name, |number| number.trim_start_matches('0')))
    }

    fn with_flip<T>(&self, place: &Place, then: impl FnOnce() -> T) -> T {
        let path = self.file(&place.object);
        let before = fs::read(&path).unwrap();
        let mut bytes = before.clone();
        bytes[place.offset] ^= 1 << (place.offset % 8);
        overwrite(&path, &bytes);
        let result = then();
        overwrite(&path, &before);
        result
    }
}

fn overwrite(path: &Path, bytes: &[u8]) {
    // Objects are read-only files.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_flipped_bit_in_any_object_is_found_and_named_with_the_points_it_costs() {
    let subject = Subject::new();
    let places = subject.places();
    assert!(places.len() > 60, "{}", places.len());
    for place in places {
        subject.with_flip(&place, || {
            let (said, cost) = subject.problems(&["--read-data"]);
            assert!(Subject::is_named(&said, &place.object), "{place:?} is not named in {said}");
            let hurts = matches!(place.part, "first nonce" | "frame area" | "last tag");
            if hurts && place.object.starts_with("packs/") {
                assert!(!cost.is_empty() && cost.is_subset(&subject.points), "{place:?} costs {cost:?}: {said}");
            }
            // Config, slots, directories, footers: the other copy serves.
            if !hurts && !place.object.starts_with("log/") {
                assert!(cost.is_empty(), "{place:?} costs {cost:?}: {said}");
            }
        });
    }
    assert_eq!(subject.site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
}

#[test]
fn one_flipped_bit_under_a_public_hash_is_found_without_a_key() {
    let subject = Subject::new();
    // The storage administrator's machine: no password, no state.
    for place in subject.places() {
        subject.with_flip(&place, || {
            let mut command = subject.site.command(&["verify", "--no-key", "--json"]);
            let output = command.env_remove("STRONGROOM_PASSWORD_FILE").output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(4), "{place:?} was not found: {said}");
            assert!(Subject::is_named(&said, &place.object), "{place:?} is not named in {said}");
        });
    }
    assert_eq!(subject.site.json(&["verify", "--no-key"])["problems"], serde_json::json!([]));
}

#[test]
fn a_truncated_or_missing_object_is_found_and_named() {
    let subject = Subject::new();
    for object in subject.site.objects() {
        if !["packs/", "keys/", "config", "log/"].iter().any(|begin| object.starts_with(begin)) {
            continue;
        }
        let path = subject.file(&object);
        let before = fs::read(&path).unwrap();
        for length in [0, 1, before.len() / 2, before.len() - 1] {
            overwrite(&path, &before[..length]);
            for options in [&["--read-data"][..], &["--no-key"], &["--quick"]] {
                let (said, _) = subject.problems(options);
                assert!(Subject::is_named(&said, &object), "{object} of {length} bytes: {options:?}: {said}");
            }
        }
        fs::remove_file(&path).unwrap();
        if object.starts_with("packs/") {
            let (said, cost) = subject.problems(&[]);
            assert!(Subject::is_named(&said, &object) && !cost.is_empty(), "{object} is missing: {said}");
        } else if object.starts_with("log/") {
            // Either a gap or a head that went back: never a shorter list in silence.
            let run = subject.site.run(&["list"]);
            assert!(matches!(run.code, 4 | 13), "{object} is missing: {run:?}");
        } else {
            let (said, _) = subject.problems(&[]);
            assert!(Subject::is_named(&said, &object), "{object} is missing: {said}");
            subject.site.assert_restores("web01", &subject.disk0);
        }
        overwrite(&path, &before);
    }
    subject.site.assert_restores("web01", &subject.disk0);
}

#[test]
fn no_restore_from_a_damaged_repository_gives_a_wrong_byte() {
    let subject = Subject::new();
    let good = fs::read(&subject.disk0).unwrap();
    let (mut whole, mut hurt) = (0, 0);
    let mut places = subject.places();
    // More of them inside the frames, where the data is.
    for object in subject.site.packs() {
        let length = fs::metadata(subject.file(&object)).unwrap().len() as usize;
        let dice = random(length as u64, 64);
        places.extend(dice.chunks(8).map(|die| {
            let offset = u64::from_le_bytes(die.try_into().unwrap()) as usize % length;
            Place { object: object.clone(), offset, part: "anywhere" }
        }));
    }
    for (number, place) in places.iter().enumerate() {
        subject.with_flip(place, || {
            let target = subject.site.path(&format!("back-{number}"));
            let part = target.with_extension("part");
            let to = format!("disk0={}", target.display());
            let run = subject.site.run(&["--json", "restore", "web01", "--disk", &to]);
            match run.code {
                0 => {
                    whole += 1;
                    assert!(fs::read(&target).unwrap() == good, "{place:?}: wrong bytes and exit 0");
                }
                4 => {
                    hurt += 1;
                    assert!(!target.exists(), "{place:?}: a hurt restore has the final name");
                    let document = run.document();
                    let Some(disk) = document["result"]["disks"].get(0) else { return };
                    let mut expected = good.clone();
                    let mut got = fs::read(&part).unwrap();
                    assert_eq!(got.len(), expected.len());
                    let lost = disk["lost"].as_array().unwrap();
                    assert!(!lost.is_empty(), "{place:?}: {document}");
                    for range in lost {
                        let number = |field: &str| range[field].as_u64().unwrap() as usize;
                        let range = number("start_bytes")..number("start_bytes") + number("length_bytes");
                        assert!(
                            got[range.clone()].iter().all(|byte| *byte == 0),
                            "{place:?}: something else in a lost range"
                        );
                        expected[range.clone()].fill(0);
                        got[range].fill(0);
                    }
                    assert!(got == expected, "{place:?}: a wrong byte outside of the lost ranges");
                    assert_ne!(document["result"]["problems"], Value::Array(Vec::new()));
                }
                code => panic!("{place:?}: exit {code}: {run:?}"),
            }
            let _ = (fs::remove_file(&target), fs::remove_file(&part));
        });
    }
    assert!(whole > 10 && hurt > 10, "{whole} whole, {hurt} hurt");
}

#[test]
fn a_pack_under_another_packs_name_is_found_and_gives_no_wrong_byte() {
    let subject = Subject::new();
    let data: Vec<String> =
        subject.site.packs().into_iter().filter(|pack| subject.class(pack) == Class::Data).collect();
    let [one, other] = [&data[0], &data[1]].map(|pack| subject.file(pack));
    let bytes = [fs::read(&one).unwrap(), fs::read(&other).unwrap()];
    overwrite(&one, &bytes[1]);
    overwrite(&other, &bytes[0]);
    for options in [&["--read-data"][..], &["--no-key"]] {
        let (said, _) = subject.problems(options);
        assert!(Subject::is_named(&said, &data[0]) && Subject::is_named(&said, &data[1]), "{said}");
    }
    let to = format!("disk0={}", subject.site.text("back"));
    let run = subject.site.run(&["restore", "web01", "--disk", &to]);
    match run.code {
        0 => assert!(fs::read(subject.site.path("back")).unwrap() == fs::read(&subject.disk0).unwrap()),
        code => assert_eq!(code, 4, "{run:?}"),
    }
}

#[test]
fn the_next_backup_stores_again_what_is_missing() {
    let subject = Subject::new();
    for pack in subject.site.packs().into_iter().filter(|pack| subject.class(pack) == Class::Data).collect::<Vec<_>>() {
        fs::remove_file(subject.file(&pack)).unwrap();
    }
    let (_, cost) = subject.problems(&[]);
    assert_eq!(cost, subject.points);
    let stored = subject.site.back_up("web01", &subject.disk0);
    assert!(stored["disks"][0]["new_bytes"].as_u64().unwrap() > MIB as u64, "not stored again: {stored}");
    subject.site.assert_restores("web01", &subject.disk0);
    // The same bytes at a new place: the older point whose disk this was is whole again too.
    subject.site.assert_restores("web01@latest~1", &subject.disk0);
}
