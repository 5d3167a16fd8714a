//! The watch over a snapshot: before it grows too old, or fills its datastore, the backup is given up, and never the VM.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use engine::{BackupError, BackupReport, Clock, Event, Kind, Monitor, Step};

use super::{SeenVm, VmBackupError};
use crate::{
    properties::properties_of,
    session::Session,
    soap::{CallError, Element, ManagedObject},
};

/// When a snapshot goes although the disks are not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// It is not read any longer than this.
    pub age_max: Duration,
    /// A datastore of the VM has at least so much free, in percent of its capacity.
    pub free_percent_min: u8,
    /// How often it is looked.
    pub look_every: Duration,
}

impl Default for WatchLimits {
    fn default() -> Self {
        let age_max = Duration::from_secs(12 * 60 * 60);
        Self { age_max, free_percent_min: 5, look_every: Duration::from_secs(60) }
    }
}

/// Why a snapshot has to go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Worry {
    /// It has been there for too long.
    #[error("given up: its snapshot has been there for {} s, and at most {} s are allowed", age.as_secs(), max.as_secs())]
    Age {
        /// How long.
        age: Duration,
        /// How long at most.
        max: Duration,
    },
    /// It could fill a datastore.
    #[error(
        "given up: datastore {datastore} has {free_bytes} of {capacity_bytes} bytes free, less than {percent_min} %, and a snapshot grows"
    )]
    Space {
        /// The datastore.
        datastore: String,
        /// Free bytes.
        free_bytes: u64,
        /// Its size in bytes.
        capacity_bytes: u64,
        /// What has to be free.
        percent_min: u8,
    },
}

impl Worry {
    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Age { .. } => "find out why it is read so slowly, or --snapshot-age-max",
            Self::Space { .. } => "make room in the datastore, or --datastore-free-min",
        }
    }
}

/// What a datastore says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Room {
    datastore: String,
    free_bytes: u64,
    /// 0: it does not say.
    capacity_bytes: u64,
}

impl WatchLimits {
    fn judge(&self, age: Duration, rooms: &[Room]) -> Option<Worry> {
        if age > self.age_max {
            return Some(Worry::Age { age, max: self.age_max });
        }
        let percent = u128::from(self.free_percent_min);
        let is_full = |room: &&Room| u128::from(room.free_bytes) * 100 < u128::from(room.capacity_bytes) * percent;
        rooms.iter().find(is_full).map(|room| Worry::Space {
            datastore: room.datastore.clone(),
            free_bytes: room.free_bytes,
            capacity_bytes: room.capacity_bytes,
            percent_min: self.free_percent_min,
        })
    }

    /// When to look next: a limit of age that comes sooner is not slept over.
    fn pause_at(&self, age: Duration) -> Duration {
        let until_old = self.age_max.saturating_sub(age).saturating_add(Duration::from_millis(1));
        self.look_every.min(until_old)
    }
}

/// Looks at one VM.
pub(super) struct Watchdog<'w> {
    session: &'w Session,
    vm: String,
    datastores: Vec<ManagedObject>,
    clock: Arc<dyn Clock>,
    limits: WatchLimits,
}

impl<'w> Watchdog<'w> {
    /// Looks before there is a snapshot: none is made where it would have to go at once.
    pub(super) fn begin(
        session: &'w Session,
        seen: &SeenVm<'_>,
        clock: &Arc<dyn Clock>,
        limits: WatchLimits,
    ) -> Result<Self, VmBackupError> {
        let vm = seen.name().to_owned();
        let datastores = datastores_of(session, seen.object())
            .map_err(|error| VmBackupError::Look { vm: vm.clone(), source: error.into() })?;
        let watchdog = Self { session, vm, datastores, clock: Arc::clone(clock), limits };
        match limits.judge(Duration::ZERO, &watchdog.rooms()) {
            Some(worry) => Err(watchdog.given_up(worry)),
            None => Ok(watchdog),
        }
    }

    /// Does `work` while it watches; a run that it stopped says why. The snapshot is a moment old when this begins.
    pub(super) fn over(
        &self,
        monitor: &dyn Monitor,
        work: impl FnOnce(&dyn Monitor) -> Result<BackupReport, VmBackupError>,
    ) -> Result<BackupReport, VmBackupError> {
        let barking = Barking { monitor, worry: Mutex::default() };
        let (ended, end) = mpsc::channel::<()>();
        let outcome = thread::scope(|scope| {
            let barking = &barking;
            scope.spawn(move || self.watch(barking, &end));
            let outcome = work(barking);
            drop(ended);
            outcome
        });
        match (outcome, barking.into_worry()) {
            (Err(VmBackupError::Backup(error)), Some(worry)) if is_stop(&error) => Err(self.given_up(worry)),
            (outcome, _) => outcome,
        }
    }

    fn watch(&self, barking: &Barking<'_>, end: &mpsc::Receiver<()>) {
        let begun = self.clock.now_ms();
        loop {
            let age = Duration::from_millis(self.clock.now_ms().saturating_sub(begun));
            if let Some(worry) = self.limits.judge(age, &self.rooms()) {
                return barking.bark(worry);
            }
            if end.recv_timeout(self.limits.pause_at(age)) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// A datastore that cannot be asked now is asked again the next time.
    fn rooms(&self) -> Vec<Room> {
        self.datastores.iter().filter_map(|datastore| room_of(self.session, datastore)).collect()
    }

    fn given_up(&self, worry: Worry) -> VmBackupError {
        VmBackupError::GivenUp { vm: self.vm.clone(), worry }
    }
}

fn is_stop(error: &BackupError) -> bool {
    error.kind() == Kind::Interrupted
}

fn datastores_of(session: &Session, vm: &ManagedObject) -> Result<Vec<ManagedObject>, CallError> {
    let properties = properties_of(session, vm, &["datastore"])?;
    let list = properties.get("datastore").ok().flatten().map(Element::children).unwrap_or_default();
    Ok(list.iter().filter_map(ManagedObject::of).collect())
}

fn room_of(session: &Session, datastore: &ManagedObject) -> Option<Room> {
    let paths = ["name", "summary.freeSpace", "summary.capacity"];
    let properties = properties_of(session, datastore, &paths).ok()?;
    let bytes = |path: &str| properties.text(path).ok().flatten().and_then(|text| text.parse().ok());
    let name = properties.text("name").ok().flatten().unwrap_or(datastore.moref());
    Some(Room {
        datastore: name.to_owned(),
        free_bytes: bytes("summary.freeSpace")?,
        capacity_bytes: bytes("summary.capacity").unwrap_or_default(),
    })
}

/// Somebody's monitor, and a worry that stops the run as a person would.
struct Barking<'m> {
    monitor: &'m dyn Monitor,
    worry: Mutex<Option<Worry>>,
}

impl Barking<'_> {
    fn bark(&self, worry: Worry) {
        *self.worry.lock().unwrap_or_else(PoisonError::into_inner) = Some(worry);
    }

    fn into_worry(self) -> Option<Worry> {
        self.worry.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor for Barking<'_> {
    fn event(&self, event: &Event<'_>) {
        self.monitor.event(event);
    }

    fn advance(&self, step: Step) {
        self.monitor.advance(step);
    }

    fn interrupted(&self) -> bool {
        self.monitor.interrupted() || self.worry.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    fn room(free_bytes: u64, capacity_bytes: u64) -> Room {
        Room { datastore: "ds1".to_owned(), free_bytes, capacity_bytes }
    }

    #[test]
    fn a_snapshot_is_given_up_after_twelve_hours_or_below_five_percent() {
        let limits = WatchLimits::default();
        let full =
            || Worry::Space { datastore: "ds1".to_owned(), free_bytes: 49, capacity_bytes: 1000, percent_min: 5 };
        for (age, room, worry) in [
            (hours(12), room(50, 1000), None),
            (hours(12) + Duration::from_secs(1), room(50, 1000), Some("43201 s")),
            (hours(0), room(49, 1000), Some("49 of 1000 bytes free, less than 5 %")),
            (hours(0), room(0, 0), None),
            (hours(0), room(u64::MAX, u64::MAX), None),
        ] {
            let judged = limits.judge(age, &[room]).map(|worry| worry.to_string());
            assert!(judged.is_some() == worry.is_some(), "{judged:?}");
            assert!(judged.unwrap_or_default().contains(worry.unwrap_or_default()));
        }
        assert_eq!(limits.judge(hours(0), &[room(900, 1000), room(49, 1000)]), Some(full()));
    }

    #[test]
    fn a_limit_of_age_that_comes_before_the_next_look_is_not_slept_over() {
        let limits = WatchLimits { age_max: Duration::from_secs(90), ..WatchLimits::default() };
        assert_eq!(limits.pause_at(Duration::ZERO), Duration::from_secs(60));
        assert_eq!(limits.pause_at(Duration::from_secs(60)), Duration::from_millis(30_001));
        assert_eq!(limits.pause_at(Duration::from_secs(900)), Duration::from_millis(1));
    }
}
