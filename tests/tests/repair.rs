//! What is damaged is mended as far as the redundancy goes, and nothing else is touched.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use strongroom_tests::{Site, disk, random, write_full};

const MIB: usize = 1 << 20;
const SHARD: usize = 1 << 16;

fn filled(site: &Site) -> PathBuf {
    let image = site.path("web01.img");
    let mut bytes = disk(1, 6 * MIB);
    for night in 0..2 {
        bytes[MIB..MIB + 50_000].copy_from_slice(&random(night + 3, 50_000));
        write_full(&image, &bytes);
        site.back_up("web01", &image);
    }
    image
}

fn contents(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| (name.clone(), fs::read(site.repository().join(&name)).unwrap());
    site.packs().into_iter().chain(["config".to_owned(), "config.copy".to_owned()]).map(read).collect()
}

fn overwrite(site: &Site, object: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = site.repository().join(object);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    let _ = fs::remove_file(&path);
    fs::write(path, bytes).unwrap();
}

fn spoil(site: &Site, pack: &str, shards: &[usize]) {
    overwrite(site, pack, |bytes| shards.iter().for_each(|shard| bytes[shard * SHARD + 9] ^= 0x20));
}

#[test]
fn packs_are_mended_from_their_parity_after_a_plan_that_writes_nothing() {
    let site = Site::new();
    let image = filled(&site);
    let before = contents(&site);
    for pack in site.packs() {
        spoil(&site, &pack, &[1, 2]);
    }
    overwrite(&site, "config.copy", |bytes| bytes[40] ^= 1);
    let damaged = contents(&site);

    let plan = site.json(&["repair"]);
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["healed"].as_array().unwrap().len(), before.len() - 1, "{plan}");
    assert_eq!(contents(&site), damaged, "a plan writes nothing");
    site.run(&["repair", "packs"]).ends(2);
    assert_eq!(contents(&site), damaged, "without a consent nothing is written");

    let done = site.json(&["--yes", "repair", "packs"]);
    assert_eq!((&done["healed"], &done["lost"]), (&plan["healed"], &plan["lost"]));
    assert_eq!(contents(&site), before, "the same bytes under the same names");
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
    site.assert_restores("web01", &image);
}

#[test]
fn a_verification_mends_in_passing_when_it_is_allowed_to() {
    let site = Site::new();
    filled(&site);
    let before = contents(&site);
    spoil(&site, &site.packs()[0], &[1]);
    site.run(&["verify", "--read-data"]).ends(4);
    site.run(&["verify", "--repair"]).ends(2);
    let done = site.json(&["verify", "--read-data", "--repair"]);
    assert_eq!((done["problems"].as_array().unwrap().len(), done["healed"][0]["from"].as_str()), (0, Some("parity")));
    assert_eq!(contents(&site), before);
}

#[test]
fn without_parity_damage_is_named_and_a_copy_or_another_repository_mends_it() {
    let site = Site::with(&["--parity", "0"]);
    let image = filled(&site);
    let copy = site.path("copy");
    let copied = Command::new("cp").arg("-a").arg(site.repository()).arg(&copy).status().unwrap();
    assert!(copied.success());
    site.run(&["-r", &site.text("other"), "init", "--kdf-memory", "32K", "--no-recovery-key"]).ends(0);
    let from = site.repository();
    let password = site.text("password");
    let from = ["copy", "--from", from.to_str().unwrap(), "--from-password-file", &password];
    site.run(&[&["-r", &site.text("other")][..], &from].concat()).ends(0);
    let before = contents(&site);
    let data: Vec<String> = site.packs().into_iter().filter(|pack| before[pack][10] == 1).collect();

    spoil(&site, &data[0], &[1]);
    let run = site.run(&["--json", "--yes", "repair", "packs"]).ends(4);
    let lost = &run.result()["lost"][0];
    assert!(lost["costs"][0]["ranges"][0]["length_bytes"].as_u64().unwrap() > 0, "{lost}");
    assert_eq!(run.result()["marked"].as_array().unwrap().len(), 1);

    let done = site.json(&["--yes", "repair", "packs", "--from", copy.to_str().unwrap()]);
    assert_eq!(done["healed"][0]["from"], "other_copy");
    assert_eq!(contents(&site), before);

    data.iter().for_each(|pack| fs::remove_file(site.repository().join(pack)).unwrap());
    let other = site.text("other");
    let from = ["--yes", "repair", "packs", "--from", &other, "--from-password-file", &password];
    let run = site.run(&[&["--json"][..], &from].concat());
    // The packs themselves stay lost; no point needs them any more.
    let result = run.ends(3).result();
    assert!(result["healed"].as_array().unwrap().iter().all(|line| line["from"] == "other_repository"), "{result}");
    assert!(result["lost"].as_array().unwrap().iter().all(|line| line["costs"] == serde_json::json!([])), "{result}");
    site.assert_restores("web01", &image);
}

#[test]
fn a_lost_log_is_made_anew_and_machines_that_knew_the_old_one_are_not_fooled() {
    let site = Site::new();
    let image = filled(&site);
    let points = site.json(&["list"])["points"].as_array().unwrap().len();
    let log = site.repository().join("log");
    fs::rename(&log, site.path("log.aside")).unwrap();
    fs::create_dir(&log).unwrap();
    // This machine knows that there was a log.
    site.run(&["list"]).ends(13);
    site.run(&["repair", "index"]).ends(2);
    let made = site.json(&["--yes", "repair", "index"]);
    assert_eq!(
        (made["rebuilt"]["log"].as_bool(), made["rebuilt"]["points"].as_u64()),
        (Some(true), Some(points as u64))
    );
    assert_eq!(site.json(&["list"])["points"].as_array().unwrap().len(), points);
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
    site.assert_restores("web01", &image);
    site.back_up("web01", &image);
    site.assert_restores("web01", &image);
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let site = Site::new();
    let own = site.repository();
    site.run(&["--yes", "repair", "packs", "--from", own.to_str().unwrap()]).ends(2);
    site.run(&["repair", "points"]).ends(14);
    site.run(&["init", "--parity", "65"]).ends(2);
    site.run(&["--yes", "repair", "packs", "--from", &site.text("nowhere")]).ends(10);
    site.run(&["--yes", "repair", "index"]).ends(0);
}
