//! The engine's own rules, going along: every decision of the model is put to the deciders of production, every entry is
//! applied to its `State`, and both must agree. So what was explored is what runs.

use std::sync::Arc;

use engine::{
    CommitDraft, PackStatus, PointStatus, SessionStatus, State, Surveyed, decide_close, decide_commit, decide_condemn,
    decide_delete, decide_fence, decide_forget, decide_moved, decide_open, decide_pin,
};
use repo_format::{
    AttemptId, ChunkId, Class, Completeness, Damaged, Digest, EntryHeader, LogEntry, NewPack, Orphan, PackName,
    PackOrdinal, Record as Entry, RepositoryId, SessionId, SlotId, VmIdentity,
};

use super::{
    action::{Decision, Effect, Outcome, Step},
    log::{Pack, Record, SESSIONS, Session},
    scope::{EARLIER, Scope},
    search::Follower,
    set::Set,
    world::{ACTORS, World},
};

type Decided = Result<Vec<Entry>, engine::Refusal>;

/// Production's view of the same log.
#[derive(Clone)]
pub struct Production {
    state: Arc<State>,
    head: u64,
    /// The head at which each prune has surveyed.
    surveyed: [u64; ACTORS],
}

impl Production {
    /// What production makes of the start of `scope`.
    pub fn of(scope: &Scope) -> Result<Self, String> {
        let mut this = Self { state: Arc::new(State::new()), head: 0, surveyed: [0; ACTORS] };
        let packs: Vec<NewPack> = (0..).zip(&scope.packs).map(|(pack, _)| new_pack(pack)).collect();
        let open = decide_open(&this.state, session(EARLIER), "host", slot(), "model", &[]);
        this.apply(agreed(open)?)?;
        let points: Vec<u8> = scope.live.iter().collect();
        for point in &points {
            let new = if Some(point) == points.first() { packs.clone() } else { Vec::new() };
            this.apply(agreed(decide_commit(&this.state, &draft(EARLIER, *point, new, Vec::new())))?)?;
        }
        this.apply(agreed(decide_close(&this.state, session(EARLIER)))?)?;
        this.agrees(&World::of(scope))?;
        Ok(this)
    }

    fn ordinals(&self, packs: Set) -> Result<Vec<PackOrdinal>, String> {
        let ordinal = |pack| self.state.ordinal_of(&name(pack)).ok_or(format!("pack {pack} is not registered"));
        let mut ordinals = packs.iter().map(ordinal).collect::<Result<Vec<_>, _>>()?;
        ordinals.sort_unstable();
        Ok(ordinals)
    }

    fn surveyed(&self, actor: u8, dispensable: Set) -> Result<Surveyed, String> {
        Ok(Surveyed { at: self.surveyed[usize::from(actor)], dispensable: self.ordinals(dispensable)? })
    }

    /// What the decider of production says to the same request.
    fn write(&self, record: &Record, before: &World) -> Result<Decided, String> {
        let state = self.state.as_ref();
        Ok(match *record {
            Record::Open { session: of, adopts } => {
                let adopts: Vec<SessionId> = adopts.into_iter().map(session).collect();
                decide_open(state, session(of), "host", slot(), "model", &adopts)
            }
            Record::Pin { session: of, point: pinned } => decide_pin(state, session(of), point(pinned)),
            Record::Commit { session: of, point, new, uses } => {
                let new = new.iter().map(new_pack).collect();
                let commit = decide_commit(state, &draft(of, point, new, self.ordinals(uses)?));
                commit.and_then(|commit| Ok([commit, decide_close(state, session(of))?].concat()))
            }
            Record::Moved { session: of, new, from } => {
                let new: Vec<NewPack> = new.iter().map(new_pack).collect();
                let moved = decide_moved(state, session(of), &new, &self.ordinals(from)?);
                moved.and_then(|moved| Ok([moved, decide_close(state, session(of))?].concat()))
            }
            Record::Close { session: of } => decide_close(state, session(of)),
            Record::Forget { point: forgotten } => decide_forget(state, &[point(forgotten)], None),
            Record::Fence { session: of } => decide_fence(state, session(of)),
            Record::Damaged { packs } => {
                Ok(vec![Entry::Damaged(Damaged { packs: self.ordinals(packs)?, reason: None })])
            }
            Record::Condemn { packs } => {
                decide_condemn(state, &Surveyed { at: self.head, dispensable: self.ordinals(packs)? })
            }
            Record::Delete { packs, orphans } => {
                let surveyed = Surveyed { at: self.head, dispensable: self.ordinals(packs)? };
                decide_delete(state, &surveyed, &named(orphans, before))
            }
        })
    }

    fn decided(&self, actor: u8, decision: &Decision, before: &World) -> Result<(), String> {
        let (outcome, said) = match *decision {
            Decision::Write { record, accepted } => {
                let said = self.write(&record, before)?;
                let same = accepted == said.as_ref().is_ok_and(|records| !records.is_empty());
                return if same { Ok(()) } else { Err(format!("production says {said:?} to {record:?}")) };
            }
            Decision::Condemn { dispensable, outcome } => {
                (outcome, decide_condemn(&self.state, &self.surveyed(actor, dispensable)?))
            }
            Decision::Delete { dispensable, orphans, outcome } => {
                let surveyed = self.surveyed(actor, dispensable)?;
                (outcome, decide_delete(&self.state, &surveyed, &named(orphans, before)))
            }
        };
        let same = match (&outcome, &said) {
            (Outcome::Outdated, Err(engine::Refusal::Outdated(_))) => true,
            (Outcome::Nothing, Ok(records)) => records.is_empty(),
            (Outcome::Writes(record), Ok(records)) => agreed(self.write(record, before)?)? == *records,
            _ => false,
        };
        if same { Ok(()) } else { Err(format!("production says {said:?} where the model says {outcome:?}")) }
    }

    /// One more entry; none of its records may be void.
    fn apply(&mut self, records: Vec<Entry>) -> Result<(), String> {
        self.head += 1;
        let header = EntryHeader {
            epoch: 1,
            repository: RepositoryId::from_bytes([1; 16]),
            number: self.head,
            previous: Digest::of(&[]),
            checkpoint: 0,
            attempt: AttemptId::from_bytes([1; 16]),
        };
        let voids = Arc::make_mut(&mut self.state).apply(&LogEntry { header, time_ms: 0, records });
        voids.first().map_or(Ok(()), |void| Err(format!("production finds it void: {void}")))
    }

    /// Does production hold the same of every pack, point and session?
    fn agrees(&self, world: &World) -> Result<(), String> {
        let (log, state) = (&world.log, self.state.as_ref());
        for (pack, ours) in (0_u8..).zip(log.packs) {
            let theirs = state.ordinal_of(&name(pack)).and_then(|ordinal| state.pack(ordinal));
            let theirs = match theirs.map(|pack| pack.status) {
                None => Pack::Unregistered,
                Some(PackStatus::Registered) => Pack::Usable,
                Some(PackStatus::Condemned) => Pack::Condemned,
                Some(PackStatus::Damaged) => Pack::Damaged,
                Some(PackStatus::Deleted) => Pack::Deleted,
            };
            same(format_args!("pack {pack}"), ours, theirs)?;
            let deleted = state.deleted_orphans().contains_key(&name(pack));
            same(format_args!("orphan {pack}"), log.deleted_orphans.has(pack), deleted)?;
        }
        for number in 0..8 {
            let theirs = state.point(&point(number));
            let live = theirs.is_some_and(|point| point.status == PointStatus::Live);
            same(
                format_args!("point {number}"),
                (log.points.has(number), log.live.has(number)),
                (theirs.is_some(), live),
            )?;
        }
        for number in 0..SESSIONS as u8 {
            let theirs = state.session(&session(number));
            let status = match theirs.map(|session| session.status) {
                None => Session::Unknown,
                Some(SessionStatus::Open) => Session::Open,
                Some(SessionStatus::Closed) => Session::Closed,
                Some(SessionStatus::Fenced) => Session::Fenced,
                Some(SessionStatus::Adopted(by)) => Session::Adopted(number_of(&by)),
            };
            same(format_args!("session {number}"), log.session(number), status)?;
            let pins: Set =
                (0..8).filter(|at| theirs.is_some_and(|theirs| theirs.pins.contains(&point(*at)))).collect();
            same(format_args!("pins of session {number}"), log.pins[usize::from(number)], pins)?;
        }
        Ok(())
    }
}

impl Follower for Production {
    fn follow(&mut self, before: &World, step: &Step) -> Result<(), String> {
        match step.effect {
            Effect::None => Ok(()),
            Effect::Surveyed { actor } => {
                self.surveyed[usize::from(actor)] = self.head;
                Ok(())
            }
            Effect::Decided { actor, decision } => self.decided(actor, &decision, before),
            Effect::Landed { is_void: true, record, .. } => Err(format!("the model finds {record:?} void")),
            Effect::Landed { actor, record, .. } => {
                let records = agreed(self.write(&record, before)?)?;
                self.apply(records)?;
                if let (Some(actor), Record::Condemn { .. }) = (actor, record) {
                    self.surveyed[usize::from(actor)] = self.head;
                }
                self.agrees(&step.world)
            }
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: std::fmt::Arguments<'_>, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?} in the model, {theirs:?} in production")) }
}

fn agreed(said: Decided) -> Result<Vec<Entry>, String> {
    said.map_err(|refusal| format!("production refuses: {refusal}"))
}

fn draft(of: u8, number: u8, new: Vec<NewPack>, uses: Vec<PackOrdinal>) -> CommitDraft {
    // A VM for each point: chains are no question of this protocol.
    let vm_name = format!("vm{number}");
    let identity = VmIdentity::named(&vm_name).unwrap();
    let (session, point) = (session(of), point(number));
    CommitDraft { session, identity, vm_name, point, completeness: Completeness::Whole, new, uses }
}

fn named(orphans: Set, world: &World) -> Vec<Orphan> {
    let owner = |pack: u8| session(world.store.heads[usize::from(pack)]);
    orphans.iter().map(|pack| Orphan { pack: name(pack), owner: owner(pack) }).collect()
}

fn name(pack: u8) -> PackName {
    PackName::from_bytes([pack; 32])
}

fn new_pack(pack: u8) -> NewPack {
    NewPack { name: name(pack), class: Class::Data, bytes: 4096 }
}

fn point(number: u8) -> ChunkId {
    ChunkId::from_bytes([number; 32])
}

fn session(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn slot() -> SlotId {
    SlotId::from_bytes([1; 16])
}

fn number_of(id: &SessionId) -> u8 {
    (0..SESSIONS as u8).find(|number| session(*number) == *id).unwrap_or(u8::MAX)
}
