//! The client's end: one export over one connection or several, requests in flight on each, connections made again.
//!
//! **Invariant:** nothing here writes to an export unless it was asked to: [`Ask::Write`], [`Ask::Zero`], [`Ask::Flush`].

mod handshake;
mod link;
mod replies;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    error::NbdError,
    stream::{Channel, Socket},
    tls,
    uri::{Endpoint, NbdUri},
    wire::{BlockSizes, Extent, error_code, export_flag},
};

pub use handshake::{Negotiated, Wanted, negotiate};
use link::Link;
pub use replies::{Answer, Expecting, Progress, ReplyError, read_reply};

/// Connections to a server that allows several.
const LINKS: usize = 4;
/// First and longest wait between two tries to connect again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Longest request for data, whatever the server allows.
const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub struct NbdOptions {
    /// A server that is silent for so long while an answer is due is gone.
    pub reply_within: Duration,
    /// How long to try again when a connection is lost; zero: not at all.
    pub reconnect_for: Duration,
}

impl Default for NbdOptions {
    fn default() -> Self {
        Self { reply_within: Duration::from_secs(60), reconnect_for: Duration::from_secs(30) }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Bytes.
    Read {
        /// From where.
        offset: u64,
        /// How many.
        length: u32,
    },
    /// What lies where, in the context that was negotiated.
    Status {
        /// From where.
        offset: u64,
        /// How much.
        length: u32,
    },
    /// Here are bytes.
    Write {
        /// Where to.
        offset: u64,
        /// The bytes.
        bytes: Arc<Vec<u8>>,
    },
    /// Zeros.
    Zero {
        /// From where.
        offset: u64,
        /// How many.
        length: u32,
    },
    /// What was written is durable.
    Flush,
}

impl Ask {
    fn offset(&self) -> u64 {
        match self {
            Self::Read { offset, .. }
            | Self::Status { offset, .. }
            | Self::Write { offset, .. }
            | Self::Zero { offset, .. } => *offset,
            Self::Flush => 0,
        }
    }
}

/// A request that is on its way.
pub struct Ticket {
    ask: Ask,
    state: TicketState,
}

enum TicketState {
    Sent(link::Receipt),
    NotSent(NbdError),
}

/// An export of a server. Shared by threads.
pub struct NbdClient {
    uri: NbdUri,
    contexts: Vec<String>,
    options: NbdOptions,
    about: Negotiated,
    links: Vec<Mutex<Option<Arc<Link>>>>,
    next: AtomicUsize,
}

impl NbdClient {
    /// Connects to the export, with the contexts of block status that are wanted as far as the server has them.
    pub fn connect(uri: &NbdUri, contexts: &[&str], options: NbdOptions) -> Result<Self, NbdError> {
        let options = NbdOptions { reconnect_for: uri.reconnect.unwrap_or(options.reconnect_for), ..options };
        let contexts: Vec<String> = contexts.iter().map(|context| (*context).to_owned()).collect();
        let first = open_link(uri, &contexts, options)?;
        let about = first.about().clone();
        let count = if about.has(export_flag::CAN_MULTI_CONN) { LINKS } else { 1 };
        let links: Vec<_> = (0..count).map(|_| Mutex::new(None)).collect();
        if let Some(place) = links.first() {
            *lock(place) = Some(Arc::new(first));
        }
        Ok(Self { uri: uri.clone(), contexts, options, about, links, next: AtomicUsize::new(0) })
    }

    /// What the server said of the export.
    pub fn about(&self) -> &Negotiated {
        &self.about
    }

    /// Where the export is.
    pub fn uri(&self) -> &NbdUri {
        &self.uri
    }

    /// Sizes that requests keep to; a maximum that is a multiple of the minimum and no more than 1 MiB.
    pub fn blocks(&self) -> BlockSizes {
        let BlockSizes { min_bytes, preferred_bytes, max_bytes } = self.about.blocks;
        let max_bytes = max_bytes.min(REQUEST_BYTES_MAX.max(min_bytes));
        BlockSizes { min_bytes, preferred_bytes, max_bytes: max_bytes - max_bytes % min_bytes.max(1) }
    }

    /// Sends a request and does not wait for its answer.
    pub fn send(&self, ask: Ask) -> Ticket {
        let sent = self.link().and_then(|link| link.send(&ask));
        let state = match sent {
            Ok(receipt) => TicketState::Sent(receipt),
            Err(error) => TicketState::NotSent(error),
        };
        Ticket { ask, state }
    }

    /// Waits for the answer. If the connection was lost, the request is sent again over a new one, for as long as the
    /// options say: for reads only. What was written and not flushed may be lost with the server, so writes fail.
    pub fn wait(&self, ticket: Ticket) -> Result<Answer, NbdError> {
        let Ticket { ask, state } = ticket;
        let mut answer = match state {
            TicketState::Sent(receipt) => receipt.wait(),
            TicketState::NotSent(error) => Err(error),
        };
        if !matches!(ask, Ask::Read { .. } | Ask::Status { .. }) {
            return answer;
        }
        let lost_at = Instant::now();
        let mut pause = BACKOFF.0;
        while let Err(error) = &answer
            && may_pass(error)
            && lost_at.elapsed() < self.options.reconnect_for
        {
            thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF.1);
            answer = self.link().and_then(|link| link.send(&ask)).and_then(link::Receipt::wait);
        }
        answer
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&self, ask: Ask) -> Result<Answer, NbdError> {
        self.wait(self.send(ask))
    }

    /// Bytes.
    pub fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, NbdError> {
        match self.ask(Ask::Read { offset, length })? {
            Answer::Data(bytes) => Ok(bytes),
            Answer::Extents(_) | Answer::Done => Ok(Vec::new()),
        }
    }

    /// Extents of the context that was negotiated, from `offset`: at least one; they may end before or beyond `length`.
    pub fn status(&self, offset: u64, length: u32) -> Result<Vec<Extent>, NbdError> {
        match self.ask(Ask::Status { offset, length })? {
            Answer::Extents(extents) => Ok(extents),
            Answer::Data(_) | Answer::Done => Ok(Vec::new()),
        }
    }

    /// A link that is up, in turn; made again if it has gone down.
    fn link(&self) -> Result<Arc<Link>, NbdError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.links.len().max(1);
        let Some(place) = self.links.get(turn) else { return Err(self.lost("there is no connection")) };
        let mut place = lock(place);
        if let Some(link) = &*place
            && link.is_up()
        {
            return Ok(Arc::clone(link));
        }
        *place = None;
        let link = open_link(&self.uri, &self.contexts, self.options)?;
        let (before_bytes, after_bytes) = (self.about.bytes, link.about().bytes);
        if before_bytes != after_bytes {
            return Err(NbdError::SizeChanged { server: self.uri.server(), before_bytes, after_bytes });
        }
        if link.about().contexts.len() < self.about.contexts.len() || link.about().blocks != self.about.blocks {
            return Err(NbdError::Refused {
                server: self.uri.server(),
                what: "after a new connection it offers less than before".to_owned(),
            });
        }
        let link = Arc::new(link);
        *place = Some(Arc::clone(&link));
        Ok(link)
    }

    fn lost(&self, what: &str) -> NbdError {
        NbdError::Lost { server: self.uri.server(), what: what.to_owned() }
    }
}

/// Whether a new connection may help. A server that just started may not have its export yet.
fn may_pass(error: &NbdError) -> bool {
    match error {
        NbdError::Connect { .. } | NbdError::Lost { .. } | NbdError::NoExport { .. } | NbdError::Refused { .. } => true,
        NbdError::Remote { error, .. } => *error == error_code::ESHUTDOWN,
        _ => false,
    }
}

fn open_link(uri: &NbdUri, contexts: &[String], options: NbdOptions) -> Result<Link, NbdError> {
    let (channel, about) = open(uri, contexts, options)?;
    Link::start(channel, about, uri.server(), options.reply_within)
}

fn open(uri: &NbdUri, contexts: &[String], options: NbdOptions) -> Result<(Channel, Negotiated), NbdError> {
    let connect = |source| NbdError::Connect { server: uri.server(), source };
    let patience = options.reply_within.min(Duration::from_secs(20));
    let socket = Socket::connect(&uri.endpoint, patience).map_err(connect)?;
    socket.patience(Some(patience)).map_err(connect)?;
    let mut channel = Channel::plain(socket);
    handshake::greet(&mut channel, &uri.server())?;
    if let Some(trust) = &uri.tls {
        handshake::start_tls(&mut channel, &uri.server())?;
        let tls_error = |source| NbdError::Tls { server: uri.server(), source };
        let socket = channel.plain_socket().ok_or_else(|| NbdError::NoTls { server: uri.server() })?;
        let host = match &uri.endpoint {
            Endpoint::Tcp { host, .. } => host.as_str(),
            Endpoint::Unix { .. } => "localhost",
        };
        channel = Channel::tls(tls::client(socket, host, trust).map_err(tls_error)?);
    }
    let wanted = Wanted { export: &uri.export, contexts };
    let about = handshake::choose(&mut channel, &wanted, &uri.server())?;
    // From here on the link watches the time.
    channel.patience(None).map_err(connect)?;
    Ok((channel, about))
}

/// Names of the contexts of block status that the export has and that begin with `query`.
pub(crate) fn contexts_of(uri: &NbdUri, query: &str, options: NbdOptions) -> Result<Vec<String>, NbdError> {
    let connect = |source| NbdError::Connect { server: uri.server(), source };
    if uri.tls.is_some() {
        // Only used for a better message: not worth a second TLS session.
        return Ok(Vec::new());
    }
    let socket = Socket::connect(&uri.endpoint, options.reply_within).map_err(connect)?;
    socket.patience(Some(Duration::from_secs(20))).map_err(connect)?;
    let mut channel = Channel::plain(socket);
    handshake::greet(&mut channel, &uri.server())?;
    handshake::list_contexts(&mut channel, &uri.export, query, &uri.server())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
