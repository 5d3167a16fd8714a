//! The decision: guards, one row for the home, one for each disk, one for the vTPM, and the consent that they need.

use std::collections::BTreeSet;

use super::{
    disks::{DiskKeys, DiskPlan, DiskRow, plan_disk},
    ending::Ending,
    facts::{KeyState, TargetFacts},
    guards::{guards, new_name},
    home::{HomePlan, HomeRow, KeyStanding, decide_home, key_here, mapped},
    loss::{Loss, LossLine, given_up, secrets_of},
    note::Note,
    policy::{PolicyChoice, for_clear, for_encrypted},
    reason::{Part, Reason},
    verdict::PlanVerdict,
    wish::{EncryptionWish, Operator, PowerOn, Purpose, Wish},
};
use crate::vm_home::{DiskFate, Firmware, KmsKey, SavedNvram, SavedVm, VmConfig};

/// What becomes of the NVRAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvramPlan {
    /// It is uploaded before the first start.
    Upload {
        /// Its size.
        bytes: u64,
    },
    /// The VM never had one.
    NeverWas,
    /// vSphere makes a generic one: there is none to upload.
    Generic,
    /// There is one, and it is of no use with other keys.
    NotUploaded {
        /// Its size.
        bytes: u64,
    },
}

/// The row of the vTPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VtpmRow {
    /// Kept with its content.
    T1,
    /// Kept; its content was not in the point.
    T2,
    /// A new, empty one.
    T3,
    /// None.
    T4,
}

/// Is the VM started at the end?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Power {
    /// As was asked for.
    On,
    /// As was asked for, or as is usual.
    Off,
    /// Never: it could not start.
    Never,
}

/// A VM that will be made.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Its row.
    pub row: HomeRow,
    /// Its new name.
    pub name: String,
    /// Its home.
    pub home: HomePlan,
    /// The policy of its home.
    pub policy: Option<PolicyChoice>,
    /// Disks that are made.
    pub disks: Vec<DiskPlan>,
    /// Its NVRAM.
    pub nvram: NvramPlan,
    /// Its vTPM, if it had one.
    pub vtpm: Option<VtpmRow>,
    /// What does not come back, in words.
    pub losses: Vec<LossLine>,
    /// What must be agreed to.
    pub given_up: BTreeSet<Loss>,
    /// What else is to be known.
    pub notes: Vec<Note>,
    /// What comes out.
    pub verdict: PlanVerdict,
    /// Is it started?
    pub power: Power,
}

/// What only a person can settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which of these policies do the parts get? The answer goes into [`Wish::policy`].
    Policy {
        /// Parts whose own policy is gone.
        parts: Vec<Part>,
        /// Policies that encrypt.
        choices: Vec<String>,
    },
    /// Type these words. The answer goes into the consents.
    Losses {
        /// What is given up.
        given_up: BTreeSet<Loss>,
    },
}

/// Questions before a plan can be carried out.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The row.
    pub row: HomeRow,
    /// The questions.
    pub questions: Vec<Question>,
    /// The plan, if no answer changes it.
    pub plan: Option<Box<Recovery>>,
}

/// Reasons against it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The row.
    pub row: HomeRow,
    /// All of them.
    pub reasons: Vec<Reason>,
    /// What would come out if they were settled, where that is known.
    pub plan: Option<Box<Recovery>>,
}

/// What was decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Make it so.
    Go(Box<Recovery>),
    /// Ask first.
    Ask(Asked),
    /// Do not.
    Refuse(Refused),
}

impl Decision {
    /// The row of the home: always exactly one.
    pub fn row(&self) -> HomeRow {
        match self {
            Self::Go(recovery) => recovery.row,
            Self::Ask(asked) => asked.row,
            Self::Refuse(refused) => refused.row,
        }
    }

    /// The plan, as far as there is one.
    pub fn plan(&self) -> Option<&Recovery> {
        match self {
            Self::Go(recovery) => Some(recovery),
            Self::Ask(asked) => asked.plan.as_deref(),
            Self::Refuse(refused) => refused.plan.as_deref(),
        }
    }

    /// How a restore ends that does as decided, if all goes well. A question that nobody answers is a question that was wrong.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Go(recovery) => recovery.ending(),
            Self::Ask(_) => Ending::Invalid,
            Self::Refuse(refused) => {
                refused.reasons.iter().map(Reason::ending).reduce(Ending::weightier).unwrap_or(Ending::Refused)
            }
        }
    }

    /// How `plan` ends: done only if the VM comes back unchanged.
    pub fn plan_ending(&self) -> Ending {
        match self {
            Self::Go(recovery) => match recovery.verdict {
                PlanVerdict::Unchanged | PlanVerdict::UnchangedNeedsKey { .. } => Ending::Done,
                _ => Ending::Refused,
            },
            Self::Ask(_) | Self::Refuse(_) => Ending::Refused,
        }
    }
}

impl Recovery {
    fn ending(&self) -> Ending {
        let at_ease = matches!(self.verdict, PlanVerdict::Unchanged | PlanVerdict::Unknown { .. });
        if at_ease && self.losses.is_empty() && self.given_up.is_empty() { Ending::Done } else { Ending::Attention }
    }

    /// The verdict as it may be kept: unchanged for as long as the key can be had.
    pub fn lasting_verdict(&self) -> PlanVerdict {
        match (&self.verdict, &self.home) {
            (PlanVerdict::Unchanged, HomePlan::SameKeys { encryption, .. }) => {
                PlanVerdict::UnchangedNeedsKey { key: encryption.key().clone() }
            }
            (verdict, _) => verdict.clone(),
        }
    }
}

/// Every key that the target must be asked for before [`decide`], under its own provider and under a mapped one.
pub fn keys_to_ask(saved: &SavedVm, wish: &Wish) -> Vec<KmsKey> {
    let mut keys: Vec<KmsKey> = Vec::new();
    for key in saved.keys() {
        for key in [Some(key.clone()), mapped(key, wish)].into_iter().flatten() {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// Decides what becomes of a VM. Total: every saved VM, wish and target has exactly one row and one answer.
pub fn decide(saved: &SavedVm, wish: &Wish, facts: &TargetFacts) -> Decision {
    let mut reasons = guards(saved, wish, facts);
    let (row, home) = decide_home(saved, wish, facts);
    let plan = match home {
        Ok(home) => plan(row, home, saved, wish, facts, &mut reasons),
        Err(reason) => {
            reasons.push(reason);
            None
        }
    };
    let agreed = plan.as_ref().is_none_or(|plan| plan.given_up == wish.consents.losses);
    let can_ask = wish.operator == Operator::AtTerminal && wish.purpose == Purpose::Restore;
    if can_ask {
        let typed = plan.as_ref().filter(|_| !agreed && wish.consents.losses.is_empty());
        let typed = typed.map(|plan| Question::Losses { given_up: plan.given_up.clone() });
        let policy = policy_question(&reasons);
        let settled = reasons
            .iter()
            .all(|reason| matches!(reason, Reason::PolicyGone { encrypting, .. } if !encrypting.is_empty()));
        if settled && (policy.is_some() || typed.is_some()) {
            let questions = policy.into_iter().chain(typed).collect();
            return Decision::Ask(Asked { row, questions, plan: plan.map(Box::new) });
        }
    }
    if let (Some(plan), false) = (&plan, agreed) {
        let (given_up, accepted) = (plan.given_up.clone(), wish.consents.losses.clone());
        reasons.push(Reason::LossesNotAccepted { given_up, accepted });
    }
    match plan {
        Some(plan) if reasons.is_empty() => Decision::Go(Box::new(plan)),
        plan => Decision::Refuse(Refused { row, reasons, plan: plan.map(Box::new) }),
    }
}

fn policy_question(reasons: &[Reason]) -> Option<Question> {
    let gone = reasons.iter().filter_map(|reason| match reason {
        Reason::PolicyGone { part, encrypting, .. } => Some((part.clone(), encrypting)),
        _ => None,
    });
    let (parts, choices): (Vec<_>, Vec<_>) = gone.unzip();
    Some(Question::Policy { parts, choices: (*choices.first()?).clone() })
}

/// The plan of a row; `None` where a reason against it keeps it from being complete.
fn plan(
    row: HomeRow,
    home: HomePlan,
    saved: &SavedVm,
    wish: &Wish,
    facts: &TargetFacts,
    reasons: &mut Vec<Reason>,
) -> Option<Recovery> {
    let policy = if home.encrypts() {
        for_encrypted(&Part::Home, saved.policy.as_ref(), wish, facts).map(Some)
    } else {
        Ok(for_clear(saved.policy.as_ref(), wish, facts))
    };
    let policy = policy.map_err(|reason| reasons.push(reason)).ok();
    let planned = saved.stored_disks().map(|disk| plan_disk(disk, Some(&home), wish, facts, reasons));
    let disks: Vec<_> = planned.collect();
    let (policy, disks) = (policy?, disks.into_iter().collect::<Option<Vec<_>>>()?);
    let (nvram, vtpm) = (nvram(&home, saved), vtpm(&home, saved));
    let losses = losses(&home, &disks, &nvram, vtpm, saved);
    let verdict = verdict(row, &home, &losses, &nvram, saved);
    let power = match (home.is_unbootable(), wish.power_on) {
        (true, _) => Power::Never,
        (false, PowerOn::Yes) => Power::On,
        (false, PowerOn::No) => Power::Off,
    };
    let mut given_up = given_up(wish.encryption, saved);
    if row == HomeRow::D9 {
        given_up.extend(secrets_of(saved));
    }
    let notes = notes(&home, policy.as_ref(), &disks, saved, wish, facts);
    let name = new_name(saved, wish);
    Some(Recovery { row, name, home, policy, disks, nvram, vtpm, losses, given_up, notes, verdict, power })
}

fn nvram(home: &HomePlan, saved: &SavedVm) -> NvramPlan {
    match (&saved.nvram, home) {
        (SavedNvram::Saved { bytes }, HomePlan::Clear | HomePlan::SameKeys { .. }) => {
            NvramPlan::Upload { bytes: *bytes }
        }
        (SavedNvram::Saved { bytes }, HomePlan::NewKeys { .. } | HomePlan::InTheClear { .. }) => {
            NvramPlan::NotUploaded { bytes: *bytes }
        }
        (SavedNvram::NeverStarted, _) => NvramPlan::NeverWas,
        (SavedNvram::Absent { .. } | SavedNvram::Damaged { .. }, _) => NvramPlan::Generic,
    }
}

fn vtpm(home: &HomePlan, saved: &SavedVm) -> Option<VtpmRow> {
    saved.vtpm.as_ref()?;
    Some(match home {
        HomePlan::SameKeys { .. } if saved.holds_nvram() => VtpmRow::T1,
        HomePlan::SameKeys { .. } => VtpmRow::T2,
        HomePlan::NewKeys { .. } => VtpmRow::T3,
        HomePlan::Clear | HomePlan::InTheClear { .. } => VtpmRow::T4,
    })
}

fn losses(
    home: &HomePlan,
    disks: &[DiskPlan],
    nvram: &NvramPlan,
    vtpm: Option<VtpmRow>,
    saved: &SavedVm,
) -> Vec<LossLine> {
    let mut losses = Vec::new();
    if matches!(nvram, NvramPlan::Generic | NvramPlan::NotUploaded { .. }) {
        losses.push(LossLine::Nvram);
        if saved.firmware == Firmware::Efi {
            losses.push(LossLine::SecureBoot);
        }
    }
    // A vTPM of a VM that was never started holds nothing yet.
    let had_content = saved.nvram != SavedNvram::NeverStarted;
    match vtpm {
        Some(VtpmRow::T2 | VtpmRow::T3) if had_content => losses.push(LossLine::Vtpm),
        Some(VtpmRow::T4) => losses.push(LossLine::Vtpm),
        _ => {}
    }
    match home {
        HomePlan::NewKeys { was, .. } => losses.push(LossLine::HomeKey { was: was.clone() }),
        HomePlan::InTheClear { .. } => losses.push(LossLine::HomeClear),
        HomePlan::Clear | HomePlan::SameKeys { .. } => {}
    }
    losses.extend(disks.iter().filter_map(|disk| match (&disk.keys, &disk.was) {
        (DiskKeys::New, _) => Some(LossLine::DiskKey { disk: disk.name.clone() }),
        (DiskKeys::Clear, Some(_)) => Some(LossLine::DiskClear { disk: disk.name.clone() }),
        _ => None,
    }));
    losses.extend(saved.disks.iter().filter_map(|disk| match &disk.fate {
        DiskFate::Skipped { why } => Some(LossLine::DiskSkipped { disk: disk.name.clone(), why: why.clone() }),
        DiskFate::Stored => None,
    }));
    losses
}

fn verdict(row: HomeRow, home: &HomePlan, losses: &[LossLine], nvram: &NvramPlan, saved: &SavedVm) -> PlanVerdict {
    if let Some(of_disks) = PlanVerdict::of_disks(&saved.point) {
        return of_disks;
    }
    let skipped = losses.iter().filter(|loss| matches!(loss, LossLine::DiskSkipped { .. }));
    let skipped: Vec<_> = skipped.map(|loss| format!("{} was not backed up", loss.word())).collect();
    if !skipped.is_empty() {
        return PlanVerdict::Incomplete { what: skipped.join("; ") };
    }
    match home {
        HomePlan::SameKeys { encryption, standing: KeyStanding::NotToBeHad { state } } => {
            return PlanVerdict::NotBootable { key: encryption.key().clone(), state: *state };
        }
        HomePlan::SameKeys { encryption, standing: KeyStanding::Unsure } => {
            let why = format!(
                "whether {} can give key {} could not be found out",
                encryption.key().provider_name(),
                encryption.key().id
            );
            return PlanVerdict::Unknown { why };
        }
        HomePlan::SameKeys { standing: KeyStanding::Renamed { old }, .. } => {
            return PlanVerdict::Unknown { why: format!("the bundle names {old}") };
        }
        _ => {}
    }
    // A disk with a key made for it is as good as before: only what is lost, or no longer kept secret, is named.
    let counts = |loss: &&LossLine| !matches!(loss, LossLine::DiskKey { .. }) || row == HomeRow::D11;
    let mut words: Vec<String> = Vec::new();
    for loss in losses.iter().filter(counts) {
        let word = loss.word().to_owned();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() {
        return PlanVerdict::Unchanged;
    }
    let reason = match (home, nvram, &saved.nvram) {
        (HomePlan::NewKeys { .. }, _, _) => match saved.encryption.missing() {
            Some(missing) => missing.to_owned(),
            None => "new keys were asked for".to_owned(),
        },
        (HomePlan::InTheClear { .. }, _, _) => "no encryption was asked for".to_owned(),
        (_, _, SavedNvram::Damaged { .. }) => "NVRAM is damaged".to_owned(),
        _ => "NVRAM was not saved".to_owned(),
    };
    PlanVerdict::WithLosses { losses: words, reason }
}

fn notes(
    home: &HomePlan,
    policy: Option<&PolicyChoice>,
    disks: &[DiskPlan],
    saved: &SavedVm,
    wish: &Wish,
    facts: &TargetFacts,
) -> Vec<Note> {
    let mut notes = Vec::new();
    if let HomePlan::SameKeys { encryption, standing } = home {
        let key = encryption.key().clone();
        match standing {
            KeyStanding::Available => {}
            KeyStanding::Unsure => notes.push(Note::KeyUnsure { key }),
            KeyStanding::Renamed { old } => {
                notes.push(Note::ProviderRenamed { old: old.clone(), new: key.provider_name().to_owned() });
            }
            KeyStanding::NotToBeHad { .. } => notes.push(Note::WaitsForKey { key }),
        }
    }
    if wish.encryption == EncryptionWish::SameKeys {
        notes.extend(unused_mappings(saved, wish, facts).into_iter().map(|old| Note::MappingNotUsed { old }));
    }
    match &saved.nvram {
        SavedNvram::Damaged { what } => notes.push(Note::NvramDamaged { what: what.clone() }),
        SavedNvram::Absent { why } => notes.push(Note::NvramAbsent { why: why.clone() }),
        SavedNvram::Saved { .. } | SavedNvram::NeverStarted => {}
    }
    let left_out = |part: Part, name: &str| Note::PolicyLeftOut { part, name: name.to_owned() };
    if let (HomePlan::Clear, None, Some(own)) = (home, policy, &saved.policy) {
        notes.push(left_out(Part::Home, &own.name));
    }
    for disk in disks {
        let own = saved.disks.iter().find(|own| own.name == disk.name).and_then(|own| own.policy.as_ref());
        match (disk.row, &disk.was, own) {
            (DiskRow::K1, _, Some(own)) if disk.policy.is_none() => {
                notes.push(left_out(Part::Disk(disk.name.clone()), &own.name));
            }
            (DiskRow::K3, Some(key), _) => {
                let state = key_here(key, wish, facts).state;
                notes.push(Note::DiskKeyReplaced { disk: disk.name.clone(), key: key.clone(), state });
            }
            _ => {}
        }
    }
    let config = saved.configuration.as_ref().ok().and_then(|document| VmConfig::read(document.config.element()).ok());
    notes.extend(config.into_iter().flat_map(|config| config.other_devices).map(|label| Note::DeviceLeftOut { label }));
    notes
}

/// Mappings of providers that are known here under their own name.
fn unused_mappings(saved: &SavedVm, wish: &Wish, facts: &TargetFacts) -> BTreeSet<String> {
    let keys = saved.keys().into_iter();
    let known = keys.filter(|key| mapped(key, wish).is_some() && facts.key_state(key) != KeyState::Stranger);
    known.filter_map(|key| key.provider.clone()).collect()
}
