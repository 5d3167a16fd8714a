//! Where clients come to.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::AsFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::nbd::{
    stream::Socket,
    uri::{Endpoint, NbdUri},
};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On an address; port 0: any that is free.
    Tcp(SocketAddr),
    /// On a Unix socket, that only its owner may use.
    Unix(PathBuf),
}

/// Why nobody can come.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else is there.
    #[error("{place} is taken")]
    Taken {
        /// The place.
        place: String,
    },
    /// The system refuses.
    #[error("cannot listen on {place}: {source}")]
    Io {
        /// The place.
        place: String,
        /// What it said.
        source: io::Error,
    },
}

/// A place that clients come to.
pub struct Listener {
    socket: Listening,
    endpoint: Endpoint,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Takes the place. A socket file that a dead server left is replaced; one that answers is not.
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let place = match listen {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(path) => path.display().to_string(),
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists => ListenError::Taken { place: place.clone() },
            _ => ListenError::Io { place: place.clone(), source },
        };
        let listener = match listen {
            Listen::Tcp(address) => {
                let socket = TcpListener::bind(address).map_err(failed)?;
                let found = socket.local_addr().map_err(failed)?;
                let endpoint = Endpoint::Tcp { host: found.ip().to_string(), port: found.port() };
                Self { socket: Listening::Tcp(socket), endpoint }
            }
            Listen::Unix(path) => {
                let path = std::path::absolute(path).map_err(failed)?;
                remove_if_dead(&path);
                let socket = UnixListener::bind(&path).map_err(failed)?;
                let listener =
                    Self { socket: Listening::Unix(socket), endpoint: Endpoint::Unix { path: path.clone() } };
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                listener
            }
        };
        match &listener.socket {
            Listening::Tcp(socket) => socket.set_nonblocking(true),
            Listening::Unix(socket) => socket.set_nonblocking(true),
        }
        .map_err(failed)?;
        Ok(listener)
    }

    /// What a client writes to reach `export` here.
    pub fn uri(&self, export: &str, tls: bool) -> String {
        let uri = NbdUri { endpoint: self.endpoint.clone(), export: export.to_owned(), tls: None, reconnect: None };
        let text = uri.to_string();
        if tls { text.replacen("nbd", "nbds", 1) } else { text }
    }

    /// The next client, if one comes within `patience`.
    pub fn accept(&self, patience: Duration) -> io::Result<Option<Socket>> {
        let descriptor = match &self.socket {
            Listening::Tcp(socket) => socket.as_fd(),
            Listening::Unix(socket) => socket.as_fd(),
        };
        let limit = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let accepted = match &self.socket {
            Listening::Tcp(socket) => socket.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                Socket::tcp(stream)
            }),
            Listening::Unix(socket) => socket.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                Ok(Socket::Unix(stream))
            }),
        };
        match accepted {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Endpoint::Unix { path } = &self.endpoint {
            let _ = fs::remove_file(path);
        }
    }
}

fn remove_if_dead(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket());
    let refused = || UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && refused() {
        let _ = fs::remove_file(path);
    }
}
