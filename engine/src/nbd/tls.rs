//! TLS: which certificates count, and bytes in and out of a session that two threads share.

use std::{
    fmt, fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    ClientConfig, Connection, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::{stream::Socket, uri::Trust};
use crate::error::Kind;

/// Ciphertext read at once, and plaintext made into records at once.
const PIECE_BYTES: usize = 16 << 10;

/// Why TLS does not come about.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or keys.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A name that no certificate can have.
    #[error("{name:?} is no name that a certificate can have: add ?tls-name=NAME")]
    Name {
        /// The name.
        name: String,
    },
    /// The library refuses what it was given.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// The other side is not who it should be, or does not speak TLS as it should.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
}

impl TlsError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Name { .. } => Kind::Invalid,
            Self::Setup(_) | Self::Handshake(_) => Kind::Failed,
        }
    }
}

fn setup(error: impl fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |what: String| TlsError::File { path: path.to_owned(), what };
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong("holds no certificate in PEM form".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wrong = |what: String| TlsError::File { path: path.to_owned(), what };
    let pem = zeroize::Zeroizing::new(fs::read(path).map_err(|error| wrong(error.to_string()))?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong(format!("no private key in PEM form: {error}")))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::File { path: path.to_owned(), what: error.to_string() })?;
    }
    Ok(roots)
}

/// Begins a session with the server `host`, that must be who `trust` says.
pub(super) fn client(socket: Arc<Socket>, host: &str, trust: &Trust) -> Result<TlsChannel, TlsError> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let by_ca = match &trust.ca {
        Some(path) => {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(path)?), Arc::clone(&provider));
            Some(builder.build().map_err(setup)?)
        }
        None => None,
    };
    let verifier = Arc::new(Pinned { provider: Arc::clone(&provider), pin: trust.pin, by_ca });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(setup)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match &trust.certificate {
        Some((certificate, key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(setup)?
        }
        None => builder.with_no_client_auth(),
    };
    let name = trust.name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name { name: name.to_owned() })?;
    let session = rustls::ClientConnection::new(Arc::new(config), name).map_err(setup)?;
    TlsChannel::shake_hands(socket, session.into())
}

/// A certificate counts if it has the pin (where there is one) and leads to an authority (where there are any). One of
/// the two is there: [`super::NbdUri::parse`] sees to that, and with neither nothing counts.
#[derive(Debug)]
struct Pinned {
    provider: Arc<CryptoProvider>,
    pin: Option<[u8; 32]>,
    by_ca: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(pin) = self.pin {
            let found = sha256(end_entity)?;
            if found != pin {
                let digits: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
                return Err(rustls::Error::General(format!(
                    "the certificate has SHA-256 {digits}, not the pinned one"
                )));
            }
        }
        match &self.by_ca {
            Some(by_ca) => by_ca.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None if self.pin.is_some() => Ok(ServerCertVerified::assertion()),
            None => Err(rustls::Error::General("nobody said whom to trust".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// By the hash that TLS itself uses: no other crate is needed for it.
fn sha256(bytes: &[u8]) -> Result<[u8; 32], rustls::Error> {
    let SupportedCipherSuite::Tls13(suite) = crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256 else {
        return Err(rustls::Error::General("no SHA-256".to_owned()));
    };
    let hash = suite.common.hash_provider.hash(bytes);
    hash.as_ref().try_into().map_err(|_| rustls::Error::General("no SHA-256".to_owned()))
}

/// Certificate and key of a server, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The server's certificate and those above it, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Clients must have a certificate of these authorities.
    pub client_ca: Option<PathBuf>,
}

/// How a server does TLS.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// Reads the files.
    pub fn open(files: &ServerTlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(setup)?;
        let builder = match &files.client_ca {
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(setup)?)
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(certificates(&files.certificate)?, private_key(&files.key)?);
        Ok(Self(Arc::new(config.map_err(setup)?)))
    }

    pub(super) fn accept(&self, socket: Arc<Socket>) -> Result<TlsChannel, TlsError> {
        let session = rustls::ServerConnection::new(Arc::clone(&self.0)).map_err(setup)?;
        TlsChannel::shake_hands(socket, session.into())
    }
}

/// A TLS session over a socket. One thread reads, others write.
///
/// The session is locked only while bytes are made or taken, never while the socket is waited for: a peer that does not
/// read must not keep us from reading, or both wait for ever.
pub struct TlsChannel {
    socket: Arc<Socket>,
    session: Mutex<Session>,
    /// Records leave in the order in which they were made.
    order: Mutex<()>,
}

struct Session {
    tls: Connection,
    /// What was decrypted and not yet asked for, from `at` on.
    plain: Vec<u8>,
    at: usize,
}

impl TlsChannel {
    fn shake_hands(socket: Arc<Socket>, mut tls: Connection) -> Result<Self, TlsError> {
        while tls.is_handshaking() {
            tls.complete_io(&mut &*socket).map_err(TlsError::Handshake)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut &*socket).map_err(TlsError::Handshake)?;
        }
        let mut session = Session { tls, plain: Vec::new(), at: 0 };
        // The other side's first bytes may have come with the end of its handshake.
        session.decrypt().map_err(TlsError::Handshake)?;
        Ok(Self { socket, session: Mutex::new(session), order: Mutex::new(()) })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut sealed = [0; PIECE_BYTES];
        loop {
            if let Some(count) = lock(&self.session).take(into) {
                return Ok(count);
            }
            let count = (&*self.socket).read(&mut sealed)?;
            let mut piece = sealed.get(..count).unwrap_or_default();
            if piece.is_empty() {
                return Ok(0);
            }
            let mut session = lock(&self.session);
            while !piece.is_empty() {
                session.tls.read_tls(&mut piece)?;
                let has_closed = session.decrypt()?;
                if has_closed && session.at == session.plain.len() {
                    return Ok(0);
                }
            }
        }
    }

    pub(super) fn write_all(&self, parts: &[io::IoSlice<'_>]) -> io::Result<()> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sealed = Vec::new();
        for piece in parts.iter().flat_map(|part| part.chunks(PIECE_BYTES)) {
            let mut session = lock(&self.session);
            session.tls.writer().write_all(piece)?;
            while session.tls.wants_write() {
                session.tls.write_tls(&mut sealed)?;
            }
            drop(session);
            if sealed.len() >= 8 * PIECE_BYTES {
                (&*self.socket).write_all(&sealed)?;
                sealed.clear();
            }
        }
        (&*self.socket).write_all(&sealed)
    }

    /// Says good-bye, so that the other side knows that nothing was cut off.
    pub(super) fn close(&self) {
        lock(&self.session).tls.send_close_notify();
        let _ = self.write_all(&[]);
        let mut sealed = Vec::new();
        let mut session = lock(&self.session);
        while session.tls.wants_write() && session.tls.write_tls(&mut sealed).is_ok() {}
        drop(session);
        let _ = (&*self.socket).write_all(&sealed);
    }
}

impl Session {
    /// Takes over what has been decrypted; whether the other side has said good-bye.
    fn decrypt(&mut self) -> io::Result<bool> {
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let length = self.plain.len();
        self.plain.resize(length + state.plaintext_bytes_to_read(), 0);
        if let Some(room) = self.plain.get_mut(length..) {
            self.tls.reader().read_exact(room)?;
        }
        Ok(state.peer_has_closed())
    }

    fn take(&mut self, into: &mut [u8]) -> Option<usize> {
        let there = self.plain.get(self.at..).unwrap_or_default();
        if there.is_empty() {
            self.plain.clear();
            self.at = 0;
            return None;
        }
        let count = there.len().min(into.len());
        into.iter_mut().zip(there).for_each(|(place, byte)| *place = *byte);
        self.at += count;
        Some(count)
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
