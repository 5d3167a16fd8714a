//! What the log says, in the small: `State(h)` of SPEC.md section 17 without numbers, names and times.

use super::{
    rule::{Rule, Rules},
    set::Set,
};

/// Packs of a scope, at most.
pub const PACKS: usize = 10;
/// Sessions of a scope, at most. A session bears the number of the actor that opens it.
pub const SESSIONS: usize = 8;

/// What became of a pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pack {
    /// No entry registers it.
    #[default]
    Unregistered,
    /// It counts.
    Usable,
    /// It will be deleted.
    Condemned,
    /// It was found damaged.
    Damaged,
    /// It may be gone.
    Deleted,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Session {
    /// No entry opens it.
    #[default]
    Unknown,
    /// It may write.
    Open,
    /// It has ended.
    Closed,
    /// Somebody else has ended it.
    Fenced,
    /// Another has taken over its packs.
    Adopted(u8),
}

/// One log entry. Sets of packs are meant where a production record lists ordinals or names. Commit and Moved have the
/// Close in the same entry; the owner of an orphan is the session in its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "SPEC.md section 16 says what each is")]
pub enum Record {
    Open { session: u8, adopts: Option<u8> },
    Pin { session: u8, point: u8 },
    Commit { session: u8, point: u8, new: Set, uses: Set },
    Moved { session: u8, new: Set, from: Set },
    Close { session: u8 },
    Forget { point: u8 },
    Fence { session: u8 },
    Condemn { packs: Set },
    Damaged { packs: Set },
    Delete { packs: Set, orphans: Set },
}

/// What the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogState {
    /// By number.
    pub packs: [Pack; PACKS],
    /// Orphans that a Delete names.
    pub deleted_orphans: Set,
    /// Packs that any Delete names, for invariant I3.
    pub ever_deleted: Set,
    /// Points that were ever committed.
    pub points: Set,
    /// Those that are not forgotten.
    pub live: Set,
    /// By number.
    pub sessions: [Session; SESSIONS],
    /// Points each session has pinned.
    pub pins: [Set; SESSIONS],
}

impl LogState {
    /// Packs that were registered and became `status`.
    pub fn packs_that_are(&self, status: Pack) -> Set {
        (0_u8..).zip(self.packs).filter(|(_, pack)| *pack == status).map(|(number, _)| number).collect()
    }

    /// Packs that count as copies and as targets of deduplication.
    pub fn usable(&self) -> Set {
        self.packs_that_are(Pack::Usable)
    }

    /// Live points and those that an open session has pinned.
    pub fn roots(&self) -> Set {
        (0..SESSIONS).filter(|at| self.sessions[*at] == Session::Open).fold(self.live, |all, at| all.or(self.pins[at]))
    }

    /// What became of `session`.
    pub fn session(&self, session: u8) -> Session {
        self.sessions[usize::from(session)]
    }

    /// Who owns the packs of `session` now.
    pub fn final_owner(&self, session: u8, rules: Rules) -> u8 {
        match self.session(session) {
            Session::Adopted(by) if rules.hold(Rule::OrphanFollowsAdoption) => self.final_owner(by, rules),
            _ => session,
        }
    }

    /// May an unregistered pack with `head` (the session that wrote it) be deleted?
    pub fn is_orphan(&self, pack: u8, head: u8, rules: Rules) -> bool {
        let ended = self.session(self.final_owner(head, rules)) != Session::Open;
        self.packs[usize::from(pack)] == Pack::Unregistered && (ended || !rules.hold(Rule::OrphanOwnerEnded))
    }

    /// Does `record` keep the rules in this state? `heads` are the sessions in the heads of packs.
    pub fn allows(&self, record: &Record, heads: &[u8; PACKS], rules: Rules) -> bool {
        let is = |session: u8| self.session(session) == Session::Open;
        let may_write = |session: u8| is(session) || !rules.hold(Rule::CommitRefusesFenced);
        let are_new = |new: Set| {
            let deleted = self.deleted_orphans.or(self.packs_that_are(Pack::Deleted));
            let taken = self.usable().or(self.packs_that_are(Pack::Condemned)).or(self.packs_that_are(Pack::Damaged));
            new.and(taken).is_empty() && (new.and(deleted).is_empty() || !rules.hold(Rule::OwnPackCheck))
        };
        match *record {
            Record::Open { session, adopts } => self.session(session) == Session::Unknown && adopts.is_none_or(is),
            Record::Pin { session, point } => is(session) && self.live.has(point),
            Record::Commit { session, point, new, uses } => {
                let condemned = self.packs_that_are(Pack::Condemned);
                let refused = if rules.hold(Rule::CommitRefusesCondemned) { condemned } else { Set::EMPTY };
                let may_rely = uses.is_within(self.usable().or(condemned).less(refused));
                may_write(session) && are_new(new) && may_rely && !self.points.has(point)
            }
            Record::Moved { session, new, from } => {
                may_write(session) && are_new(new) && from.and(self.packs_that_are(Pack::Unregistered)).is_empty()
            }
            Record::Close { session } | Record::Fence { session } => is(session),
            Record::Forget { point } => self.live.has(point),
            Record::Condemn { packs } => packs.is_within(self.usable().or(self.packs_that_are(Pack::Damaged))),
            Record::Damaged { packs } => packs.and(self.packs_that_are(Pack::Unregistered)).is_empty(),
            Record::Delete { packs, orphans } => {
                let may_go = |pack: u8| self.is_orphan(pack, heads[usize::from(pack)], rules);
                packs.is_within(self.packs_that_are(Pack::Condemned)) && orphans.that(may_go) == orphans
            }
        }
    }

    /// Takes `record` in.
    pub fn apply(&mut self, record: &Record) {
        match *record {
            Record::Open { session, adopts } => {
                self.sessions[usize::from(session)] = Session::Open;
                adopts.into_iter().for_each(|adopted| self.end(adopted, Session::Adopted(session)));
            }
            Record::Pin { session, point } => {
                self.pins[usize::from(session)] = self.pins[usize::from(session)].with(point);
            }
            Record::Commit { session, point, new, .. } => {
                self.set(new, Pack::Usable);
                self.points = self.points.with(point);
                self.live = self.live.with(point);
                self.close(session);
            }
            Record::Moved { session, new, .. } => {
                self.set(new, Pack::Usable);
                self.close(session);
            }
            Record::Close { session } => self.close(session),
            Record::Fence { session } => self.end(session, Session::Fenced),
            Record::Forget { point } => self.live = self.live.less(Set::of(&[point])),
            Record::Condemn { packs } => self.set(packs, Pack::Condemned),
            Record::Damaged { packs } => self.set(packs.and(self.usable()), Pack::Damaged),
            Record::Delete { packs, orphans } => {
                self.set(packs, Pack::Deleted);
                self.deleted_orphans = self.deleted_orphans.or(orphans);
                self.ever_deleted = self.ever_deleted.or(packs).or(orphans);
            }
        }
    }

    /// The Close in the entry of a Commit is void where the session was fenced: then it stays as it is.
    fn close(&mut self, session: u8) {
        if self.session(session) == Session::Open {
            self.end(session, Session::Closed);
        }
    }

    fn end(&mut self, session: u8, status: Session) {
        self.sessions[usize::from(session)] = status;
        self.pins[usize::from(session)] = Set::EMPTY;
    }

    fn set(&mut self, packs: Set, status: Pack) {
        packs.iter().for_each(|pack| self.packs[usize::from(pack)] = status);
    }
}
