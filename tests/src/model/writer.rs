//! A backup: `engine/src/session.rs` and `engine/src/dedup.rs`.
//!
//! | step | mirrors |
//! |---|---|
//! | open, perhaps adopt | `Session::open`, `decide_open` |
//! | pin the base | `decide_pin` |
//! | look | `adopt_packs`, then `Dedup::claim` of every chunk, hits confirmed in the pack's directory |
//! | store | `PackSink`, `Store::put_pack` |
//! | decide, land | `Session::commit`: Commit and Close in one entry; a refusal ends the run, its session left open |

use super::{
    action::{Action, Decision, Effect, Step},
    log::{Pack, Record, Session},
    rule::{Rule, Rules},
    scope::{Scope, WriterSpec},
    set::Set,
    world::{Actor, World},
};

/// How far a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Writer {
    stage: Stage,
    /// It builds on its base.
    is_based: bool,
    /// Registered packs that it relies on.
    uses: Set,
    /// Its own packs, adopted ones among them.
    own: Set,
    /// Chunks that it has to store.
    uploads: Set,
    /// An entry decided and on its way.
    pub pending: Option<Record>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    Start,
    Opened,
    Ready,
    Looked,
    Stored,
    Done,
    Refused,
}

impl Writer {
    /// Every step that it may take.
    pub fn steps(&self, me: u8, spec: &WriterSpec, world: &World, scope: &Scope, rules: Rules, out: &mut Vec<Step>) {
        match self.stage {
            Stage::Start => out.extend(self.open(me, spec, world, rules)),
            Stage::Opened => out.push(self.pin(me, spec, world, rules)),
            Stage::Ready => self.look(me, spec, world, scope, out),
            Stage::Looked => {
                let name = self.name(spec, world, rules);
                let mut next = Self { stage: Stage::Stored, own: self.own.with(name), ..*self };
                next.uploads = Set::EMPTY;
                let mut stored = *world;
                stored.store.put(name, self.uploads, me);
                let action = Action::Put { actor: me, pack: name, chunks: self.uploads };
                out.push(next.step(me, action, stored, Effect::None));
                if !rules.hold(Rule::DurableBeforeCommit) {
                    let action = Action::PutLater { actor: me, pack: name };
                    out.push(next.step(me, action, *world, Effect::None));
                }
            }
            Stage::Stored => out.push(match self.pending {
                None => self.decide(me, spec, world, rules),
                Some(record) => self.land(me, record, world, rules),
            }),
            Stage::Done | Stage::Refused => {}
        }
    }

    fn open(&self, me: u8, spec: &WriterSpec, world: &World, rules: Rules) -> Option<Step> {
        // Only a run after the other's: before, there is nothing to adopt.
        let adopts = match spec.adopts {
            Some(other) if world.log.session(other) == Session::Unknown => return None,
            Some(other) if world.log.session(other) == Session::Open => Some(other),
            _ => None,
        };
        let stage = if spec.base.is_some() { Stage::Opened } else { Stage::Ready };
        let record = Record::Open { session: me, adopts };
        Some(self.append(me, Action::Open { actor: me, adopts }, record, stage, world, rules))
    }

    /// A base that is forgotten means a full read; a session that was fenced ends here.
    fn pin(&self, me: u8, spec: &WriterSpec, world: &World, rules: Rules) -> Step {
        let point = spec.base.unwrap_or_default();
        let record = Record::Pin { session: me, point };
        if !rules.hold(Rule::Pins) {
            let next = Self { stage: Stage::Ready, is_based: world.log.live.has(point), ..*self };
            return next.step(me, Action::ReadUnpinned { actor: me, point }, *world, Effect::None);
        }
        if world.log.allows(&record, &world.store.heads, rules) {
            let next = Self { is_based: true, ..*self };
            return next.append(me, Action::Pin { actor: me, point }, record, Stage::Ready, world, rules);
        }
        let stage = if world.log.session(me) == Session::Open { Stage::Ready } else { Stage::Refused };
        let refused = Effect::Decided { actor: me, decision: Decision::Write { record, accepted: false } };
        Self { stage, ..*self }.step(me, Action::Refused { actor: me, record }, *world, refused)
    }

    /// Which chunks are known, and by which packs: once as the oldest pack has them, once as the newest.
    fn look(&self, me: u8, spec: &WriterSpec, world: &World, scope: &Scope, out: &mut Vec<Step>) {
        let is_mine = |pack: u8| {
            let head = world.store.heads[usize::from(pack)];
            let registered = world.log.packs[usize::from(pack)] != Pack::Unregistered;
            spec.adopts.is_some() && !registered && world.log.final_owner(head, Rules::ALL) == me
        };
        let own = world.store.present.that(is_mine);
        let base = spec.base.filter(|_| self.is_based).map_or(Set::EMPTY, |base| scope.points[usize::from(base)]);
        let unknown = scope.points[usize::from(spec.point)].less(base).less(world.store.chunks_in(own));
        let usable = world.log.usable();
        let mut seen = None;
        for newest in [false, true] {
            let hit = |chunk: u8| {
                let mut holders = world.holders(usable, chunk).iter();
                if newest { holders.next_back() } else { holders.next() }
            };
            let uses: Set = unknown.iter().filter_map(hit).collect();
            let uploads = unknown.that(|chunk| hit(chunk).is_none());
            if seen.replace(uses) == Some(uses) {
                continue;
            }
            let stage = if uploads.is_empty() { Stage::Stored } else { Stage::Looked };
            let action = Action::Look { actor: me, uses, own, uploads };
            out.push(Self { stage, uses, own, uploads, ..*self }.step(me, action, *world, Effect::None));
        }
    }

    /// What its pack is called. Without the salt in its head a pack of the same chunks has the same name.
    fn name(&self, spec: &WriterSpec, world: &World, rules: Rules) -> u8 {
        let same = || world.store.ever.iter().find(|pack| world.store.chunks(*pack) == self.uploads);
        if rules.hold(Rule::FreshNames) { spec.pack } else { same().unwrap_or(spec.pack) }
    }

    fn decide(&self, me: u8, spec: &WriterSpec, world: &World, rules: Rules) -> Step {
        let record = Record::Commit { session: me, point: spec.point, new: self.own, uses: self.uses };
        let accepted = world.log.allows(&record, &world.store.heads, rules);
        let effect = Effect::Decided { actor: me, decision: Decision::Write { record, accepted } };
        match accepted {
            true => {
                let next = Self { pending: Some(record), ..*self };
                next.step(me, Action::Decide { actor: me, record }, *world, effect)
            }
            false => Self::ended(Stage::Refused).step(me, Action::Refused { actor: me, record }, *world, effect),
        }
    }

    fn land(&self, me: u8, record: Record, world: &World, rules: Rules) -> Step {
        let mut landed = *world;
        let is_void = !landed.append(&record, rules);
        let next = Self::ended(if is_void { Stage::Refused } else { Stage::Done });
        let effect = Effect::Landed { actor: Some(me), record, is_void };
        next.step(me, Action::Lands { actor: me, record, is_void }, landed, effect)
    }

    fn append(&self, me: u8, action: Action, record: Record, stage: Stage, world: &World, rules: Rules) -> Step {
        let mut landed = *world;
        let is_void = !landed.append(&record, rules);
        let effect = Effect::Landed { actor: Some(me), record, is_void };
        Self { stage, ..*self }.step(me, action, landed, effect)
    }

    fn ended(stage: Stage) -> Self {
        Self { stage, ..Self::default() }
    }

    fn step(self, me: u8, action: Action, mut world: World, effect: Effect) -> Step {
        world.actors[usize::from(me)] = Actor::Writer(self);
        Step { action, world, effect }
    }
}
