//! VMware's library as values with rules: opened and closed under one lock, one call at a time on a disk, the transport looked
//! at before the first byte.
//!
//! ```text
//!   Library ──connect──► Connection ──open──► DiskHandle     (mode looked at: else closed, nothing read)
//!      │ exit               │ disconnect         │ close
//! ```
//!
//! **Invariant:** the library is initialised once, by the main thread, before any other thread calls it.

use std::{
    ffi::CString,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;

use super::{
    buffer::Buffer,
    lines::{LastLines, LibraryLines},
    places::library_files,
    sys::{self, Api, Level, Optional, VixError},
};

/// The interface that is asked for, whatever the library's version.
const INTERFACE: (u32, u32) = (6, 5);
/// From this major on [`DiskHandle::about`] has sector sizes.
const SECTOR_SIZES_SINCE: u32 = 7;
/// Whom vCenter shows as the one who holds a VM.
const IDENTITY: &std::ffi::CStr = c"strongroom";

/// Flags of an open disk.
mod open_flag {
    pub(super) const UNBUFFERED: u32 = 1;
    pub(super) const READ_ONLY: u32 = 4;
}

/// A call that the library refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallError {
    /// The function, without its prefix.
    pub(super) function: &'static str,
    /// VMware's code.
    pub(super) code: u32,
    /// What the library says the code means.
    pub(super) text: String,
    /// What it said before.
    pub(super) lines: LibraryLines,
}

/// Why there is no library.
#[derive(Debug)]
pub(super) enum LoadError {
    /// No file of a known name; what the loader said of the files that are there.
    NotFound(Vec<String>),
    /// It refuses to begin.
    Init(CallError),
    /// A text that no C function takes.
    Text,
}

struct Shared {
    api: Api,
    major: u32,
    lines: Arc<LastLines>,
    /// Held while a disk or connection is opened or closed.
    opening: Mutex<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, function: &'static str, error: VixError) -> CallError {
        let code = u32::try_from(error & 0xffff).unwrap_or(0);
        CallError { function, code, text: self.api.error_text(error), lines: self.lines.all() }
    }

    fn text(&self, function: &'static str, text: &str) -> Result<CString, CallError> {
        let wrong = || CallError {
            function,
            code: 3,
            text: "a zero byte in an argument".to_owned(),
            lines: LibraryLines::default(),
        };
        sys::c_text(text).ok_or_else(wrong)
    }
}

/// The library, begun.
pub(super) struct Library {
    shared: Arc<Shared>,
}

impl Library {
    /// Loads the newest library below `libdir` and begins it. For the main thread, once.
    pub(super) fn start(libdir: &Path, config: &Path, lines: &Arc<LastLines>) -> Result<Self, LoadError> {
        let mut said = Vec::new();
        for (file, major) in library_files(libdir) {
            if !file.exists() {
                continue;
            }
            match Api::load(&file) {
                Ok(api) => return Self::begin(api, major, [libdir, config], lines),
                Err(error) => said.push(error.to_string()),
            }
        }
        Err(LoadError::NotFound(said))
    }

    fn begin(api: Api, major: u32, paths: [&Path; 2], lines: &Arc<LastLines>) -> Result<Self, LoadError> {
        let [libdir, config] = paths.map(|path| path.to_str().and_then(sys::c_text));
        let (Some(libdir), Some(config)) = (libdir, config) else { return Err(LoadError::Text) };
        let shared = Arc::new(Shared { api, major, lines: Arc::clone(lines), opening: Mutex::new(()) });
        let heard = Arc::clone(lines);
        let listener = Box::new(move |level, line: &str| {
            let line = match level {
                Level::Info => line.to_owned(),
                Level::Warning => format!("warning: {line}"),
                Level::Panic => format!("panic: {line}"),
            };
            heard.push(&line);
            super::helper::say(&line);
        });
        match api.init(INTERFACE, &libdir, &config, listener) {
            0 => Ok(Self { shared }),
            error => Err(LoadError::Init(shared.failed("InitEx", error))),
        }
    }

    /// VMware's major version, as the file's name has it.
    pub(super) fn major(&self) -> u32 {
        self.shared.major
    }

    /// Ways to a disk that it knows, such as `file:san:hotadd:nbdssl:nbd`.
    pub(super) fn modes(&self) -> String {
        self.shared.api.modes()
    }

    /// Functions that not every version has.
    pub(super) fn optional(&self) -> Optional {
        self.shared.api.optional()
    }

    /// Whom to connect to. Nothing is sent yet.
    pub(super) fn account(&self, login: &Login) -> Result<Account, CallError> {
        let vm = Zeroizing::new(format!("moref={}", login.vm));
        let texts = [vm.as_str(), &login.server, &login.thumbprint, &login.user, &login.password];
        let params = sys::Params::new(self.shared.api, texts, login.port.into());
        let params = params.ok_or_else(|| self.shared.failed("AllocateConnectParams", 2))?;
        Ok(Account { shared: Arc::clone(&self.shared), params })
    }

    /// Ends it. Everything that was opened has been closed: the types see to that.
    pub(super) fn exit(self) {
        self.shared.api.exit();
    }
}

/// Who connects where, for which VM.
pub(super) struct Login {
    /// Managed object id of the VM.
    pub(super) vm: String,
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Zeroizing<String>,
    pub(super) thumbprint: String,
}

/// What a connection may do to disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

/// A login in the library's form. It holds the password until the last call that needs it, and wipes it then.
pub(super) struct Account {
    shared: Arc<Shared>,
    params: sys::Params,
}

impl Account {
    /// Tells vCenter not to move the VM's storage.
    pub(super) fn prepare(&self) -> Result<(), CallError> {
        let _opening = self.shared.lock();
        self.shared.api.prepare(&self.params, IDENTITY).map_err(|error| self.shared.failed("PrepareForAccess", error))
    }

    /// Takes that back.
    pub(super) fn end_access(&self) -> Result<(), CallError> {
        let _opening = self.shared.lock();
        let ended = self.shared.api.end_access(&self.params, IDENTITY);
        ended.map_err(|error| self.shared.failed("EndAccess", error))
    }

    /// Undoes what HotAdd left; what was done and what is left.
    pub(super) fn cleanup(&self) -> Result<(u32, u32), CallError> {
        let _opening = self.shared.lock();
        self.shared.api.cleanup(&self.params).map_err(|error| self.shared.failed("Cleanup", error))
    }

    /// Connects, by one of `modes` (`nbdssl:hotadd`), never by any other: an empty list would leave the choice to the library.
    pub(super) fn connect(
        &self,
        purpose: Purpose,
        snapshot: Option<&str>,
        modes: &str,
    ) -> Result<Connection, CallError> {
        let snapshot = snapshot.map(|snapshot| self.shared.text("ConnectEx", snapshot)).transpose()?;
        let modes = self.shared.text("ConnectEx", modes)?;
        let _opening = self.shared.lock();
        let read_only = purpose == Purpose::Read;
        let connected = self.shared.api.connect(&self.params, read_only, snapshot.as_deref(), &modes);
        let connected = connected.map_err(|error| self.shared.failed("ConnectEx", error))?;
        Ok(Connection { shared: Arc::clone(&self.shared), connected, purpose })
    }
}

/// A connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    connected: sys::Connected,
    purpose: Purpose,
}

/// Why a disk was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The library.
    Call(CallError),
    /// By a way that it may not be read by; it was closed, and nothing was read.
    Transport(String),
}

impl Connection {
    /// Opens the disk at `path` if the library takes one of the `allowed` ways to it.
    pub(super) fn open(&self, path: &str, allowed: &[String]) -> Result<DiskHandle, OpenError> {
        let path = self.shared.text("Open", path).map_err(OpenError::Call)?;
        // Of HotAdd alone the guide says how to write; the flag says nothing to the network.
        let flags = match self.purpose {
            Purpose::Read => open_flag::READ_ONLY,
            Purpose::Write => open_flag::UNBUFFERED,
        };
        let _opening = self.shared.lock();
        let failed = |function, error| OpenError::Call(self.shared.failed(function, error));
        let mut opened = self.connected.open(&path, flags).map_err(|error| failed("Open", error))?;
        // A way that is not to be had does not fail: another is taken without a word.
        let transport = opened.transport();
        if !allowed.contains(&transport) {
            opened.close().map_err(|error| failed("Close", error))?;
            return Err(OpenError::Transport(transport));
        }
        match opened.about(self.shared.major >= SECTOR_SIZES_SINCE) {
            Ok(about) => Ok(DiskHandle { shared: Arc::clone(&self.shared), opened, about, transport }),
            Err(error) => {
                let error = failed("GetInfo", error);
                let _ = opened.close();
                Err(error)
            }
        }
    }

    /// Ends it. Its disks have been closed.
    pub(super) fn disconnect(self) -> Result<(), CallError> {
        let _opening = self.shared.lock();
        self.connected.disconnect().map_err(|error| self.shared.failed("Disconnect", error))
    }
}

/// An open disk: of one thread at a time.
pub(super) struct DiskHandle {
    shared: Arc<Shared>,
    opened: sys::Opened,
    about: sys::About,
    transport: String,
}

impl DiskHandle {
    /// Size, id, sector sizes.
    pub(super) fn about(&self) -> &sys::About {
        &self.about
    }

    /// The way that the library takes to it.
    pub(super) fn transport(&self) -> &str {
        &self.transport
    }

    /// What an error of a request means.
    pub(super) fn failed(&self, function: &'static str, error: VixError) -> CallError {
        self.shared.failed(function, error)
    }

    /// Begins to read into a buffer; `landed` hears the end of it, maybe from a thread of the library.
    pub(super) fn start_read(
        &mut self,
        sector: u64,
        buffer: Buffer,
        landed: impl FnOnce(Buffer, Result<(), VixError>) + Send + 'static,
    ) {
        self.opened.start_read(sector, buffer, landed);
    }

    /// Begins to write a buffer; `landed` as for reading.
    pub(super) fn start_write(
        &mut self,
        sector: u64,
        buffer: Buffer,
        landed: impl FnOnce(Buffer, Result<(), VixError>) + Send + 'static,
    ) {
        self.opened.start_write(sector, buffer, landed);
    }

    /// What was written is durable.
    pub(super) fn flush(&mut self) -> Result<(), CallError> {
        self.opened.flush().map_err(|error| self.shared.failed("Flush", error))
    }

    /// Blocks in use among `sectors` from `sector`, both multiples of `chunk_sectors`; `None`: this version cannot tell.
    pub(super) fn query_blocks(
        &mut self,
        sector: u64,
        sectors: u64,
        chunk_sectors: u64,
    ) -> Option<Result<Vec<(u64, u64)>, CallError>> {
        let answer = self.opened.query_blocks(sector, sectors, chunk_sectors)?;
        Some(answer.map_err(|error| self.shared.failed("QueryAllocatedBlocks", error)))
    }

    /// Closes it. Nothing is on its way any more.
    pub(super) fn close(mut self) -> Result<(), CallError> {
        let _ = self.opened.wait();
        let _opening = self.shared.lock();
        self.opened.close().map_err(|error| self.shared.failed("Close", error))
    }
}
