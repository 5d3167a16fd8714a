//! Ctrl-C and kill -9 at any moment: the next run goes on with no manual step.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use strongroom_tests::{Site, random, write_random_file};

const IMAGE_BYTES: u64 = 200 << 20;

#[test]
fn after_an_interrupt_the_rerun_takes_over_the_finished_packs() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let site = Site::new();
        let image = site.path("web01.img");
        write_random_file(&image, 1, 0, IMAGE_BYTES);
        let args = ["backup", image.to_str().unwrap()];
        let running = site.start(&args);
        site.wait_for_packs(2);
        running.signal(signal);
        running.end().fails(code, &["what is finished is not done twice"]);
        assert_eq!(site.json(&["list"])["points"], serde_json::json!([]));
        assert_eq!(site.json(&["verify"])["problems"], serde_json::json!([]));
        let rerun = site.back_up("web01", &image);
        assert!(rerun["adopted_packs"].as_u64().unwrap() > 0, "{rerun}");
        let new = rerun["disks"][0]["new_bytes"].as_u64().unwrap();
        assert!(new < IMAGE_BYTES - (32 << 20), "stored again: {new}");
        site.assert_restores("web01", &image);
    }
}

#[test]
fn after_kill_9_at_random_moments_the_rerun_works_and_nothing_finished_is_lost() {
    let site = Site::new();
    let image = site.path("web01.img");
    let args = ["backup", image.to_str().unwrap()];
    let dice = random(u64::from(std::process::id()), 64);
    let (mut adopted, mut killed, mut points) = (0, 0, 0);
    for round in 0..3_u64 {
        let begun = Instant::now();
        write_random_file(&image, 100 + round, 0, IMAGE_BYTES);
        // About as long as a run takes, so that kills come from its first moment to its last.
        let run_time = begun.elapsed().max(Duration::from_millis(300)) * 3;
        for kill in 0..4 {
            let mut running = site.start(&args);
            let die = u32::from(dice[usize::try_from(round).unwrap() * 4 + kill]);
            let deadline = Instant::now() + run_time * die / 256;
            let packs = site.packs().len();
            // The last of a round dies when it has finished a pack, however slow this machine is today.
            let waits = || if kill == 3 { site.packs().len() == packs } else { Instant::now() < deadline };
            while waits() && running.goes_on() {
                std::thread::sleep(Duration::from_millis(1));
            }
            running.signal(Signal::KILL);
            match running.end().code {
                0 => points += 1,
                137 => {
                    killed += 1;
                    // It may have been killed after its commit.
                    let found = site.json(&["list"])["points"].as_array().unwrap().len();
                    assert!(found == points || found == points + 1, "{found} points, {points} runs ended");
                    points = found;
                }
                code => panic!("a run ended with {code}"),
            }
        }
        let rerun = site.back_up("web01", &image);
        points += 1;
        adopted += rerun["adopted_packs"].as_u64().unwrap();
        site.assert_restores("web01", &image);
        assert_eq!(site.json(&["verify"])["problems"], serde_json::json!([]));
    }
    assert_eq!(site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
    assert_eq!(site.json(&["verify", "--no-key"])["problems"], serde_json::json!([]));
    assert_eq!(site.json(&["list"])["points"].as_array().unwrap().len(), points);
    assert!(killed > 0, "no run was killed");
    assert!(adopted > 0, "{killed} runs were killed, and not one pack of theirs was adopted");
    // Nothing was stored twice: three images and some metadata.
    let stored = site.json(&["stats"])["totals"]["stored_bytes"].as_u64().unwrap();
    assert!(stored < 3 * IMAGE_BYTES * 5 / 4, "{stored}");
}
