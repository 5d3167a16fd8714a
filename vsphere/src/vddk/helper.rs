//! The process that holds the library: it does what it is told over its standard input, and serves open disks over NBD.
//!
//! ```text
//!   program ──requests──► main thread: Init, Login, Connect, Open, Close        (the library's open and close)
//!           ◄──replies──
//!   program ══NBD═══════► sessions ──► one worker for each disk                 (the library's reads and writes)
//! ```
//!
//! **Invariant:** it knows no repository and no key. When the program is gone, so is this process.

use std::{
    env, fs,
    io::{self, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use engine::{Channel, Export, Listen, Listener, ServerLimits, serve_client};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
};

use super::{
    SOCKET_NAME,
    control::{self, CallFailure, Reply, Request},
    export::{DiskExport, Trouble},
    library::{Account, CallError, Connection, Library, LoadError, Login, OpenError, Purpose},
    lines::LastLines,
    worker::Worker,
};

/// Requests of a disk that are worked on at once: as many as the library gets.
const SESSION_WORKERS: usize = 4;
/// How long everything may take to be closed when the program is gone.
const LAST_WORDS: Duration = Duration::from_secs(60);
/// Name of the library's settings file.
const SETTINGS_NAME: &str = "vddk.conf";

/// Runs this process to its end. For the program's `main`, before anything else: the library wants the main thread of a process
/// that has no other.
pub fn helper_main() -> ExitCode {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let control = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Some(control) = control.ok().filter(|control| control.peer_addr().is_ok()) else {
        say("vddk-helper is started by strongroom itself, not by hand");
        return ExitCode::from(2);
    };
    match serve(control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// A line for the program, which collects what comes over standard error.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn serve(mut requests: UnixStream) -> io::Result<()> {
    let mut desk = Desk::new(requests.try_clone()?)?;
    loop {
        let Ok(request) = control::read_request(&mut requests) else { break };
        let is_last = matches!(request, Request::Exit);
        let reply = if is_last { desk.close_all() } else { desk.answer(request) };
        if desk.send(&reply).is_err() || is_last {
            break;
        }
    }
    desk.close_all();
    Ok(())
}

/// The open disks that clients may choose from.
type Exports = Arc<Mutex<Vec<Arc<DiskExport>>>>;

struct OpenDisk {
    export: Arc<DiskExport>,
    worker: Worker,
    connection: u32,
}

/// What is loaded, connected and open.
struct Desk {
    folder: PathBuf,
    lines: Arc<LastLines>,
    replies: Arc<Mutex<UnixStream>>,
    exports: Exports,
    library: Option<Library>,
    account: Option<Account>,
    is_prepared: bool,
    needs_cleanup: bool,
    connections: Vec<Option<Connection>>,
    purposes: Vec<Purpose>,
    disks: Vec<OpenDisk>,
}

impl Desk {
    fn new(replies: UnixStream) -> io::Result<Self> {
        Ok(Self {
            folder: env::current_dir()?,
            lines: Arc::default(),
            replies: Arc::new(Mutex::new(replies)),
            exports: Exports::default(),
            library: None,
            account: None,
            is_prepared: false,
            needs_cleanup: false,
            connections: Vec::new(),
            purposes: Vec::new(),
            disks: Vec::new(),
        })
    }

    fn send(&self, reply: &Reply) -> Result<(), control::ControlError> {
        let mut to = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        control::send_reply(&mut *to, reply)
    }

    fn answer(&mut self, request: Request) -> Reply {
        let outcome = match request {
            Request::Init { libdir } => self.init(Path::new(&libdir)),
            Request::Login { vm, server, port, user, password, thumbprint } => {
                self.login(&Login { vm, server, port, user, password, thumbprint })
            }
            Request::Prepare => self.prepare(),
            Request::Connect { write, snapshot, modes } => {
                let purpose = if write { Purpose::Write } else { Purpose::Read };
                self.connect(purpose, snapshot.as_deref(), &modes)
            }
            Request::Open { connection, export, path, allowed } => self.open(connection, export, &path, &allowed),
            Request::Close { export } => self.close(&export),
            Request::Disconnect { connection } => self.disconnect(connection),
            Request::EndAccess => self.end_access(),
            Request::Cleanup => self.cleanup(),
            Request::Exit => Ok(Reply::Done),
        };
        outcome.unwrap_or_else(|reply| reply)
    }

    fn init(&mut self, libdir: &Path) -> Result<Reply, Reply> {
        if self.library.is_some() {
            return Err(impossible("the library is loaded already"));
        }
        let settings = self.folder.join(SETTINGS_NAME);
        fs::write(&settings, settings_text(&self.folder)).map_err(|error| impossible(&error.to_string()))?;
        let library = Library::start(libdir, &settings, &self.lines).map_err(|error| match error {
            LoadError::NotFound(said) => Reply::NoLibrary { said: said.into_iter().take(8).collect() },
            LoadError::Init(error) => failed(error),
            LoadError::Text => impossible("the library's directory is no text"),
        })?;
        let ready = Reply::Ready {
            major: library.major(),
            modes: library.modes(),
            block_query: library.optional().block_query,
            prepare: library.optional().prepare,
        };
        self.library = Some(library);
        // The library began first: threads of ours only from here on.
        self.listen().map_err(|error| impossible(&error))?;
        self.watch_program().map_err(|error| impossible(&error.to_string()))?;
        Ok(ready)
    }

    fn login(&mut self, login: &Login) -> Result<Reply, Reply> {
        let library = self.library.as_ref().ok_or_else(|| impossible("Login before Init"))?;
        if self.account.is_some() {
            return Err(impossible("there is a login already"));
        }
        self.account = Some(library.account(login).map_err(failed)?);
        Ok(Reply::Done)
    }

    fn account(&self) -> Result<&Account, Reply> {
        self.account.as_ref().ok_or_else(|| impossible("there is no login"))
    }

    fn prepare(&mut self) -> Result<Reply, Reply> {
        self.account()?.prepare().map_err(failed)?;
        self.is_prepared = true;
        Ok(Reply::Done)
    }

    fn connect(&mut self, purpose: Purpose, snapshot: Option<&str>, modes: &str) -> Result<Reply, Reply> {
        if modes.is_empty() {
            return Err(impossible("no transport to connect by"));
        }
        let connection = self.account()?.connect(purpose, snapshot, modes).map_err(failed)?;
        self.needs_cleanup |= modes.split(':').any(|mode| mode == "hotadd");
        let number = u32::try_from(self.connections.len()).map_err(|_| impossible("too many connections"))?;
        self.connections.push(Some(connection));
        self.purposes.push(purpose);
        Ok(Reply::Connected { connection: number })
    }

    fn open(&mut self, number: u32, export: String, path: &str, allowed: &[String]) -> Result<Reply, Reply> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let connection = self.connections.get(at).and_then(Option::as_ref);
        let connection = connection.ok_or_else(|| impossible("there is no such connection"))?;
        if self.disks.iter().any(|disk| disk.export.name() == export) {
            return Err(impossible("a disk of that name is open"));
        }
        let disk = connection.open(path, allowed).map_err(|error| match error {
            OpenError::Call(error) => failed(error),
            OpenError::Transport(transport) => Reply::WrongTransport { transport },
        })?;
        let about = disk.about().clone();
        let opened = Reply::Opened {
            sectors: about.sectors,
            transport: disk.transport().to_owned(),
            sector_bytes: about.sector_bytes.unwrap_or_default(),
            uuid: about.uuid,
        };
        let purpose = self.purposes.get(at).copied().unwrap_or(Purpose::Read);
        let worker = Worker::start(disk).map_err(|error| impossible(&error.to_string()))?;
        let export = DiskExport::new(export, about.sectors, purpose, worker.asker(), self.trouble());
        let export = Arc::new(export);
        self.exports.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&export));
        self.disks.push(OpenDisk { export, worker, connection: number });
        Ok(opened)
    }

    /// Tells the program what a client of an export does not hear.
    fn trouble(&self) -> Trouble {
        let replies = Arc::clone(&self.replies);
        Arc::new(move |export, range, error| {
            let (export, failure) = (export.to_owned(), failure(error.clone()));
            let reply = Reply::Trouble { export, start: range.start, end: range.end, failure };
            let _ = control::send_reply(&mut *replies.lock().unwrap_or_else(PoisonError::into_inner), &reply);
        })
    }

    fn close(&mut self, export: &str) -> Result<Reply, Reply> {
        let at = self.disks.iter().position(|disk| disk.export.name() == export);
        let disk = self.disks.remove(at.ok_or_else(|| impossible("no disk of that name is open"))?);
        self.exports.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| open.name() != export);
        disk.export.close();
        let handle = disk.worker.end().ok_or_else(|| impossible("the disk's thread has failed"))?;
        handle.close().map_err(failed)?;
        Ok(Reply::Done)
    }

    fn disconnect(&mut self, number: u32) -> Result<Reply, Reply> {
        let of_it = self.disks.iter().filter(|disk| disk.connection == number);
        let open: Vec<String> = of_it.map(|disk| disk.export.name().to_owned()).collect();
        for export in open {
            self.close(&export)?;
        }
        let place = self.connections.get_mut(usize::try_from(number).unwrap_or(usize::MAX));
        let connection = place.and_then(Option::take).ok_or_else(|| impossible("there is no such connection"))?;
        connection.disconnect().map_err(failed)?;
        Ok(Reply::Done)
    }

    fn end_access(&mut self) -> Result<Reply, Reply> {
        if std::mem::take(&mut self.is_prepared) {
            self.account()?.end_access().map_err(failed)?;
        }
        Ok(Reply::Done)
    }

    fn cleanup(&mut self) -> Result<Reply, Reply> {
        if !std::mem::take(&mut self.needs_cleanup) {
            return Ok(Reply::Cleaned { done: 0, left: 0 });
        }
        let (done, left) = self.account()?.cleanup().map_err(failed)?;
        Ok(Reply::Cleaned { done, left })
    }

    /// Closes what is open, in the library's order; goes on after errors and answers the first one.
    fn close_all(&mut self) -> Reply {
        let mut first = None;
        let mut note = |outcome: Result<Reply, Reply>| {
            if let Err(reply) = outcome {
                first.get_or_insert(reply);
            }
        };
        for number in 0..self.connections.len() {
            if self.connections.get(number).is_some_and(Option::is_some) {
                note(self.disconnect(u32::try_from(number).unwrap_or(u32::MAX)));
            }
        }
        if self.account.is_some() {
            note(self.end_access());
            note(self.cleanup());
        }
        self.account = None;
        // A disk that could not be closed is still open: `Exit` must not meet it.
        if self.disks.is_empty()
            && let Some(library) = self.library.take()
        {
            library.exit();
        }
        first.unwrap_or(Reply::Done)
    }

    fn listen(&self) -> Result<(), String> {
        let listener =
            Listener::bind(&Listen::Unix(self.folder.join(SOCKET_NAME))).map_err(|error| error.to_string())?;
        let exports = Arc::clone(&self.exports);
        let accepting = move || {
            loop {
                let Ok(Some(socket)) = listener.accept(Duration::from_secs(60)) else { continue };
                let exports = exports.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let session = move || {
                    let exports: Vec<&dyn Export> = exports.iter().map(|export| &**export as &dyn Export).collect();
                    serve_client(Channel::plain(socket), &exports, None, ServerLimits { workers: SESSION_WORKERS });
                };
                // Without a thread the client is let go, and comes again.
                let _ = thread::Builder::new().name("nbd session".to_owned()).spawn(session);
            }
        };
        let started = thread::Builder::new().name("nbd".to_owned()).spawn(accepting);
        started.map(drop).map_err(|error| error.to_string())
    }

    /// The library may hang in a call while the program dies: then nobody reads the end of the requests.
    fn watch_program(&self) -> io::Result<()> {
        let control = self.replies.lock().unwrap_or_else(PoisonError::into_inner).try_clone()?;
        let watching = move || {
            loop {
                let mut waits = [PollFd::new(&control, PollFlags::RDHUP)];
                match poll(&mut waits, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    _ => break,
                }
            }
            thread::sleep(LAST_WORDS);
            std::process::abort();
        };
        thread::Builder::new().name("program gone".to_owned()).spawn(watching).map(drop)
    }
}

fn impossible(what: &str) -> Reply {
    Reply::Impossible { what: what.to_owned() }
}

fn failed(error: CallError) -> Reply {
    Reply::Failed(failure(error))
}

fn failure(error: CallError) -> CallFailure {
    let CallError { function, code, text, lines } = error;
    CallFailure { function: function.to_owned(), code, text, lines: lines.0 }
}

/// Where the library keeps its files, how much it says, and VMware's starting values for its patience (milliseconds; zero: none).
fn settings_text(folder: &Path) -> String {
    format!(
        "tmpDirectory=\"{}\"\n\
         vixDiskLib.transport.LogLevel=3\n\
         vixDiskLib.nfc.AcceptTimeoutMs=180000\n\
         vixDiskLib.nfc.RequestTimeoutMs=180000\n\
         vixDiskLib.nfc.ReadTimeoutMs=60000\n\
         vixDiskLib.nfc.WriteTimeoutMs=600000\n\
         vixDiskLib.nfcFssrvr.TimeoutMs=0\n\
         vixDiskLib.nfcFssrvrWrite.TimeoutMs=0\n",
        folder.display()
    )
}
