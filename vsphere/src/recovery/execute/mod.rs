//! The deed: a VM is made as decided, filled, and handed over; the order of everything on one screen.
//!
//! ```text
//!   journal ─► create ─► read back, compare ─► disks ─► read back, compare ─► NVRAM ─► settings, journal closed ─► power on
//! ```
//!
//! **Invariant:** a VM that is not whole does not stay: whatever fails before the journal is closed, the VM is destroyed, or the
//! journal stays for the cleanup. It is never powered on before that.

mod compare;
mod disks;
mod error;
mod nvram;

use engine::{Monitor, Reader, RestoreReport, random};

use super::{EncryptionWish, Power, Recovery, SavedPoint, Target, Wish, config_spec, reason::options};
use crate::{
    cleanup::{CleanupMode, VmUndone, mark_of, undo_vm},
    inventory::config_of,
    journal::{Effect, Intent, Journal, JournalError},
    session::Session,
    soap::{Element, FaultClass, ManagedObject},
    task::TaskError,
    transport::{Proxy, Transports},
    vm_change::{create_vm, power_on_vm, reconfigure_vm, wait_for_settings},
    vm_home::VmConfig,
};

pub use error::RestoreVmError;

/// Are the disks read back?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerifyAfter {
    /// They are, and compared with the point.
    Yes,
    /// What the way to the disk has acknowledged counts as written.
    No,
}

/// How a VM is brought back.
#[derive(Clone)]
pub struct RestoreVmOptions {
    /// What writes disks.
    pub reader: crate::backup::Reader,
    /// Ways to a disk, in the order they are tried.
    pub transports: Transports,
    /// The machine that this program runs on.
    pub proxy: Proxy,
    /// Threads of the engine.
    pub threads: usize,
    /// Are the disks read back?
    pub verify_after: VerifyAfter,
}

/// What is brought back, and where to.
pub struct RestoreVmJob<'j> {
    /// Who is asked.
    pub session: &'j Session,
    /// The repository.
    pub reader: &'j Reader,
    /// The point.
    pub point: &'j SavedPoint,
    /// What was wished.
    pub wish: &'j Wish,
    /// What was decided.
    pub recovery: &'j Recovery,
    /// Where it goes.
    pub target: &'j Target,
    /// How.
    pub options: &'j RestoreVmOptions,
}

/// Whether the VM runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Powered {
    /// It does.
    On,
    /// It does not, as wished.
    Off,
    /// It was to be powered on, and vCenter refused: the VM is whole and stays.
    Refused {
        /// Why.
        why: String,
        /// The key is not to be had.
        no_key: bool,
    },
}

/// A VM that was brought back.
#[derive(Debug)]
pub struct RestoredVm {
    /// The VM.
    pub vm: ManagedObject,
    /// Its disks.
    pub disks: RestoreReport,
    /// Whether it runs.
    pub powered: Powered,
    /// What went wrong on the way without harm.
    pub notes: Vec<String>,
}

/// Brings a VM back as decided.
pub fn restore_vm(job: &RestoreVmJob<'_>, monitor: &dyn Monitor) -> Result<RestoredVm, RestoreVmError> {
    let environment = job.reader.environment();
    let vcenter = job.session.about().instance_uuid.clone().unwrap_or_default();
    let run: String = random::<8>(environment.entropy.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect();
    let saved = &job.point.saved;
    let spec = config_spec("config", saved, job.recovery, job.wish, &job.target.facts)?.marked(&run);
    let mut journal = Journal::begin(&environment.state, &job.reader.config().repository, &run, &vcenter)?;
    let folder = job.target.place.vm.folder.moref().to_owned();
    let intent = journal.intend(Effect::CreateVm { folder, name: job.recovery.name.clone() })?;
    let mut notes = Vec::new();
    let made =
        create_vm(job.session, &job.target.place.vm, spec.into_element()).map_err(|error| job.not_created(error));
    let filled = made.and_then(|vm| {
        journal.made(intent, vm.moref())?;
        let disks = fill(job, &vm, &mut journal, monitor, &mut notes)?;
        Ok((vm, disks))
    });
    let (vm, disks) = match filled {
        Ok(filled) => filled,
        Err(error) => return Err(undone(job, journal, error)),
    };
    journal.kept(intent)?;
    journal.close()?;
    let powered = power(job, &vm);
    Ok(RestoredVm { vm, disks, powered, notes })
}

/// Everything between the VM that was made and the VM that is whole.
fn fill(
    job: &RestoreVmJob<'_>,
    vm: &ManagedObject,
    journal: &mut Journal,
    monitor: &dyn Monitor,
    notes: &mut Vec<String>,
) -> Result<RestoreReport, RestoreVmError> {
    let config = config_of(job.session, vm)?;
    compare::as_decided(job, vm, &config)?;
    let config = VmConfig::read(&config)?;
    let report = disks::write(job, vm, &config, journal, monitor, notes)?;
    nvram::upload(job, vm)?;
    settle(job, vm)?;
    Ok(report)
}

/// The mark of this run goes, and what would have been in the way before comes: now the VM is everybody's.
fn settle(job: &RestoreVmJob<'_>, vm: &ManagedObject) -> Result<(), RestoreVmError> {
    let raw = job.point.saved.configuration.as_ref().map_err(|why| super::SpecError::from(why.clone()))?;
    let tracked = raw.config.element().flag_at("changeTrackingEnabled").unwrap_or_default();
    let value = Element::text_of("value", "").with_xsi_type("xsd:string");
    let no_mark =
        Element::new("extraConfig").with_xsi_type("OptionValue").with_text("key", super::RUN_OPTION).with(value);
    let spec = Element::new("spec").with(no_mark);
    let spec = if tracked { spec.with_text("changeTrackingEnabled", "true") } else { spec };
    match reconfigure_vm(job.session, vm, spec) {
        // The answer alone may have been lost.
        Err(source) if source.may_have_happened() && is_settled(job, vm) => Ok(()),
        result => result.map_err(|source| job.task("its last settings", source)),
    }
}

/// Whether the mark has gone, with which everything else of the last settings came.
fn is_settled(job: &RestoreVmJob<'_>, vm: &ManagedObject) -> bool {
    wait_for_settings(job.session, vm).is_ok() && mark_of(job.session, vm).is_ok_and(|mark| mark.is_empty())
}

fn power(job: &RestoreVmJob<'_>, vm: &ManagedObject) -> Powered {
    if job.recovery.power != Power::On {
        return Powered::Off;
    }
    match power_on_vm(job.session, vm) {
        Ok(()) => Powered::On,
        Err(error) => {
            let no_key = matches!(error.class(), Some(FaultClass::KeyUnavailable { .. }));
            Powered::Refused { why: error.to_string(), no_key }
        }
    }
}

/// Destroys what was made. What cannot be destroyed stays in the journal, and in the error.
fn undone(job: &RestoreVmJob<'_>, journal: Journal, error: RestoreVmError) -> RestoreVmError {
    let made = journal.open().first().and_then(|open| open.object.clone());
    let folder = job.target.place.vm.folder.moref();
    let run = journal.run().to_owned();
    let result = undo_vm(job.session, &run, made.as_deref(), folder, &job.recovery.name, CleanupMode::Undo);
    let gone = match result {
        Ok(VmUndone::Nothing | VmUndone::Destroyed(_)) => Ok(()),
        Ok(VmUndone::Whole) => Err("it does not bear the mark of this run any more".to_owned()),
        // Without an object of its own this run has made nothing: a VM of that name is somebody else's.
        Err(_) if made.is_none() && !error.may_have_made() => Ok(()),
        Err(why) => Err(why),
    };
    match gone.and_then(|()| nothing_is_left(journal).map_err(|error| error.to_string())) {
        Ok(()) => error,
        Err(why) => RestoreVmError::LeftBehind { vm: job.recovery.name.clone(), why, source: Box::new(error) },
    }
}

/// The VM is gone, and with it whatever was done to it.
fn nothing_is_left(mut journal: Journal) -> Result<(), JournalError> {
    let open: Vec<Intent> = journal.open().iter().map(|open| journal.intent_of(open)).collect();
    open.into_iter().try_for_each(|intent| journal.undone(intent))?;
    journal.close()
}

impl RestoreVmJob<'_> {
    fn name(&self) -> String {
        self.recovery.name.clone()
    }

    fn task(&self, what: &'static str, source: TaskError) -> RestoreVmError {
        RestoreVmError::Task { vm: self.name(), what, source }
    }

    /// What is left where vCenter does not make a VM under its key.
    fn without_the_key(&self) -> String {
        let saved = &self.point.saved;
        let otherwise = match self.recovery.home.is_unbootable() {
            true => options(EncryptionWish::None, saved),
            false => options(EncryptionWish::NewKeys, saved),
        };
        format!("make the key available, or {otherwise}")
    }

    /// A key that cannot be had is told as what it is (F4); it is never tried again blindly.
    fn not_created(&self, source: TaskError) -> RestoreVmError {
        match source.class() {
            Some(FaultClass::KeyUnavailable { key_ids }) => RestoreVmError::KeyNotHad {
                vm: self.name(),
                advice: self.without_the_key(),
                waited_for: self.recovery.home.is_unbootable(),
                key: match self.point.saved.encryption.key() {
                    Some(key) => key.to_string(),
                    None => key_ids.join(", "),
                },
                source,
            },
            _ => RestoreVmError::Create { vm: self.name(), source },
        }
    }
}
