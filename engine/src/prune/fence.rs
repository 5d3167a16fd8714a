//! Ends sessions that have fallen silent: their pins and unregistered packs hold space for nobody.

use repo_format::SessionId;

use super::PruneError;
use crate::{
    heartbeat::{SILENCE_MS, beat_of},
    log::decide_fence,
    repository::Writer,
};

/// Fences open sessions whose heartbeat has not changed between two looks of this host, far enough apart. A session that
/// holds its lock on this host goes on. Gives how many.
pub(super) fn fence_silent(writer: &mut Writer) -> Result<u64, PruneError> {
    let environment = writer.environment().clone();
    let repository = writer.config().repository;
    let now_ms = environment.clock.now_ms();
    let open: Vec<SessionId> = writer.state().open_sessions().map(|(session, _)| *session).collect();
    environment.state.keep_looks_of(&repository, &open).map_err(PruneError::State)?;
    let mut fenced = 0;
    for session in open {
        if environment.state.runs_here(&repository, &session).map_err(PruneError::State)? {
            continue;
        }
        let beat = beat_of(environment.store.as_ref(), session)?;
        let since =
            environment.state.look(&repository, &session, beat.as_deref(), now_ms).map_err(PruneError::State)?;
        if now_ms.saturating_sub(since) < SILENCE_MS {
            continue;
        }
        let appended = writer.append(&mut |state| decide_fence(state, session))?;
        fenced += appended.records.len() as u64;
        environment.store.delete_many(&[crate::store::Name::heartbeat(session)]);
    }
    Ok(fenced)
}
