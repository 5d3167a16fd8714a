//! Which storage policy a part gets: settled before anything is created.

use std::fmt;

use repo_format::{PolicyEncrypts, StoragePolicy};

use super::{
    facts::TargetFacts,
    map_file::PolicyEntry,
    reason::{Part, Reason},
    wish::{PolicyWish, Wish},
};

/// The id of "VM Encryption Policy".
pub const SAMPLE_POLICY_ID: &str = "4d5f673c-536f-11e6-beb8-9e71128cae77";
/// Its name, for a vCenter that gave it another id.
pub const SAMPLE_POLICY_NAME: &str = "VM Encryption Policy";
/// What stands for it in options and maps.
const SAMPLE: &str = "sample";
/// The entry of a map for policies that have none.
const ANY: &str = "*";

/// By what a policy was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChosenBy {
    /// The saved id is here.
    Id,
    /// The saved name is here.
    Name,
    /// The map says so.
    Map,
    /// `--storage-policy`, or an answer at the terminal.
    Choice,
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "by id",
            Self::Name => "by name",
            Self::Map => "by the map",
            Self::Choice => "as chosen",
        })
    }
}

/// A policy of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChoice {
    /// The policy.
    pub policy: StoragePolicy,
    /// By what it was chosen.
    pub by: ChosenBy,
}

/// For a part that will be encrypted.
pub(super) fn for_encrypted(
    part: &Part,
    saved: Option<&StoragePolicy>,
    wish: &Wish,
    facts: &TargetFacts,
) -> Result<PolicyChoice, Reason> {
    let entry = entry(saved, wish);
    if let Some(forced) = entry.filter(|entry| entry.force) {
        return named(part, &forced.policy, ChosenBy::Map, facts);
    }
    if let Some(choice) = as_saved(saved, facts, |policy| policy.encrypts != PolicyEncrypts::No) {
        return Ok(choice);
    }
    match (entry, &wish.policy) {
        (Some(entry), _) => named(part, &entry.policy, ChosenBy::Map, facts),
        (None, PolicyWish::Named(name)) => named(part, name, ChosenBy::Choice, facts),
        (None, PolicyWish::Sample) => named(part, SAMPLE, ChosenBy::Choice, facts),
        (None, PolicyWish::AsSaved) => Err(Reason::PolicyGone {
            part: part.clone(),
            saved: saved.map(|policy| policy.name.clone()),
            encrypting: encrypting(facts),
        }),
    }
}

/// For a part that stays in the clear: its own, if that is here and does not encrypt. No surprise encryption, no question.
pub(super) fn for_clear(saved: Option<&StoragePolicy>, wish: &Wish, facts: &TargetFacts) -> Option<PolicyChoice> {
    let plain = |policy: &StoragePolicy| policy.encrypts == PolicyEncrypts::No;
    let entry = saved.and_then(|saved| own_entry(saved, wish));
    let by_map = |entry: &PolicyEntry| {
        let policy = find(&entry.policy, facts).filter(|policy| plain(policy))?;
        Some(PolicyChoice { policy: policy.clone(), by: ChosenBy::Map })
    };
    let forced = entry.filter(|entry| entry.force).and_then(by_map);
    forced.or_else(|| as_saved(saved, facts, plain)).or_else(|| entry.and_then(by_map))
}

fn own_entry<'w>(saved: &StoragePolicy, wish: &'w Wish) -> Option<&'w PolicyEntry> {
    wish.map.policies.get(&saved.id).or_else(|| wish.map.policies.get(&saved.name))
}

fn entry<'w>(saved: Option<&StoragePolicy>, wish: &'w Wish) -> Option<&'w PolicyEntry> {
    saved.and_then(|saved| own_entry(saved, wish)).or_else(|| wish.map.policies.get(ANY))
}

fn as_saved(
    saved: Option<&StoragePolicy>,
    facts: &TargetFacts,
    fits: impl Fn(&StoragePolicy) -> bool,
) -> Option<PolicyChoice> {
    let saved = saved?;
    let choice = |by, matches: fn(&StoragePolicy, &StoragePolicy) -> bool| {
        let found = facts.policies.iter().find(|policy| matches(policy, saved) && fits(policy))?;
        Some(PolicyChoice { policy: found.clone(), by })
    };
    choice(ChosenBy::Id, |here, saved| here.id == saved.id)
        .or_else(|| choice(ChosenBy::Name, |here, saved| here.name == saved.name))
}

fn find<'f>(name: &str, facts: &'f TargetFacts) -> Option<&'f StoragePolicy> {
    let (id, name) = if name == SAMPLE { (SAMPLE_POLICY_ID, SAMPLE_POLICY_NAME) } else { (name, name) };
    let by_id = facts.policies.iter().find(|policy| policy.id == id);
    by_id.or_else(|| facts.policies.iter().find(|policy| policy.name == name))
}

fn named(part: &Part, name: &str, by: ChosenBy, facts: &TargetFacts) -> Result<PolicyChoice, Reason> {
    let missing = || Reason::PolicyMissing {
        part: part.clone(),
        name: if name == SAMPLE { SAMPLE_POLICY_NAME } else { name }.to_owned(),
        encrypting: encrypting(facts),
    };
    let policy = find(name, facts).ok_or_else(missing)?;
    match policy.encrypts {
        PolicyEncrypts::No => Err(Reason::PolicyDoesNotEncrypt {
            part: part.clone(),
            name: policy.name.clone(),
            encrypting: encrypting(facts),
        }),
        PolicyEncrypts::Yes | PolicyEncrypts::Unknown => Ok(PolicyChoice { policy: policy.clone(), by }),
    }
}

/// Names of policies that encrypt, to choose from.
fn encrypting(facts: &TargetFacts) -> Vec<String> {
    let encrypts = facts.policies.iter().filter(|policy| policy.encrypts == PolicyEncrypts::Yes);
    encrypts.map(|policy| policy.name.clone()).collect()
}
