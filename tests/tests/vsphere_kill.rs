//! A backup or a restore that is killed anywhere: `vsphere cleanup` leaves the vCenter as it was, and nothing stored is harmed.
//!
//! The vCenter holds a call before its work is done, or after it and before its answer. There the run is killed: at every call
//! from just before its first effect to its end, which is after each line of its journal, too.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use strongroom_tests::{Running, VsphereSite, files_below};
use vsphere::{Credentials, Password, Session, SessionPace, destroy_vm, find_vm};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `is` gives something.
#[track_caller]
fn wait_for<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

/// The calls of a run to its end, and whether a call changes something.
fn calls_of(place: &VsphereSite, words: &[&str]) -> Vec<String> {
    place.vcenter.ctl("calls?clear=true");
    place.run(words).ends(0);
    place.vcenter.calls()
}

fn changes(call: &str) -> bool {
    (call.ends_with("_Task") && call != "SearchDatastore_Task") || call.starts_with("PUT ")
}

/// Where a run is killed.
#[derive(Clone, Debug)]
struct Moment {
    /// The how-many-th call of this method.
    method: String,
    number: usize,
    at: &'static str,
}

/// Before every call from the first change on, and after each change.
fn moments(calls: &[String]) -> Vec<Moment> {
    let first = calls.iter().position(|call| changes(call)).expect("a run that changes nothing");
    let mut moments = Vec::new();
    for (index, call) in calls.iter().enumerate().skip(first) {
        let method = call.split(' ').next().unwrap().to_owned();
        let number = calls[..=index].iter().filter(|other| other.split(' ').next() == Some(&method)).count();
        moments.push(Moment { method: method.clone(), number, at: "before" });
        if changes(call) {
            moments.push(Moment { method, number, at: "after" });
        }
    }
    moments
}

/// The journals that runs have left.
fn journals(place: &VsphereSite) -> Vec<PathBuf> {
    let mut files = files_below(&place.site.path("state"));
    files.retain(|file| file.extension().is_some_and(|ending| ending == "journal"));
    files
}

/// Kinds and effects of the lines of the only journal there is.
fn journal_lines(place: &VsphereSite) -> Vec<String> {
    let Some(path) = journals(place).pop() else { return Vec::new() };
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| format!("{} {}", word(&line, "line"), word(&line, "effect"))).collect()
}

/// Runs `words` and kills it at a moment; the journal it left. `None`: this run made fewer such calls.
fn kill_at(place: &VsphereSite, words: &[&str], moment: &Moment) -> Option<Vec<String>> {
    let Moment { method, number, at } = moment;
    place.vcenter.ctl(&format!("hold?method={method}&n={number}&at={at}"));
    let mut running = place.start(words);
    let is_held = wait_for(&format!("{moment:?}"), || {
        let held = place.vcenter.ctl("held");
        (held != json!([])).then_some(true).or_else(|| (!running.goes_on()).then_some(false))
    });
    let lines = journal_lines(place);
    running.signal(Signal::KILL);
    running.end();
    place.vcenter.ctl("release?lost=true");
    is_held.then_some(lines)
}

/// The state without the flag of change tracking, which stays on where a run has switched it on.
fn without_tracking(state: &Value) -> String {
    state.to_string().replace("\"change_tracking\":true", "\"change_tracking\":false")
}

fn clean_up(place: &VsphereSite, moment: &Moment) {
    let cleaned = place.json(&["cleanup", "--yes"], 0);
    assert_eq!(cleaned["left"], json!([]), "{moment:?}");
    assert_eq!(journals(place), Vec::<PathBuf>::new(), "{moment:?}");
    place.site.run(&["verify"]).ends(0);
}

#[test]
fn a_backup_that_is_killed_anywhere_leaves_nothing_that_cleanup_does_not_undo() {
    let Some(place) = VsphereSite::new() else { return };
    let words = ["backup", "enc01"];
    place.run(&words).ends(0);
    place.vcenter.ctl("ctk?vm=enc01&enabled=false");
    let calls = calls_of(&place, &words);
    let before = place.vcenter.ctl("state");
    let mut seen = BTreeSet::new();
    let moments = moments(&calls);
    for moment in &moments {
        // As on the first night.
        place.vcenter.ctl("ctk?vm=enc01&enabled=false");
        seen.extend(kill_at(&place, &words, moment));
        clean_up(&place, moment);
        assert_eq!(without_tracking(&place.vcenter.ctl("state")), without_tracking(&before), "{moment:?}");
        place.run(&words).ends(0);
    }
    assert!(moments.iter().filter(|moment| moment.at == "after").count() >= 3, "{moments:?}");
    let lines = ["intended enable_change_tracking", "kept ", "intended create_snapshot", "made ", "undone "];
    assert_every_line(&seen, &lines, "kept ");
    place.site.run(&["verify", "--read-data"]).ends(0);
}

/// A run was killed after each of these lines, which follow one another; some have no call between them and the next. After the
/// last one the file goes: nothing is left to be seen of it.
#[track_caller]
fn assert_every_line(seen: &BTreeSet<Vec<String>>, lines: &[&str], between: &str) {
    for length in 0..lines.len() {
        let wanted: Vec<String> = lines[..length].iter().map(|line| (*line).to_owned()).collect();
        assert!(seen.contains(&wanted) || wanted.last().is_some_and(|line| line == between), "{wanted:?}: {seen:?}");
    }
}

#[test]
fn a_restore_that_is_killed_anywhere_leaves_no_vm_or_a_whole_one() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let disk = fs::read(place.disk_file("enc01", 2000)).unwrap();
    let before = place.vcenter.ctl("state");
    let words = ["restore", "enc01", "--name", "back"];
    let calls = calls_of(&place, &words);
    destroy(&place, "back");
    assert_eq!(place.vcenter.ctl("state"), before);
    let (mut seen, mut whole) = (BTreeSet::new(), 0);
    for moment in moments(&calls) {
        seen.extend(kill_at(&place, &words, &moment));
        clean_up(&place, &moment);
        if place.vcenter.ctl("state") == before {
            place.run(&words).ends(0);
        } else {
            // Its last settings had come through: it is what a run that was not killed makes.
            whole += 1;
        }
        assert!(fs::read(place.disk_file("back", 2000)).unwrap() == disk, "{moment:?}");
        assert_eq!(place.vcenter.ctl("poweron?vm=back")["nvram"], "original", "{moment:?}");
        place.vcenter.ctl("poweroff?vm=back");
        destroy(&place, "back");
        assert_eq!(place.vcenter.ctl("state"), before, "{moment:?}");
    }
    let after_settings = calls.iter().rev().position(|call| call == "ReconfigVM_Task").unwrap();
    assert_eq!(whole, after_settings + 1, "after the last settings and before each call that follows them: {calls:?}");
    assert_every_line(&seen, &["intended create_vm", "made ", "kept "], "");
}

fn destroy(place: &VsphereSite, vm: &str) {
    let session = session(place);
    destroy_vm(&session, &find_vm(&session, vm).unwrap().vm).unwrap();
}

fn session(place: &VsphereSite) -> Session {
    let vcenter = &place.vcenter;
    let endpoint = format!("{}:{}", vcenter.host, vcenter.port).parse().unwrap();
    let credentials = Credentials { user: vcenter.user.clone(), password: Password::new(vcenter.password.clone()) };
    Session::login(endpoint, vcenter.sha256.parse().unwrap(), credentials, SessionPace::default()).unwrap()
}

#[test]
fn what_vcenter_still_makes_for_a_killed_run_is_waited_for_and_undone() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let before = place.vcenter.ctl("state");
    for (method, words, told) in [
        ("CreateSnapshot_Task", &["backup", "enc01"][..], "snapshot \"strongroom "),
        ("CreateVM_Task", &["restore", "enc01", "--name", "back"], "half-made VM \"back\""),
    ] {
        place.vcenter.ctl(&format!("slow?method={method}&ms=4000"));
        place.vcenter.ctl("calls?clear=true");
        let running = place.start(words);
        wait_for(method, || place.vcenter.calls().iter().any(|call| call == method).then_some(()));
        thread::sleep(Duration::from_millis(200));
        running.signal(Signal::KILL);
        running.end();
        assert_eq!(place.vcenter.ctl("state"), before, "it has not come yet");
        let cleaned = place.json(&["cleanup", "--yes"], 0);
        let undone = cleaned["undone"].as_array().unwrap();
        assert!(undone.len() == 1 && undone[0].as_str().unwrap().starts_with(told), "{cleaned}");
        assert_eq!(place.vcenter.ctl("state"), before, "{method}");
        assert_eq!(journals(&place), Vec::<PathBuf>::new());
    }
}

/// Processes that a run has started: VMware's library.
fn helpers_of(running: &Running) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let about = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = about.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        parent == Some(&running.id().to_string()) && is_helper(*id)
    })
    .collect()
}

fn is_helper(id: i32) -> bool {
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.windows(11).any(|word| word == b"vddk-helper"))
}

/// Kills the helper of a run while it reads, so many times.
fn kill_helpers(running: &Running, times: usize) {
    let mut killed = BTreeSet::new();
    while killed.len() < times {
        let id = wait_for("a helper", || helpers_of(running).into_iter().find(|id| !killed.contains(id)));
        // Until it has opened the disk and reads.
        thread::sleep(Duration::from_millis(1500));
        let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
        killed.insert(id);
    }
}

#[test]
fn a_helper_that_is_killed_is_started_once_more_and_the_second_time_costs_its_vm_only() {
    let Some(place) = VsphereSite::new() else { return };
    let root = place.vcenter.datastore("ds1");
    place.library.set_over(&root, "delay_ms = 700\n");
    let running = place.start(&["backup", "enc01"]);
    kill_helpers(&running, 1);
    running.end().ends(0);
    place.site.run(&["verify", "--read-data"]).ends(0);

    let running = place.start(&["backup", "enc01", "clear01", "--read-all"]);
    kill_helpers(&running, 2);
    let ended = running.end();
    for words in ["enc01", "disk0", "the VDDK helper ended by signal 9; restarted once, ended again"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    assert!(matches!(ended.code, 1 | 3), "{}: {}", ended.code, ended.stderr);
    let names: Vec<Value> =
        place.site.json(&["list"])["points"].as_array().unwrap().iter().map(|point| point["vm"].clone()).collect();
    assert!(names.contains(&json!("clear01")), "the next VM is backed up all the same: {names:?}");
    for vm in ["enc01", "clear01"] {
        assert_eq!(place.vcenter.info(vm)["snapshots"], json!([]));
    }
}

#[test]
fn a_helper_does_not_outlive_its_program() {
    let Some(place) = VsphereSite::new() else { return };
    place.library.set_over(&place.vcenter.datastore("ds1"), "delay_ms = 700\n");
    let running = place.start(&["backup", "enc01"]);
    let helper = wait_for("a helper", || helpers_of(&running).pop());
    thread::sleep(Duration::from_millis(1500));
    running.signal(Signal::KILL);
    running.end();
    let begun = Instant::now();
    wait_for("the helper's end", || (!is_helper(helper)).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
