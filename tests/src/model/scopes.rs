//! The scopes that are explored: each small enough to be explored in full.

use super::{
    scope::{QUIET, Scope, based_writer, next_writer, patient_pruner, pruner, reader, repacker, writer},
    set::Set,
};

fn sets(sets: &[&[u8]]) -> Vec<Set> {
    sets.iter().map(|set| Set::of(set)).collect()
}

/// Two writers, one with a base; what the other wants lies in a pack that nothing needs.
pub fn two_writers() -> Scope {
    Scope {
        name: "two writers (one with a base), prune, forget, fence",
        packs: sets(&[&[0, 1], &[2]]),
        points: sets(&[&[0, 1], &[0, 3], &[1, 2]]),
        live: Set::of(&[0]),
        forgets: Set::of(&[0]),
        fences: 1,
        actors: vec![based_writer(1, 4, 0), writer(2, 5), pruner()],
        ..QUIET
    }
}

/// Each prune may think that the other's copy is the one that stays.
pub fn two_copies() -> Scope {
    Scope {
        name: "two prunes, two copies of one chunk, two writers",
        packs: sets(&[&[0], &[0]]),
        points: sets(&[&[0], &[0, 1], &[0, 2]]),
        live: Set::of(&[0]),
        actors: vec![writer(1, 4), writer(2, 5), pruner(), pruner()],
        ..QUIET
    }
}

/// A pack is rewritten while a writer relies on what is dead in it.
pub fn repack() -> Scope {
    Scope {
        name: "repack against a writer, two forgets, fence",
        packs: sets(&[&[0, 1]]),
        points: sets(&[&[0, 1], &[0], &[1, 2]]),
        live: Set::of(&[0, 1]),
        forgets: Set::of(&[0, 1]),
        fences: 1,
        actors: vec![writer(2, 4), repacker(5)],
        ..QUIET
    }
}

/// The same with another prune, and the writer has a base.
pub fn repack_and_base() -> Scope {
    Scope {
        name: "repack, writer with a base, second prune, forget, fence",
        packs: sets(&[&[0, 1]]),
        points: sets(&[&[0, 1], &[0], &[1, 2]]),
        live: Set::of(&[0, 1]),
        forgets: Set::of(&[0]),
        fences: 1,
        actors: vec![based_writer(2, 4, 0), repacker(5), pruner()],
        ..QUIET
    }
}

/// The next run adopts a session whose process is dead, or only paused and goes on.
pub fn adoption() -> Scope {
    Scope {
        name: "the next run adopts a dead or merely paused session, prune, forget, fence",
        packs: sets(&[&[0, 1]]),
        points: sets(&[&[0], &[0, 2], &[1, 2]]),
        live: Set::of(&[0]),
        forgets: Set::of(&[0]),
        fences: 1,
        actors: vec![writer(1, 4), next_writer(2, 5, 0), pruner()],
        ..QUIET
    }
}

/// A restore that has pinned its point.
pub fn pinned_reader() -> Scope {
    Scope {
        name: "restore with a pin, writer, prune, forget",
        packs: sets(&[&[0, 1]]),
        points: sets(&[&[0, 1], &[1]]),
        live: Set::of(&[0]),
        forgets: Set::of(&[0]),
        actors: vec![reader(0), writer(1, 4), pruner()],
        ..QUIET
    }
}

/// Everybody.
pub fn everybody() -> Scope {
    Scope {
        name: "two writers (one with a base), repack and prune, forget, fence",
        packs: sets(&[&[0, 1]]),
        points: sets(&[&[0, 1], &[0], &[1, 2], &[0, 2]]),
        live: Set::of(&[0, 1]),
        forgets: Set::of(&[0]),
        fences: 1,
        actors: vec![writer(2, 4), based_writer(3, 6, 1), repacker(5)],
        ..QUIET
    }
}

/// Two runs write the same chunks at the same time; one is fenced.
pub fn same_chunks() -> Scope {
    Scope {
        name: "two writers of the same chunk, prune, fence",
        points: sets(&[&[0], &[0]]),
        fences: 1,
        actors: vec![writer(0, 4), writer(1, 5), pruner()],
        ..QUIET
    }
}

/// Of two copies one is condemned, then the other is found damaged.
pub fn damage() -> Scope {
    Scope {
        name: "damage, prune with grace, repack",
        packs: sets(&[&[0], &[0]]),
        points: sets(&[&[0]]),
        live: Set::of(&[0]),
        damages: Set::of(&[0, 1]),
        actors: vec![patient_pruner(), repacker(5)],
        ..QUIET
    }
}

/// Everybody, and a second prune.
pub fn everybody_and_a_second_prune() -> Scope {
    let everybody = everybody();
    let actors = [everybody.actors.clone(), vec![pruner()]].concat();
    Scope { name: "two writers (one with a base), repack, second prune, forget, fence", actors, ..everybody }
}

/// Damage, and a writer that may rely on either copy.
pub fn damage_and_a_writer() -> Scope {
    let damage = damage();
    let points = sets(&[&[0], &[0, 1]]);
    let actors = [damage.actors.clone(), vec![writer(1, 4)]].concat();
    Scope { name: "damage, prune with grace, repack, writer", points, actors, ..damage }
}

/// Adoption, while two prunes, one of them with grace, look for orphans.
pub fn adoption_and_two_prunes() -> Scope {
    let adoption = adoption();
    let actors = [adoption.actors.clone(), vec![patient_pruner()]].concat();
    Scope { name: "the next run adopts a dead or merely paused session, two prunes, forget, fence", actors, ..adoption }
}

/// Those that a quick run explores.
pub fn small() -> Vec<Scope> {
    vec![
        two_writers(),
        two_copies(),
        repack(),
        repack_and_base(),
        adoption(),
        pinned_reader(),
        everybody(),
        same_chunks(),
        damage(),
    ]
}

/// Those that a full run explores as well.
pub fn large() -> Vec<Scope> {
    vec![everybody_and_a_second_prune(), damage_and_a_writer(), adoption_and_two_prunes()]
}
