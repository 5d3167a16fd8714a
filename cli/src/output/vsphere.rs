//! What the commands of `vsphere` give.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    BackupResult, Human,
    human::{clean, table},
};

/// What `vsphere doctor` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DoctorResult {
    /// What was checked, in order.
    pub checks: Vec<CheckLine>,
}

/// One check.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckLine {
    /// `P1` … `P13`, or `point` for a restore point.
    pub id: String,
    /// What was looked at.
    pub object: String,
    /// `ok`, `note`, `warning` or `problem`.
    pub state: String,
    /// False for a warning and a problem.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do; null if there is nothing to do.
    pub r#try: Option<String>,
}

impl Human for DoctorResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for check in &self.checks {
            let mark = match check.state.as_str() {
                "ok" => "ok     ",
                "note" => "note   ",
                "warning" => "WARNING",
                _ => "PROBLEM",
            };
            writeln!(out, "{:<5} {mark}  {}: {}", check.id, clean(&check.object), clean(&check.found))?;
            if let Some(advice) = &check.r#try {
                writeln!(out, "               try: {}", clean(advice))?;
            }
        }
        let count = |state: &str| self.checks.iter().filter(|check| check.state == state).count();
        writeln!(out, "{} checks: {} problems, {} warnings", self.checks.len(), count("problem"), count("warning"))
    }
}

/// What `vsphere inventory` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InventoryResult {
    /// The VMs.
    pub vms: Vec<InventoryVm>,
}

/// One VM.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InventoryVm {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its managed object id.
    pub moref: String,
    /// Its instance uuid.
    pub instance_uuid: Option<String>,
    /// `on`, `off` or `suspended`.
    pub power: String,
    /// Whether it is a template.
    pub template: bool,
    /// `clear`, `home` (vTPM or home only), `disks` (all of them), `partly`, or `unknown`: its configuration cannot be read.
    pub encrypted: String,
    /// Whether it has a vTPM.
    pub vtpm: bool,
    /// The key of its home.
    pub kms_key_id: Option<String>,
    /// The provider of that key.
    pub kms_provider: Option<String>,
    /// The storage policy of its home.
    pub storage_policy: Option<String>,
    /// Whether changes are tracked.
    pub change_tracking: bool,
    /// Its disks.
    pub disks: u64,
    /// Bytes of its disks.
    pub disk_bytes: u64,
    /// Its newest restore point; null if there is none, or no repository was named.
    pub last_point: Option<String>,
    /// When that was made, UTC.
    pub last_point_time: Option<String>,
}

impl Human for InventoryResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = |vm: &InventoryVm| {
            let key = match (&vm.kms_provider, &vm.kms_key_id) {
                (Some(provider), Some(key)) => format!("{provider}/{key}"),
                (None, Some(key)) => key.clone(),
                _ => "-".to_owned(),
            };
            vec![
                vm.name.clone(),
                if vm.template { "template".to_owned() } else { vm.power.clone() },
                vm.encrypted.clone(),
                if vm.vtpm { "yes" } else { "-" }.to_owned(),
                key,
                vm.storage_policy.clone().unwrap_or_else(|| "-".to_owned()),
                if vm.change_tracking { "on" } else { "off" }.to_owned(),
                vm.disks.to_string(),
                crate::units::size(vm.disk_bytes),
                vm.last_point_time.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        };
        let header = ["VM", "Power", "Encrypted", "vTPM", "Key", "Policy", "CBT", "Disks", "Size", "Last point"];
        let table = table(&header, self.vms.iter().map(row).collect(), &[7, 8]);
        writeln!(out, "{table}")
    }
}

/// What `vsphere backup` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VsphereBackupResult {
    /// One a VM, in the order they were backed up in.
    pub runs: Vec<VsphereRun>,
    /// Effects of earlier runs that were undone first.
    pub undone: Vec<String>,
}

/// The backup of one VM.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VsphereRun {
    /// The VM.
    pub vm: String,
    /// `done`, `attention`, `failed` or `planned`.
    pub outcome: String,
    /// The restore point; null if there is none.
    pub backup: Option<BackupResult>,
    /// `clear`, `whole` or `incomplete`; null if it was not captured.
    pub encryption: Option<String>,
    /// What the state of the disks is worth; null if they were not read.
    pub consistency: Option<String>,
    /// Why there is no point; null if there is one.
    pub error: Option<String>,
    /// What to do about it.
    pub r#try: Option<String>,
}

impl Human for VsphereBackupResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for effect in &self.undone {
            writeln!(out, "undone: {}", clean(effect))?;
        }
        for run in &self.runs {
            match (&run.backup, &run.error) {
                (Some(backup), _) => backup.show(out)?,
                (None, Some(error)) => writeln!(out, "{}: {}", clean(&run.vm), clean(error))?,
                (None, None) => writeln!(out, "{}: {}", clean(&run.vm), run.outcome)?,
            }
        }
        let made = self.runs.iter().filter(|run| run.backup.is_some()).count();
        if self.runs.len() > 1 {
            writeln!(out, "{made} of {} VMs backed up", self.runs.len())?;
        }
        Ok(())
    }
}

/// What `vsphere plan` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanResult {
    /// One a restore point.
    pub verdicts: Vec<PlanLine>,
}

/// What would come back of one point.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanLine {
    /// The point.
    pub point: String,
    /// Its VM.
    pub vm: String,
    /// When it was made, UTC.
    pub time: String,
    /// The verdict's word.
    pub verdict: String,
    /// The row of the decision table, `D1` … `D13`; null if a guard refused before.
    pub row: Option<String>,
    /// What is lost.
    pub losses: Vec<String>,
    /// Why it is refused.
    pub refused: Vec<String>,
    /// What has to be decided first.
    pub questions: Vec<String>,
    /// The plan as people read it.
    pub text: Vec<String>,
}

impl Human for PlanResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for plan in &self.verdicts {
            for line in &plan.text {
                writeln!(out, "{}", clean(line))?;
            }
        }
        Ok(())
    }
}

/// What `vsphere restore` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VsphereRestoreResult {
    /// The plan that was followed.
    pub plan: PlanLine,
    /// Nothing was changed.
    pub dry_run: bool,
    /// The new VM's name; null if there is none.
    pub vm: Option<String>,
    /// Its managed object id.
    pub moref: Option<String>,
    /// The verdict's word after the deed.
    pub verdict: String,
    /// Bytes written to its disks.
    pub written_bytes: u64,
    /// Whether it was powered on.
    pub powered_on: bool,
    /// How long it took.
    pub elapsed_seconds: f64,
}

impl Human for VsphereRestoreResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        match (&self.vm, &self.moref) {
            (Some(vm), Some(moref)) => {
                let size = crate::units::size(self.written_bytes);
                writeln!(out, "restored {} as {} ({moref}), {size} written", clean(&self.plan.vm), clean(vm))?;
            }
            _ if self.dry_run => writeln!(out, "dry run: nothing was changed")?,
            _ => {}
        }
        for loss in &self.plan.losses {
            writeln!(out, "  {}", clean(loss))?;
        }
        writeln!(out, "restores: {}", self.verdict.replace('_', " "))
    }
}

/// What `vsphere cleanup` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CleanupResult {
    /// Nothing was changed.
    pub dry_run: bool,
    /// What was undone, or would be.
    pub undone: Vec<String>,
    /// What could not be undone, and why.
    pub left: Vec<String>,
}

impl Human for CleanupResult {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let word = if self.dry_run { "would undo" } else { "undone" };
        for effect in &self.undone {
            writeln!(out, "{word}: {}", clean(effect))?;
        }
        for effect in &self.left {
            writeln!(out, "left: {}", clean(effect))?;
        }
        if self.undone.is_empty() && self.left.is_empty() {
            writeln!(out, "nothing was left behind")?;
        }
        Ok(())
    }
}
