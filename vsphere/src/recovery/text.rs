//! What a person reads of a decision.

use std::fmt::Write as _;

use super::{
    disks::{DiskKeys, DiskPlan},
    facts::{KeyState, TargetFacts},
    home::{HomePlan, KeyStanding},
    plan::{Decision, NvramPlan, Question, Recovery, VtpmRow},
    policy::PolicyChoice,
    reason::{Reason, words},
};
use crate::vm_home::{Firmware, SavedVm};

/// A reason in three lines: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonText {
    /// What is wrong.
    pub error: String,
    /// Where.
    pub place: String,
    /// What to do.
    pub advice: String,
}

/// The lines of a plan: a heading, what becomes of each part, notes, losses, the verdict. `time` is the point's.
pub fn plan_lines(saved: &SavedVm, recovery: &Recovery, facts: &TargetFacts, time: &str) -> Vec<String> {
    let mut lines = vec![format!("plan: {} @ {time} -> {} as \"{}\"", saved.name, facts.place, recovery.name)];
    let mut row = |label: &str, text: String| lines.push(format!("  {label:<9} {text}"));
    row("keys", keys(&recovery.home));
    row("policy", policy(recovery.policy.as_ref()));
    row("nvram", nvram(&recovery.nvram));
    if let Some(vtpm) = recovery.vtpm {
        row("vtpm", vtpm_text(vtpm).to_owned());
    }
    row("firmware", firmware(saved));
    recovery.disks.iter().for_each(|plan| row(&plan.name, disk(plan)));
    recovery.notes.iter().for_each(|note| row("note", note.to_string()));
    lines.extend(loss_lines(recovery));
    lines.push(format!("  restores: {}", recovery.verdict));
    lines
}

/// One line for each loss: said before the question, and again at the end.
pub fn loss_lines(recovery: &Recovery) -> Vec<String> {
    recovery.losses.iter().map(|loss| format!("  loss      {loss}")).collect()
}

/// The reasons of a refusal, in the order in which they were found.
pub fn reason_texts(saved: &SavedVm, reasons: &[Reason]) -> Vec<ReasonText> {
    let text = |reason: &Reason| ReasonText {
        error: reason.to_string(),
        place: format!("{} {}", saved.name, reason.place()),
        advice: reason.advice(saved),
    };
    reasons.iter().map(text).collect()
}

/// What is asked at the terminal.
pub fn question_text(question: &Question) -> String {
    match question {
        Question::Policy { parts, choices } => {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            let mut text =
                format!("the storage policy of {} is gone; which one that encrypts is used instead?", parts.join(", "));
            for (number, name) in choices.iter().enumerate() {
                // Writing into a string cannot fail.
                let _ = write!(text, "\n  {}  {name}", number + 1);
            }
            text
        }
        Question::Losses { given_up } => {
            let words = words(given_up);
            format!("this gives up {words} for good; type {words} to agree")
        }
    }
}

/// All of a decision as lines: the plan as far as there is one, then reasons in `error / where / try` form.
pub fn decision_lines(saved: &SavedVm, decision: &Decision, facts: &TargetFacts, time: &str) -> Vec<String> {
    let mut lines = match decision.plan() {
        Some(plan) => plan_lines(saved, plan, facts, time),
        None => Vec::new(),
    };
    if let Decision::Refuse(refused) = decision {
        for text in reason_texts(saved, &refused.reasons) {
            lines.push(format!("error: {}", text.error));
            lines.push(format!("where: {}", text.place));
            lines.push(format!("try:   {}", text.advice));
        }
        lines.push("nothing was changed".to_owned());
    }
    lines
}

fn keys(home: &HomePlan) -> String {
    match home {
        HomePlan::Clear => "none, as it was".to_owned(),
        HomePlan::SameKeys { encryption, standing } => {
            let key = encryption.key().short();
            match standing {
                KeyStanding::Available => format!("same: {key} (available)"),
                KeyStanding::Unsure => format!("same: {key} (nobody could say whether it is available)"),
                KeyStanding::Renamed { old } => format!("same: {key} (was {old})"),
                KeyStanding::NotToBeHad { state: KeyState::None } => {
                    format!("same: {key} (not available: this vCenter has no key provider)")
                }
                KeyStanding::NotToBeHad { .. } => {
                    format!("same: {key} (not available: {} is not reachable)", encryption.key().provider_name())
                }
            }
        }
        HomePlan::NewKeys { provider, was: Some(was) } => format!("new: made by {provider}, was {}", was.short()),
        HomePlan::NewKeys { provider, was: None } => format!("new: made by {provider}"),
        HomePlan::InTheClear { was: Some(was) } => format!("none, was {}", was.short()),
        HomePlan::InTheClear { was: None } => "none, was encrypted".to_owned(),
    }
}

fn policy(choice: Option<&PolicyChoice>) -> String {
    choice.map_or_else(
        || "the datastore's own".to_owned(),
        |choice| format!("\"{}\" ({})", choice.policy.name, choice.by),
    )
}

fn nvram(plan: &NvramPlan) -> String {
    match plan {
        NvramPlan::Upload { bytes } => format!("will be uploaded ({})", size(*bytes)),
        NvramPlan::NeverWas => "none: the VM was never started".to_owned(),
        NvramPlan::Generic => "not in this point; vSphere makes a generic one".to_owned(),
        NvramPlan::NotUploaded { bytes } => format!("unusable, will not be uploaded ({})", size(*bytes)),
    }
}

fn vtpm_text(row: VtpmRow) -> &'static str {
    match row {
        VtpmRow::T1 => "kept, content kept",
        VtpmRow::T2 => "kept, its content is not in this point",
        VtpmRow::T3 => "new and empty",
        VtpmRow::T4 => "none",
    }
}

fn firmware(saved: &SavedVm) -> String {
    match (&saved.firmware, saved.secure_boot) {
        (Firmware::Efi, Some(true)) => "efi, Secure Boot on".to_owned(),
        (Firmware::Efi, Some(false)) => "efi, Secure Boot off".to_owned(),
        (firmware, _) => firmware.word().to_owned(),
    }
}

fn disk(plan: &DiskPlan) -> String {
    let was = match &plan.was {
        Some(key) => format!("was {}", key.short()),
        None => "was clear".to_owned(),
    };
    let keys = match &plan.keys {
        DiskKeys::Clear => format!("clear ({was})"),
        DiskKeys::Own(key) => format!("same key {}", key.short()),
        DiskKeys::New => format!("new key ({was})"),
    };
    let policy = plan.policy.as_ref().map(|choice| format!(", policy {}", policy(Some(choice)))).unwrap_or_default();
    format!("{}, {keys}{policy}", size(plan.capacity_bytes))
}

/// One decimal, and none where it would be zero: `80 GiB`, `1.5 TiB`.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let Some((unit, one)) = UNITS.into_iter().find(|(_, one)| bytes >= *one) else { return format!("{bytes} bytes") };
    let tenths = u128::from(bytes) * 10 / u128::from(one);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}
