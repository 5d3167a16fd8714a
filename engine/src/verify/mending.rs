//! What a verification that may mend has mended, and what it could not.

use repo_format::PackOrdinal;

use super::costs::{Damage, Lost};
use crate::{
    log::PackState,
    mender::{MendedFrom, Mender, Outcome},
    problem::Problem,
    store::StoreError,
};

/// What became of damaged packs.
#[derive(Clone, Default)]
pub(super) struct Mending {
    /// Packs mended.
    pub(super) mended: Vec<PackOrdinal>,
    /// Packs that could not be mended, their damage proved.
    pub(super) bad: Vec<PackOrdinal>,
    /// The mended ones as a report names them.
    pub(super) said: Vec<(Problem, MendedFrom)>,
}

impl Damage {
    /// Takes in a damaged pack, unless it can be mended.
    pub(super) fn mend_or_add(
        &mut self,
        ordinal: PackOrdinal,
        outcome: Option<Outcome>,
        mut problem: Problem,
        lost: Lost,
    ) {
        match outcome {
            None => self.add(ordinal, problem, lost),
            // Read twice, right the second time: a transient error of the way here, no damage.
            Some(Outcome::Right) => {}
            Some(Outcome::Mended { from, .. }) => {
                self.mending.mended.push(ordinal);
                self.mending.said.push((problem, from));
            }
            Some(Outcome::Bad { why, is_proved }) => {
                if is_proved {
                    self.mending.bad.push(ordinal);
                }
                problem.what = format!("{}; it cannot be mended: {why}", problem.what);
                self.add(ordinal, problem, lost);
            }
        }
    }

    /// What was mended and what not, ascending.
    pub(super) fn take_mending(&mut self) -> Mending {
        let mut mending = std::mem::take(&mut self.mending);
        mending.mended.sort_unstable();
        mending.bad.sort_unstable();
        mending.said.sort_by(|(one, _), (other, _)| one.object.cmp(&other.object));
        mending
    }
}

/// Asks the mender, if there is one.
pub(super) fn mend(mender: Option<&Mender>, pack: &PackState) -> Result<Option<Outcome>, StoreError> {
    mender.map(|mender| mender.mend(pack.name, pack.bytes)).transpose()
}
