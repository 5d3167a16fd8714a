//! The snapshot that is read: written down, made, and gone again whatever happens.

use repo_format::Consistency;

use super::{LookError, Note, QuiesceWish, SeenVm, Unquiet, VmBackupError, VmBackupOptions};
use crate::{
    journal::{Effect, Intent, Journal},
    properties::properties_of,
    session::Session,
    soap::ManagedObject,
    vm_home::{Quiet, RawXml, VmConfig},
    vm_snapshot::{Quiesce, SnapshotError, SnapshotTag, create_snapshot, remove_snapshot},
};

/// How often a guest is asked to be quiet.
const QUIESCE_TRIES: u32 = 3;

/// A snapshot of this run.
pub(super) struct TakenSnapshot {
    pub(super) object: ManagedObject,
    /// The configuration as of the snapshot: file names, change ids and keys come from here, never from the VM.
    pub(super) config: VmConfig,
    pub(super) raw_config: RawXml,
    pub(super) quiet: Quiet,
    tag: SnapshotTag,
    intent: Intent,
}

impl TakenSnapshot {
    pub(super) fn take(
        session: &Session,
        seen: &SeenVm<'_>,
        tag: &SnapshotTag,
        options: &VmBackupOptions,
        journal: &mut Journal,
        notes: &mut Vec<Note>,
    ) -> Result<Self, VmBackupError> {
        let effect = Effect::CreateSnapshot { vm: seen.object().moref().to_owned(), name: tag.name() };
        let intent = journal.intend(effect)?;
        let (object, quiet) = match make(session, seen, tag, options, notes) {
            Ok(made) => made,
            Err(source) => {
                // What may still come stays in the journal, for the cleanup.
                if !matches!(source, SnapshotError::Lost(_)) {
                    journal.undone(intent)?;
                }
                return Err(VmBackupError::Snapshot { vm: seen.name().to_owned(), source });
            }
        };
        journal.made(intent, object.moref())?;
        match config_of_snapshot(session, &object) {
            Ok((config, raw_config)) => Ok(Self { object, config, raw_config, quiet, tag: tag.clone(), intent }),
            Err(source) => {
                remove(session, seen, &object, tag, intent, journal, notes)?;
                Err(VmBackupError::Look { vm: seen.name().to_owned(), source })
            }
        }
    }

    /// Removes it. That it could not be removed does not undo the commit: it is said, and the cleanup finds it.
    pub(super) fn give_back(
        &self,
        session: &Session,
        seen: &SeenVm<'_>,
        journal: &mut Journal,
        notes: &mut Vec<Note>,
    ) -> Result<(), VmBackupError> {
        remove(session, seen, &self.object, &self.tag, self.intent, journal, notes)
    }
}

fn remove(
    session: &Session,
    seen: &SeenVm<'_>,
    object: &ManagedObject,
    tag: &SnapshotTag,
    intent: Intent,
    journal: &mut Journal,
    notes: &mut Vec<Note>,
) -> Result<(), VmBackupError> {
    match remove_snapshot(session, seen.object(), object, tag) {
        Ok(_) => journal.undone(intent)?,
        Err(error) => notes.push(Note::attention("snapshot_left", format!("{}: {error}", seen.name()))),
    }
    let needs = properties_of(session, seen.object(), &["runtime.consolidationNeeded"]);
    if needs.is_ok_and(|properties| properties.flag("runtime.consolidationNeeded").unwrap_or(false)) {
        let text = format!("{}: vCenter says that its disks need consolidation", seen.name());
        notes.push(Note::attention("consolidation_needed", text));
    }
    Ok(())
}

fn config_of_snapshot(session: &Session, snapshot: &ManagedObject) -> Result<(VmConfig, RawXml), LookError> {
    let properties = properties_of(session, snapshot, &["config"])?;
    let raw = properties.raw_xml("config")?;
    Ok((VmConfig::read(raw.element())?, raw))
}

/// Asks the guest to be quiet, some times, then does without if that is allowed.
fn make(
    session: &Session,
    seen: &SeenVm<'_>,
    tag: &SnapshotTag,
    options: &VmBackupOptions,
    notes: &mut Vec<Note>,
) -> Result<(ManagedObject, Quiet), SnapshotError> {
    let with = |quiesce| create_snapshot(session, seen.object(), tag, quiesce);
    let as_wished = |level| Quiet { level, lowered_by: None };
    let level = match options.quiesce {
        _ if seen.is_off() => return Ok((with(Quiesce::No)?, as_wished(Consistency::PoweredOff))),
        QuiesceWish::No => return Ok((with(Quiesce::No)?, as_wished(Consistency::Crash))),
        QuiesceWish::ApplicationIfClear if seen.config.is_encrypted() => Consistency::FileSystem,
        QuiesceWish::FileSystem => Consistency::FileSystem,
        QuiesceWish::Application | QuiesceWish::ApplicationIfClear => Consistency::Application,
    };
    let mut tries = 1;
    let fault = loop {
        match with(Quiesce::FileSystem) {
            Ok(object) => return Ok((object, as_wished(level))),
            Err(SnapshotError::NotQuiesced(fault)) if tries == QUIESCE_TRIES => break fault,
            Err(SnapshotError::NotQuiesced(_)) => {
                tries += 1;
                session.stop().rest(options.quiesce_pause);
                if session.stop().is_asked() {
                    return Err(SnapshotError::Interrupted);
                }
            }
            Err(error) => return Err(error),
        }
    };
    if options.unquiet == Unquiet::Fail {
        return Err(SnapshotError::NotQuiesced(fault));
    }
    let lowered_by = format!("{}: {}", fault.fault_type(), fault.message());
    let text = format!(
        "{}: file-system quiescing failed {QUIESCE_TRIES} times ({lowered_by}); this point is crash-consistent",
        seen.name()
    );
    notes.push(Note::attention("not_quiesced", text));
    Ok((with(Quiesce::No)?, Quiet { level: Consistency::Crash, lowered_by: Some(lowered_by) }))
}
