//! What goes wrong in a vCenter while a VM is backed up or brought back: a run goes on, or ends as it says, and leaves nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use engine::{BackupOptions, Kind, OnBad, Silent};
use repo_format::{Compression, Consistency};
use rustix::process::Signal;
use serde_json::json;
use strongroom_tests::{Run, VsphereSite, files_below, is_same, open_for_writing, program};
use vsphere::{
    Credentials, Password, Session, SessionPace,
    backup::{
        Note, QuiesceWish, Reader, TrackingWish, Unquiet, VmBackupError, VmBackupOptions, VmBackupReport, WatchLimits,
        back_up_vm,
    },
    find_vm,
    transport::Proxy,
    vddk::Launch,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `is` holds.
#[track_caller]
fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

/// All these words are in what a run says to people.
#[track_caller]
fn says(run: &Run, words: &[&str]) {
    for word in words {
        assert!(run.stderr.contains(word), "{}: {word:?} is not in\n{}", run.line, run.stderr);
    }
}

/// No snapshot, no journal, nothing for a cleanup.
#[track_caller]
fn assert_nothing_is_left(place: &VsphereSite, vm: &str) {
    assert_eq!(place.vcenter.info(vm)["snapshots"], json!([]));
    let journals = files_below(&place.site.path("state"));
    assert!(!journals.iter().any(|file| file.extension().is_some_and(|ending| ending == "journal")), "{journals:?}");
}

fn points(place: &VsphereSite) -> usize {
    place.site.json(&["list"])["points"].as_array().unwrap().len()
}

#[test]
fn a_session_that_ends_in_the_middle_is_begun_again_wherever_that_is() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    for call in [
        "CreateSnapshot_Task",
        "PbmQueryAssociatedProfile",
        "QueryCryptoKeyStatus",
        "QueryChangedDiskAreas",
        "GET",
        "RemoveSnapshot_Task",
    ] {
        place.vcenter.ctl(&format!("when?method={call}&then=expire"));
        place.vcenter.ctl("calls?clear=true");
        place.run(&["backup", "enc01"]).ends(0);
        let logins = place.vcenter.calls().iter().filter(|call| *call == "Login").count();
        assert_eq!(logins, 2, "{call}");
        assert_nothing_is_left(&place, "enc01");
    }
    for call in ["CreateVM_Task", "PUT", "ReconfigVM_Task"] {
        place.vcenter.ctl(&format!("when?method={call}&then=expire"));
        place.run(&["restore", "enc01", "--name", &format!("back-{call}")]).ends(0);
        assert_eq!(place.vcenter.ctl(&format!("poweron?vm=back-{call}"))["nvram"], "original");
    }
}

#[test]
fn a_vcenter_that_restarts_while_a_task_goes_on_or_disks_are_read_is_waited_for() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("slow?method=CreateSnapshot_Task&ms=3000");
    let running = place.start(&["backup", "enc01"]);
    wait_for("the task", || place.vcenter.calls().iter().any(|call| call == "CreateSnapshot_Task"));
    place.vcenter.ctl("restart?ms=1500");
    running.end().ends(0);

    place.library.set_over(&place.vcenter.datastore("ds1"), "delay_ms = 300\n");
    let running = place.start(&["backup", "enc01", "--read-all"]);
    wait_for("the snapshot", || place.vcenter.info("enc01")["snapshots"] != json!([]));
    thread::sleep(Duration::from_millis(500));
    place.vcenter.ctl("restart?ms=1500");
    running.end().ends(0);
    assert_nothing_is_left(&place, "enc01");
    assert_eq!(points(&place), 2);
}

#[test]
fn a_vcenter_that_is_away_when_the_snapshot_should_go_costs_the_snapshot_only() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("hold?method=RemoveSnapshot_Task");
    let running = place.start(&["backup", "enc01"]);
    wait_for("the removal", || place.vcenter.ctl("held") != json!([]));
    place.vcenter.ctl("restart?ms=9000");
    let ended = running.end().ends(3);
    says(&ended, &["enc01: snapshot \"strongroom ", "could not be removed", "strongroom vsphere cleanup"]);
    assert_eq!(points(&place), 1);
    let cleaned = place.json(&["cleanup", "--yes"], 0);
    assert_eq!(cleaned["undone"].as_array().unwrap().len(), 1, "{cleaned}");
    assert_nothing_is_left(&place, "enc01");
}

#[test]
fn a_snapshot_that_cannot_be_removed_does_not_undo_the_point_and_is_tried_again_by_every_run() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("fail?method=RemoveSnapshot_Task&fault=GenericVmConfigFault&text=The%20disk%20is%20locked&n=3");
    let ended = place.run(&["backup", "enc01"]).ends(3);
    says(
        &ended,
        &[
            "enc01: snapshot \"strongroom ",
            "could not be removed (RemoveSnapshot_Task on VirtualMachineSnapshot:",
            "The disk is locked",
            "strongroom vsphere cleanup",
        ],
    );
    assert_eq!(points(&place), 1);
    // Still locked: the cleanup says so, and the next night backs up beside it.
    let left = place.json(&["cleanup", "--yes"], 3);
    assert_eq!((&left["undone"], left["left"].as_array().unwrap().len()), (&json!([]), 2), "{left}");
    assert!(left["left"].to_string().contains("The disk is locked"), "{left}");
    let next = place.json(&["backup", "enc01"], 0);
    assert_eq!(next["undone"].as_array().unwrap().len(), 1, "{next}");
    assert_eq!(points(&place), 2);
    assert_nothing_is_left(&place, "enc01");
}

#[test]
fn a_vm_that_is_busy_is_waited_for() {
    let Some(place) = VsphereSite::new() else { return };
    for method in ["CreateSnapshot_Task", "RemoveSnapshot_Task"] {
        place.vcenter.ctl(&format!("fail?method={method}&fault=TaskInProgress&n=1"));
        place.run(&["backup", "enc01"]).ends(0);
        assert_nothing_is_left(&place, "enc01");
    }
}

#[test]
fn a_host_that_does_not_answer_fails_its_vm_and_no_other() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("fail?method=CreateSnapshot_Task&fault=HostNotConnected&n=1");
    let ended = place.run(&["backup", "enc01", "clear01"]).ends(6);
    says(&ended, &["enc01", "HostNotConnected"]);
    assert_eq!(points(&place), 1, "clear01");
    place.vcenter.ctl("config?vm=enc01&connection=disconnected");
    place.run(&["backup", "enc01"]).fails(6, &["enc01", "its host does not answer (connection state disconnected)"]);
    for vm in ["enc01", "clear01"] {
        assert_nothing_is_left(&place, vm);
    }
}

#[test]
fn a_stretch_that_cannot_be_read_is_told_and_the_next_night_reads_everything_again() {
    let Some(place) = VsphereSite::new() else { return };
    let root = place.vcenter.datastore("ds1");
    place.run(&["backup", "clear01"]).ends(0);
    place.library.set_over(&root, "fail = [\"Read:16@2048\"]\n");
    let refused = place.run(&["backup", "clear01", "--read-all", "--on-bad", "fail"]).ends(1);
    says(&refused, &["clear01", "disk0", "VDDK error 16 (The file read failed)"]);
    assert_eq!(points(&place), 1);
    let ended = place.run(&["backup", "clear01", "--read-all"]).ends(3);
    says(&ended, &["disk0", "VDDK error 16 (The file read failed)"]);
    assert_eq!(points(&place), 2);
    place.library.set_over(&root, "");
    let run = place.json(&["backup", "clear01"], 0)["runs"][0].clone();
    let disk = &run["backup"]["disks"][0];
    assert_eq!(disk["read"], json!("whole"), "a point with a hole in it is no base: {run}");
    assert_nothing_is_left(&place, "clear01");
}

#[test]
fn a_key_that_cannot_be_had_today_is_told_and_hinders_no_backup() {
    let Some(place) = VsphereSite::new() else { return };
    place.vcenter.ctl("kms?up=false&id=kms-prod");
    let down = place.run(&["backup", "enc01"]).ends(3);
    says(
        &down,
        &[
            "enc01: key kms-prod/key-enc01: key provider kms-prod is not reachable",
            "a same-keys restore would fail today",
        ],
    );
    place.vcenter.ctl("kms?up=true&id=kms-prod");
    place.run(&["backup", "enc01"]).ends(0);
    place.vcenter.ctl("losekey?id=kms-prod/key-enc01");
    let lost = place.run(&["backup", "enc01"]).ends(3);
    says(
        &lost,
        &[
            "enc01: key kms-prod/key-enc01: key provider kms-prod does not have it any more",
            "a same-keys restore would fail today",
        ],
    );
    assert_eq!(points(&place), 3);
    place.run(&["backup", "clear01"]).ends(0);
}

#[test]
fn a_wait_for_a_task_ends_when_somebody_wants_the_run_to_end() {
    let Some(place) = VsphereSite::new() else { return };
    place.run(&["backup", "enc01"]).ends(0);
    let before = place.vcenter.ctl("state");
    for (signal, code, method, words) in [
        (Signal::TERM, 143, "CreateSnapshot_Task", &["backup", "enc01", "clear01"][..]),
        (Signal::INT, 130, "CreateVM_Task", &["restore", "enc01", "--name", "back"]),
    ] {
        place.vcenter.ctl(&format!("slow?method={method}&ms=6000"));
        place.vcenter.ctl("calls?clear=true");
        let running = place.start(words);
        wait_for(method, || place.vcenter.calls().iter().any(|call| call == method));
        thread::sleep(Duration::from_millis(300));
        running.signal(signal);
        let begun = Instant::now();
        let ended = running.end().ends(code);
        says(&ended, &["interrupted, and vCenter goes on with"]);
        // A snapshot is left to the cleanup; a VM that comes soon is destroyed by the run itself.
        let is_soon = begun.elapsed() < Duration::from_secs(4);
        assert_eq!(is_soon, method == "CreateSnapshot_Task", "{:?}", begun.elapsed());
        place.json(&["cleanup", "--yes"], 0);
        assert_eq!(place.vcenter.ctl("state"), before, "{method}");
        assert_nothing_is_left(&place, "enc01");
    }
}

#[test]
fn a_snapshot_is_removed_when_somebody_wants_the_run_to_end_while_disks_are_read() {
    let Some(place) = VsphereSite::new() else { return };
    place.library.set_over(&place.vcenter.datastore("ds1"), "delay_ms = 300\n");
    let running = place.start(&["backup", "enc01"]);
    wait_for("the snapshot", || place.vcenter.info("enc01")["snapshots"] != json!([]));
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::TERM);
    running.end().ends(143);
    assert_nothing_is_left(&place, "enc01");
    assert_eq!(points(&place), 0);
}

#[test]
fn a_snapshot_that_fills_its_datastore_or_grows_old_is_given_up() {
    let Some(place) = VsphereSite::new() else { return };
    let full = "datastore?name=ds1&capacity=1000000&free=49999";
    let words = ["enc01", "datastore ds1 has 49999 of 1000000 bytes free, less than 5 %", "--datastore-free-min"];
    place.vcenter.ctl(full);
    place.vcenter.ctl("calls?clear=true");
    place.run(&["backup", "enc01"]).fails(6, &words);
    assert!(!place.vcenter.calls().iter().any(|call| call == "CreateSnapshot_Task"), "none is made");
    place.run(&["backup", "enc01", "--datastore-free-min", "4%"]).ends(0);

    place.vcenter.ctl("datastore?name=ds1&free=500000");
    let then = full.replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
    place.vcenter.ctl(&format!("when?method=CreateSnapshot_Task&then={then}"));
    place.library.set_over(&place.vcenter.datastore("ds1"), "delay_ms = 300\n");
    place.run(&["backup", "enc01", "--read-all"]).fails(6, &words);
    assert_nothing_is_left(&place, "enc01");

    place.vcenter.ctl("datastore?name=ds1&free=500000");
    let old = ["enc01", "its snapshot has been there for 1 s, and at most 1 s are allowed", "--snapshot-age-max"];
    place.run(&["backup", "enc01", "--read-all", "--snapshot-age-max", "1s"]).fails(6, &old);
    assert_nothing_is_left(&place, "enc01");
    assert_eq!(points(&place), 1);
}

/// Backs up in this process, where pauses can be short.
fn back_up_here(
    place: &VsphereSite,
    vm: &str,
    unquiet: Unquiet,
    notes: &mut Vec<Note>,
) -> Result<VmBackupReport, VmBackupError> {
    let vcenter = &place.vcenter;
    let endpoint = format!("{}:{}", vcenter.host, vcenter.port).parse().unwrap();
    let credentials = Credentials { user: vcenter.user.clone(), password: Password::new(vcenter.password.clone()) };
    let session = Session::login(endpoint, vcenter.sha256.parse().unwrap(), credentials, SessionPace::default());
    let session = session.unwrap();
    let options = VmBackupOptions {
        quiesce: QuiesceWish::FileSystem,
        unquiet,
        quiesce_pause: Duration::from_millis(5),
        watch: WatchLimits::default(),
        tracking: TrackingWish::SwitchOn,
        audit: engine::AuditShare::default(),
        transports: "nbdssl".parse().unwrap(),
        proxy: Proxy::Elsewhere,
        reader: Reader::Vddk(
            Launch::new(place.library.libdir()).program(program()).away_pause(Duration::from_millis(5)),
        ),
        engine: BackupOptions { threads: 1, compression: Compression::Zstd(1), on_bad: OnBad::Keep },
        tag: None,
        hold: None,
    };
    let vm = find_vm(&session, vm).unwrap();
    back_up_vm(&mut open_for_writing(&place.site), &session, &vm, &options, &Silent, notes)
}

#[test]
fn a_guest_that_cannot_be_made_quiet_is_asked_three_times_then_taken_as_it_is_or_not_at_all() {
    let Some(place) = VsphereSite::new() else { return };
    let asked = || place.vcenter.calls().iter().filter(|call| *call == "CreateSnapshot_Task").count();
    let fail = |times: usize| {
        let fault = "fault=FilesystemQuiesceFault&text=The%20guest%20does%20not%20answer";
        place.vcenter.ctl("calls?clear=true");
        place.vcenter.ctl(&format!("fail?method=CreateSnapshot_Task&n={times}&{fault}"));
    };
    let mut notes = Vec::new();
    fail(2);
    let report = back_up_here(&place, "enc01", Unquiet::BackUp, &mut notes).unwrap();
    assert_eq!((report.consistency, asked()), (Consistency::FileSystem, 3), "{notes:?}");

    fail(3);
    let report = back_up_here(&place, "enc01", Unquiet::BackUp, &mut notes).unwrap();
    assert_eq!((report.consistency, asked()), (Consistency::Crash, 4));
    let text = "enc01: file-system quiescing failed 3 times (FilesystemQuiesceFault: The guest does not answer); \
                this point is crash-consistent";
    assert!(notes.iter().any(|note| note.text == text), "{notes:?}");

    fail(3);
    let error = back_up_here(&place, "enc01", Unquiet::Fail, &mut notes).unwrap_err();
    assert!(error.to_string().contains("enc01: file-system quiescing failed (FilesystemQuiesceFault"), "{error}");
    assert_eq!((error.kind(), asked()), (Kind::Failed, 3));
    assert_nothing_is_left(&place, "enc01");
    assert_eq!(points(&place), 2);
}

#[test]
fn a_host_that_enters_maintenance_is_asked_five_times_until_its_vm_is_elsewhere() {
    let Some(place) = VsphereSite::new() else { return };
    let root = place.vcenter.datastore("ds1");
    let mut notes = Vec::new();
    for code in [14009, 14014, 14015] {
        place.library.set_over(&root, &format!("fail = [\"Open:{code}\"]\ntimes = 4\n"));
        back_up_here(&place, "enc01", Unquiet::BackUp, &mut notes).unwrap();
    }
    place.library.set_over(&root, "fail = [\"Open:14014\"]\ntimes = 5\n");
    let error = back_up_here(&place, "enc01", Unquiet::BackUp, &mut notes).unwrap_err();
    assert!(error.to_string().contains("enc01 disk0: open failed: VDDK error 14014"), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.hint().unwrap().contains("entering maintenance"), "{:?}", error.hint());
    // Any other error is no reason to ask again.
    place.library.set_over(&root, "fail = [\"Open:4\"]\ntimes = 1\n");
    back_up_here(&place, "enc01", Unquiet::BackUp, &mut notes).unwrap_err();
    assert_nothing_is_left(&place, "enc01");
}

#[test]
fn a_vm_with_more_disks_than_its_host_has_buffers_for_is_read_a_few_disks_at_a_time() {
    let Some(place) = VsphereSite::new() else { return };
    let sizes = ["4"; 10].join(",");
    place.vcenter.ctl(&format!("addvm?name=many&disks={sizes}"));
    let root = place.vcenter.datastore("ds1");
    let disks = place.vcenter.info("many")["disks"].as_array().unwrap().clone();
    let keys: Vec<u64> = disks.iter().map(|disk| disk["key"].as_u64().unwrap()).collect();
    // 8 are never exceeded; with room for 3 the number is halved, twice.
    for most in [8, 3, 1] {
        place.library.set_over(&root, &format!("max_open = {most}\n"));
        place.run(&["backup", "many", "--read-all"]).ends(0);
        let targets: Vec<_> = (0..10).map(|number| (number, place.site.fresh("back.img"))).collect();
        let to: Vec<String> = targets.iter().map(|(number, path)| format!("disk{number}={}", path.display())).collect();
        let words = to.iter().flat_map(|to| ["--disk", to.as_str()]);
        place.site.run(&["restore", "many"].into_iter().chain(words).collect::<Vec<_>>()).ends(0);
        for ((number, path), key) in targets.iter().zip(&keys) {
            assert!(is_same(path, &place.disk_file("many", *key)), "{most}: disk{number}");
        }
    }
    place.library.set_over(&root, "max_open = 0\n");
    let words = ["many disk0: open failed: VDDK error 2 (Memory allocation failed", "the host has no buffers left"];
    place.run(&["backup", "many"]).fails(6, &words);
    assert_nothing_is_left(&place, "many");
}
