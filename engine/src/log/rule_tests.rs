//! SPEC.md section 17, row by row: each record where it holds and where it is void.

use repo_format::{
    AddedSlot, AttemptId, Checkpoint, ChunkId, Class, Commit, Completeness, Condemn, Damaged, Delete, Digest,
    EntryHeader, Forget, Hold, KeyChange, LogEntry, Moved, NewPack, Open, Orphan, PackName, PackOrdinal, Pin, Record,
    RepositoryId, SessionId, SlotId, Swept, Verified, VerifiedHow, VmIdentity,
};

use super::{PackStatus, SessionStatus, State};

fn session(fill: u8) -> SessionId {
    SessionId::from_bytes([fill; 16])
}

fn slot(fill: u8) -> SlotId {
    SlotId::from_bytes([fill; 16])
}

fn point(fill: u8) -> ChunkId {
    ChunkId::from_bytes([fill; 32])
}

fn pack(fill: u8) -> PackName {
    PackName::from_bytes([fill; 32])
}

fn new(fill: u8) -> NewPack {
    NewPack { name: pack(fill), class: Class::Data, bytes: 4096 }
}

fn vm(name: &str) -> VmIdentity {
    VmIdentity::named(name).unwrap()
}

fn ordinals(numbers: &[u32]) -> Vec<PackOrdinal> {
    numbers.iter().copied().map(PackOrdinal).collect()
}

fn open(fill: u8) -> Record {
    open_adopting(fill, &[])
}

fn open_adopting(fill: u8, adopts: &[u8]) -> Record {
    Record::Open(Open {
        session: session(fill),
        host: Some("host".to_owned()),
        adopts: adopts.iter().copied().map(session).collect(),
        slot: Some(slot(1)),
        program_version: None,
    })
}

fn close(fill: u8) -> Record {
    Record::Close { session: session(fill) }
}

fn fence(fill: u8) -> Record {
    Record::Fence { session: session(fill) }
}

/// Session 1 commits point `fill` of VM `name`.
fn commit(name: &str, number: u64, previous: Option<u8>, fill: u8, new_packs: &[u8], uses: &[u32]) -> Record {
    Record::Commit(Commit {
        session: session(1),
        vm_name: Some(name.to_owned()),
        vm: vm(name),
        completeness: Some(Completeness::Whole),
        number,
        previous: previous.map(point),
        point: point(fill),
        new_packs: new_packs.iter().copied().map(new).collect(),
        uses: ordinals(uses),
    })
}

fn moved(by: u8, new_packs: &[u8], from: &[u32]) -> Record {
    let new_packs = new_packs.iter().copied().map(new).collect();
    Record::Moved(Moved { session: session(by), new_packs, from: ordinals(from) })
}

fn pin(by: u8, fill: u8) -> Record {
    Record::Pin(Pin { session: session(by), point: point(fill) })
}

fn forget(points: &[u8]) -> Record {
    Record::Forget(Forget { points: points.iter().copied().map(point).collect(), reason: None })
}

fn hold(fill: u8) -> Record {
    Record::Hold(Hold { point: point(fill), reason: "audit".to_owned(), until_ms: None })
}

fn release(fill: u8) -> Record {
    Record::Release { point: point(fill) }
}

fn condemn(packs: &[u32]) -> Record {
    Record::Condemn(Condemn { packs: ordinals(packs) })
}

fn delete(packs: &[u32], orphans: &[(u8, u8)]) -> Record {
    let orphan = |(name, owner): &(u8, u8)| Orphan { pack: pack(*name), owner: session(*owner) };
    Record::Delete(Delete { packs: ordinals(packs), orphans: orphans.iter().map(orphan).collect() })
}

fn damaged(packs: &[u32]) -> Record {
    Record::Damaged(Damaged { packs: ordinals(packs), reason: None })
}

fn verified(packs: &[u32]) -> Record {
    Record::Verified(Verified { packs: ordinals(packs), how: VerifiedHow::Contents, slot: Some(slot(1)) })
}

fn swept(packs: &[u32]) -> Record {
    Record::Swept(Swept { packs: ordinals(packs), orphans: Vec::new() })
}

fn key_change(added: &[u8], revoked: &[u8]) -> Record {
    let added =
        added.iter().map(|fill| AddedSlot { slot: slot(*fill), digest: Digest::from_bytes([*fill; 32]) }).collect();
    Record::KeyChange(KeyChange { added, revoked: revoked.iter().copied().map(slot).collect(), new_epoch: None })
}

fn epoch(new_epoch: u32) -> Record {
    Record::KeyChange(KeyChange { new_epoch: Some(new_epoch), ..KeyChange::default() })
}

/// Applies one entry; gives whether any of it was void.
fn apply(state: &mut State, number: u64, records: &[Record]) -> bool {
    let header = EntryHeader {
        epoch: 1,
        repository: RepositoryId::from_bytes([0; 16]),
        number,
        previous: Digest::from_bytes([0; 32]),
        checkpoint: 0,
        attempt: AttemptId::from_bytes([0; 16]),
    };
    !state.apply(&LogEntry { header, time_ms: number * 1000, records: records.to_vec() }).is_empty()
}

/// Slot 1; sessions 1 open, 2 closed, 3 fenced, 4 adopted by 5, which is open; VM `a` with live point 1 (packs #0, #1)
/// and 2 (pack #2, uses #0), pack #3 by Moved; point 3 of VM `b`, forgotten; orphan pack 90 deleted.
fn state() -> State {
    let mut state = State::new();
    let entries: [&[Record]; 9] = [
        &[key_change(&[1], &[])],
        &[open(1), open(2), open(3), open(4)],
        &[close(2), fence(3), open_adopting(5, &[4])],
        &[commit("a", 1, None, 1, &[10, 11], &[])],
        &[commit("a", 2, Some(1), 2, &[12], &[0])],
        &[moved(1, &[13], &[1])],
        &[commit("b", 1, None, 3, &[], &[0])],
        &[forget(&[3])],
        &[delete(&[], &[(90, 2)])],
    ];
    for (number, records) in (1..).zip(entries) {
        assert!(!apply(&mut state, number, records), "entry {number}");
    }
    state
}

/// Applies `before` (none of it void), then `record`: void or not as said. A void record changes nothing.
#[track_caller]
fn check(before: &[Record], record: Record, is_void: bool) -> State {
    let mut state = state();
    assert!(!apply(&mut state, 10, before), "a record before is void");
    let unchanged = state.clone();
    assert_eq!(apply(&mut state, 11, std::slice::from_ref(&record)), is_void, "{record:?}");
    if is_void {
        assert_eq!(state, unchanged, "{record:?}");
    }
    state
}

#[track_caller]
fn holds(before: &[Record], record: Record) -> State {
    check(before, record, false)
}

#[track_caller]
fn void(before: &[Record], record: Record) {
    check(before, record, true);
}

#[test]
fn open_wants_a_new_session_and_adopts_open_ones_only() {
    let state = holds(&[], open(6));
    assert_eq!(state.session(&session(6)).unwrap().status, SessionStatus::Open);
    for known in 1..=5 {
        void(&[], open(known));
    }
    holds(&[], open_adopting(6, &[1, 5]));
    for ended in [2, 3, 4, 99] {
        void(&[], open_adopting(6, &[1, ended]));
    }
    void(&[], open_adopting(6, &[6]));
}

#[test]
fn an_adoption_ends_the_session_and_its_pins_and_packs_follow_it() {
    let state = holds(&[pin(1, 1), open_adopting(6, &[5])], open_adopting(7, &[1, 6]));
    assert_eq!(state.session(&session(1)).unwrap().status, SessionStatus::Adopted(session(7)));
    assert!(state.session(&session(1)).unwrap().pins.is_empty());
    assert_eq!(state.final_owner(&session(4)), Some(session(7)));
    assert_eq!(state.final_owner(&session(2)), Some(session(2)));
    assert_eq!(state.final_owner(&session(99)), None);
    let open: Vec<SessionId> = state.open_sessions().map(|(id, _)| *id).collect();
    assert_eq!(open, [session(7)]);
}

#[test]
fn commit_and_moved_want_an_open_session() {
    for end in [close(1), fence(1), open_adopting(6, &[1])] {
        void(std::slice::from_ref(&end), commit("c", 1, None, 9, &[20], &[]));
        void(std::slice::from_ref(&end), moved(1, &[20], &[]));
    }
    void(&[], moved(99, &[20], &[]));
}

#[test]
fn new_packs_are_neither_registered_nor_deleted_nor_twice_in_the_record() {
    for record in [|packs: &[u8]| commit("c", 1, None, 9, packs, &[]), |packs: &[u8]| moved(1, packs, &[])] {
        holds(&[], record(&[20, 21]));
        void(&[], record(&[20, 20]));
        void(&[], record(&[20, 10]));
        void(&[], record(&[13]));
        void(&[], record(&[90]));
        void(&[condemn(&[0]), delete(&[0], &[])], record(&[10]));
        void(&[delete(&[], &[(20, 3)])], record(&[20]));
    }
}

#[test]
fn packs_get_ordinals_in_the_order_of_registration() {
    let state = holds(&[], commit("c", 1, None, 9, &[21, 20], &[3]));
    let names: Vec<PackName> = state.packs().map(|(_, pack)| pack.name).collect();
    assert_eq!(names, [10, 11, 12, 13, 21, 20].map(pack));
    assert_eq!(state.ordinal_of(&pack(20)), Some(PackOrdinal(5)));
    assert_eq!(state.pack(PackOrdinal(5)).unwrap().session, session(1));
    assert_eq!(state.pack(PackOrdinal(6)), None);
}

#[test]
fn commit_uses_usable_packs_registered_before_it() {
    let using = |uses: &[u32]| commit("c", 1, None, 9, &[20], uses);
    holds(&[], using(&[0, 1, 2, 3]));
    // #4 will be its own.
    void(&[], using(&[4]));
    void(&[condemn(&[2])], using(&[0, 2]));
    void(&[damaged(&[2])], using(&[2]));
    void(&[condemn(&[2]), delete(&[2], &[])], using(&[2]));
    // Moved may come from packs of any kind, if they are registered.
    for before in [vec![], vec![condemn(&[2])], vec![damaged(&[2])], vec![condemn(&[2]), delete(&[2], &[])]] {
        holds(&before, moved(1, &[20], &[2]));
    }
    void(&[], moved(1, &[20], &[4]));
}

#[test]
fn commit_continues_the_chain_of_its_vm() {
    holds(&[], commit("a", 3, Some(2), 9, &[], &[]));
    void(&[], commit("a", 2, Some(1), 9, &[], &[]));
    void(&[], commit("a", 3, Some(1), 9, &[], &[]));
    void(&[], commit("a", 3, None, 9, &[], &[]));
    void(&[], commit("a", 4, Some(2), 9, &[], &[]));
    void(&[], commit("a", 1, None, 9, &[], &[]));
    holds(&[], commit("c", 1, None, 9, &[], &[]));
    void(&[], commit("c", 0, None, 9, &[], &[]));
    void(&[], commit("c", 1, Some(2), 9, &[], &[]));
    // The end of a chain counts although it is forgotten.
    void(&[], commit("b", 1, None, 9, &[], &[]));
    let state = holds(&[], commit("b", 2, Some(3), 9, &[], &[]));
    assert_eq!(state.newest_of(&vm("b")).unwrap().id, point(9));
    assert_eq!(state.newest_of(&vm("b")).unwrap().time_ms, 11_000);
}

#[test]
fn a_point_is_committed_once_for_ever() {
    void(&[], commit("a", 3, Some(2), 1, &[], &[]));
    void(&[], commit("c", 1, None, 1, &[], &[]));
    void(&[], commit("b", 2, Some(3), 3, &[], &[]));
}

#[test]
fn pin_wants_an_open_session_and_a_live_point() {
    let state = holds(&[], pin(1, 2));
    assert_eq!(state.session(&session(1)).unwrap().pins, [point(2)]);
    holds(&[pin(1, 2)], pin(1, 2));
    void(&[], pin(2, 2));
    void(&[], pin(99, 2));
    void(&[], pin(1, 3));
    void(&[], pin(1, 99));
    // A pinned point may be forgotten; a forgotten one is not pinned again.
    void(&[pin(1, 2), forget(&[2])], pin(5, 2));
}

#[test]
fn close_and_fence_want_an_open_session_and_end_its_pins() {
    for (end, status) in
        [(close as fn(u8) -> Record, SessionStatus::Closed), (fence as fn(u8) -> Record, SessionStatus::Fenced)]
    {
        let state = holds(&[pin(1, 2)], end(1));
        assert_eq!(state.session(&session(1)).unwrap().status, status);
        assert!(state.session(&session(1)).unwrap().pins.is_empty());
        for ended in [2, 3, 4, 99] {
            void(&[], end(ended));
        }
    }
}

#[test]
fn forget_wants_points_that_are_live_and_not_held() {
    let state = holds(&[], forget(&[1, 2]));
    assert!(state.points().iter().all(|point| !point.is_live()));
    assert_eq!(state.newest_of(&vm("a")).unwrap().id, point(2));
    void(&[], forget(&[1, 3]));
    void(&[], forget(&[99]));
    void(&[forget(&[1])], forget(&[1]));
    void(&[hold(2)], forget(&[1, 2]));
    holds(&[hold(2), release(2)], forget(&[1, 2]));
}

#[test]
fn hold_and_release_want_a_live_point_and_release_a_held_one() {
    let state = holds(&[], hold(1));
    assert_eq!(state.point(&point(1)).unwrap().held.as_deref(), Some("audit"));
    holds(&[hold(1)], hold(1));
    void(&[], hold(3));
    void(&[], hold(99));
    let state = holds(&[hold(1)], release(1));
    assert_eq!(state.point(&point(1)).unwrap().held, None);
    void(&[], release(1));
    void(&[hold(1)], release(2));
    void(&[hold(1), release(1)], release(1));
}

#[test]
fn condemn_wants_registered_packs_neither_condemned_nor_deleted() {
    let state = holds(&[], condemn(&[0, 3]));
    assert!(!state.usable(PackOrdinal(0)) && state.usable(PackOrdinal(1)) && !state.usable(PackOrdinal(4)));
    holds(&[damaged(&[0])], condemn(&[0]));
    void(&[], condemn(&[0, 4]));
    void(&[condemn(&[0])], condemn(&[0]));
    void(&[condemn(&[0]), delete(&[0], &[])], condemn(&[0]));
}

#[test]
fn delete_wants_condemned_packs_and_orphans_whose_owner_has_ended() {
    let state = holds(&[condemn(&[0, 1])], delete(&[0, 1], &[]));
    assert_eq!(state.pack(PackOrdinal(1)).unwrap().status, PackStatus::Deleted);
    void(&[], delete(&[0], &[]));
    void(&[damaged(&[0])], delete(&[0], &[]));
    void(&[], delete(&[4], &[]));
    void(&[condemn(&[0]), delete(&[0], &[])], delete(&[0], &[]));
    for ended in [2, 3, 99] {
        holds(&[], delete(&[], &[(20, ended)]));
    }
    void(&[], delete(&[], &[(20, 1)]));
    // 4 was adopted by 5, which is open: not an orphan before 5 has ended.
    void(&[], delete(&[], &[(20, 4)]));
    holds(&[close(5)], delete(&[], &[(20, 4)]));
    void(&[open_adopting(6, &[5])], delete(&[], &[(20, 4)]));
    void(&[], delete(&[], &[(10, 2)]));
}

#[test]
fn damaged_and_verified_want_registered_packs() {
    for record in [damaged as fn(&[u32]) -> Record, verified as fn(&[u32]) -> Record] {
        holds(&[], record(&[0, 3]));
        holds(&[condemn(&[0])], record(&[0]));
        void(&[], record(&[0, 4]));
    }
    let state = holds(&[damaged(&[0])], verified(&[0]));
    assert_eq!(state.pack(PackOrdinal(0)).unwrap().status, PackStatus::Damaged);
    assert_eq!(state.slots()[&slot(1)].last_tested_ms, Some(11_000));
}

#[test]
fn damage_brings_no_condemned_or_deleted_pack_back() {
    let state = holds(&[condemn(&[0]), damaged(&[0])], delete(&[0], &[]));
    assert_eq!(state.pack(PackOrdinal(0)).unwrap().status, PackStatus::Deleted);
    void(&[condemn(&[0]), damaged(&[0])], condemn(&[0]));
    let state = holds(&[condemn(&[0]), delete(&[0], &[])], damaged(&[0]));
    assert_eq!(state.pack(PackOrdinal(0)).unwrap().status, PackStatus::Deleted);
    holds(&[condemn(&[0]), delete(&[0], &[]), damaged(&[0])], swept(&[0]));
}

#[test]
fn swept_wants_deleted_packs() {
    let state = holds(&[condemn(&[0]), delete(&[0], &[])], swept(&[0]));
    assert!(state.pack(PackOrdinal(0)).unwrap().swept);
    void(&[], swept(&[0]));
    void(&[condemn(&[0])], swept(&[0]));
    void(&[], swept(&[4]));
}

#[test]
fn key_change_adds_new_slots_revokes_present_ones_and_leaves_one() {
    let state = holds(&[], key_change(&[2, 3], &[1]));
    assert_eq!(state.slots().keys().copied().collect::<Vec<_>>(), [slot(2), slot(3)]);
    assert_eq!(state.slots()[&slot(2)].added_in, 11);
    void(&[], key_change(&[1], &[]));
    void(&[], key_change(&[2, 2], &[]));
    void(&[], key_change(&[], &[9]));
    void(&[], key_change(&[], &[1]));
    void(&[key_change(&[2], &[])], key_change(&[], &[1, 2]));
    // In one record too: what is revoked must be there before, what is added must never have been.
    void(&[], key_change(&[2], &[2]));
    void(&[], key_change(&[1], &[1]));
    void(&[key_change(&[2], &[1])], key_change(&[1], &[]));
}

#[test]
fn key_epochs_count_up_by_one() {
    assert_eq!(state().newest_epoch(), 1);
    assert_eq!(holds(&[], epoch(2)).newest_epoch(), 2);
    for wrong in [0, 1, 3] {
        void(&[], epoch(wrong));
    }
    void(&[epoch(2)], epoch(2));
    assert_eq!(holds(&[epoch(2)], epoch(3)).newest_epoch(), 3);
}

#[test]
fn checkpoints_and_records_of_newer_programs_are_never_void() {
    let checkpoint = Checkpoint { at: 9, digest: Digest::from_bytes([0; 32]), parts: Vec::new() };
    assert_eq!(holds(&[], Record::Checkpoint(checkpoint)).newest_checkpoint(), 11);
    assert_eq!(holds(&[], Record::Skipped { kind: 99 }), state());
}

#[test]
fn a_void_record_leaves_its_neighbours_in_force_and_is_named() {
    let mut state = state();
    let header = EntryHeader {
        epoch: 1,
        repository: RepositoryId::from_bytes([0; 16]),
        number: 10,
        previous: Digest::from_bytes([0; 32]),
        checkpoint: 0,
        attempt: AttemptId::from_bytes([0; 16]),
    };
    let records = vec![commit("c", 1, None, 9, &[20], &[]), close(2), close(1)];
    let voids = state.apply(&LogEntry { header, time_ms: 0, records });
    assert_eq!(voids.len(), 1);
    assert_eq!(voids[0].to_string(), format!("log entry 10, record 1: session {} is not open", session(2)));
    assert!(state.point(&point(9)).is_some());
    assert_eq!(state.session(&session(1)).unwrap().status, SessionStatus::Closed);
}

#[test]
fn the_slot_that_opened_a_session_is_known() {
    let state = holds(&[], open(6));
    assert_eq!(state.slots()[&slot(1)].last_used_ms, Some(11_000));
    assert_eq!(state.session(&session(6)).unwrap().slot, Some(slot(1)));
}
