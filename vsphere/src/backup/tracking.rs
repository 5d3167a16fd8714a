//! Change tracking: switched on before the first snapshot, because it takes effect at the next stun, which that snapshot is.

use super::{Note, SeenVm, TrackingWish, VmBackupError, VmBackupOptions};
use crate::{
    journal::{Effect, Journal},
    session::Session,
    vm_change::enable_change_tracking,
};

/// Switches it on where that is wished and possible. It stays on: that is no effect to undo.
pub(super) fn switch_on(
    session: &Session,
    seen: &SeenVm<'_>,
    options: &VmBackupOptions,
    journal: &mut Journal,
    notes: &mut Vec<Note>,
) -> Result<(), VmBackupError> {
    let vm = seen.name();
    if seen.summary.tracks_changes {
        return Ok(());
    }
    if options.tracking == TrackingWish::Leave {
        notes.push(Note::say(
            "no_tracking",
            format!("{vm}: change tracking is off and was left off: every night reads it whole"),
        ));
        return Ok(());
    }
    if seen.summary.has_snapshots {
        let text =
            format!("{vm}: change tracking is off and cannot be switched on while the VM has snapshots: read whole");
        notes.push(Note::say("no_tracking", text));
        return Ok(());
    }
    let intent = journal.intend(Effect::EnableChangeTracking { vm: seen.object().moref().to_owned() })?;
    match enable_change_tracking(session, seen.object()) {
        Ok(()) => journal.kept(intent)?,
        Err(source) => {
            journal.undone(intent)?;
            return Err(VmBackupError::Tracking { vm: vm.to_owned(), source });
        }
    }
    Ok(())
}
