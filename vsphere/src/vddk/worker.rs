//! One thread for each open disk: the only one that calls the library on it. Several requests are on their way at once, and
//! nothing else while blocks are asked for or a flush is on.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    allocated,
    buffer::{Buffer, Pool},
    library::{CallError, DiskHandle},
    sys::VixError,
};

/// Requests that the library has at once.
const FLIGHTS_MAX: usize = 4;
/// Times that a read is tried.
const READ_TRIES: u32 = 3;
/// A disk that nobody reads is read a sector of, so that no side thinks the other is gone.
const IDLE: Duration = Duration::from_secs(30);
/// Codes that another try does not change: wrong argument, file not found, access.
const FINAL_CODES: [u32; 3] = [3, 4, 13];

/// What a disk is asked for.
enum Job {
    Read { sector: u64, buffer: Buffer, tries: u32, reply: Sender<Result<Buffer, CallError>> },
    Write { sector: u64, buffer: Buffer, reply: Sender<Result<(), CallError>> },
    Flush { reply: Sender<Result<(), CallError>> },
    Allocated { reply: Sender<Result<Vec<Range<u64>>, CallError>> },
}

impl Job {
    /// Nothing else may be on its way.
    fn is_alone(&self) -> bool {
        matches!(self, Self::Flush { .. } | Self::Allocated { .. })
    }
}

/// A request that is over.
enum Landed {
    Read { sector: u64, buffer: Buffer, tries: u32, reply: Sender<Result<Buffer, CallError>>, outcome: Outcome },
    Write { reply: Sender<Result<(), CallError>>, outcome: Outcome },
    Idle,
}

type Outcome = Result<(), VixError>;

enum Message {
    Asked(Job),
    Landed(Landed),
    Close,
}

/// The disk's thread, for those who want something of it.
pub(super) struct Worker {
    messages: Sender<Message>,
    pool: Pool,
    thread: JoinHandle<DiskHandle>,
}

/// The same, shared by clients: it goes on only as long as the disk is open.
#[derive(Clone)]
pub(super) struct Asker {
    messages: Sender<Message>,
    pool: Pool,
}

/// An answer that is to come; `None`: the disk was closed.
pub(super) struct Answer<T>(Receiver<Result<T, CallError>>);

impl<T> Answer<T> {
    pub(super) fn wait(self) -> Option<Result<T, CallError>> {
        self.0.recv().ok()
    }
}

impl Worker {
    pub(super) fn start(disk: DiskHandle) -> io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let pool = Pool::default();
        let state =
            Desk { disk, inbox, outbox: messages.clone(), waiting: VecDeque::new(), flights: 0, pool: pool.clone() };
        let thread = thread::Builder::new().name("vddk disk".to_owned()).spawn(move || state.run())?;
        Ok(Self { messages, pool, thread })
    }

    pub(super) fn asker(&self) -> Asker {
        Asker { messages: self.messages.clone(), pool: self.pool.clone() }
    }

    /// Waits for what is on its way; gives the disk back. `None`: the thread has failed.
    pub(super) fn end(self) -> Option<DiskHandle> {
        let _ = self.messages.send(Message::Close);
        self.thread.join().ok()
    }
}

impl Asker {
    /// Room for so many sectors, at most [`super::buffer::REQUEST_BYTES_MAX`].
    pub(super) fn room(&self, sectors: u64) -> Buffer {
        self.pool.take(sectors)
    }

    pub(super) fn read(&self, sector: u64, sectors: u64) -> Answer<Buffer> {
        let buffer = self.room(sectors);
        self.ask(|reply| Job::Read { sector, buffer, tries: 1, reply })
    }

    pub(super) fn write(&self, sector: u64, buffer: Buffer) -> Answer<()> {
        self.ask(|reply| Job::Write { sector, buffer, reply })
    }

    pub(super) fn flush(&self) -> Answer<()> {
        self.ask(|reply| Job::Flush { reply })
    }

    pub(super) fn allocated(&self) -> Answer<Vec<Range<u64>>> {
        self.ask(|reply| Job::Allocated { reply })
    }

    fn ask<T>(&self, job: impl FnOnce(Sender<Result<T, CallError>>) -> Job) -> Answer<T> {
        let (reply, answer) = mpsc::channel();
        // A disk that was closed drops the job, and with it the place for the answer.
        let _ = self.messages.send(Message::Asked(job(reply)));
        Answer(answer)
    }
}

/// What the thread has before it.
struct Desk {
    disk: DiskHandle,
    inbox: Receiver<Message>,
    outbox: Sender<Message>,
    waiting: VecDeque<Job>,
    flights: usize,
    pool: Pool,
}

impl Desk {
    fn run(mut self) -> DiskHandle {
        loop {
            self.start_what_may();
            match self.inbox.recv_timeout(IDLE) {
                Ok(Message::Asked(job)) => self.waiting.push_back(job),
                Ok(Message::Landed(landed)) => self.land(landed),
                Err(RecvTimeoutError::Timeout) if self.flights == 0 => self.keep_awake(),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Nobody may call on the disk, close it least of all, before the last request has come back.
        while self.flights > 0 {
            if let Ok(Message::Landed(_)) = self.inbox.recv() {
                self.flights -= 1;
            }
        }
        self.disk
    }

    fn start_what_may(&mut self) {
        while self.flights < FLIGHTS_MAX
            && let Some(job) = self.waiting.pop_front()
        {
            if job.is_alone() && self.flights > 0 {
                self.waiting.push_front(job);
                return;
            }
            self.start(job);
        }
    }

    fn start(&mut self, job: Job) {
        let outbox = self.outbox.clone();
        match job {
            Job::Read { sector, buffer, tries, reply } => {
                self.flights += 1;
                self.disk.start_read(sector, buffer, move |buffer, outcome| {
                    let _ = outbox.send(Message::Landed(Landed::Read { sector, buffer, tries, reply, outcome }));
                });
            }
            Job::Write { sector, buffer, reply } => {
                self.flights += 1;
                self.disk.start_write(sector, buffer, move |_, outcome| {
                    let _ = outbox.send(Message::Landed(Landed::Write { reply, outcome }));
                });
            }
            Job::Flush { reply } => drop(reply.send(self.disk.flush())),
            Job::Allocated { reply } => drop(reply.send(allocated::allocated(&mut self.disk))),
        }
    }

    fn land(&mut self, landed: Landed) {
        self.flights = self.flights.saturating_sub(1);
        match landed {
            Landed::Idle => {}
            Landed::Write { reply, outcome } => {
                drop(reply.send(outcome.map_err(|error| self.disk.failed("Write", error))));
            }
            Landed::Read { sector, buffer, tries, reply, outcome } => match outcome {
                Ok(()) => drop(reply.send(Ok(buffer))),
                Err(error) => {
                    let error = self.disk.failed("Read", error);
                    if tries < READ_TRIES && !FINAL_CODES.contains(&error.code) {
                        self.waiting.push_front(Job::Read { sector, buffer, tries: tries + 1, reply });
                    } else {
                        drop(reply.send(Err(error)));
                    }
                }
            },
        }
    }

    fn keep_awake(&mut self) {
        if self.disk.about().sectors > 0 {
            self.flights += 1;
            let outbox = self.outbox.clone();
            self.disk.start_read(0, self.pool.take(1), move |_, _| {
                let _ = outbox.send(Message::Landed(Landed::Idle));
            });
        }
    }
}
