//! A prune: `prune_once` of `engine/src/prune.rs`, stage by stage.
//!
//! | step | mirrors |
//! |---|---|
//! | survey | `look`: `survey`, `unregistered`, `choose`; with it the proof of `delete` at the same head, `confirm::dispensable` |
//! | decide and land Delete | `decide_delete` |
//! | remove, until nothing is left | `sweep::sweep` |
//! | open, look, store, decide, land Moved | `repack::repack`, `Session::open_to_move`, `Session::commit_moved` |
//! | confirm | `condemn`: `confirm::dispensable` at the head replayed by then |
//! | decide and land Condemn | `decide_condemn` |
//! | without grace: once more Delete and remove | `delete` with `at` = its own Condemn |
//!
//! The two comparisons with numbers of entries that production makes are flags here: `relied_on_in > at` is `relied`,
//! `newest_loss > at` is `loss`.

use super::{
    action::{Action, Decision, Effect, Outcome, Step},
    log::{Pack, Record, Session},
    rule::{Rule, Rules},
    scope::{Grace, PrunerSpec, Scope},
    set::Set,
    world::{Actor, World},
};

/// How far a prune is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pruner {
    stage: Stage,
    /// What the survey, or its own Condemn, gives leave to delete.
    deletable: Set,
    /// Orphans seen when it looked.
    orphans: Set,
    /// Packs that it wants to condemn.
    candidates: Set,
    /// Those of them that it rewrites first.
    moves: Set,
    /// Chunks needed at the survey.
    needed: Set,
    /// Packs registered or relied on since.
    relied: Set,
    /// Copies were taken away since.
    loss: bool,
    /// An entry decided and on its way.
    pub pending: Option<Record>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    Start,
    Delete(Pass),
    Sweep(Pass),
    Move,
    Moving,
    MovePut(Set),
    MoveCommit,
    Confirm(Pass),
    Condemn(Pass),
    StartAgain,
    Done,
    Failed,
}

/// What a stage is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pass {
    /// The first round, before Condemn.
    First,
    /// After its own Condemn.
    Own,
    /// The second round of a prune with grace.
    Second,
}

impl Pruner {
    /// What it learns from the entries that come to the head.
    pub fn notices(&mut self, record: &Record) {
        if matches!(self.stage, Stage::Start | Stage::StartAgain | Stage::Done | Stage::Failed) {
            return;
        }
        match *record {
            Record::Commit { new, uses, .. } => self.relied = self.relied.or(new).or(uses),
            Record::Moved { new, .. } => self.relied = self.relied.or(new),
            Record::Condemn { .. } | Record::Damaged { .. } => self.loss = true,
            _ => {}
        }
    }

    /// Every step that it may take.
    pub fn steps(&self, me: u8, spec: &PrunerSpec, world: &World, scope: &Scope, rules: Rules, out: &mut Vec<Step>) {
        match self.stage {
            Stage::Start => self.survey(me, spec, Pass::First, world, scope, rules, out),
            Stage::StartAgain => self.survey(me, spec, Pass::Second, world, scope, rules, out),
            Stage::Delete(pass) => out.push(match self.pending {
                None => self.decide_delete(me, pass, world, rules),
                Some(record) => self.land(me, Stage::Sweep(pass), record, world, rules),
            }),
            Stage::Sweep(pass) => self.sweep(me, pass, spec, world, rules, out),
            Stage::Move => {
                let mut opened = *world;
                let record = Record::Open { session: me, adopts: None };
                opened.append(&record, rules);
                let effect = Effect::Landed { actor: Some(me), record, is_void: false };
                out.push(self.to(Stage::Moving).step(me, Action::Open { actor: me, adopts: None }, opened, effect));
            }
            Stage::Moving => out.push(self.copy(me, world, rules)),
            Stage::MovePut(chunks) => {
                let pack = spec.moves_to.unwrap_or_default();
                let mut stored = *world;
                stored.store.put(pack, chunks, me);
                let action = Action::Put { actor: me, pack, chunks };
                out.push(self.to(Stage::MoveCommit).step(me, action, stored, Effect::None));
            }
            Stage::MoveCommit => out.push(match self.pending {
                None => self.decide_moved(me, spec, world, rules),
                Some(record) => self.land(me, Stage::Confirm(Pass::First), record, world, rules),
            }),
            Stage::Confirm(pass) => {
                let candidates = self.dispensable(self.candidates, world);
                let next = Self { stage: Stage::Condemn(pass), candidates, moves: Set::EMPTY, ..*self };
                let action = Action::Confirm { actor: me, dispensable: candidates };
                out.push(next.step(me, action, *world, Effect::None));
            }
            Stage::Condemn(pass) => out.push(match self.pending {
                None => self.decide_condemn(me, pass, spec, world, rules),
                Some(record) => self.land_condemn(me, pass, spec, record, world, rules),
            }),
            Stage::Done | Stage::Failed => {}
        }
    }

    /// Which pack is to keep a chunk is a matter of taste: once it is the oldest that has it, once the newest. So is what
    /// to rewrite: what is partly dead, or whatever is not whole.
    #[expect(clippy::too_many_arguments, reason = "what every stage is given, and the pass")]
    fn survey(
        &self,
        me: u8,
        spec: &PrunerSpec,
        pass: Pass,
        world: &World,
        scope: &Scope,
        rules: Rules,
        out: &mut Vec<Step>,
    ) {
        let log = &world.log;
        let needed = world.needed(scope);
        let condemned = log.packs_that_are(Pack::Condemned);
        let usable = log.usable();
        let there = usable.or(condemned).or(log.packs_that_are(Pack::Damaged));
        let orphans = world.store.present.less(log.deleted_orphans);
        let orphans = orphans.that(|pack| log.is_orphan(pack, world.store.heads[usize::from(pack)], rules));
        let mut seen: Vec<Self> = Vec::new();
        for newest in [false, true] {
            let stands_for = |chunk: u8| {
                let of = |packs: Set| packs.that(|pack| world.store.chunks(pack).has(chunk));
                let holders = if of(usable).is_empty() { of(there) } else { of(usable) };
                let mut holders = holders.iter();
                if newest { holders.next_back() } else { holders.next() }
            };
            if needed.iter().any(|chunk| stands_for(chunk).is_none()) {
                // Nothing is removed while something needed is missing.
                continue;
            }
            let standing: Set = needed.iter().filter_map(stands_for).collect();
            let survey = Self { needed, orphans, ..Self::default() };
            let deletable = match rules.hold(Rule::DeleteRechecks) {
                true => survey.dispensable(condemned.less(standing), world),
                false => condemned,
            };
            let dead = there.less(condemned).less(standing);
            let partly_dead = standing.and(usable).that(|pack| !world.store.chunks(pack).is_within(needed));
            let last_copies = standing.and(condemned);
            let choices = match spec.moves_to {
                // A session moves once; production would open another.
                Some(_) if pass == Pass::First && log.session(me) == Session::Unknown => {
                    [partly_dead.or(last_copies), standing.and(usable.or(condemned))]
                }
                _ => [Set::EMPTY; 2],
            };
            for moves in choices {
                let stage = Stage::Delete(pass);
                let next = Self { stage, deletable, candidates: dead.or(moves), moves, ..survey };
                if !seen.contains(&next) {
                    seen.push(next);
                    let action = Action::Survey { actor: me, dead, deletable, moves };
                    out.push(next.step(me, action, *world, Effect::Surveyed { actor: me }));
                }
            }
        }
    }

    /// Of `candidates` those of which every needed chunk has a copy in a usable pack that is none of them.
    fn dispensable(&self, candidates: Set, world: &World) -> Set {
        let elsewhere = world.store.chunks_in(world.log.usable().less(candidates));
        let may_go = |pack: u8| world.store.chunks(pack).and(self.needed).is_within(elsewhere);
        candidates.and(world.store.present).that(may_go)
    }

    fn decide_delete(&self, me: u8, pass: Pass, world: &World, rules: Rules) -> Step {
        let log = &world.log;
        let rechecks = rules.hold(Rule::DeleteRechecks);
        let spared = if rechecks && rules.hold(Rule::DeleteSparesReliedOn) { self.relied } else { Set::EMPTY };
        let packs = self.deletable.less(spared).and(log.packs_that_are(Pack::Condemned));
        let is_orphan = |pack: u8| log.is_orphan(pack, world.store.heads[usize::from(pack)], rules);
        let orphans = self.orphans.that(is_orphan);
        let outcome = match packs.or(orphans).is_empty() {
            _ if self.loss && rechecks => Outcome::Outdated,
            true => Outcome::Nothing,
            false => Outcome::Writes(Record::Delete { packs, orphans }),
        };
        let decision = Decision::Delete { dispensable: self.deletable, orphans: self.orphans, outcome };
        self.decided(me, outcome, decision, Stage::Delete(pass), Stage::Sweep(pass), world)
    }

    /// The two ways on after a decision: an entry in flight, or the next stage.
    fn decided(&self, me: u8, outcome: Outcome, decision: Decision, waits: Stage, next: Stage, world: &World) -> Step {
        let effect = Effect::Decided { actor: me, decision };
        match outcome {
            Outcome::Outdated => {
                let second = matches!(waits, Stage::Delete(Pass::Second) | Stage::Condemn(Pass::Second));
                let start = if second { Stage::StartAgain } else { Stage::Start };
                Self { stage: start, ..Self::default() }.step(me, Action::Outdated { actor: me }, *world, effect)
            }
            Outcome::Nothing => self.to(next).step(me, Action::NothingToDo { actor: me }, *world, effect),
            Outcome::Writes(record) => {
                let next = Self { pending: Some(record), ..*self };
                next.step(me, Action::Decide { actor: me, record }, *world, effect)
            }
        }
    }

    /// Any order, but all of it. Production removes the orphans that its own look and its own Delete name; here it is all
    /// that any Delete names.
    fn sweep(&self, me: u8, pass: Pass, spec: &PrunerSpec, world: &World, rules: Rules, out: &mut Vec<Step>) {
        let seen = if rules.hold(Rule::SweepOnlyNamed) { Set::EMPTY } else { self.orphans };
        let named = world.log.packs_that_are(Pack::Deleted).or(world.log.deleted_orphans);
        let due = named.or(seen).and(world.store.present);
        for pack in due.iter() {
            let mut swept = *world;
            swept.store.present = swept.store.present.less(Set::of(&[pack]));
            out.push(self.step(me, Action::Unlink { actor: me, pack }, swept, Effect::None));
        }
        if due.is_empty() {
            let next = match pass {
                Pass::Own => self.after(Pass::First, spec),
                _ if !self.moves.is_empty() => self.to(Stage::Move),
                pass => self.to(Stage::Confirm(pass)),
            };
            let next = Self { orphans: Set::EMPTY, deletable: Set::EMPTY, ..next };
            out.push(next.step(me, Action::Swept { actor: me }, *world, Effect::None));
        }
    }

    /// What is needed of the packs to be rewritten, less what lies in other usable packs; if that is nothing, the session
    /// is closed. A session fenced meanwhile ends the prune.
    fn copy(&self, me: u8, world: &World, rules: Rules) -> Step {
        let known = world.store.chunks_in(world.log.usable().less(self.moves));
        let chunks = world.store.chunks_in(self.moves).and(self.needed).less(known);
        if !chunks.is_empty() {
            let action = Action::Look { actor: me, uses: Set::EMPTY, own: Set::EMPTY, uploads: chunks };
            return self.to(Stage::MovePut(chunks)).step(me, action, *world, Effect::None);
        }
        let record = Record::Close { session: me };
        if world.log.session(me) != Session::Open {
            let refused = Effect::Decided { actor: me, decision: Decision::Write { record, accepted: false } };
            return Self::ended(Stage::Failed).step(me, Action::Refused { actor: me, record }, *world, refused);
        }
        let mut closed = *world;
        closed.append(&record, rules);
        let effect = Effect::Landed { actor: Some(me), record, is_void: false };
        self.to(Stage::Confirm(Pass::First)).step(me, Action::Close { actor: me }, closed, effect)
    }

    fn decide_moved(&self, me: u8, spec: &PrunerSpec, world: &World, rules: Rules) -> Step {
        let new = Set::of(&[spec.moves_to.unwrap_or_default()]);
        let record = Record::Moved { session: me, new, from: self.moves };
        let accepted = world.log.allows(&record, &world.store.heads, rules);
        let effect = Effect::Decided { actor: me, decision: Decision::Write { record, accepted } };
        match accepted {
            true => {
                let next = Self { pending: Some(record), ..*self };
                next.step(me, Action::Decide { actor: me, record }, *world, effect)
            }
            false => Self::ended(Stage::Failed).step(me, Action::Refused { actor: me, record }, *world, effect),
        }
    }

    fn decide_condemn(&self, me: u8, pass: Pass, spec: &PrunerSpec, world: &World, rules: Rules) -> Step {
        let may_go = world.log.usable().or(world.log.packs_that_are(Pack::Damaged));
        let spared = if rules.hold(Rule::CondemnSparesReliedOn) { self.relied } else { Set::EMPTY };
        let packs = self.candidates.and(may_go).less(spared);
        let outcome = match packs.is_empty() {
            _ if self.loss && rules.hold(Rule::CondemnStopsAtLoss) => Outcome::Outdated,
            true => Outcome::Nothing,
            false => Outcome::Writes(Record::Condemn { packs }),
        };
        let decision = Decision::Condemn { dispensable: self.candidates, outcome };
        match outcome {
            Outcome::Nothing => {
                let effect = Effect::Decided { actor: me, decision };
                self.after(pass, spec).step(me, Action::NothingToDo { actor: me }, *world, effect)
            }
            _ => self.decided(me, outcome, decision, Stage::Condemn(pass), Stage::Done, world),
        }
    }

    /// After its own Condemn the survey holds at that entry: everything between was taken into account.
    fn land_condemn(&self, me: u8, pass: Pass, spec: &PrunerSpec, record: Record, world: &World, rules: Rules) -> Step {
        let mut landed = *world;
        let is_void = !landed.append(&record, rules);
        let next = match (record, is_void) {
            (_, true) => Self::ended(Stage::Failed),
            (Record::Condemn { packs }, false) if spec.grace == Grace::None => {
                let next = Self { stage: Stage::Delete(Pass::Own), needed: self.needed, ..Self::default() };
                let deletable = if rules.hold(Rule::DeleteRechecks) { next.dispensable(packs, &landed) } else { packs };
                Self { deletable, ..next }
            }
            _ => self.after(pass, spec),
        };
        let effect = Effect::Landed { actor: Some(me), record, is_void };
        next.step(me, Action::Lands { actor: me, record, is_void }, landed, effect)
    }

    fn land(&self, me: u8, then: Stage, record: Record, world: &World, rules: Rules) -> Step {
        let mut landed = *world;
        let is_void = !landed.append(&record, rules);
        // What it noticed of its own entry is in the world already.
        let mine = match landed.actors[usize::from(me)] {
            Actor::Pruner(mine) => mine,
            _ => *self,
        };
        let next = if is_void { Self::ended(Stage::Failed) } else { Self { stage: then, pending: None, ..mine } };
        let effect = Effect::Landed { actor: Some(me), record, is_void };
        next.step(me, Action::Lands { actor: me, record, is_void }, landed, effect)
    }

    /// What follows the end of a round.
    fn after(&self, pass: Pass, spec: &PrunerSpec) -> Self {
        let again = pass == Pass::First && spec.grace == Grace::ARound;
        Self::ended(if again { Stage::StartAgain } else { Stage::Done })
    }

    fn ended(stage: Stage) -> Self {
        Self { stage, ..Self::default() }
    }

    fn to(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    fn step(self, me: u8, action: Action, mut world: World, effect: Effect) -> Step {
        world.actors[usize::from(me)] = Actor::Pruner(self);
        Step { action, world, effect }
    }
}
