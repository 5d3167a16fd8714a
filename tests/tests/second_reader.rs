//! A reader written from SPEC.md alone, in another language, agrees with this one.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::{Value, json};
use strongroom_tests::{Run, Site, disk, full_run, is_same, random, write_full, write_sparse};

const MIB: usize = 1 << 20;
const DOCUMENT: &str = r#"{"schema": "strongroom.vm-home/1", "name": "web01", "firmware": "efi",
  "keyId": {"keyId": "0b1f", "providerId": {"id": "kms-prod"}}, "encryptionBundle": "c2VhbGVkIGJ1bmRsZQ=="}"#;

struct SecondReader<'s> {
    python: String,
    site: &'s Site,
}

impl<'s> SecondReader<'s> {
    /// `None`: it is not installed, and need not be.
    fn find(site: &'s Site) -> Option<Self> {
        match std::env::var("STRONGROOM_TEST_SPEC_READER_PYTHON").ok().filter(|python| !python.is_empty()) {
            Some(python) => Some(Self { python, site }),
            None => {
                assert!(!full_run(), "STRONGROOM_TEST_SPEC_READER_PYTHON does not name the second reader's Python");
                eprintln!("skipped: STRONGROOM_TEST_SPEC_READER_PYTHON is not set");
                None
            }
        }
    }

    fn run(&self, secret: [&str; 2], args: &[&str]) -> Run {
        let output = Command::new(&self.python)
            .args(["-m", "spec_reader", "--repo"])
            .arg(self.site.repository())
            .args(secret)
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        Run::of(format!("spec_reader {}", args.join(" ")), output)
    }

    fn restores(&self, secret: [&str; 2], point: &str, disk: &str, image: &Path) {
        let out = self.site.path(&format!("second-{point}-{disk}"));
        let _ = fs::remove_file(&out);
        self.run(secret, &["restore", point, "--disk", disk, "--out", out.to_str().unwrap()]).ends(0);
        assert!(is_same(&out, image), "{point} {disk}");
    }
}

fn agree(options: &[&str]) {
    let site = Site::with(options);
    let Some(second) = SecondReader::find(&site) else { return };
    let path = |name: &str| site.text(name);

    fs::write(site.path("key-file"), random(77, 64)).unwrap();
    fs::write(site.path("password-2"), "another long passphrase of nine words \u{e9}\u{1f511}").unwrap();
    for name in ["key-file", "password-2"] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    site.run(&["key", "add", "--label", "file", "--new-key-file", &path("key-file")]).ends(0);
    site.run(&["key", "add", "--new-password-file", &path("password-2"), "--kdf-memory", "64K"]).ends(0);

    let night1 = disk(21, 17 * MIB + 555);
    let mut night2 = night1.clone();
    night2[3 * MIB..3 * MIB + 5000].copy_from_slice(&random(22, 5000));
    let (one, two, small) = (site.path("1.img"), site.path("2.img"), site.path("small.img"));
    write_sparse(&one, &night1);
    write_full(&two, &night2);
    write_sparse(&small, &disk(23, 70_001));
    fs::write(site.path("home.json"), DOCUMENT).unwrap();
    fs::write(site.path("nvram"), random(24, 270_000)).unwrap();
    let home = ["--vm-home", &path("home.json"), "--nvram", &path("nvram")];
    let back_up = |image: &Path| {
        let small = small.to_str().unwrap();
        let mut args = vec!["backup", "--vm", "web01", "--tag", "nightly", image.to_str().unwrap(), small];
        args.extend(home);
        site.json(&args)
    };
    let points = [back_up(&one), back_up(&two)];
    let ids = points.each_ref().map(|point| point["point"].as_str().unwrap().to_owned());

    let password = path("password");
    let secrets = [
        ["--password-file", &password],
        ["--password-file", &path("password-2")],
        ["--key-file", &path("key-file")],
        ["--recovery-key-file", &path("recovery-key")],
    ];
    for secret in secrets {
        let listed: Value = serde_json::from_str(&second.run(secret, &["list", "--json"]).ends(0).stdout).unwrap();
        let found: Vec<&Value> = listed["points"].as_array().unwrap().iter().map(|point| &point["id"]).collect();
        assert_eq!(found, ids.iter().map(|id| json!(id)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        assert_eq!(listed["void"], json!([]));
        for (listed, ours) in listed["points"].as_array().unwrap().iter().zip(&points) {
            assert_eq!((&listed["vm_name"], &listed["tag"]), (&json!("web01"), &json!("nightly")));
            assert_eq!(listed["disks"][0]["map_root"], ours["disks"][0]["map_root"]);
        }
        second.restores(secret, &ids[1], "disk1", &small);
    }
    let secret = secrets[0];
    for (id, image) in ids.iter().zip([&one, &two]) {
        second.restores(secret, id, "disk0", image);
        let (document, nvram) = (path(&format!("{id}.json")), path(&format!("{id}.nvram")));
        second.run(secret, &["restore-home", id, "--document-out", &document, "--nvram-out", &nvram]).ends(0);
        assert_eq!(fs::read_to_string(document).unwrap(), DOCUMENT);
        assert_eq!(fs::read(nvram).unwrap(), fs::read(site.path("nvram")).unwrap());
    }
    second.run(secret, &["check"]).ends(0);
    // It cuts and hashes the images by itself: the same root.
    if options.contains(&"block") {
        let said = second.run(secret, &["blocks", &path("1.img"), &path("small.img")]).ends(0).stdout;
        let roots: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let ours = [0, 1].map(|disk| points[0]["disks"][disk]["map_root"].as_str().unwrap());
        assert_eq!(roots, ours);
    }
    let wrong = site.path("wrong");
    fs::write(&wrong, "not this one").unwrap();
    second.run(["--password-file", wrong.to_str().unwrap()], &["list"]).ends(12);
}

#[test]
fn the_second_reader_agrees_on_a_repository_of_chunker_block() {
    agree(&["--chunker", "block"]);
}

#[test]
fn the_second_reader_agrees_on_a_repository_of_chunker_fastcdc() {
    agree(&["--chunker", "fastcdc", "--chunk-size", "4K,32K,128K"]);
}
