//! One moment: what the log says, what lies in the store, and how far everybody is.

use super::{
    action::{Action, Effect, Step},
    log::{LogState, PACKS, Pack, Record, Session},
    pruner::Pruner,
    rule::{Rule, Rules},
    scope::{EARLIER, Scope, Spec},
    set::Set,
    writer::Writer,
};

/// Actors of a scope, at most.
pub const ACTORS: usize = 5;

/// Objects that are no log entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// Packs that are there.
    pub present: Set,
    /// Packs that were ever there.
    pub ever: Set,
    /// Packs whose bytes are damaged.
    pub broken: Set,
    /// Chunks of each pack.
    pub contents: [Set; PACKS],
    /// Session in the head of each pack.
    pub heads: [u8; PACKS],
}

impl Store {
    /// Stores a pack. A name that is there already stays what it is.
    pub fn put(&mut self, pack: u8, chunks: Set, session: u8) {
        if !self.present.has(pack) {
            self.contents[usize::from(pack)] = chunks;
            self.heads[usize::from(pack)] = session;
        }
        self.present = self.present.with(pack);
        self.ever = self.ever.with(pack);
    }

    /// Chunks of a pack.
    pub fn chunks(&self, pack: u8) -> Set {
        self.contents[usize::from(pack)]
    }

    /// Chunks that can be read from `packs`.
    pub fn chunks_in(&self, packs: Set) -> Set {
        let readable = packs.and(self.present).less(self.broken);
        readable.iter().fold(Set::EMPTY, |all, pack| all.or(self.chunks(pack)))
    }
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// It has not begun.
    Start,
    /// Its session is open.
    Opened,
    /// It reads, its point pinned.
    Reading,
    /// It has ended.
    Done,
}

/// How far an actor is. A crash needs no action of its own: it is an actor that takes no step any more, and a pause is one
/// that takes none for a long time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Actor {
    /// There is none.
    #[default]
    Nobody,
    /// A backup.
    Writer(Writer),
    /// A prune.
    Pruner(Pruner),
    /// A restore.
    Reader(Reader),
}

/// One moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// What the log says at its head.
    pub log: LogState,
    /// What lies in the store.
    pub store: Store,
    /// How far everybody is.
    pub actors: [Actor; ACTORS],
    /// Fences that may still be written.
    pub fences_left: u8,
    /// Needed chunks whose last readable copy was damaged: nobody can keep those.
    pub lost: Set,
}

impl World {
    /// The start of `scope`.
    pub fn of(scope: &Scope) -> Self {
        let mut world = Self {
            log: LogState { points: scope.live, live: scope.live, ..LogState::default() },
            store: Store::default(),
            actors: [Actor::Nobody; ACTORS],
            fences_left: scope.fences,
            lost: Set::EMPTY,
        };
        world.log.sessions[usize::from(EARLIER)] = Session::Closed;
        for (pack, chunks) in (0..).zip(&scope.packs) {
            world.store.put(pack, *chunks, EARLIER);
            world.log.packs[usize::from(pack)] = Pack::Usable;
        }
        for (actor, spec) in world.actors.iter_mut().zip(&scope.actors) {
            *actor = match spec {
                Spec::Writer(_) => Actor::Writer(Writer::default()),
                Spec::Pruner(_) => Actor::Pruner(Pruner::default()),
                Spec::Reader { .. } => Actor::Reader(Reader::Start),
            };
        }
        world
    }

    /// Chunks of all live and pinned points.
    pub fn needed(&self, scope: &Scope) -> Set {
        self.log.roots().iter().fold(Set::EMPTY, |all, point| all.or(scope.points[usize::from(point)]))
    }

    /// Packs among `packs` that hold `chunk` and are there.
    pub fn holders(&self, packs: Set, chunk: u8) -> Set {
        packs.and(self.store.present).less(self.store.broken).that(|pack| self.store.chunks(pack).has(chunk))
    }

    /// Every step that somebody may take now.
    pub fn steps(&self, scope: &Scope, rules: Rules) -> Vec<Step> {
        let mut out = Vec::new();
        for (me, (actor, spec)) in (0..).zip(self.actors.iter().zip(&scope.actors)) {
            match (actor, spec) {
                (Actor::Writer(writer), Spec::Writer(spec)) => writer.steps(me, spec, self, scope, rules, &mut out),
                (Actor::Pruner(pruner), Spec::Pruner(spec)) => pruner.steps(me, spec, self, scope, rules, &mut out),
                (Actor::Reader(reader), Spec::Reader { point }) => self.read(*reader, me, *point, rules, &mut out),
                _ => {}
            }
        }
        for point in scope.forgets.and(self.log.live).iter() {
            out.push(self.appends(Action::Forget { point }, Record::Forget { point }, rules));
        }
        let open = (0_u8..).zip(self.log.sessions).filter(|(_, session)| *session == Session::Open);
        for (session, _) in open.filter(|_| self.fences_left > 0) {
            let mut step = self.appends(Action::Fence { session }, Record::Fence { session }, rules);
            step.world.fences_left -= 1;
            out.push(step);
        }
        for pack in scope.damages.and(self.log.usable()).iter() {
            let mut broken = *self;
            broken.store.broken = broken.store.broken.with(pack);
            let left = broken.store.chunks_in(self.log.usable().or(self.log.packs_that_are(Pack::Condemned)));
            broken.lost = broken.lost.or(broken.needed(scope).less(left));
            out.push(broken.appends(Action::Damage { pack }, Record::Damaged { packs: Set::of(&[pack]) }, rules));
        }
        out
    }

    /// This world and one more entry, of somebody of whom nothing else changes.
    fn appends(&self, action: Action, record: Record, rules: Rules) -> Step {
        let mut world = *self;
        let is_void = !world.append(&record, rules);
        Step { action, world, effect: Effect::Landed { actor: None, record, is_void } }
    }

    /// One entry comes to the head of the log. Whoever has decided from the head before has lost the race (`put_new` says
    /// `Exists`) and decides again. True if the record has an effect.
    pub fn append(&mut self, record: &Record, rules: Rules) -> bool {
        let counts = !rules.hold(Rule::ReplayersJudge) || self.log.allows(record, &self.store.heads, rules);
        if counts {
            self.log.apply(record);
        }
        for actor in &mut self.actors {
            match actor {
                Actor::Writer(writer) => writer.pending = still_lands(writer.pending, rules),
                Actor::Pruner(pruner) => {
                    pruner.pending = still_lands(pruner.pending, rules);
                    if counts {
                        pruner.notices(record);
                    }
                }
                Actor::Reader(_) | Actor::Nobody => {}
            }
        }
        counts
    }

    fn read(&self, reader: Reader, me: u8, point: u8, rules: Rules, out: &mut Vec<Step>) {
        let to = |action, record: Record, next| {
            let mut step = self.appends(action, record, rules);
            step.world.actors[usize::from(me)] = Actor::Reader(next);
            step.effect = step.effect.of(me);
            step
        };
        let session = me;
        match reader {
            Reader::Start => {
                let open = Record::Open { session, adopts: None };
                out.push(to(Action::Open { actor: me, adopts: None }, open, Reader::Opened));
            }
            Reader::Opened if self.log.live.has(point) && rules.hold(Rule::Pins) => {
                // A fenced reader's Pin is refused, and it ends.
                let open = self.log.session(me) == Session::Open;
                if open {
                    out.push(to(Action::Pin { actor: me, point }, Record::Pin { session, point }, Reader::Reading));
                }
            }
            Reader::Opened if self.log.live.has(point) => {
                let mut world = *self;
                world.actors[usize::from(me)] = Actor::Reader(Reader::Reading);
                out.push(Step { action: Action::ReadUnpinned { actor: me, point }, world, effect: Effect::None });
            }
            Reader::Reading if self.log.session(me) == Session::Open => {
                out.push(to(Action::Close { actor: me }, Record::Close { session }, Reader::Done));
            }
            Reader::Opened | Reader::Reading | Reader::Done => {}
        }
    }
}

/// What is left of an entry in flight when another has come first.
fn still_lands(pending: Option<Record>, rules: Rules) -> Option<Record> {
    pending.filter(|record| {
        let exact = match record {
            Record::Commit { .. } | Record::Moved { .. } => Rule::CommitAtExactHead,
            Record::Condemn { .. } => Rule::CondemnAtExactHead,
            _ => Rule::DeleteAtExactHead,
        };
        !rules.hold(exact)
    })
}
