//! A disk that is read.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use engine::{DiskSource, NbdError, NbdSource, SourceError, nbd_wire::error_code};

use super::{DiskError, DiskPlace, Recipe, open_in};
use crate::{
    transport::Transport,
    vddk::{Launch, OpenedDisk, Process, ProcessError},
};

/// Processes that a disk may use up.
const SEATS_MAX: u32 = 2;

/// A disk of a VM, open for reading.
pub struct VddkDisk {
    recipe: Arc<Recipe>,
    place: DiskPlace,
    about: OpenedDisk,
    seat: Mutex<Seat>,
    plan: Mutex<Option<(Vec<Range<u64>>, u64)>>,
    allocated: OnceLock<Vec<Range<u64>>>,
}

/// Where the disk is open at the moment.
#[derive(Clone)]
struct Seat {
    number: u32,
    process: Arc<Process>,
    source: Arc<NbdSource>,
}

impl Seat {
    fn take(
        launch: &Launch,
        number: u32,
        process: Arc<Process>,
        place: &DiskPlace,
    ) -> Result<(Self, OpenedDisk), ProcessError> {
        let opened = open_in(launch, &process, place)?;
        let source = NbdSource::open(&opened.uri, process.nbd_options())?;
        Ok((Self { number, process, source: Arc::new(source) }, opened))
    }
}

impl VddkDisk {
    pub(super) fn open(recipe: &Arc<Recipe>, process: &Arc<Process>, place: DiskPlace) -> Result<Self, DiskError> {
        let taken = Seat::take(&recipe.launch, 1, Arc::clone(process), &place);
        let (seat, about) = match taken {
            Err(ProcessError::Ended { how, lines }) => {
                let first = ProcessError::Ended { how, lines };
                Self::another_seat(recipe, &place, 1, first).map_err(|error| recipe.failed(&place.name, error))?
            }
            taken => taken.map_err(|error| recipe.failed(&place.name, error))?,
        };
        let (recipe, seat) = (Arc::clone(recipe), Mutex::new(seat));
        Ok(Self { recipe, place, about, seat, plan: Mutex::default(), allocated: OnceLock::new() })
    }

    /// The way that the library takes to it.
    pub fn transport(&self) -> Transport {
        self.about.transport
    }

    /// What the library says of it.
    pub fn about(&self) -> &OpenedDisk {
        &self.about
    }

    /// A process of its own, after the one of seat `number` has ended with `end`.
    fn another_seat(
        recipe: &Recipe,
        place: &DiskPlace,
        number: u32,
        end: ProcessError,
    ) -> Result<(Seat, OpenedDisk), ProcessError> {
        let again = |error| match error {
            ProcessError::Ended { how, lines } => ProcessError::EndedAgain { how, lines },
            error => error,
        };
        if number >= SEATS_MAX {
            return Err(again(end));
        }
        let process = Process::start(&recipe.launch, &recipe.access).map_err(again)?;
        Seat::take(&recipe.launch, number + 1, Arc::new(process), place).map_err(again)
    }

    /// Finds or makes the seat after `lost`. Whoever comes second finds what the first has made.
    fn move_from(&self, lost: &Seat, offset: u64) -> Result<(), SourceError> {
        let reader = |error: ProcessError| SourceError::Reader { offset, kind: error.kind(), source: Box::new(error) };
        let mut seat = lock(&self.seat);
        if seat.number != lost.number {
            return Ok(());
        }
        let end = lost.process.post_mortem();
        let (next, about) = Self::another_seat(&self.recipe, &self.place, lost.number, end).map_err(reader)?;
        if about.bytes != self.about.bytes || about.uuid != self.about.uuid {
            let what = format!("after its restart the disk is another: {} bytes, {:?}", about.bytes, about.uuid);
            return Err(reader(ProcessError::Impossible { what }));
        }
        if let Some((ranges, stretch_bytes)) = &*lock(&self.plan) {
            next.source.will_read(ranges, *stretch_bytes);
        }
        *seat = next;
        Ok(())
    }

    /// Does something with the disk, in another process if the one it is open in has ended. Reading twice changes nothing.
    fn with<T>(
        &self,
        offset: u64,
        mut act: impl FnMut(&NbdSource) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        loop {
            let seat = lock(&self.seat).clone();
            match act(&seat.source) {
                Err(SourceError::Nbd { source, .. }) if is_gone(&source) => self.move_from(&seat, offset)?,
                Err(SourceError::Read { offset, source }) => return Err(self.explained(&seat, offset, source)),
                done => return done,
            }
        }
    }

    /// NBD has a number for what went wrong; the library has more to say.
    fn explained(&self, seat: &Seat, offset: u64, source: io::Error) -> SourceError {
        match seat.process.trouble(&self.place.name, &(offset..offset.saturating_add(1))) {
            Some((_, error)) => SourceError::Read { offset, source: io::Error::other(error) },
            None => SourceError::Read { offset, source },
        }
    }
}

/// Whether an error says that the process has gone, and nothing of the disk.
fn is_gone(error: &NbdError) -> bool {
    match error {
        NbdError::Connect { .. } | NbdError::Lost { .. } | NbdError::Protocol { .. } => true,
        NbdError::Remote { error, .. } => *error == error_code::ESHUTDOWN,
        _ => false,
    }
}

impl DiskSource for VddkDisk {
    fn bytes(&self) -> u64 {
        self.about.bytes
    }

    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError> {
        if let Some(known) = self.allocated.get() {
            return Ok(known.clone());
        }
        let found = self.with(0, NbdSource::allocated)?;
        Ok(self.allocated.get_or_init(|| found).clone())
    }

    /// Asking is slow, so it is done once, for the whole disk.
    fn allocated_within(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, SourceError> {
        let all = self.allocated()?;
        let first = all.partition_point(|used| used.end <= range.start);
        Ok(all.into_iter().skip(first).take_while(|used| used.start < range.end).collect())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.with(offset, |source| source.read_at(offset, into))
    }

    fn will_read(&self, ranges: &[Range<u64>], stretch_bytes: u64) {
        *lock(&self.plan) = Some((ranges.to_vec(), stretch_bytes));
        lock(&self.seat).source.will_read(ranges, stretch_bytes);
    }
}

impl Drop for VddkDisk {
    fn drop(&mut self) {
        // A process that has gone has closed it; one that cannot says so when it is ended.
        let _ = lock(&self.seat).process.close(&self.place.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
