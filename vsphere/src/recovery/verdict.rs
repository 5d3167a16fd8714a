//! What a person gets: the words of the engine, with the target added.

use std::fmt;

use engine::Verdict;

use super::facts::KeyState;
use crate::vm_home::KmsKey;

/// A verdict on a point and a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanVerdict {
    /// Everything comes back, and the VM starts.
    Unchanged,
    /// The same for as long as a key can be had.
    UnchangedNeedsKey {
        /// The key.
        key: KmsKey,
    },
    /// It comes back, less what is named.
    WithLosses {
        /// What.
        losses: Vec<String>,
        /// Why.
        reason: String,
    },
    /// The data come back; the VM does not start here today.
    NotBootable {
        /// The key that it waits for.
        key: KmsKey,
        /// Why.
        state: KeyState,
    },
    /// Some disks or ranges were never in the point.
    Incomplete {
        /// Which.
        what: String,
    },
    /// Stored bytes are damaged.
    Damaged {
        /// Which.
        what: String,
    },
    /// Nothing comes back.
    Impossible,
    /// Nobody could say.
    Unknown {
        /// What was not found out.
        why: String,
    },
}

impl PlanVerdict {
    /// The word that programs read.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::UnchangedNeedsKey { .. } => "unchanged_needs_key",
            Self::WithLosses { .. } => "with_losses",
            Self::NotBootable { .. } => "not_bootable",
            Self::Incomplete { .. } => "incomplete",
            Self::Damaged { .. } => "damaged",
            Self::Impossible => "impossible",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// What the point alone says against its disks, if anything.
    pub(super) fn of_disks(point: &Verdict) -> Option<Self> {
        let text = point.to_string();
        let what = |word: &str| text.strip_prefix(word).unwrap_or(&text).to_owned();
        match point {
            Verdict::Impossible => Some(Self::Impossible),
            Verdict::Damaged { .. } => Some(Self::Damaged { what: what("damaged: ") }),
            Verdict::Incomplete { .. } => Some(Self::Incomplete { what: what("incomplete: ") }),
            Verdict::Unchanged | Verdict::WithLosses { .. } | Verdict::Unknown { .. } => None,
        }
    }
}

impl fmt::Display for PlanVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::UnchangedNeedsKey { key } => write!(
                f,
                "unchanged, as long as {} can give key {}; without it NVRAM and vTPM content are lost",
                key.provider_name(),
                key.id
            ),
            Self::WithLosses { losses, reason } => write!(f, "with losses: {} ({reason})", losses.join(", ")),
            Self::NotBootable { key, state: KeyState::None } => write!(
                f,
                "not bootable here: this vCenter has no key provider and cannot get key {}; the data is whole",
                key.id
            ),
            Self::NotBootable { key, .. } => write!(
                f,
                "not bootable here: this vCenter cannot get key {} from {}; the data is whole",
                key.id,
                key.provider_name()
            ),
            Self::Incomplete { what } => write!(f, "incomplete: {what}"),
            Self::Damaged { what } => write!(f, "damaged: {what}; run: strongroom repair"),
            Self::Impossible => f.write_str("not at all: no disk of this point can be read"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}
