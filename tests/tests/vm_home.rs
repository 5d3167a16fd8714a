//! What surrounds the disks comes back byte for byte, and its secrets are never shown.

use std::{fs, path::Path};

use strongroom_tests::{Site, disk, random, write_full};

const BUNDLE: &str = "VGhpcyBpcyB0aGUgc2VjcmV0IGJ1bmRsZSBvZiB3ZWIwMQ==";

fn document(bundle: bool, key: bool) -> String {
    let bundle = if bundle { format!("  \"encryptionBundle\": \"{BUNDLE}\",\n") } else { String::new() };
    let key = if key { "  \"keyId\": {\"keyId\": \"0b1f\", \"providerId\": {\"id\": \"kms-prod\"}},\n" } else { "" };
    // Spaces, order and unknown configuration are the caller's: they must survive.
    format!(
        "{{\r\n\t\"schema\":   \"strongroom.vm-home/1\",\n  \"name\": \"web01\", \"firmware\": \"efi\", \"secureBoot\": true,\n{bundle}{key}  \
         \"storagePolicy\": {{\"id\": \"p-1\", \"name\": \"VM Encryption Policy\", \"encrypts\": true}},\n  \
         \"vtpm\": {{\"present\": true, \"version\": \"2.0\"}},\n  \"nvramFileName\": \"web01.nvram\",\n  \
         \"disks\": [{{\"name\": \"disk0\", \"keyId\": {{\"keyId\": \"77aa\"}}}}],\n  \
         \"configuration\": {{\"b\": 1, \"a\": [null, \"\u{e9}\"]}}\n}}\n\n"
    )
}

/// A site with an image and NVRAM.
fn site() -> Site {
    let site = Site::new();
    write_full(&site.path("web01.img"), &disk(1, 1 << 20));
    fs::write(site.path("nvram"), random(2, 270_336)).unwrap();
    site
}

fn back_up(site: &Site, document: &str, code: i32) -> serde_json::Value {
    fs::write(site.path("home.json"), document).unwrap();
    let args = [
        "--json",
        "backup",
        &site.text("web01.img"),
        "--vm-home",
        &site.text("home.json"),
        "--nvram",
        &site.text("nvram"),
    ];
    site.run(&args).ends(code).document()
}

#[test]
fn document_and_nvram_come_back_byte_for_byte() {
    let site = site();
    let text = document(true, true);
    let done = back_up(&site, &text, 0);
    // Without a target at hand nobody says that it will start; what it needs is said.
    let verdict = &done["result"]["verdict"];
    assert_eq!(verdict["verdict"], "unknown", "{done}");
    assert!(verdict["sentence"].as_str().unwrap().contains("need key 0b1f of kms-prod"), "{done}");
    let (home, nvram) = (site.text("out.json"), site.text("out.nvram"));
    site.run(&["restore", "web01", "--vm-home-out", &home, "--nvram-out", &nvram]).ends(0);
    assert_eq!(fs::read_to_string(&home).unwrap(), text);
    assert!(fs::read(&nvram).unwrap() == fs::read(site.path("nvram")).unwrap());
    // They hold secrets: for their owner only, and never over something else.
    for path in [&home, &nvram] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    site.run(&["restore", "web01", "--vm-home-out", &home]).fails(2, &[&home]);
}

#[test]
fn a_point_gives_its_own_home_and_no_other_points() {
    let site = site();
    let first = document(true, true);
    back_up(&site, &first, 0);
    let nvram1 = fs::read(site.path("nvram")).unwrap();
    fs::write(site.path("nvram"), random(3, 270_336)).unwrap();
    let second = first.replace("0b1f", "0b20");
    back_up(&site, &second, 0);
    for (selector, text, nvram) in
        [("web01@latest~1", &first, nvram1), ("web01", &second, fs::read(site.path("nvram")).unwrap())]
    {
        let (home, out) = (site.text(&format!("{selector}.json")), site.text(&format!("{selector}.nvram")));
        site.run(&["restore", selector, "--vm-home-out", &home, "--nvram-out", &out]).ends(0);
        assert_eq!(&fs::read_to_string(home).unwrap(), text);
        assert!(fs::read(out).unwrap() == nvram);
    }
    let diff = site.json(&["diff", "web01@latest~1", "web01"]);
    let fields: Vec<&str> =
        diff["vm_home"].as_array().unwrap().iter().map(|change| change["field"].as_str().unwrap()).collect();
    assert!(fields.len() >= 2 && fields.iter().any(|field| field.to_lowercase().contains("nvram")), "{fields:?}");
    assert!(!diff.to_string().contains(BUNDLE));
}

/// Every file below that holds these bytes.
fn holders(folder: &Path, secret: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holders(&path, secret, found);
        } else if fs::read(&path).unwrap().windows(secret.len()).any(|window| window == secret) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn the_bundle_is_nowhere_to_be_read_but_in_the_file_that_was_asked_for() {
    let site = site();
    back_up(&site, &document(true, true), 0);
    let lines = [
        &["show", "web01"][..],
        &["show", "web01", "--json"],
        &["list"],
        &["list", "--json"],
        &["verify", "--read-data", "--json"],
        &["stats"],
        &["-v", "show", "web01"],
        &["diff", "web01", "web01", "--json"],
    ];
    for line in lines {
        let run = site.run(line).ends(0);
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains(BUNDLE) && !text.contains(&BUNDLE[8..24]), "{line:?}: {text}");
        }
    }
    let shown = site.json(&["show", "web01"])["point"]["vm_home"].clone();
    assert_eq!((&shown["bundle"]["present"], &shown["bundle"]["bytes"]), (&true.into(), &BUNDLE.len().into()));
    assert_eq!(shown["bundle"]["fingerprint"].as_str().unwrap().len(), 8);
    assert_eq!((&shown["key_id"], &shown["provider_id"]), (&"0b1f".into(), &"kms-prod".into()));
    assert_eq!(shown["nvram"]["bytes"], 270_336);
    assert!(site.run(&["show", "web01", "--config"]).ends(0).stdout.contains(BUNDLE), "asked for by name");

    let mut found = Vec::new();
    for folder in ["repository", "cache", "state"] {
        for secret in [
            BUNDLE.as_bytes(),
            &fs::read(site.path("nvram")).unwrap()[1000..1032],
            b"kms-prod",
            b"VM Encryption Policy",
        ] {
            holders(&site.path(folder), secret, &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_bundle_without_its_key_id_or_the_other_way_round_ends_with_3() {
    for (bundle, key) in [(true, false), (false, true)] {
        let site = site();
        let done = back_up(&site, &document(bundle, key), 3);
        assert_eq!(done["outcome"], "attention");
        assert!(!done["warnings"].as_array().unwrap().is_empty());
        let id = done["result"]["point"].as_str().unwrap();
        let verdict = site.json(&["show", id])["point"]["verdict"]["verdict"].clone();
        assert_ne!(verdict, "unchanged");
        let to = format!("disk0={}", site.text("back"));
        site.run(&["restore", id, "--disk", &to]).ends(0);
    }
}
