//! Everybody at once on one repository: no lock, no waiting, nothing lost.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use strongroom_tests::{Site, full_run, random, write_full};

/// A disk of which each night changes a little.
fn night(vm: u64, night: u64) -> Vec<u8> {
    // Most of it is shared by all VMs, some by the nights of one, a little is new.
    let mut bytes = random(1, 2 << 20);
    bytes.extend(random(100 + vm, 1 << 20));
    bytes.extend(random(10_000 + vm * 1000 + night / 3, 1 << 20));
    bytes.extend(random(1_000_000 + vm * 1000 + night, 300 << 10));
    bytes
}

/// What differs, as lines of `OFFSET LENGTH`.
fn changed_areas(old: &[u8], new: &[u8]) -> String {
    let areas = old.chunks(4096).zip(new.chunks(4096)).enumerate().filter(|(_, (old, new))| old != new);
    areas.map(|(number, (_, new))| format!("{} {}\n", number * 4096, new.len())).collect()
}

#[test]
fn three_writers_forget_two_prunes_verify_and_restore_at_once_lose_nothing() {
    let seconds = if full_run() { 60 } else { 10 };
    let site = Site::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    let goes_on = || Instant::now() < end;
    let written: Mutex<Vec<(String, PathBuf)>> = Mutex::default();
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for vm in 0..3 {
            let (site, written) = (&site, &written);
            scope.spawn(move || {
                let mut before: Option<(String, Vec<u8>)> = None;
                for number in 0.. {
                    let (name, image) = (format!("vm{vm}"), site.path(&format!("vm{vm}-{number}.img")));
                    let bytes = night(vm, number);
                    write_full(&image, &bytes);
                    let changed = before.take().and_then(|(parent, old)| {
                        let list = site.path(&format!("vm{vm}.changes"));
                        fs::write(&list, changed_areas(&old, &bytes)).unwrap();
                        let list = list.to_str().unwrap();
                        let words = ["--changed-areas", list, "--parent", &parent, image.to_str().unwrap()];
                        let run = site.run(&[&["--json", "backup", "--vm", &name][..], &words].concat());
                        // The parent was forgotten meanwhile: then the disk is read whole.
                        assert!([0, 2].contains(&run.code), "{}", run.stdout);
                        (run.code == 0).then(|| run.result())
                    });
                    let report = changed.unwrap_or_else(|| site.back_up(&name, &image));
                    let point = report["point"].as_str().unwrap().to_owned();
                    before = Some((point.clone(), bytes));
                    written.lock().unwrap().push((point, image));
                    if !goes_on() {
                        return;
                    }
                }
            });
        }
        scope.spawn(|| {
            while goes_on() {
                let rules = ["--json", "forget", "--keep-last", "3", "--min-age", "0"];
                // The count is typed, as a person would; if a backup has come between, it is refused.
                let shown = site.run(&[&rules[..], &["-n"]].concat()).result();
                let count = shown["forget"].as_array().map_or(0, Vec::len).to_string();
                let run = site.run(&[&rules[..], &["--allow-mass-forget", &count]].concat());
                assert!([0, 2].contains(&run.code), "{}", run.stdout);
                thread::sleep(Duration::from_millis(200));
            }
        });
        for grace in ["0", "1s"] {
            let site = &site;
            scope.spawn(move || {
                while goes_on() {
                    let run = site.run(&["prune", "--grace", grace, "--repack-below", "80%"]);
                    // Try again later: another prune has taken copies away, five times in a row.
                    assert!([0, 6].contains(&run.code), "prune: {} {}", run.code, run.stderr);
                }
            });
        }
        scope.spawn(|| {
            while goes_on() {
                let run = site.run(&["verify", "--json"]);
                // A pack that a prune removes meanwhile is missed by whoever looked before; the next look must be clean.
                if run.code != 0 {
                    failed.fetch_or(
                        site.run(&["verify"]).code == 4 && site.run(&["verify"]).code == 4,
                        Ordering::Relaxed,
                    );
                }
            }
        });
        scope.spawn(|| {
            while goes_on() {
                let Some((point, image)) = written.lock().unwrap().last().cloned() else { continue };
                let to = site.path("back.img");
                let run = site.run(&["restore", &format!("id:{point}"), "--disk", &format!("disk0={}", to.display())]);
                if run.code == 0 {
                    assert!(strongroom_tests::is_same(&to, &image), "point {point} came back wrong");
                }
                let _ = fs::remove_file(&to);
            }
        });
    });
    assert!(!failed.load(Ordering::Relaxed), "verify saw damage three times in a row");
    let written = written.into_inner().unwrap();
    let listed = site.json(&["list"])["points"].as_array().unwrap().clone();
    assert!(written.len() >= 6 && listed.len() >= 6, "{} written, {} listed", written.len(), listed.len());
    for point in listed {
        let id = point["id"].as_str().unwrap();
        let (_, image) = written.iter().find(|(written, _)| written == id).unwrap();
        site.assert_restores(&format!("id:{id}"), image);
    }
    site.run(&["prune", "--grace", "0"]).ends(0);
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], json!([]));
    let removed = site.json(&["prune", "--grace", "0"])["done"]["removed_packs"].as_u64().unwrap();
    assert_eq!(removed, 0, "nothing is left to remove");
}
