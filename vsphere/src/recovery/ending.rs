//! How a run ends by a decision. The command line gives each its number.

/// The ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// As asked.
    Done,
    /// Not done.
    Failed,
    /// The question was wrong or not complete; nothing was changed.
    Invalid,
    /// Done, but a person is needed.
    Attention,
    /// Stored bytes are not what they were.
    Damaged,
    /// What would come out is neither what was asked for nor what was accepted; nothing was written.
    Refused,
    /// Not to be had now: room, a server.
    Unavailable,
}

impl Ending {
    /// Of several reasons the one that a person must see to first: damage, then what was asked, then rights, then room.
    pub(super) fn weightier(self, other: Self) -> Self {
        const ORDER: [Ending; 7] = [
            Ending::Damaged,
            Ending::Invalid,
            Ending::Failed,
            Ending::Unavailable,
            Ending::Refused,
            Ending::Attention,
            Ending::Done,
        ];
        ORDER.into_iter().find(|ending| *ending == self || *ending == other).unwrap_or(self)
    }
}
