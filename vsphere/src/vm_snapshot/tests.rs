use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{
    soap::test_server::Reply,
    stop::Stop,
    test_session::{begun, found, object, property, session, task, vm},
};

fn tag() -> SnapshotTag {
    SnapshotTag { repository: "7f3c".to_owned(), run: "r-1".to_owned(), host: "backup 1".to_owned() }
}

fn node(moref: &str, description: &str, children: &str) -> String {
    format!(
        "<snapshot type=\"VirtualMachineSnapshot\">{moref}</snapshot><name>n</name><description>{description}</description>\
         <createTime>2026-11-24T0{}:00:00Z</createTime>{children}",
        moref.len() % 10
    )
}

/// A snapshot of somebody else, and below it one of ours.
fn tree() -> String {
    let ours = node("snapshot-12", &tag().description(), "");
    let theirs = node("snapshot-3", "before the upgrade", &format!("<childSnapshotList>{ours}</childSnapshotList>"));
    property("snapshot", &format!("<rootSnapshotList>{theirs}</rootSnapshotList>"))
}

fn snapshot(moref: &str) -> ManagedObject {
    ManagedObject::new("VirtualMachineSnapshot", moref)
}

#[test]
fn a_tag_is_read_back_and_nothing_else_is_taken_for_one() {
    assert_eq!(tag().description(), "repo=7f3c run=r-1 host=backup_1");
    let read = SnapshotTag::of_description(&tag().description()).unwrap();
    assert_eq!((read.repository.as_str(), read.run.as_str(), read.host.as_str()), ("7f3c", "r-1", "backup_1"));
    for other in [
        "",
        "repo=a run=b",
        "repo=a run=b host=",
        "repo=a run=b host=c d",
        "x repo=a run=b host=c",
        "run=b repo=a host=c",
    ] {
        assert_eq!(SnapshotTag::of_description(other), None, "{other}");
    }
}

#[test]
fn ours_are_found_below_those_of_others() {
    let (_server, session) = session(|_, _, _| found(&object("VirtualMachine", "vm-16", &tree())));
    let ours = our_snapshots(&session, &vm()).unwrap();
    assert_eq!(ours.iter().map(|ours| ours.snapshot.moref()).collect::<Vec<_>>(), ["snapshot-12"]);
}

#[test]
fn a_snapshot_of_somebody_else_is_not_touched() {
    let (server, session) = session(|_, _, _| found(&object("VirtualMachine", "vm-16", &tree())));
    let other_run = SnapshotTag { run: "r-2".to_owned(), ..tag() };
    for (moref, tag) in [("snapshot-3", tag()), ("snapshot-12", other_run)] {
        let error = remove_snapshot(&session, &vm(), &snapshot(moref), &tag).unwrap_err();
        assert!(matches!(error, SnapshotError::NotOurs { .. }), "{error}");
    }
    assert_eq!(remove_snapshot(&session, &vm(), &snapshot("snapshot-99"), &tag()).unwrap(), Removed::Before);
    assert_eq!(server.count("RemoveSnapshot_Task"), 0);
}

#[test]
fn removing_takes_no_children_along() {
    let (server, session) = session(|call, _, seen| match call {
        "RemoveSnapshot_Task" => begun(call),
        _ if seen.text().contains("task-7") => task("success", ""),
        _ => found(&object("VirtualMachine", "vm-16", &tree())),
    });
    assert_eq!(remove_snapshot(&session, &vm(), &snapshot("snapshot-12"), &tag()).unwrap(), Removed::Now);
    let sent = "snapshot-12</_this><removeChildren>false</removeChildren><consolidate>true</consolidate>";
    assert!(server.seen().iter().any(|seen| seen.text().contains(sent)));
}

#[test]
fn a_lost_answer_is_looked_after_and_no_second_snapshot_is_made() {
    let (server, session) = session(|call, _, seen| match call {
        "CreateSnapshot_Task" => Reply::HangUp,
        _ if seen.text().contains("recentTask") => found(&object("VirtualMachine", "vm-16", "")),
        _ => found(&object("VirtualMachine", "vm-16", &tree())),
    });
    assert_eq!(create_snapshot(&session, &vm(), &tag(), Quiesce::No).unwrap(), snapshot("snapshot-12"));
    assert_eq!(server.count("CreateSnapshot_Task"), 1);
}

#[test]
fn a_guest_that_cannot_be_brought_to_a_rest_is_told_apart() {
    let (server, session) = session(|call, _, _| match call {
        "CreateSnapshot_Task" => begun(call),
        _ => task(
            "error",
            &property(
                "info.error",
                "<fault xsi:type=\"FilesystemQuiesceFault\"/><localizedMessage>no</localizedMessage>",
            ),
        ),
    });
    let error = create_snapshot(&session, &vm(), &tag(), Quiesce::FileSystem).unwrap_err();
    assert!(matches!(error, SnapshotError::NotQuiesced(_)));
    assert_eq!(error.to_string(), "file-system quiescing failed (FilesystemQuiesceFault: no)");
    let sent = "<name>strongroom r-1</name><description>repo=7f3c run=r-1 host=backup_1</description><memory>false</memory><quiesce>true</quiesce>";
    assert!(server.seen().iter().any(|seen| seen.text().contains(sent)));
}

#[test]
fn a_lost_answer_after_which_the_vm_cannot_be_looked_at_says_that_nobody_knows() {
    let (_server, session) = session(|call, _, seen| match call {
        "CreateSnapshot_Task" => Reply::HangUp,
        _ if seen.text().contains("recentTask") => found(&object("VirtualMachine", "vm-16", "")),
        _ => Reply::fault("NoPermission", "no"),
    });
    let error = create_snapshot(&session, &vm(), &tag(), Quiesce::No).unwrap_err();
    assert!(matches!(error, SnapshotError::Lost(_)), "{error}");
}

#[test]
fn a_snapshot_is_not_begun_and_not_waited_for_when_the_run_is_to_end() {
    let (server, session) = session(|call, _, _| match call {
        "CreateSnapshot_Task" => begun(call),
        _ => task("running", ""),
    });
    let asked = Arc::new(AtomicBool::new(false));
    let (read, after_begun) = (Arc::clone(&asked), server.seen().len());
    let session = session.stopping(Stop::when(move || read.load(Ordering::Relaxed)));
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        asked.store(true, Ordering::Relaxed);
    });
    let error = create_snapshot(&session, &vm(), &tag(), Quiesce::No).unwrap_err();
    stopper.join().unwrap();
    assert!(matches!(error, SnapshotError::Lost(_)), "{error}");
    assert!(error.to_string().contains("interrupted, and vCenter goes on with Task:task-7"), "{error}");
    assert!(server.seen().len() > after_begun);

    let error = create_snapshot(&session, &vm(), &tag(), Quiesce::No).unwrap_err();
    assert!(matches!(error, SnapshotError::Interrupted), "{error}");
    assert_eq!((error.kind(), server.count("CreateSnapshot_Task")), (Kind::Interrupted, 1));
}
