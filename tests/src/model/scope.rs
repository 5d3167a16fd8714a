//! A scope: who takes part, and what is there at the start.

use super::{log::SESSIONS, set::Set};

/// The session that wrote what is there at the start; it is closed.
pub const EARLIER: u8 = SESSIONS as u8 - 1;

/// Who takes part, and what is there at the start.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What it is about.
    pub name: &'static str,
    /// Chunks of the packs that are registered at the start, from pack 0.
    pub packs: Vec<Set>,
    /// Chunks of all points, of those at the start and of those the writers make.
    pub points: Vec<Set>,
    /// Points that are live at the start.
    pub live: Set,
    /// Points that somebody forgets sooner or later, or never.
    pub forgets: Set,
    /// How often somebody fences an open session, at most.
    pub fences: u8,
    /// Packs that may be found damaged.
    pub damages: Set,
    /// Who runs; the number of an actor is the number of its session.
    pub actors: Vec<Spec>,
}

/// What an actor is to do.
#[derive(Clone, Copy, Debug)]
pub enum Spec {
    /// A backup.
    Writer(WriterSpec),
    /// A prune.
    Pruner(PrunerSpec),
    /// A restore that pins its point.
    Reader {
        /// The point.
        point: u8,
    },
}

/// A backup of one VM.
#[derive(Clone, Copy, Debug)]
pub struct WriterSpec {
    /// The point it makes.
    pub point: u8,
    /// The point whose map it builds on: chunks of both are taken over unseen.
    pub base: Option<u8>,
    /// The name of the pack it writes, if it writes one.
    pub pack: u8,
    /// The session it takes for dead and adopts, once that is open. The adopted process may be paused only.
    pub adopts: Option<u8>,
}

/// A run of prune.
#[derive(Clone, Copy, Debug)]
pub struct PrunerSpec {
    /// The name of the pack it moves chunks to; `None`: it never rewrites.
    pub moves_to: Option<u8>,
    /// How long condemned packs wait.
    pub grace: Grace,
}

/// How long condemned packs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// Not at all: the prune that condemns goes on to delete.
    None,
    /// Until a second round of the same prune, with a survey of its own.
    ARound,
}

/// A backup from scratch.
pub const fn writer(point: u8, pack: u8) -> Spec {
    Spec::Writer(WriterSpec { point, base: None, pack, adopts: None })
}

/// A backup on top of a point.
pub const fn based_writer(point: u8, pack: u8, base: u8) -> Spec {
    Spec::Writer(WriterSpec { point, base: Some(base), pack, adopts: None })
}

/// The next run after that of actor `adopts`.
pub const fn next_writer(point: u8, pack: u8, adopts: u8) -> Spec {
    Spec::Writer(WriterSpec { point, base: None, pack, adopts: Some(adopts) })
}

/// A prune without grace.
pub const fn pruner() -> Spec {
    Spec::Pruner(PrunerSpec { moves_to: None, grace: Grace::None })
}

/// A prune with grace.
pub const fn patient_pruner() -> Spec {
    Spec::Pruner(PrunerSpec { moves_to: None, grace: Grace::ARound })
}

/// A prune without grace that rewrites packs.
pub const fn repacker(moves_to: u8) -> Spec {
    Spec::Pruner(PrunerSpec { moves_to: Some(moves_to), grace: Grace::None })
}

/// A scope where everything is registered in pack order by an earlier session, and nobody runs yet.
pub const QUIET: Scope = Scope {
    name: "",
    packs: Vec::new(),
    points: Vec::new(),
    live: Set::EMPTY,
    forgets: Set::EMPTY,
    fences: 0,
    damages: Set::EMPTY,
    actors: Vec::new(),
};

/// A restore that pins its point.
pub const fn reader(point: u8) -> Spec {
    Spec::Reader { point }
}
