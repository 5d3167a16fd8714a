//! Invariants I1–I6: what must hold at every moment, whoever comes first.
//!
//! I4, a log without gaps in which no number is used twice, is not a question here: an entry of this model lands at the
//! head or not at all. Tests of the store and of `engine/src/log` hold that against production.

use std::fmt;

use super::{
    action::{Effect, Step},
    log::{Pack, Record, Session},
    scope::Scope,
    set::Set,
    world::{Actor, Reader, World},
};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// All invariants.
    All,
    /// Only that no needed chunk is lost: for rules that have a second barrier behind them.
    Loss,
}

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// I1: chunks of a live or pinned point have no copy in a usable pack that is there.
    NotUsable(Set),
    /// Chunks of a live or pinned point are in no pack that is there.
    Lost(Set),
    /// I2: a Condemn or Delete names packs that were needed.
    TakesNeeded(Set),
    /// I3: packs that were deleted count again.
    Returned(Set),
    /// I5: a session that is not open commits.
    CommitsAfterItsEnd(u8),
    /// I6: packs are gone that no Delete names.
    GoneUnnamed(Set),
    /// A restore misses chunks of the point it reads.
    NotReadable(Set),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUsable(chunks) => write!(f, "I1: needed chunks {chunks:?} are in no usable pack"),
            Self::Lost(chunks) => write!(f, "needed chunks {chunks:?} are lost"),
            Self::TakesNeeded(packs) => write!(f, "I2: packs {packs:?} are taken away while they are needed"),
            Self::Returned(packs) => write!(f, "I3: packs {packs:?} were deleted and count again"),
            Self::CommitsAfterItsEnd(session) => write!(f, "I5: session {session} commits after its end"),
            Self::GoneUnnamed(packs) => write!(f, "I6: packs {packs:?} are gone, and no Delete names them"),
            Self::NotReadable(chunks) => write!(f, "a restore misses chunks {chunks:?}"),
        }
    }
}

/// What `step`, taken in `before`, breaks.
pub fn violated(before: &World, step: &Step, scope: &Scope, watch: Watch) -> Option<Violation> {
    let world = &step.world;
    let needed = world.needed(scope).less(world.lost);
    let lost = needed.less(world.store.chunks_in(world.store.present));
    let loss = some(lost).map(Violation::Lost);
    if watch == Watch::Loss {
        return loss;
    }
    taken(before, step, scope)
        .or_else(|| not_usable(world, needed).map(Violation::NotUsable))
        .or(loss)
        .or_else(|| some(world.log.usable().and(world.log.ever_deleted)).map(Violation::Returned))
        .or_else(|| {
            let gone = world.store.ever.less(world.store.present);
            some(gone.less(world.log.ever_deleted)).map(Violation::GoneUnnamed)
        })
        .or_else(|| not_readable(world, scope).map(Violation::NotReadable))
}

/// Once a pack was found damaged, the chunks of a condemned one may be all there is until the next prune moves them.
fn not_usable(world: &World, needed: Set) -> Option<Set> {
    let chunks = needed.less(world.store.chunks_in(world.log.usable()));
    some(chunks).filter(|_| world.store.broken.is_empty())
}

/// I2 and I5 are about an entry in the state before it.
fn taken(before: &World, step: &Step, scope: &Scope) -> Option<Violation> {
    let Effect::Landed { record, is_void: false, .. } = step.effect else { return None };
    let leaving = match record {
        // An orphan is registered nowhere, so it never counted as a copy.
        Record::Condemn { packs } | Record::Delete { packs, .. } => packs,
        Record::Commit { session, .. } | Record::Moved { session, .. } => {
            let open = before.log.session(session) == Session::Open;
            return (!open).then_some(Violation::CommitsAfterItsEnd(session));
        }
        _ => return None,
    };
    let needed = before.needed(scope).less(before.lost);
    let elsewhere = before.store.chunks_in(before.log.usable().less(leaving));
    let counts = leaving.less(before.store.broken).less(before.log.packs_that_are(Pack::Damaged));
    some(counts.that(|pack| !before.store.chunks(pack).and(needed).is_within(elsewhere))).map(Violation::TakesNeeded)
}

fn not_readable(world: &World, scope: &Scope) -> Option<Set> {
    let there = world.store.chunks_in(world.store.present).or(world.lost);
    let reading = |actor: &Actor| matches!(actor, Actor::Reader(Reader::Reading));
    let mut reads = world.actors.iter().zip(&scope.actors).filter(|(actor, _)| reading(actor));
    reads.find_map(|(_, spec)| match spec {
        super::scope::Spec::Reader { point } => some(scope.points[usize::from(*point)].less(there)),
        _ => None,
    })
}

fn some(set: Set) -> Option<Set> {
    Some(set).filter(|set| !set.is_empty())
}
