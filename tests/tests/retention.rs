//! What stays and what goes: forget, hold, release, prune.

use std::{fs, path::PathBuf, thread, time::Duration};

use serde_json::{Value, json};
use strongroom_tests::{Site, disk, in_namespace, write_full, write_random_file};

const MIB: usize = 1 << 20;

/// A VM with so many nights, each with its own noise.
fn nights(site: &Site, vm: &str, count: u64) -> Vec<PathBuf> {
    let night = |night: u64| {
        let image = site.path(&format!("{vm}-{night}.img"));
        write_random_file(&image, 100 * vm.len() as u64 + night, 0, 3 << 20);
        site.back_up(vm, &image);
        image
    };
    (0..count).map(night).collect()
}

fn points(site: &Site) -> Vec<Value> {
    site.json(&["list"])["points"].as_array().unwrap().clone()
}

fn packs_bytes(site: &Site) -> u64 {
    site.packs().iter().map(|pack| fs::metadata(site.repository().join(pack)).unwrap().len()).sum()
}

#[test]
fn a_dry_run_shows_each_point_and_why_it_stays_and_changes_nothing() {
    let site = Site::new();
    nights(&site, "web01", 4);
    let before = site.objects();
    let shown = site.json(&["forget", "--keep-last", "2", "--min-age", "0", "--dry-run"]);
    assert_eq!((shown["keep"].as_array().unwrap().len(), shown["forget"].as_array().unwrap().len()), (2, 2));
    assert_eq!(shown["keep"][0]["reasons"], json!(["last"]));
    assert!(shown["freed_bytes"].as_u64().unwrap() > 5 << 20, "{shown}");
    assert_eq!(site.objects(), before);
    let young = site.json(&["forget", "--keep-last", "2", "-n"]);
    assert_eq!(young["forget"], json!([]), "points of today are young");
    assert_eq!(young["keep"][0]["reasons"], json!(["young"]));
}

#[test]
fn what_is_forgotten_gives_its_space_back_and_the_rest_restores() {
    let site = Site::new();
    let images = nights(&site, "web01", 4);
    nights(&site, "db01", 1);
    let before = packs_bytes(&site);
    site.json(&["forget", "--vm", "web01", "--keep-last", "2", "--min-age", "0"]);
    assert_eq!(points(&site).len(), 3);
    let planned = site.json(&["prune", "--grace", "0", "-n"]);
    let done = site.json(&["prune", "--grace", "0"]);
    assert_eq!(planned["plan"], done["plan"], "the plan is made by the same code");
    assert!(done["done"]["removed_bytes"].as_u64().unwrap() > 5 << 20, "{done}");
    assert!(packs_bytes(&site) < before - (5 << 20));
    site.assert_restores("web01@latest", &images[3]);
    site.assert_restores("web01@latest~1", &images[2]);
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], json!([]));
    site.run(&["show", "web01@latest~2"]).fails(1, &["the oldest is"]);
}

#[test]
fn within_the_grace_nothing_leaves_the_store() {
    let site = Site::new();
    nights(&site, "web01", 3);
    site.json(&["forget", "--keep-last", "2", "--min-age", "0"]);
    let before = site.packs();
    let done = site.json(&["prune"]);
    assert!(done["done"]["condemned_packs"].as_u64().unwrap() > 0);
    assert_eq!(site.packs(), before);
    assert_eq!(site.json(&["prune"])["plan"]["waiting_packs"], done["done"]["condemned_packs"]);
}

#[test]
fn more_than_half_or_the_last_whole_point_needs_the_count_typed() {
    let site = Site::new();
    nights(&site, "web01", 3);
    let args = ["forget", "--keep-last", "1", "--min-age", "0"];
    site.run(&args).fails(2, &["web01", "2 of its 3", "--allow-mass-forget 2"]);
    site.run(&[&args[..], &["-n"]].concat()).fails(2, &["more than half"]);
    site.run(&[&args[..], &["--allow-mass-forget", "1"]].concat()).fails(2, &["--allow-mass-forget 2"]);
    assert_eq!(points(&site).len(), 3);
    site.run(&[&args[..], &["--allow-mass-forget", "2"]].concat()).ends(0);
    assert_eq!(points(&site).len(), 1);
    site.run(&["forget", "web01", "--min-age", "0", "-y"]).fails(2, &["the last whole one"]);
    assert_eq!(points(&site).len(), 1);
}

#[test]
fn a_held_point_stays_until_it_is_released() {
    let site = Site::new();
    nights(&site, "web01", 3);
    let oldest = points(&site)[0]["id"].as_str().unwrap().to_owned();
    let held = site.json(&["hold", &oldest, "--reason", "audit 2026"]);
    assert_eq!(held["points"][0]["held"], json!("audit 2026"));
    assert_eq!(points(&site)[0]["held"], json!("audit 2026"));
    site.run(&["forget", &oldest, "-y"]).fails(2, &["is held (audit 2026)", "release"]);
    let kept = site.json(&["forget", "--keep-last", "2", "--min-age", "0"]);
    assert_eq!(kept["forget"], json!([]));
    assert_eq!(kept["keep"][0]["reasons"], json!(["held: audit 2026"]));
    assert_eq!(site.json(&["release", &oldest])["points"][0]["changed"], json!(true));
    assert_eq!(site.json(&["release", &oldest])["points"][0]["changed"], json!(false), "said, and no error");
    assert_eq!(site.json(&["forget", "--keep-last", "2", "--min-age", "0"])["forget"].as_array().unwrap().len(), 1);
}

#[test]
fn a_backup_can_hold_its_point_from_the_first_moment() {
    let site = Site::new();
    nights(&site, "web01", 1);
    let image = site.text("web01-0.img");
    site.run(&["backup", "--vm", "web01", &image, "--hold", "before the upgrade"]).ends(0);
    assert_eq!(points(&site)[1]["held"], json!("before the upgrade"));
    site.run(&["backup", "--vm", "web01", &image, "--hold", ""]).fails(2, &["--hold"]);
}

#[test]
fn a_point_named_by_id_goes_however_young_and_only_with_consent() {
    let site = Site::new();
    nights(&site, "web01", 3);
    let newest = points(&site)[2]["id"].as_str().unwrap().to_owned();
    site.run(&["forget", &newest]).fails(2, &["consent is missing"]);
    let passed = site.run(&["forget", "web01@latest", "-y"]).ends(0);
    assert!(passed.stderr.contains("younger than --min-age"), "{}", passed.stderr);
    assert_eq!(points(&site).len(), 3);
    site.run(&["forget", &newest, "-y"]).ends(0);
    assert_eq!(points(&site).len(), 2);
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let site = Site::new();
    nights(&site, "web01", 1);
    site.run(&["forget"]).fails(2, &["neither points nor rules"]);
    site.run(&["forget", "--keep-last", "0", "--keep-daily", "0"]).fails(2, &["keep nothing"]);
    site.run(&["forget", "--keep-within", "3m"]).fails(2, &["write mo or min"]);
    site.run(&["forget", "--keep-last", "many"]).fails(2, &["unlimited"]);
    site.run(&["forget", "web01", "--keep-last", "1"]).fails(2, &[]);
    site.run(&["forget", "--vm", "web02", "--keep-last", "1"]).fails(1, &["no VM \"web02\"", "web01"]);
    site.run(&["hold", "web01"]).fails(2, &["--reason"]);
    site.run(&["hold", "web01", "--reason", "x", "--until", "2001-01-01"]).fails(2, &["in the past"]);
    site.run(&["prune", "--repack-below", "0%"]).fails(2, &[]);
    site.run(&["prune", "--grace", "1mo"]).fails(2, &["no fixed length"]);
    assert_eq!(points(&site).len(), 1);
}

#[test]
fn a_prune_killed_at_any_moment_is_finished_by_the_next_one() {
    let site = Site::new();
    let images = nights(&site, "web01", 5);
    // Some packs are half dead: they will be rewritten.
    write_full(&site.path("mixed.img"), &[fs::read(&images[0]).unwrap(), disk(5, MIB)].concat());
    site.back_up("mixed", &site.path("mixed.img"));
    site.json(&["forget", "--vm", "web01", "--keep-last", "3", "--min-age", "0"]);
    for milliseconds in [5, 15, 25, 35, 45, 55, 70, 90] {
        let run = site.start(&["prune", "--grace", "0", "--repack-below", "90%"]);
        thread::sleep(Duration::from_millis(milliseconds));
        run.signal(rustix::process::Signal::KILL);
        run.end();
        site.assert_restores("mixed", &site.path("mixed.img"));
    }
    site.json(&["prune", "--grace", "0", "--repack-below", "90%"]);
    let left = site.json(&["prune", "--grace", "0", "-n"]);
    assert_eq!(left["plan"]["dead_packs"], json!(0), "{left}");
    for (back, image) in images.iter().rev().take(3).enumerate() {
        site.assert_restores(&format!("web01@latest~{back}"), image);
    }
    site.assert_restores("mixed", &site.path("mixed.img"));
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], json!([]));
}

#[test]
fn prune_makes_room_on_a_full_disk() {
    let site = Site::bare();
    for number in 0..3 {
        write_random_file(&site.path(&format!("big{number}.img")), number, 0, 24 << 20);
    }
    let script = r#"
        mkdir -p "$HERE/repository" && mount -t tmpfs -o size=90m none "$HERE/repository" || exit 99
        "$S" init --no-recovery-key --kdf-memory 32K >&2 || exit 98
        for n in 0 1 2; do "$S" backup --vm web01 "$HERE/big$n.img" >&2 || exit 97; done
        "$S" forget --keep-last 2 --min-age 0 >&2 || exit 96
        head -c 200m /dev/zero > "$HERE/repository/fill" 2>/dev/null; df "$HERE/repository" >&2
        "$S" prune --grace 0 >&2 || exit 95
        test -f "$HERE/repository/reserve" || exit 94
        rm "$HERE/repository/fill"
        "$S" verify --read-data >&2 || exit 93
        "$S" restore web01@latest~1 --disk disk0="$HERE/back" >&2 || exit 92
        cmp "$HERE/back" "$HERE/big1.img" || exit 91
        du -sm "$HERE/repository" | cut -f1"#;
    let Some(run) = in_namespace(&site, script) else { return };
    let run = run.ends(0);
    let mib: u64 = run.stdout.trim().parse().unwrap();
    assert!(mib < 55, "{mib} MiB: {}", run.stderr);
}
