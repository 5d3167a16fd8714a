//! A reader whose restore point stays whole while it reads: pinned in the log, so no prune counts its packs as unneeded,
//! whatever is forgotten meanwhile.
//!
//! A store that takes no writes is no reason not to restore: then the reader relies on the grace that prunes leave.

use std::ops::Deref;

use repo_format::{ChunkId, SessionId};

use crate::{
    heartbeat::Heartbeat,
    log::{decide_close, decide_pin},
    repository::{Reader, Writer},
    session::{SessionError, open_in_log},
    state_folder::SessionLock,
};

/// A reader, and the session that holds its point. The session ends with the value.
pub struct PinnedReader {
    writer: Writer,
    hold: Hold,
}

enum Hold {
    Held(Holding),
    Failed(SessionError),
    Spared,
}

/// A session that stores nothing.
struct Holding {
    id: SessionId,
    lock: SessionLock,
    _heartbeat: Heartbeat,
}

impl PinnedReader {
    /// Pins `point`, if the store allows it.
    pub fn pin(mut writer: Writer, point: ChunkId) -> Self {
        let hold = hold(&mut writer, point).map_or_else(Hold::Failed, Hold::Held);
        Self { writer, hold }
    }

    /// For a dry run, which writes nothing.
    pub fn without_pin(writer: Writer) -> Self {
        Self { writer, hold: Hold::Spared }
    }

    /// Why the point could not be pinned.
    pub fn failure(&self) -> Option<&SessionError> {
        match &self.hold {
            Hold::Failed(error) => Some(error),
            Hold::Held(_) | Hold::Spared => None,
        }
    }
}

impl Deref for PinnedReader {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.writer
    }
}

impl Drop for PinnedReader {
    fn drop(&mut self) {
        let Hold::Held(Holding { id, lock, .. }) = std::mem::replace(&mut self.hold, Hold::Spared) else { return };
        // A session that stays open costs nothing but a line: the next backup of this host ends it.
        if self.writer.append(&mut |state| decide_close(state, id)).is_ok() {
            lock.discard();
        }
    }
}

fn hold(writer: &mut Writer, point: ChunkId) -> Result<Holding, SessionError> {
    let (id, lock) = open_in_log(writer, &[])?;
    if let Err(error) = writer.append(&mut |state| decide_pin(state, id, point)) {
        let _ = writer.append(&mut |state| decide_close(state, id)).map(|_| lock.discard());
        return Err(error.into());
    }
    let environment = writer.environment().clone();
    let heartbeat = Heartbeat::start(environment.store, id, environment.entropy);
    Ok(Holding { id, lock, _heartbeat: heartbeat })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        repository::open_writer,
        store::ReadOnlyStore,
        test_repository::{TestRepository, content, environment, secret},
    };
    use std::sync::Arc;

    #[test]
    fn a_point_is_read_from_a_store_that_takes_no_writes() {
        let mut repository = TestRepository::new();
        let point = repository.back_up("web01", &[("disk0", &content(&[1, 2]))], false);
        let folder = tempfile::tempdir().unwrap();
        let mut environment = environment(Arc::clone(&repository.store), &folder);
        environment.store = Arc::new(ReadOnlyStore::new(environment.store));
        let reading = PinnedReader::pin(open_writer(environment, &secret()).unwrap(), point);
        assert!(reading.failure().is_some());
        assert!(crate::restore::read_point(&reading, point).is_ok());
    }
}
