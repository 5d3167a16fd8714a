//! Says in the store that a session goes on: an object that changes every few minutes (SPEC.md section 5).
//!
//! **Invariant:** liveness only. A Fence is safe whenever it is written; the heartbeat keeps it from being written without need.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use repo_format::SessionId;

use crate::{
    entropy::{Entropy, random},
    store::{Name, Store, StoreError},
};

/// Time between two beats. Whoever fences looks at least [`SILENCE_MS`] apart.
const INTERVAL: Duration = Duration::from_secs(300);
/// A session whose heartbeat has not changed for so long, by the looker's own clock, may be fenced.
pub(crate) const SILENCE_MS: u64 = 30 * 60_000;
/// The longest heartbeat that is read.
const BEAT_BYTES_MAX: u64 = 64;

/// Beats while a session goes on; the object leaves with it.
pub(crate) struct Heartbeat {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts to beat, [`INTERVAL`] from now: most sessions are over by then.
    pub(crate) fn start(store: Arc<dyn Store>, session: SessionId, entropy: Arc<dyn Entropy>) -> Self {
        Self::every(INTERVAL, store, session, entropy)
    }

    fn every(interval: Duration, store: Arc<dyn Store>, session: SessionId, entropy: Arc<dyn Entropy>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let name = Name::heartbeat(session);
            let mut has_beaten = false;
            // The sender is dropped, never used: a timeout is the next beat.
            while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                // A beat that fails is missed: the next may come through.
                store.delete_many(std::slice::from_ref(&name));
                has_beaten |= store.put_new(&name, &random::<16>(entropy.as_ref())).is_ok();
            }
            if has_beaten {
                store.delete_many(&[name]);
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the heartbeat of `session` holds; `None` if there is none.
pub(crate) fn beat_of(store: &dyn Store, session: SessionId) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(&Name::heartbeat(session), BEAT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{entropy::SeededEntropy, store::MemoryStore};

    #[test]
    fn a_session_beats_until_it_ends() {
        let store = Arc::new(MemoryStore::new());
        let session = SessionId::from_bytes([7; 16]);
        let over = Arc::clone(&store) as Arc<dyn Store>;
        let heart = Heartbeat::every(Duration::from_millis(1), over, session, Arc::new(SeededEntropy::new(1)));
        let mut beats = std::collections::HashSet::new();
        while beats.len() < 3 {
            beats.extend(beat_of(store.as_ref(), session).unwrap());
        }
        drop(heart);
        assert_eq!(beat_of(store.as_ref(), session).unwrap(), None);
    }
}
