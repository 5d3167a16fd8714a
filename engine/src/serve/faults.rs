//! What could not be read while serving: each chunk is told of once, and counted for the end.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Trouble;
use crate::{
    error::Kind,
    monitor::{Event, Monitor},
};

/// Chunks remembered, so that a client that asks again and again does not fill the log.
const REMEMBERED_MAX: usize = 10_000;

pub(super) struct Faults<'m> {
    monitor: &'m dyn Monitor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: BTreeSet<(String, u64)>,
    troubles: Vec<Trouble>,
}

impl<'m> Faults<'m> {
    pub(super) fn new(monitor: &'m dyn Monitor) -> Self {
        Self { monitor, state: Mutex::default() }
    }

    /// Says that `object` of `disk` at `offset` cannot be given to a client.
    pub(super) fn note(&self, disk: &str, offset: u64, object: &str, what: &str, kind: Kind) {
        let mut state = self.lock();
        if state.seen.len() >= REMEMBERED_MAX || !state.seen.insert((disk.to_owned(), offset)) {
            return;
        }
        state.troubles.push(Trouble {
            disk: disk.to_owned(),
            offset,
            object: object.to_owned(),
            what: what.to_owned(),
            kind,
        });
        drop(state);
        let message = format!("{disk}: {object} at byte {offset} cannot be read: {what}; the client gets an I/O error");
        self.monitor.event(&Event::Warning { code: "unreadable", message });
    }

    /// What was told of so far.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.lock().troubles.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
