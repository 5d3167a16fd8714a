//! How many disks are open at a time: a host has buffers for some only.
//!
//! The disk that was used longest ago is closed when another is to be opened, and opened again when it is used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Disks of one VM, and so of one host, that are open at a time: at 4 MiB of requests each, a host's buffers bear no more.
const OPEN_MAX: usize = 8;

/// A disk that can be closed for a while.
pub(super) trait Closable: Send + Sync {
    fn close(&self);
}

/// The open disks, the one used longest ago first.
pub(super) struct Slots(Mutex<State>);

struct State {
    max: usize,
    open: Vec<Arc<dyn Closable>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self(Mutex::new(State { max: OPEN_MAX, open: Vec::new() }))
    }
}

impl Slots {
    /// Closes what must be closed before one more is opened.
    pub(super) fn make_room(&self) {
        loop {
            let mut state = self.state();
            if state.open.len() < state.max {
                return;
            }
            let oldest = state.open.remove(0);
            // Closing takes its time, and whoever uses another disk must not wait for it.
            drop(state);
            oldest.close();
        }
    }

    /// The host has no room for so many. `false`: for not even one.
    pub(super) fn halve(&self) -> bool {
        let mut state = self.state();
        let is_less = state.max > 1;
        state.max = (state.max.min(state.open.len().saturating_add(1)) / 2).max(1);
        is_less
    }

    /// It is open, and used now.
    pub(super) fn used(&self, disk: &Arc<dyn Closable>) {
        let mut state = self.state();
        state.open.retain(|open| !Arc::ptr_eq(open, disk));
        state.open.push(Arc::clone(disk));
    }

    /// It is not needed any more.
    pub(super) fn forget(&self, disk: &Arc<dyn Closable>) {
        self.state().open.retain(|open| !Arc::ptr_eq(open, disk));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Disk(AtomicBool);

    impl Closable for Disk {
        fn close(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn disks(count: usize) -> (Vec<Arc<Disk>>, Vec<Arc<dyn Closable>>) {
        let disks: Vec<Arc<Disk>> = (0..count).map(|_| Arc::default()).collect();
        let shared = disks.iter().map(|disk| Arc::clone(disk) as Arc<dyn Closable>).collect();
        (disks, shared)
    }

    fn closed(disks: &[Arc<Disk>]) -> Vec<usize> {
        (0..disks.len()).filter(|at| disks[*at].0.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn the_disk_that_was_used_longest_ago_makes_room() {
        let slots = Slots::default();
        let (disks, shared) = disks(9);
        for disk in &shared[..8] {
            slots.make_room();
            slots.used(disk);
        }
        assert!(closed(&disks).is_empty());
        slots.used(&shared[0]);
        slots.make_room();
        assert_eq!(closed(&disks), [1]);
        slots.forget(&shared[2]);
        slots.used(&shared[8]);
        slots.make_room();
        assert_eq!(closed(&disks), [1]);
    }

    #[test]
    fn a_host_without_room_halves_how_many_are_open_down_to_one() {
        let slots = Slots::default();
        let (disks, shared) = disks(5);
        for disk in &shared {
            slots.used(disk);
        }
        assert!(slots.halve());
        slots.make_room();
        assert_eq!(closed(&disks), [0, 1, 2], "six wanted, three allowed, one of them the new one");
        assert!(slots.halve());
        slots.make_room();
        assert_eq!(closed(&disks), [0, 1, 2, 3, 4]);
        assert!(!slots.halve());
    }
}
