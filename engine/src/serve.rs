//! Shows the disks of a restore point as NBD exports: without restoring them, and without changing anything in the repository.
//!
//! ```text
//! client ─► nbd::server ─► PointExport ─┬─ written before? ──► overlay
//!                                       └─ else PointDisk: segment map ─► chunk ─► frame, from the cache or its pack
//! ```
//!
//! **Invariant:** what cannot be read is an I/O error for those who ask for it, never zeros; everything else goes on.

mod export;
mod faults;
mod overlay;
mod point_disk;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use repo_format::{ChunkId, DiskRecord};

use crate::{
    error::Kind,
    monitor::Monitor,
    nbd::{Channel, Export, Listen, ListenError, Listener, ServerLimits, ServerTls, SessionEnd, serve_client},
    read_error::ReadError,
    repository::Reader,
    restore::read_point,
    stored_disk::FrameCache,
};

use export::PointExport;
use faults::Faults;
use overlay::Overlay;
pub use overlay::{OverlayError, OverlayPlace};
use point_disk::PointDisk;

/// How often somebody who wants it to end is heard.
const LOOK: Duration = Duration::from_millis(100);
/// Clients at once; more are sent away.
const CLIENTS_MAX: usize = 64;

/// What to serve.
pub struct ServeJob {
    /// The restore point.
    pub point: ChunkId,
    /// Its disks by name; empty: all.
    pub disks: Vec<String>,
    /// Where clients come to.
    pub listen: Listen,
    /// Where their writes go.
    pub overlay: OverlayPlace,
    /// TLS, and then nothing else.
    pub tls: Option<ServerTls>,
    /// When it ends by itself.
    pub until: ServeUntil,
}

/// When serving ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeUntil {
    /// When somebody stops it.
    Stopped,
    /// When the last client has gone.
    ClientsGone,
}

/// With how much.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Threads for each client.
    pub threads: usize,
    /// Memory for opened frames.
    pub cache_bytes: u64,
}

/// An export that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The disk.
    pub disk: String,
    /// Its size.
    pub bytes: u64,
    /// Where it is.
    pub uri: String,
}

/// Something that a client asked for and did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The disk.
    pub disk: String,
    /// Where on it.
    pub offset: u64,
    /// What: a chunk, a map.
    pub object: String,
    /// Why.
    pub what: String,
    /// How to react.
    pub kind: Kind,
}

/// What was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeReport {
    /// Clients that chose an export.
    pub clients: u64,
    /// What they did not get.
    pub troubles: Vec<Trouble>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The record or a map cannot be read.
    #[error("restore point {point}: {source}")]
    Point {
        /// The point.
        point: ChunkId,
        /// Why.
        source: ReadError,
    },
    /// The point has no such disk.
    #[error("restore point {point} has no disk {disk:?}; it has {}", there.join(", "))]
    Disk {
        /// The point.
        point: ChunkId,
        /// What was asked for.
        disk: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Clients cannot come.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is nowhere for what they write.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// Clients came, and then the system failed.
    #[error("clients cannot be let in any more: {0}")]
    Accept(io::Error),
    /// The last writes could not be made durable.
    #[error("what clients wrote last could not be made durable: {0}")]
    Flush(io::Error),
}

impl ServeError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Point { source, .. } => source.kind(),
            Self::Disk { .. } => Kind::Invalid,
            Self::Overlay(error) => error.kind(),
            Self::Listen(_) | Self::Accept(_) | Self::Flush(_) => Kind::Failed,
        }
    }
}

/// Serves until somebody stops it. `listening` is told where the exports are, once clients can come.
pub fn serve(
    reader: &Reader,
    job: &ServeJob,
    options: &ServeOptions,
    monitor: &dyn Monitor,
    listening: &mut dyn FnMut(&[Served]),
) -> Result<ServeReport, ServeError> {
    let point = job.point;
    let unreadable = |source| ServeError::Point { point, source };
    let record = read_point(reader, point).map_err(unreadable)?;
    let chosen = chosen_disks(job, &record.disks)?;
    let overlay = Overlay::open(&job.overlay, reader.config().repository, point, &record.disks)?;
    let cache = FrameCache::new(reader, options.cache_bytes);
    let faults = Faults::new(monitor);
    let mut exports = Vec::new();
    for disk in chosen {
        let description = format!("{} {} of point {point}", record.vm_name, disk.name);
        let overlay = overlay.as_ref().and_then(|overlay| overlay.disk(&disk.name));
        exports.push(PointExport {
            disk: PointDisk::open(disk, &cache, &faults).map_err(unreadable)?,
            overlay,
            description,
        });
    }
    let exports: Vec<&dyn Export> = exports.iter().map(|export| export as &dyn Export).collect();
    let listener = Listener::bind(&job.listen)?;
    listening(&exports.iter().map(|export| served(*export, &listener, job)).collect::<Vec<_>>());
    let clients = let_in(&listener, &exports, job, options, monitor)?;
    drop(listener);
    if let Some(overlay) = &overlay {
        overlay.flush().map_err(ServeError::Flush)?;
    }
    drop(exports);
    Ok(ServeReport { clients, troubles: faults.troubles() })
}

fn chosen_disks<'p>(job: &ServeJob, there: &'p [DiskRecord]) -> Result<Vec<&'p DiskRecord>, ServeError> {
    if job.disks.is_empty() {
        return Ok(there.iter().collect());
    }
    let find = |name: &String| {
        there.iter().find(|disk| disk.name == *name).ok_or_else(|| ServeError::Disk {
            point: job.point,
            disk: name.clone(),
            there: there.iter().map(|disk| disk.name.clone()).collect(),
        })
    };
    job.disks.iter().map(find).collect()
}

fn served(export: &dyn Export, listener: &Listener, job: &ServeJob) -> Served {
    let uri = listener.uri(export.name(), job.tls.is_some());
    Served { disk: export.name().to_owned(), bytes: export.bytes(), uri }
}

/// Lets clients in, each on a thread of its own, until it is time to end; then their connections are cut.
fn let_in(
    listener: &Listener,
    exports: &[&dyn Export],
    job: &ServeJob,
    options: &ServeOptions,
    monitor: &dyn Monitor,
) -> Result<u64, ServeError> {
    let limits = ServerLimits { workers: options.threads.max(2) };
    let clients = Clients::default();
    let outcome = thread::scope(|scope| {
        let outcome = loop {
            if monitor.interrupted() || job.until == ServeUntil::ClientsGone && clients.have_come_and_gone() {
                break Ok(());
            }
            match listener.accept(LOOK) {
                Ok(None) => {}
                Ok(Some(socket)) if clients.are_many() => drop(socket),
                Ok(Some(socket)) => {
                    let channel = Channel::plain(socket);
                    let number = clients.came(&channel);
                    let (clients, tls) = (&clients, job.tls.as_ref());
                    scope.spawn(move || {
                        let end = serve_client(channel, exports, tls, limits);
                        clients.went(number, end);
                    });
                }
                Err(error) if is_passing(&error) => thread::sleep(LOOK),
                Err(error) => break Err(ServeError::Accept(error)),
            }
        };
        clients.cut();
        outcome
    });
    outcome.map(|()| clients.served.into_inner())
}

/// Too many open files: a client that goes makes room.
fn is_passing(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOBUFS))
}

/// Who is there.
#[derive(Default)]
struct Clients {
    channels: Mutex<Vec<(usize, Channel)>>,
    next: AtomicUsize,
    served: AtomicU64,
}

impl Clients {
    fn came(&self, channel: &Channel) -> usize {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().push((number, channel.clone()));
        number
    }

    fn went(&self, number: usize, end: SessionEnd) {
        let mut channels = self.lock();
        if end == SessionEnd::Served {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        channels.retain(|(other, _)| *other != number);
    }

    fn are_many(&self) -> bool {
        self.lock().len() >= CLIENTS_MAX
    }

    fn have_come_and_gone(&self) -> bool {
        self.lock().is_empty() && self.served.load(Ordering::Relaxed) > 0
    }

    fn cut(&self) {
        self.lock().iter().for_each(|(_, channel)| channel.shutdown());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Channel)>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
