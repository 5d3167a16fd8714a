//! What somebody does, for people to read, and what of it a follower of the log must know.

use std::fmt;

use super::{log::Record, set::Set, world::World};

/// One step of somebody.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What was done.
    pub action: Action,
    /// The world afterwards.
    pub world: World,
    /// What it means for the log.
    pub effect: Effect,
}

/// What a step means for the log.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// A prune has surveyed at the head.
    Surveyed {
        /// The prune.
        actor: u8,
    },
    /// A decision that leads to an entry, to nothing, or to a refusal.
    Decided {
        /// Whose.
        actor: u8,
        /// About what.
        decision: Decision,
    },
    /// An entry has come to the head.
    Landed {
        /// Whose.
        actor: Option<u8>,
        /// The record.
        record: Record,
        /// It has no effect.
        is_void: bool,
    },
}

impl Effect {
    /// The same, done by `me`.
    pub fn of(self, me: u8) -> Self {
        match self {
            Self::Landed { record, is_void, .. } => Self::Landed { actor: Some(me), record, is_void },
            other => other,
        }
    }
}

/// What was asked of a decider, and what it said.
#[derive(Clone, Copy, Debug)]
pub enum Decision {
    /// Commit or Moved, or another record that holds or is refused as it is.
    Write {
        /// What is asked for.
        record: Record,
        /// It may be written.
        accepted: bool,
    },
    /// Condemn.
    Condemn {
        /// What the survey gave.
        dispensable: Set,
        /// The answer.
        outcome: Outcome,
    },
    /// Delete.
    Delete {
        /// What the survey gave.
        dispensable: Set,
        /// Orphans seen.
        orphans: Set,
        /// The answer.
        outcome: Outcome,
    },
}

/// What a decider of the prune says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Survey again.
    Outdated,
    /// There is nothing to write.
    Nothing,
    /// This is to be written.
    Writes(Record),
}

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the text of each is in Display")]
pub enum Action {
    Open { actor: u8, adopts: Option<u8> },
    Pin { actor: u8, point: u8 },
    ReadUnpinned { actor: u8, point: u8 },
    Close { actor: u8 },
    Look { actor: u8, uses: Set, own: Set, uploads: Set },
    Put { actor: u8, pack: u8, chunks: Set },
    PutLater { actor: u8, pack: u8 },
    Decide { actor: u8, record: Record },
    Refused { actor: u8, record: Record },
    Lands { actor: u8, record: Record, is_void: bool },
    Survey { actor: u8, dead: Set, deletable: Set, moves: Set },
    Outdated { actor: u8 },
    NothingToDo { actor: u8 },
    Unlink { actor: u8, pack: u8 },
    Swept { actor: u8 },
    Confirm { actor: u8, dispensable: Set },
    Forget { point: u8 },
    Fence { session: u8 },
    Damage { pack: u8 },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { actor, adopts: None } => write!(f, "{actor} opens its session"),
            Self::Open { actor, adopts: Some(of) } => write!(f, "{actor} opens its session and adopts that of {of}"),
            Self::Pin { actor, point } => write!(f, "{actor} pins point {point}"),
            Self::ReadUnpinned { actor, point } => write!(f, "{actor} relies on point {point} without a pin"),
            Self::Close { actor } => write!(f, "{actor} closes its session"),
            Self::Look { actor, uses, own, uploads } => {
                write!(f, "{actor} looks: relies on packs {uses:?}, has packs {own:?}, is to store chunks {uploads:?}")
            }
            Self::Put { actor, pack, chunks } => write!(f, "{actor} stores pack {pack} with chunks {chunks:?}"),
            Self::PutLater { actor, pack } => write!(f, "{actor} goes on before pack {pack} is stored"),
            Self::Decide { actor, record } => write!(f, "{actor} decides {record:?}"),
            Self::Refused { actor, record } => write!(f, "{actor} is refused {record:?}"),
            Self::Lands { actor, record, is_void: false } => write!(f, "{actor} writes {record:?}"),
            Self::Lands { actor, record, is_void: true } => write!(f, "{actor} writes {record:?}, which is void"),
            Self::Survey { actor, dead, deletable, moves } => {
                write!(
                    f,
                    "{actor} surveys: packs {dead:?} are dead, {deletable:?} may be deleted, {moves:?} are to be rewritten"
                )
            }
            Self::Outdated { actor } => write!(f, "{actor} has to survey again"),
            Self::NothingToDo { actor } => write!(f, "{actor} finds nothing to write"),
            Self::Unlink { actor, pack } => write!(f, "{actor} removes pack {pack} from the store"),
            Self::Swept { actor } => write!(f, "{actor} has nothing more to remove"),
            Self::Confirm { actor, dispensable } => write!(f, "{actor} confirms that packs {dispensable:?} may go"),
            Self::Forget { point } => write!(f, "somebody forgets point {point}"),
            Self::Fence { session } => write!(f, "somebody fences session {session}"),
            Self::Damage { pack } => write!(f, "pack {pack} is found damaged"),
        }
    }
}
