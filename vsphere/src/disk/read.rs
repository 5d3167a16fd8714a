//! A disk that is read.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use engine::{DiskSource, NbdError, NbdSource, SourceError, nbd_wire::error_code};

use super::{DiskError, DiskPlace, Recipe, open_in, slots::Closable};
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
    seat: Arc<SeatOfDisk>,
    plan: Mutex<Option<(Vec<Range<u64>>, u64)>>,
    allocated: OnceLock<Vec<Range<u64>>>,
    trouble: Mutex<Option<Trouble>>,
}

/// A read that failed; of several the shortest, which says best where it is.
struct Trouble {
    bytes: usize,
    said: String,
}

/// Where the disk is open at the moment.
struct Seat {
    number: u32,
    process: Arc<Process>,
    /// `None`: closed for a while, to make room for others.
    source: Option<Arc<NbdSource>>,
}

/// A seat that whoever opens other disks may take away.
struct SeatOfDisk {
    disk: String,
    seat: Mutex<Seat>,
}

impl Closable for SeatOfDisk {
    fn close(&self) {
        let mut seat = lock(&self.seat);
        if seat.source.take().is_some() {
            // A process that has gone has closed it; one that cannot says so when it is ended.
            let _ = seat.process.close(&self.disk);
        }
    }
}

/// Opens a disk in a process.
fn sit_down(launch: &Launch, process: &Process, place: &DiskPlace) -> Result<(NbdSource, OpenedDisk), ProcessError> {
    let opened = open_in(launch, process, place)?;
    Ok((NbdSource::open(&opened.uri, process.nbd_options())?, opened))
}

/// Opens a disk in a process; for want of room others are closed before.
fn find_room(recipe: &Recipe, process: &Process, place: &DiskPlace) -> Result<(NbdSource, OpenedDisk), ProcessError> {
    loop {
        recipe.slots.make_room();
        match sit_down(&recipe.launch, process, place) {
            Err(error) if error.is_out_of_buffers() && recipe.slots.halve() => {}
            opened => return opened,
        }
    }
}

impl VddkDisk {
    pub(super) fn open(recipe: &Arc<Recipe>, process: &Arc<Process>, place: DiskPlace) -> Result<Self, DiskError> {
        let opened = match find_room(recipe, process, &place) {
            Err(end @ ProcessError::Ended { .. }) => Self::another_seat(recipe, &place, 1, end),
            opened => opened.map(|(source, about)| {
                (Seat { number: 1, process: Arc::clone(process), source: Some(Arc::new(source)) }, about)
            }),
        };
        let (seat, about) = opened.map_err(|error| recipe.failed(&place.name, error))?;
        let disk = Self {
            recipe: Arc::clone(recipe),
            seat: Arc::new(SeatOfDisk { disk: place.name.clone(), seat: Mutex::new(seat) }),
            place,
            about,
            plan: Mutex::default(),
            allocated: OnceLock::new(),
            trouble: Mutex::default(),
        };
        disk.recipe.slots.used(&disk.closable());
        Ok(disk)
    }

    fn closable(&self) -> Arc<dyn Closable> {
        Arc::clone(&self.seat) as Arc<dyn Closable>
    }

    /// The way that the library takes to it.
    pub fn transport(&self) -> Transport {
        self.about.transport
    }

    /// `web01 disk0: read failed at byte 14680064: VDDK error 16 (…)`, if a read has failed.
    pub fn trouble(&self) -> Option<String> {
        let said = lock(&self.trouble).as_ref().map(|trouble| trouble.said.clone());
        said.map(|said| format!("{} {}: {said}", self.recipe.vm, self.place.name))
    }

    fn remember(&self, bytes: usize, error: &SourceError) {
        let mut trouble = lock(&self.trouble);
        if matches!(error, SourceError::Read { .. }) && trouble.as_ref().is_none_or(|known| bytes < known.bytes) {
            *trouble = Some(Trouble { bytes, said: error.to_string() });
        }
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
        let process = Arc::new(Process::start(&recipe.launch, &recipe.access).map_err(again)?);
        let (source, about) = sit_down(&recipe.launch, &process, place).map_err(again)?;
        Ok((Seat { number: number.saturating_add(1), process, source: Some(Arc::new(source)) }, about))
    }

    /// Where the disk is open; it is opened again if it had to make room.
    fn seated(&self, offset: u64) -> Result<(Arc<Process>, Arc<NbdSource>), SourceError> {
        let mut seat = lock(&self.seat.seat);
        let source = match &seat.source {
            Some(source) => Arc::clone(source),
            None => match find_room(&self.recipe, &seat.process, &self.place) {
                Ok((source, about)) => self.settle(&mut seat, source, &about, offset)?,
                Err(ProcessError::Ended { .. }) => self.settle_elsewhere(&mut seat, offset)?,
                Err(error) => return Err(reader(offset, error)),
            },
        };
        self.recipe.slots.used(&self.closable());
        Ok((Arc::clone(&seat.process), source))
    }

    /// Finds or makes the seat after `lost`. Whoever comes second finds what the first has made.
    fn move_from(&self, lost: &Arc<NbdSource>, offset: u64) -> Result<(), SourceError> {
        let mut seat = lock(&self.seat.seat);
        if seat.source.as_ref().is_some_and(|source| Arc::ptr_eq(source, lost)) {
            self.settle_elsewhere(&mut seat, offset)?;
        }
        Ok(())
    }

    fn settle_elsewhere(&self, seat: &mut Seat, offset: u64) -> Result<Arc<NbdSource>, SourceError> {
        let end = seat.process.post_mortem();
        let next = Self::another_seat(&self.recipe, &self.place, seat.number, end);
        let (next, about) = next.map_err(|error| reader(offset, error))?;
        let Some(source) = next.source else { return Err(reader(offset, impossible("it is not open"))) };
        (seat.number, seat.process) = (next.number, next.process);
        // Of the lost process nothing is left to be closed.
        seat.source = None;
        let source = Arc::try_unwrap(source).map_err(|_| reader(offset, impossible("it is open twice")))?;
        self.settle(seat, source, &about, offset)
    }

    /// It must be the same disk, and is read on as planned.
    fn settle(
        &self,
        seat: &mut Seat,
        source: NbdSource,
        about: &OpenedDisk,
        offset: u64,
    ) -> Result<Arc<NbdSource>, SourceError> {
        if about.bytes != self.about.bytes || about.uuid != self.about.uuid {
            let what = format!("opened again, the disk is another: {} bytes, {:?}", about.bytes, about.uuid);
            return Err(reader(offset, impossible(&what)));
        }
        if let Some((ranges, stretch_bytes)) = &*lock(&self.plan) {
            source.will_read(ranges, *stretch_bytes);
        }
        let source = Arc::new(source);
        seat.source = Some(Arc::clone(&source));
        Ok(source)
    }

    /// Does something with the disk, in another process if the one it is open in has ended. Reading twice changes nothing.
    fn with<T>(
        &self,
        offset: u64,
        mut act: impl FnMut(&NbdSource) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        loop {
            let (process, source) = self.seated(offset)?;
            match act(&source) {
                Err(SourceError::Nbd { source: error, .. }) if is_gone(&error) => self.move_from(&source, offset)?,
                Err(SourceError::Read { offset, source }) => return Err(self.explained(&process, offset, source)),
                done => return done,
            }
        }
    }

    /// NBD has a number for what went wrong; the library has more to say.
    fn explained(&self, process: &Process, offset: u64, source: io::Error) -> SourceError {
        match process.trouble(&self.place.name, &(offset..offset.saturating_add(1))) {
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
        let outcome = self.with(offset, |source| source.read_at(offset, into));
        outcome.inspect_err(|error| self.remember(into.len(), error))
    }

    fn will_read(&self, ranges: &[Range<u64>], stretch_bytes: u64) {
        *lock(&self.plan) = Some((ranges.to_vec(), stretch_bytes));
        if let Some(source) = &lock(&self.seat.seat).source {
            source.will_read(ranges, stretch_bytes);
        }
    }
}

impl Drop for VddkDisk {
    fn drop(&mut self) {
        self.recipe.slots.forget(&self.closable());
        self.seat.close();
    }
}

fn reader(offset: u64, error: ProcessError) -> SourceError {
    SourceError::Reader { offset, kind: error.kind(), source: Box::new(error) }
}

fn impossible(what: &str) -> ProcessError {
    ProcessError::Impossible { what: what.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
