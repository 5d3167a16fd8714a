//! HTTP to one server: pinned, bounded, on the clock. Knows paths and status codes, and nothing of SOAP.

use std::{fmt, io, sync::Arc, time::Duration};

use engine::Kind;
use ureq::{
    Agent,
    http::{HeaderMap, Method, Request, header::SET_COOKIE},
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector, TcpConnector},
    },
};

use super::{
    certificate::{Certificate, PinMismatch, Thumbprint, Trust, Verifier},
    tls::PinnedTls,
    xml::XML_BYTES_MAX,
};

/// How long a connection may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one request may take, with its answer.
const CALL_TIME_MAX: Duration = Duration::from_secs(120);
const PORT: u16 = 443;

/// Where a server listens: always for TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// No `HOST` or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no server: give HOST or HOST:PORT, without user, path or http://")]
pub struct EndpointError {
    given: String,
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(given: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError { given: given.to_owned() };
        let bare = given.strip_prefix("https://").unwrap_or(given);
        let bare = bare.strip_suffix("/sdk").or_else(|| bare.strip_suffix('/')).unwrap_or(bare);
        let (host, port) = match bare.rsplit_once(':') {
            // An address of version 6 has colons of its own and stands in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)),
            _ => (bare, Some(PORT)),
        };
        let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match is_address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(of_host),
        };
        let port = port.filter(|_| is_host).ok_or_else(wrong)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl Endpoint {
    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// `vc1`, or `vc1:8443` where the port is not the usual one.
impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            PORT => out.write_str(&self.host),
            port => write!(out, "{}:{port}", self.host),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Another certificate than the pinned one: another server, or a renewed certificate.
    #[error("vcenter {server}: certificate SHA-256 is {found}, pinned is {pinned}")]
    Certificate {
        /// The server.
        server: Endpoint,
        /// Its certificate.
        found: Thumbprint,
        /// The one it should have.
        pinned: Thumbprint,
    },
    /// No connection, or a broken one.
    #[error("vcenter {server}: {what}")]
    Connection {
        /// The server.
        server: Endpoint,
        /// What happened.
        what: String,
        /// Whether the request may have arrived.
        sent: Sent,
    },
    /// More than is read.
    #[error("vcenter {server}: {path}: the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// The server.
        server: Endpoint,
        /// What was asked.
        path: String,
        /// What is read at most.
        bytes_max: u64,
    },
    /// TLS cannot be set up here.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// Whether a request that failed may have had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// There was no connection: nothing was asked.
    No,
    /// It may have.
    Perhaps,
}

impl TransportError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connection { .. } => Kind::Unavailable,
            Self::Certificate { .. } | Self::TooLarge { .. } | Self::Setup(_) => Kind::Failed,
        }
    }

    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Connection { .. })
    }
}

/// An answer: any status, the whole body.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl HttpAnswer {
    /// The cookie `name` that the server sets: `name=value`, verbatim, without what follows.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let set = self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = set.map(|value| value.split(';').next().unwrap_or_default().trim());
        pairs.find(|pair| pair.split_once('=').is_some_and(|(found, _)| found.trim() == name))
    }
}

/// A request; the agent adds what HTTP itself wants.
pub(super) struct HttpRequest<'r> {
    pub(super) method: Method,
    pub(super) path: &'r str,
    pub(super) headers: &'r [(&'r str, &'r str)],
    pub(super) body: &'r [u8],
    pub(super) answer_bytes_max: u64,
}

/// Requests to one server.
pub(super) struct Http {
    agent: Agent,
    endpoint: Endpoint,
    verifier: Arc<Verifier>,
}

impl Http {
    pub(super) fn new(endpoint: Endpoint, trust: Trust) -> Result<Self, TransportError> {
        let (tls, verifier) = PinnedTls::new(trust).map_err(|error| TransportError::Setup(error.to_string()))?;
        // Asked directly: what a proxy would be told is nobody's business, and a pin would refuse most of them.
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_global(Some(CALL_TIME_MAX))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(tls);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, endpoint, verifier })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The certificate of the server, once there was a connection.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.verifier.seen()
    }

    pub(super) fn ask(&self, request: &HttpRequest<'_>) -> Result<HttpAnswer, TransportError> {
        let uri = format!("https://{}:{}{}", self.endpoint.host, self.endpoint.port, request.path);
        let mut builder = Request::builder().method(request.method.clone()).uri(uri);
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        let has_body = request.method != Method::GET;
        let answer = match has_body {
            true => builder.body(request.body).map(|request| self.agent.run(request)),
            false => builder.body(()).map(|request| self.agent.run(request)),
        };
        let answer = answer.map_err(|error| self.failure(ureq::Error::Http(error), request))?;
        let mut answer = answer.map_err(|error| self.failure(error, request))?;
        let body = answer.body_mut().with_config().limit(request.answer_bytes_max).read_to_vec();
        let body = body.map_err(|error| self.failure(error, request))?;
        Ok(HttpAnswer { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
    }

    fn failure(&self, error: ureq::Error, request: &HttpRequest<'_>) -> TransportError {
        let server = self.endpoint.clone();
        let connection = |what: String, sent| TransportError::Connection { server: server.clone(), what, sent };
        match error {
            ureq::Error::BodyExceedsLimit(_) => TransportError::TooLarge {
                server,
                path: request.path.split('?').next().unwrap_or_default().to_owned(),
                bytes_max: request.answer_bytes_max,
            },
            ureq::Error::Io(error) => match mismatch(&error) {
                Some(PinMismatch { found, pinned }) => TransportError::Certificate { server, found, pinned },
                None if error.kind() == io::ErrorKind::ConnectionRefused => {
                    connection(format!("nobody listens there ({error})"), Sent::No)
                }
                None => connection(format!("the connection failed: {error}"), Sent::Perhaps),
            },
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                connection(format!("no connection within {} s", CONNECT_TIME_MAX.as_secs()), Sent::No)
            }
            ureq::Error::Timeout(_) => {
                connection(format!("no answer within {} s", CALL_TIME_MAX.as_secs()), Sent::Perhaps)
            }
            ureq::Error::HostNotFound => connection("the name has no address".to_owned(), Sent::No),
            error => connection(format!("the request failed: {error}"), Sent::Perhaps),
        }
    }
}

fn mismatch(error: &io::Error) -> Option<PinMismatch> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => other.0.downcast_ref().copied(),
        _ => None,
    }
}

/// Largest SOAP answer.
pub(super) const ANSWER_BYTES_MAX: u64 = XML_BYTES_MAX as u64;

/// Every byte but letters, digits and `-._~` written as `%XX`: for one part of a path, or one value of a query.
pub(crate) fn percent_encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_perhaps_a_port() {
        let read =
            |given: &str| given.parse::<Endpoint>().map(|endpoint| (endpoint.host().to_owned(), endpoint.port()));
        assert_eq!(read("vc1"), Ok(("vc1".to_owned(), 443)));
        assert_eq!(read("https://vc1.example:8443/sdk"), Ok(("vc1.example".to_owned(), 8443)));
        assert_eq!(read("[::1]:8989"), Ok(("::1".to_owned(), 8989)));
        assert_eq!(read("[::1]"), Ok(("::1".to_owned(), 443)));
        for wrong in ["", "http://vc1", "svc@vc1", "vc1/x", "vc1:0", "vc1:70000", "a b", "::1", "[x]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_travel_percent_encoded() {
        assert_eq!(percent_encoded("Folder 1/DC1+ä"), "Folder%201%2FDC1%2B%C3%A4");
    }
}
