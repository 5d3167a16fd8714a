//! Bytes to and from the other side: TCP or a Unix socket, in the clear or over TLS.

use std::{
    io::{self, BufReader, IoSlice, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use super::{tls::TlsChannel, uri::Endpoint};

const READ_BUFFER_BYTES: usize = 64 << 10;

/// A connected socket.
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Socket {
    /// Connects.
    pub fn connect(endpoint: &Endpoint, within: Duration) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix { path } => UnixStream::connect(path).map(Self::Unix),
            Endpoint::Tcp { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, within) {
                        Ok(stream) => return Self::tcp(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// A TCP socket that sends at once: replies are small and wait for nothing.
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// How long reads and writes may take; `None`: for ever.
    pub fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)),
            Self::Unix(stream) => stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)),
        }
    }

    fn shutdown(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for &Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).read(into),
            Socket::Unix(stream) => (&mut &*stream).read(into),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write(bytes),
            Socket::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write_vectored(parts),
            Socket::Unix(stream) => (&mut &*stream).write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection: one thread reads, others write. Clones are the same connection.
#[derive(Clone)]
pub enum Channel {
    /// In the clear.
    Plain(Arc<Socket>),
    /// Over TLS.
    Tls(Arc<TlsChannel>),
}

impl Channel {
    /// In the clear.
    pub fn plain(socket: Socket) -> Self {
        Self::Plain(Arc::new(socket))
    }

    /// Over TLS.
    pub(super) fn tls(session: TlsChannel) -> Self {
        Self::Tls(Arc::new(session))
    }

    /// The socket of a connection in the clear.
    pub(super) fn plain_socket(&self) -> Option<Arc<Socket>> {
        match self {
            Self::Plain(socket) => Some(Arc::clone(socket)),
            Self::Tls(_) => None,
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => session.socket(),
        }
    }

    /// How long reads and writes may take; `None`: for ever.
    pub fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket().patience(limit)
    }

    /// Ends the connection in both directions; whoever waits for it wakes.
    pub fn shutdown(&self) {
        self.socket().shutdown();
    }

    /// Ends it politely.
    pub fn close(&self) {
        if let Self::Tls(session) = self {
            let _ = session.socket().patience(Some(Duration::from_secs(1)));
            session.close();
        }
        self.shutdown();
    }

    /// Writes all parts, one after the other. Two threads must not do so at once: [`super::server`] and the client's link
    /// each have a lock for it.
    pub fn write_parts(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        match self {
            Self::Tls(session) => session.write_all(parts),
            Self::Plain(socket) => {
                let mut left = parts;
                while left.iter().any(|part| !part.is_empty()) {
                    // The system takes no more than this many parts at once.
                    let now = left.get(..left.len().min(1024)).unwrap_or_default();
                    match (&**socket).write_vectored(now) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(count) => IoSlice::advance_slices(&mut left, count),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }

    /// For the thread that reads replies or requests.
    pub fn buffered(&self) -> BufReader<Self> {
        BufReader::with_capacity(READ_BUFFER_BYTES, self.clone())
    }
}

impl Read for Channel {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => (&**socket).read(into),
            Self::Tls(session) => session.read(into),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_parts(&mut [IoSlice::new(bytes)])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
