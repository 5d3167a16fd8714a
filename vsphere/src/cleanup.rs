//! Undoing what killed runs have left in vCenter: by their journals, and, where a journal is lost, by our tags.
//!
//! **Invariant:** never a snapshot without our tag, never one of a run that may live, never a VM that no run of ours has made.

use engine::{Kind, StateFolder};
use repo_format::RepositoryId;

use crate::{
    calls::RETRIEVE_PROPERTIES,
    inventory::{VmSummary, list_vms},
    journal::{Effect, Journal, JournalError, OpenEffect},
    properties::properties_of,
    recovery::RUN_OPTION,
    session::Session,
    soap::{CallError, FaultClass, ManagedObject},
    vm_change::{destroy_vm, enable_change_tracking, wait_for_vms},
    vm_snapshot::{SnapshotError, our_snapshots, remove_snapshot, wait_for_snapshots},
};

/// Whether anything is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupMode {
    /// It is.
    Undo,
    /// It is only told.
    Show,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// What was undone, or would be.
    pub undone: Vec<String>,
    /// What could not be undone, and why.
    pub left: Vec<String>,
}

/// Why nothing could be looked for.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The journals.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The list of VMs.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl CleanupError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Journal(error) => error.kind(),
            Self::Call(error) => error.kind(),
        }
    }
}

/// Undoes what runs against `repository` have left in the vCenter of `session`. `host` is what this machine calls itself in tags.
pub fn clean_up(
    session: &Session,
    state: &StateFolder,
    repository: &RepositoryId,
    host: &str,
    mode: CleanupMode,
) -> Result<Cleaned, CleanupError> {
    let mut cleaned = Cleaned::default();
    for journal in Journal::of_dead_runs(state, repository)? {
        undo_run(session, journal, mode, &mut cleaned)?;
    }
    undo_untold(session, state, repository, host, mode, &mut cleaned)?;
    Ok(cleaned)
}

/// What a dead run's journal tells of this vCenter.
fn undo_run(
    session: &Session,
    mut journal: Journal,
    mode: CleanupMode,
    cleaned: &mut Cleaned,
) -> Result<(), CleanupError> {
    let here = session.about().instance_uuid.clone().unwrap_or_default();
    // The last first: a snapshot is on top of what was done before it.
    for open in journal.open().iter().rev().cloned().collect::<Vec<_>>() {
        if open.vcenter != here {
            cleaned.left.push(format!("{} of run {}: it is in another vCenter", told(&open.effect), journal.run()));
            continue;
        }
        match undo(session, journal.run(), &open, mode) {
            Ok(text) => {
                cleaned.undone.extend(text);
                if mode == CleanupMode::Undo {
                    let intent = journal.intent_of(&open);
                    journal.undone(intent)?;
                }
            }
            Err(why) => cleaned.left.push(format!("{} of run {}: {why}", told(&open.effect), journal.run())),
        }
    }
    if mode == CleanupMode::Undo {
        journal.close()?;
    }
    Ok(())
}

/// Undoes one effect. `None`: it had not happened, is gone already, or stays.
fn undo(session: &Session, run: &str, open: &OpenEffect, mode: CleanupMode) -> Result<Option<String>, String> {
    match &open.effect {
        // It stays on: later nights want it.
        Effect::EnableChangeTracking { .. } => Ok(None),
        Effect::DisableChangeTracking { vm } => {
            if mode == CleanupMode::Undo {
                enable_change_tracking(session, &virtual_machine(vm)).map_err(|error| error.to_string())?;
            }
            Ok(Some(told(&open.effect)))
        }
        Effect::CreateSnapshot { vm, name } | Effect::CreateWriteSnapshot { vm, name } => {
            undo_snapshot(session, &virtual_machine(vm), name, mode)
        }
        Effect::CreateVm { folder, name } => {
            let undone = undo_vm(session, run, open.object.as_deref(), folder, name, mode)?;
            Ok(match undone {
                VmUndone::Nothing | VmUndone::Whole => None,
                VmUndone::Destroyed(text) => Some(text),
            })
        }
    }
}

fn undo_snapshot(
    session: &Session,
    vm: &ManagedObject,
    name: &str,
    mode: CleanupMode,
) -> Result<Option<String>, String> {
    // It may still be under way: then it comes after it was looked for.
    wait_for_snapshots(session, vm).map_err(|error| error.to_string())?;
    let found = match our_snapshots(session, vm) {
        Ok(found) => found,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let Some(ours) = found.into_iter().find(|ours| ours.tag.name() == name) else { return Ok(None) };
    if mode == CleanupMode::Undo {
        remove_snapshot(session, vm, &ours.snapshot, &ours.tag).map_err(|error| error.to_string())?;
    }
    Ok(Some(format!("snapshot \"{name}\" of {}", vm.moref())))
}

fn is_gone(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Call(error) if error.class() == Some(FaultClass::Gone))
}

/// What became of the making of a VM.
pub(crate) enum VmUndone {
    /// The run has made none, or it is gone already.
    Nothing,
    /// It is destroyed, or would be: which.
    Destroyed(String),
    /// The run has finished it, and was killed before it could say so: it is the operator's.
    Whole,
}

/// Undoes the making of a VM. It is destroyed only if it bears the mark of the run: its name alone may be somebody else's.
pub(crate) fn undo_vm(
    session: &Session,
    run: &str,
    object: Option<&str>,
    folder: &str,
    name: &str,
    mode: CleanupMode,
) -> Result<VmUndone, String> {
    let made = match object {
        Some(moref) => Some(virtual_machine(moref)),
        None => {
            let folder = ManagedObject::new("Folder", folder);
            // It may still be under way: then it comes after it was looked for.
            wait_for_vms(session, &folder).map_err(|error| error.to_string())?;
            vm_in(session, folder.moref(), name)?
        }
    };
    let Some(vm) = made else { return Ok(VmUndone::Nothing) };
    match mark_of(session, &vm) {
        Ok(mark) if mark == run => {}
        // The mark goes last. One that was only found by its name and has none is somebody else's.
        Ok(_) => return Ok(if object.is_some() { VmUndone::Whole } else { VmUndone::Nothing }),
        Err(error) if error.class() == Some(FaultClass::Gone) => return Ok(VmUndone::Nothing),
        Err(error) => return Err(error.to_string()),
    }
    if mode == CleanupMode::Undo {
        match destroy_vm(session, &vm) {
            Ok(()) => {}
            Err(error) if error.class() == Some(FaultClass::Gone) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(VmUndone::Destroyed(format!("half-made VM \"{name}\" ({})", vm.moref())))
}

/// The run whose mark a VM bears; empty: none.
pub(crate) fn mark_of(session: &Session, vm: &ManagedObject) -> Result<String, CallError> {
    let properties = properties_of(session, vm, &["config.extraConfig"])?;
    let Ok(options) = properties.get("config.extraConfig") else {
        return Err(session.incomplete(RETRIEVE_PROPERTIES, "config.extraConfig"));
    };
    let options = options.into_iter().flat_map(|options| options.children());
    let mark =
        options.filter(|option| option.text_at("key") == Some(RUN_OPTION)).find_map(|option| option.text_at("value"));
    Ok(mark.unwrap_or_default().to_owned())
}

/// The VM of that name in a folder, whoever made it.
fn vm_in(session: &Session, folder: &str, name: &str) -> Result<Option<ManagedObject>, String> {
    let vms = list_vms(session).map_err(|error| error.to_string())?.vms;
    let here = |vm: &VmSummary| vm.name == name && vm.folder.as_ref().is_some_and(|parent| parent.moref() == folder);
    Ok(vms.into_iter().find(here).map(|vm| vm.vm))
}

/// Snapshots with our tag that no journal tells of. Those of other machines are left: nobody here can tell whether their run lives.
fn undo_untold(
    session: &Session,
    state: &StateFolder,
    repository: &RepositoryId,
    host: &str,
    mode: CleanupMode,
    cleaned: &mut Cleaned,
) -> Result<(), CleanupError> {
    for vm in list_vms(session)?.vms.into_iter().filter(|vm| vm.has_snapshots) {
        let found = match our_snapshots(session, &vm.vm) {
            Ok(found) => found,
            Err(error) => {
                cleaned.left.push(format!("{}: its snapshots cannot be read: {error}", vm.name));
                continue;
            }
        };
        for ours in found.into_iter().filter(|ours| ours.tag.repository == repository.to_string()) {
            let text = format!("snapshot \"{}\" of {}", ours.tag.name(), vm.name);
            if cleaned.undone.contains(&format!("snapshot \"{}\" of {}", ours.tag.name(), vm.vm.moref())) {
                continue;
            }
            if ours.tag.host != host.replace(char::is_whitespace, "_") {
                cleaned.left.push(format!("{text}: made by a run on {}; clean up there", ours.tag.host));
            } else if Journal::is_alive(state, repository, &ours.tag.run)? {
                // A run that goes on removes it itself.
            } else if mode == CleanupMode::Show {
                cleaned.undone.push(text);
            } else {
                match remove_snapshot(session, &vm.vm, &ours.snapshot, &ours.tag) {
                    Ok(_) => cleaned.undone.push(text),
                    Err(error) => cleaned.left.push(format!("{text}: {error}")),
                }
            }
        }
    }
    Ok(())
}

fn virtual_machine(moref: &str) -> ManagedObject {
    ManagedObject::new("VirtualMachine", moref)
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::EnableChangeTracking { vm } => format!("change tracking switched on of {vm}"),
        Effect::DisableChangeTracking { vm } => {
            format!("change tracking switched off of {vm}, whose disks may be restored in part: run that restore again")
        }
        Effect::CreateSnapshot { vm, name } | Effect::CreateWriteSnapshot { vm, name } => {
            format!("snapshot \"{name}\" of {vm}")
        }
        Effect::CreateVm { name, .. } => format!("VM \"{name}\""),
    }
}
