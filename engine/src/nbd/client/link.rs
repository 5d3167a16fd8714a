//! One connection: whoever wants something sends under a lock, one thread reads all replies.

use std::{
    collections::HashMap,
    io::IoSlice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::{
    Ask,
    handshake::Negotiated,
    replies::{Answer, Expecting, Progress, ReplyError, read_reply},
};
use crate::nbd::{
    error::NbdError,
    stream::Channel,
    wire::{Command, Request, WireError},
};

type Outcome = Result<Answer, NbdError>;

/// A connection that takes requests.
pub(super) struct Link {
    shared: Arc<Shared>,
    about: Negotiated,
    reply_within: Duration,
}

struct Shared {
    channel: Channel,
    server: String,
    waiting: Mutex<Waiting>,
    sending: Mutex<()>,
    cookies: AtomicU64,
}

struct Waiting {
    requests: HashMap<u64, (Expecting, u64, mpsc::Sender<Outcome>)>,
    /// Why no more replies come.
    ended: Option<End>,
}

#[derive(Clone)]
enum End {
    Lost(String),
    Wrong(WireError),
}

impl End {
    fn error(&self, server: &str) -> NbdError {
        let server = server.to_owned();
        match self {
            Self::Lost(what) => NbdError::Lost { server, what: what.clone() },
            Self::Wrong(source) => NbdError::Protocol { server, source: source.clone() },
        }
    }
}

/// An answer that is to come.
pub(super) struct Receipt {
    shared: Arc<Shared>,
    answer: mpsc::Receiver<Outcome>,
    reply_within: Duration,
}

impl Link {
    /// Begins to read replies.
    pub(super) fn start(
        channel: Channel,
        about: Negotiated,
        server: String,
        reply_within: Duration,
    ) -> Result<Self, NbdError> {
        let waiting = Mutex::new(Waiting { requests: HashMap::new(), ended: None });
        let shared = Arc::new(Shared { channel, server, waiting, sending: Mutex::new(()), cookies: AtomicU64::new(1) });
        let reader = Arc::clone(&shared);
        let started = thread::Builder::new().name("nbd replies".to_owned()).spawn(move || reader.read_all());
        match started {
            Ok(_) => Ok(Self { shared, about, reply_within }),
            Err(source) => Err(NbdError::Connect { server: shared.server.clone(), source }),
        }
    }

    pub(super) fn about(&self) -> &Negotiated {
        &self.about
    }

    pub(super) fn is_up(&self) -> bool {
        lock(&self.shared.waiting).ended.is_none()
    }

    pub(super) fn send(&self, ask: &Ask) -> Result<Receipt, NbdError> {
        let cookie = self.shared.cookies.fetch_add(1, Ordering::Relaxed);
        let (command, length, payload, expecting) = match ask {
            Ask::Read { offset, length } => (Command::Read, *length, None, Expecting::read(*offset, *length)),
            Ask::Status { length, .. } => {
                let context = self.about.contexts.first().map(|context| context.id);
                (Command::BlockStatus, *length, None, Expecting::status(context))
            }
            Ask::Write { bytes, .. } => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                (Command::Write, length, Some(bytes), Expecting::plain())
            }
            Ask::Zero { length, .. } => (Command::WriteZeroes, *length, None, Expecting::plain()),
            Ask::Flush => (Command::Flush, 0, None, Expecting::plain()),
        };
        let request = Request { flags: 0, command, cookie, offset: ask.offset(), length };
        let (sender, answer) = mpsc::channel();
        {
            let mut waiting = lock(&self.shared.waiting);
            if let Some(end) = &waiting.ended {
                return Err(end.error(&self.shared.server));
            }
            waiting.requests.insert(cookie, (expecting, ask.offset(), sender));
        }
        let header = request.encode();
        let mut parts = [IoSlice::new(&header), IoSlice::new(payload.map_or(&[], |bytes| bytes.as_slice()))];
        let _sending = self.shared.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.shared.channel.write_parts(&mut parts) {
            self.shared.end(&End::Lost(error.to_string()));
        }
        Ok(Receipt { shared: Arc::clone(&self.shared), answer, reply_within: self.reply_within })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let request = Request { flags: 0, command: Command::Disconnect, cookie: 0, offset: 0, length: 0 };
        if self.is_up() {
            let _sending = self.shared.sending.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = self.shared.channel.write_parts(&mut [IoSlice::new(&request.encode())]);
        }
        // The reader holds the channel too, and ends with it.
        self.shared.channel.close();
    }
}

impl Receipt {
    /// Waits for the answer.
    pub(super) fn wait(self) -> Outcome {
        match self.answer.recv_timeout(self.reply_within) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                let end = End::Lost(format!("no answer within {} s", self.reply_within.as_secs()));
                self.shared.end(&end);
                Err(end.error(&self.shared.server))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(End::Lost("it was closed".to_owned()).error(&self.shared.server))
            }
        }
    }
}

impl Shared {
    fn read_all(&self) {
        let mut reader = self.channel.buffered();
        let end = loop {
            let mut taken = None;
            let mut find = |cookie| {
                let (expecting, offset, sender) = lock(&self.waiting).requests.remove(&cookie)?;
                taken = Some((offset, sender));
                Some(expecting)
            };
            let read = read_reply(&mut reader, &mut find);
            let (progress, taken) = match (read, taken) {
                (Ok((cookie, progress)), Some(taken)) => ((cookie, progress), taken),
                (Ok(_), None) => continue,
                (Err(error), taken) => {
                    let end = match error {
                        ReplyError::Io(error) => End::Lost(error.to_string()),
                        ReplyError::Wire(error) => End::Wrong(error),
                    };
                    if let Some((_, sender)) = taken {
                        let _ = sender.send(Err(end.error(&self.server)));
                    }
                    break end;
                }
            };
            let (offset, sender) = taken;
            // Whoever asked may have stopped waiting: then nobody hears.
            match progress {
                (cookie, Progress::More(expecting)) => {
                    lock(&self.waiting).requests.insert(cookie, (expecting, offset, sender));
                }
                (_, Progress::Done(answer)) => drop(sender.send(Ok(answer))),
                (_, Progress::Failed(report)) => {
                    let offset = report.offset.unwrap_or(offset);
                    let (server, error) = (self.server.clone(), report.error);
                    drop(sender.send(Err(NbdError::Remote { server, error, offset, message: report.message })));
                }
            }
        };
        self.end(&end);
    }

    /// No more replies: everybody who waits hears why.
    fn end(&self, end: &End) {
        let mut waiting = lock(&self.waiting);
        waiting.ended.get_or_insert_with(|| end.clone());
        for (_, (_, _, sender)) in waiting.requests.drain() {
            let _ = sender.send(Err(end.error(&self.server)));
        }
        drop(waiting);
        self.channel.shutdown();
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
