//! The program's side of the process that holds the library: started, told what to do, watched, and ended.
//!
//! **Invariant:** a password goes to the process over the control socket only: never in an argument, the environment or a file.

mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    fs::Permissions,
    ops::Range,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Receiver},
    time::Duration,
};

use engine::{Endpoint, NbdOptions, NbdUri};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{
    HELPER_ARGUMENT, ProcessError, ReadError, SOCKET_NAME,
    control::{self, Reply, Request},
    lines::LibraryLines,
};
use crate::{
    stop::Stop,
    transport::{Access, Transport, Transports},
};
use watch::{Seen, Watched};

/// A process that says nothing for so long will not speak again.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a disk is opened whose host is away.
const AWAY_TRIES: u32 = 5;
/// Before the second time.
const AWAY_PAUSE: Duration = Duration::from_secs(10);
/// How long a process may take to close what is open.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// Hears every line of the library.
type LineEar = Arc<dyn Fn(&str) + Send + Sync>;

/// How the process is started.
#[derive(Clone)]
pub struct Launch {
    program: PathBuf,
    libdir: PathBuf,
    patience: Duration,
    away_pause: Duration,
    stop: Stop,
    on_line: Option<LineEar>,
}

impl Launch {
    /// With the library that was unpacked to `libdir`. The process is this program itself.
    pub fn new(libdir: impl Into<PathBuf>) -> Self {
        Self {
            program: "/proc/self/exe".into(),
            libdir: libdir.into(),
            patience: PATIENCE,
            away_pause: AWAY_PAUSE,
            stop: Stop::default(),
            on_line: None,
        }
    }

    /// The program is another file, whose `main` knows [`HELPER_ARGUMENT`].
    #[must_use]
    pub fn program(self, program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// How long an answer may take before the process counts as gone; 300 s unless told.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long to wait before a disk is opened again whose host is away, and then twice as long each time; 10 s unless told.
    #[must_use]
    pub fn away_pause(self, away_pause: Duration) -> Self {
        Self { away_pause, ..self }
    }

    /// Waits end early when `stop` says so.
    #[must_use]
    pub fn stopping(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// Does `open`, again while the host is away: one that enters maintenance hands its VMs over to another.
    pub(crate) fn while_host_is_away<T>(&self, open: impl Fn() -> Result<T, ProcessError>) -> Result<T, ProcessError> {
        let mut pause = self.away_pause;
        for _ in 1..AWAY_TRIES {
            match open() {
                Err(error) if error.is_host_away() && !self.stop.is_asked() => self.stop.rest(pause),
                result => return result,
            }
            pause = pause.saturating_mul(2);
        }
        open()
    }

    /// Who hears every line of the library. The last ones come with errors anyway.
    #[must_use]
    pub fn on_line(self, hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { on_line: Some(Arc::new(hear)), ..self }
    }
}

/// Who connects to which vCenter, for which VM.
#[derive(Clone)]
pub struct VmLogin {
    /// Managed object id of the VM: `vm-16`.
    pub vm: String,
    /// vCenter.
    pub server: String,
    /// Its port: 443.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: Zeroizing<String>,
    /// SHA-1 of vCenter's certificate, 20 pairs: `AA:BB:…`.
    pub thumbprint: String,
}

impl fmt::Debug for VmLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} as {}", self.vm, self.server, self.user)
    }
}

/// A VM, and what is wanted of its disks.
#[derive(Clone, Debug)]
pub struct VmAccess {
    /// Who connects.
    pub login: VmLogin,
    /// Managed object id of the snapshot that is read; a powered-off VM is written without one.
    pub snapshot: Option<String>,
    /// Reading or writing.
    pub access: Access,
}

impl VmAccess {
    fn check(&self) -> Result<(), ProcessError> {
        let login = &self.login;
        let texts = [
            ("the VM's id", &login.vm),
            ("the vCenter's name", &login.server),
            ("the user", &login.user),
            ("the certificate's thumbprint", &login.thumbprint),
        ];
        match texts.into_iter().find(|(_, text)| text.trim().is_empty()) {
            Some((what, _)) => Err(ProcessError::Empty { what }),
            None => Ok(()),
        }
    }
}

/// What the library is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryAbout {
    /// VMware's major version.
    pub major: u32,
    /// Ways that it knows: `file:san:hotadd:nbdssl:nbd`.
    pub modes: String,
    /// It can tell which blocks are in use.
    pub block_query: bool,
}

/// A disk that the process serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedDisk {
    /// Its size in bytes.
    pub bytes: u64,
    /// The way that the library takes.
    pub transport: Transport,
    /// Its id, as the library tells.
    pub uuid: String,
    /// Logical and physical sector size; `None`: a library before version 7 does not tell.
    pub sector_bytes: Option<(u32, u32)>,
    /// Where it is served.
    pub uri: NbdUri,
}

/// The process, for one VM.
pub struct Process {
    watched: Watched,
    control: Mutex<ControlEnd>,
    seen: Arc<Seen>,
    about: LibraryAbout,
    snapshot: Option<String>,
    access: Access,
    connections: Mutex<BTreeMap<String, u32>>,
    notes: Mutex<Vec<String>>,
    patience: Duration,
    folder: TempDir,
}

struct ControlEnd {
    requests: UnixStream,
    replies: Receiver<Reply>,
    has_ended: bool,
}

impl Process {
    /// Starts it, loads the library, logs in. Nothing is connected before a disk is opened.
    pub fn start(launch: &Launch, vm: &VmAccess) -> Result<Self, ProcessError> {
        vm.check()?;
        let start = |source| ProcessError::Start { source };
        let mut folder = tempfile::Builder::new();
        folder.prefix("strongroom-vddk-").permissions(Permissions::from_mode(0o700));
        let folder = folder.tempdir().map_err(start)?;
        let (requests, theirs) = UnixStream::pair().map_err(start)?;
        let mut child = command(launch, folder.path(), theirs).spawn().map_err(start)?;
        let seen = Arc::new(Seen::new(launch.on_line.clone()));
        let replies = requests.try_clone().and_then(|replies| watch::listen(&mut child, replies, &seen));
        let watched = Watched::new(child, Arc::clone(&seen));
        let (replies, has_ended) = (replies.map_err(start)?, false);
        let mut process = Self {
            watched,
            control: Mutex::new(ControlEnd { requests, replies, has_ended }),
            seen,
            about: LibraryAbout { major: 0, modes: String::new(), block_query: false },
            snapshot: vm.snapshot.clone(),
            access: vm.access,
            connections: Mutex::default(),
            notes: Mutex::default(),
            patience: launch.patience,
            folder,
        };
        let prepare = process.load(&launch.libdir)?;
        process.login(&vm.login)?;
        if prepare {
            process.hold_vm();
        }
        Ok(process)
    }

    fn load(&mut self, libdir: &Path) -> Result<bool, ProcessError> {
        let libdir_text = libdir.to_str().ok_or_else(|| ProcessError::NoLibrary { libdir: libdir.to_owned() })?;
        match self.ask(&Request::Init { libdir: libdir_text.to_owned() })? {
            Reply::Ready { major, modes, block_query, prepare } => {
                self.about = LibraryAbout { major, modes, block_query };
                Ok(prepare)
            }
            Reply::NoLibrary { said } if said.is_empty() => Err(ProcessError::NoLibrary { libdir: libdir.to_owned() }),
            Reply::NoLibrary { said } => Err(ProcessError::Unloadable { libdir: libdir.to_owned(), said }),
            other => Err(unwanted(other)),
        }
    }

    fn login(&self, login: &VmLogin) -> Result<(), ProcessError> {
        let VmLogin { vm, server, port, user, password, thumbprint } = login.clone();
        self.done(&Request::Login { vm, server, port, user, password, thumbprint })
    }

    /// Storage vMotion of a VM that is being read breaks the reading. A vCenter that does not keep it back is no reason to stop.
    fn hold_vm(&self) {
        if let Err(error) = self.done(&Request::Prepare) {
            self.note(format!("{error}: it may be moved while its disks are read"));
        }
    }

    /// What the library is.
    pub fn about(&self) -> &LibraryAbout {
        &self.about
    }

    /// Opens the disk at `path` (`[datastore] folder/disk.vmdk`, as in the snapshot's configuration) by one of `allowed`, and
    /// serves it as `export`.
    pub fn open(&self, export: &str, path: &str, allowed: &Transports) -> Result<OpenedDisk, ProcessError> {
        let connection = self.connection(allowed)?;
        let words: Vec<String> = allowed.list().iter().map(|transport| transport.word().to_owned()).collect();
        let (export, path) = (export.to_owned(), path.to_owned());
        let opened = self.ask(&Request::Open { connection, export: export.clone(), path, allowed: words })?;
        let not_allowed = |transport| ProcessError::NotAllowed { transport, allowed: allowed.to_string() };
        match opened {
            Reply::Opened { sectors, transport, sector_bytes, uuid } => {
                // The process has looked already; what it is trusted with is looked at from both sides.
                let taken = Transport::of_word(&transport).filter(|taken| allowed.list().contains(taken));
                let Some(taken) = taken else {
                    self.close(&export)?;
                    return Err(not_allowed(transport));
                };
                let bytes = sectors.checked_mul(512).ok_or_else(|| impossible("a disk of more than 2^64 bytes"))?;
                let endpoint = Endpoint::Unix { path: self.folder.path().join(SOCKET_NAME) };
                let uri = NbdUri { endpoint, export, tls: None, reconnect: None };
                let sector_bytes = (sector_bytes != (0, 0)).then_some(sector_bytes);
                Ok(OpenedDisk { bytes, transport: taken, uuid, sector_bytes, uri })
            }
            Reply::WrongTransport { transport } => Err(not_allowed(transport)),
            other => Err(unwanted(other)),
        }
    }

    /// The connection by these ways: the library chooses among those it was connected with, so each list has its own.
    fn connection(&self, allowed: &Transports) -> Result<u32, ProcessError> {
        let modes = allowed.modes();
        let mut connections = lock(&self.connections);
        if let Some(connection) = connections.get(&modes) {
            return Ok(*connection);
        }
        let (write, snapshot) = (self.access == Access::Write, self.snapshot.clone());
        match self.ask(&Request::Connect { write, snapshot, modes: modes.clone() })? {
            Reply::Connected { connection } => {
                connections.insert(modes, connection);
                Ok(connection)
            }
            other => Err(unwanted(other)),
        }
    }

    /// Closes a disk.
    pub fn close(&self, export: &str) -> Result<(), ProcessError> {
        self.done(&Request::Close { export: export.to_owned() })
    }

    /// Closes everything and ends the process; what went wrong on the way, none of which undoes what was read.
    pub fn end(&self) -> Vec<String> {
        let mut control = lock(&self.control);
        if !std::mem::replace(&mut control.has_ended, true) {
            let limit = self.patience.min(END_PATIENCE);
            match exchange(&mut control, &Request::Exit, limit) {
                Some(Reply::Done) => {}
                Some(reply) => self.note(unwanted(reply).to_string()),
                None => self.note(self.watched.ended(Duration::ZERO).to_string()),
            }
            self.watched.end(limit);
        }
        drop(control);
        std::mem::take(&mut lock(&self.notes))
    }

    /// How to be patient with its exports: a lost connection means that the process is gone, and is never made again.
    pub fn nbd_options(&self) -> NbdOptions {
        NbdOptions { reply_within: self.patience, reconnect_for: Duration::ZERO }
    }

    /// How it ended. One that still runs has not answered, and is ended.
    pub fn post_mortem(&self) -> ProcessError {
        self.watched.ended(self.patience)
    }

    /// What the library said about a request for `range` of a disk, if it comes soon.
    pub fn trouble(&self, export: &str, range: &Range<u64>) -> Option<(u64, ReadError)> {
        self.seen.trouble(export, range)
    }

    /// What its library said last.
    pub fn lines(&self) -> LibraryLines {
        self.seen.lines()
    }

    fn note(&self, note: String) {
        lock(&self.notes).push(note);
    }

    fn done(&self, request: &Request) -> Result<(), ProcessError> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unwanted(other)),
        }
    }

    fn ask(&self, request: &Request) -> Result<Reply, ProcessError> {
        let mut control = lock(&self.control);
        let reply = exchange(&mut control, request, self.patience);
        drop(control);
        reply.ok_or_else(|| self.post_mortem())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// `None`: it has gone, or is silent.
fn exchange(control: &mut ControlEnd, request: &Request, patience: Duration) -> Option<Reply> {
    control::send_request(&mut control.requests, request).ok()?;
    control.replies.recv_timeout(patience).ok()
}

fn unwanted(reply: Reply) -> ProcessError {
    match reply {
        Reply::Failed(failure) => failure.into(),
        Reply::Impossible { what } => ProcessError::Impossible { what },
        _ => impossible("an answer to something else"),
    }
}

fn impossible(what: &str) -> ProcessError {
    ProcessError::Impossible { what: what.to_owned() }
}

/// Nothing of our environment but what the library needs.
fn command(launch: &Launch, folder: &Path, control: UnixStream) -> Command {
    let mut command = Command::new(&launch.program);
    let mut library_path = launch.libdir.join("lib64").into_os_string();
    library_path.push(":");
    library_path.push(&launch.libdir);
    command
        .arg0("strongroom")
        .arg(HELPER_ARGUMENT)
        .env_clear()
        .env("LD_LIBRARY_PATH", library_path)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("LANG", "C")
        .current_dir(folder)
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
