//! The rules of the protocol, each of which can be taken away to see what it is good for.

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A session that builds on a point, or reads one, pins it.
    Pins,
    /// No Commit relies on a condemned pack (`check_commit`). On a damaged or deleted one it never may.
    CommitRefusesCondemned,
    /// No Commit or Moved of a session that is not open (`session_is_open`).
    CommitRefusesFenced,
    /// No Commit or Moved registers a pack that was deleted (`new_packs_are_new`).
    OwnPackCheck,
    /// Commit and Moved land at the head they were decided from, or not at all (`Log::append`).
    CommitAtExactHead,
    /// A replayer ignores a record that breaks a rule at its place (`State::apply`).
    ReplayersJudge,
    /// All packs are durable before the Commit (`Session::flush`).
    DurableBeforeCommit,
    /// Condemn lands at the head it was decided from, or not at all.
    CondemnAtExactHead,
    /// What was relied on since the survey is not condemned (`decide_condemn`).
    CondemnSparesReliedOn,
    /// When copies were taken away since the survey, it is made again (`not_lost_since`).
    CondemnStopsAtLoss,
    /// Delete proves again that nothing needs a condemned pack (`decide_delete`, `confirm`).
    DeleteRechecks,
    /// What was relied on since the survey is not deleted (`decide_delete`).
    DeleteSparesReliedOn,
    /// Delete lands at the head it was decided from, or not at all.
    DeleteAtExactHead,
    /// An orphan is deleted only when its owner has ended (`rules::orphan`).
    OrphanOwnerEnded,
    /// The owner of an orphan is followed through adoptions (`State::final_owner`).
    OrphanFollowsAdoption,
    /// A prune removes from the store only what a Delete names, not all that it took for an orphan (`prune_once`).
    SweepOnlyNamed,
    /// Two packs never have the same name, whatever is in them (the salt in the pack's head).
    FreshNames,
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    off: u32,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self { off: 0 };

    /// All but these.
    pub fn without(rules: &[Rule]) -> Self {
        Self { off: rules.iter().fold(0, |off, rule| off | 1 << *rule as u32) }
    }

    /// Does `rule` hold?
    pub fn hold(self, rule: Rule) -> bool {
        self.off & 1 << rule as u32 == 0
    }
}
