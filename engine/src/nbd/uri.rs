//! `nbd://HOST[:PORT]/EXPORT`, `nbd+unix:///EXPORT?socket=PATH`, and both with `nbds` for TLS.

use std::{fmt, path::PathBuf, time::Duration};

use crate::error::Kind;

/// The port of NBD.
const PORT: u16 = 10809;

/// Whom to talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Where it is.
        path: PathBuf,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "{}", path.display()),
        }
    }
}

/// What makes a server the right one, and us the right client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Its certificate leads to one of these authorities.
    pub ca: Option<PathBuf>,
    /// Its certificate has this SHA-256.
    pub pin: Option<[u8; 32]>,
    /// The name in its certificate, if it is not the host's.
    pub name: Option<String>,
    /// Our certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A disk behind NBD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdUri {
    /// Whom to talk to.
    pub endpoint: Endpoint,
    /// Name of the export; empty: the server's default.
    pub export: String,
    /// TLS, and whom to trust.
    pub tls: Option<Trust>,
    /// How long to go on trying when the connection is lost.
    pub reconnect: Option<Duration>,
}

/// Why a text is no NBD URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Another scheme.
    #[error("{found:?} is no NBD scheme: write nbd://, nbds://, nbd+unix:// or nbds+unix://")]
    Scheme {
        /// What was written.
        found: String,
    },
    /// No host, or one where none belongs.
    #[error("{0}")]
    Place(&'static str),
    /// Not a port.
    #[error("{found:?} is no port")]
    Port {
        /// What was written.
        found: String,
    },
    /// `%` is not followed by two digits, or the bytes are no text.
    #[error("{found:?}: a % is followed by two hexadecimal digits, and all of it is UTF-8")]
    Percent {
        /// What was written.
        found: String,
    },
    /// A parameter that is not known, or not in its place.
    #[error("parameter {found:?} is not known here: {known}")]
    Parameter {
        /// What was written.
        found: String,
        /// What may be written.
        known: &'static str,
    },
    /// The value of a parameter.
    #[error("{name}={found}: {wanted}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// TLS without saying whom to trust.
    #[error("TLS needs to know whom to trust: ?tls-ca=FILE (authorities, PEM) or ?tls-pin=SHA256 (of the certificate)")]
    Trust,
}

impl UriError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

const PARAMETERS: &str = "socket, tls-ca, tls-pin, tls-name, tls-cert, tls-key, reconnect";

impl NbdUri {
    /// Whether a text is meant as an NBD URI.
    pub fn is_meant(text: &str) -> bool {
        ["nbd:", "nbds:", "nbd+", "nbds+"].iter().any(|scheme| text.starts_with(scheme)) && text.contains("://")
    }

    /// From its text.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UriError::Scheme { found: text.to_owned() })?;
        let (tls, unix) = match scheme {
            "nbd" | "nbd+tcp" => (false, false),
            "nbds" | "nbds+tcp" => (true, false),
            "nbd+unix" => (false, true),
            "nbds+unix" => (true, true),
            _ => return Err(UriError::Scheme { found: scheme.to_owned() }),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, export) = rest.split_once('/').unwrap_or((rest, ""));
        let parameters = Parameters::parse(query)?;
        let endpoint = match (unix, parameters.socket) {
            (true, Some(path)) if authority.is_empty() => Endpoint::Unix { path },
            (true, Some(_)) => return Err(UriError::Place("write three slashes: nbd+unix:///EXPORT?socket=PATH")),
            (true, None) => return Err(UriError::Place("a Unix socket is missing: nbd+unix:///EXPORT?socket=PATH")),
            (false, None) => tcp(authority)?,
            (false, Some(_)) => {
                return Err(UriError::Parameter { found: "socket".to_owned(), known: "it belongs to nbd+unix://" });
            }
        };
        if !tls && parameters.trust != Trust::default() {
            return Err(UriError::Parameter { found: "tls-…".to_owned(), known: "it belongs to nbds://" });
        }
        if tls && parameters.trust.ca.is_none() && parameters.trust.pin.is_none() {
            return Err(UriError::Trust);
        }
        let tls = tls.then_some(parameters.trust);
        Ok(Self { endpoint, export: percent_decoded(export)?, tls, reconnect: parameters.reconnect })
    }

    /// The server and the export, for messages.
    pub fn server(&self) -> String {
        let tls = if self.tls.is_some() { "TLS " } else { "" };
        format!("NBD server {tls}{}", self.endpoint)
    }
}

impl fmt::Display for NbdUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls.is_some() { "s" } else { "" };
        let export = percent_encoded(&self.export);
        match &self.endpoint {
            Endpoint::Tcp { .. } => write!(f, "nbd{s}://{}/{export}", self.endpoint),
            Endpoint::Unix { path } => {
                write!(f, "nbd{s}+unix:///{export}?socket={}", percent_encoded(&path.to_string_lossy()))
            }
        }
    }
}

fn tcp(authority: &str) -> Result<Endpoint, UriError> {
    if authority.contains('@') {
        return Err(UriError::Place("NBD has no users and passwords: write nbd://HOST[:PORT]/EXPORT"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UriError::Place("a ] is missing behind the address"))?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    if host.is_empty() {
        return Err(UriError::Place("the host is missing: nbd://HOST[:PORT]/EXPORT"));
    }
    let port = match port {
        "" => PORT,
        text => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| UriError::Port { found: text.to_owned() })?,
    };
    Ok(Endpoint::Tcp { host: percent_decoded(host)?, port })
}

#[derive(Default)]
struct Parameters {
    socket: Option<PathBuf>,
    trust: Trust,
    reconnect: Option<Duration>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, UriError> {
        let mut found = Self::default();
        let (mut certificate, mut key) = (None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = percent_decoded(value)?;
            match name {
                "socket" if !value.is_empty() => found.socket = Some(value.into()),
                "tls-ca" => found.trust.ca = Some(value.into()),
                "tls-pin" => found.trust.pin = Some(pin(&value)?),
                "tls-name" => found.trust.name = Some(value),
                "tls-cert" => certificate = Some(value.into()),
                "tls-key" => key = Some(value.into()),
                "reconnect" => {
                    let seconds = value.parse().ok().filter(|seconds| *seconds <= 86_400);
                    let wanted = "seconds, at most a day";
                    let seconds = seconds.ok_or(UriError::Value { name: "reconnect", found: value, wanted })?;
                    found.reconnect = Some(Duration::from_secs(seconds));
                }
                _ => return Err(UriError::Parameter { found: name.to_owned(), known: PARAMETERS }),
            }
        }
        found.trust.certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(UriError::Place("tls-cert and tls-key belong together")),
        };
        Ok(found)
    }
}

/// SHA-256 as tools print it: hexadecimal digits, with or without colons.
fn pin(text: &str) -> Result<[u8; 32], UriError> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let wanted = "64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE";
    let wrong = || UriError::Value { name: "tls-pin", found: text.to_owned(), wanted };
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(wrong());
    }
    let mut pin = [0; 32];
    for (place, pair) in pin.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *place = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(pin)
}

fn percent_decoded(text: &str) -> Result<String, UriError> {
    let wrong = || UriError::Percent { found: text.to_owned() };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(wrong);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(out).map_err(|_| wrong())
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_is_read() {
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        for (text, endpoint, export) in [
            ("nbd://example.net/web01", tcp("example.net", 10809), "web01"),
            ("nbd://127.0.0.1:1234/", tcp("127.0.0.1", 1234), ""),
            ("nbd://h", tcp("h", 10809), ""),
            ("nbd://[::1]:99/a/b%20c", tcp("::1", 99), "a/b c"),
            ("nbd+unix:///disk0?socket=/run/x.sock", Endpoint::Unix { path: "/run/x.sock".into() }, "disk0"),
            ("nbd+unix:///?socket=a%3Fb", Endpoint::Unix { path: "a?b".into() }, ""),
        ] {
            let uri = NbdUri::parse(text).unwrap();
            assert_eq!((uri.endpoint, uri.export.as_str()), (endpoint, export), "{text}");
        }
        let pin = "AB:".repeat(31) + "cd";
        let uri = NbdUri::parse(&format!("nbds://h/e?tls-pin={pin}&tls-ca=ca.pem&reconnect=5")).unwrap();
        let trust = uri.tls.unwrap();
        assert_eq!((trust.pin.unwrap()[0], trust.pin.unwrap()[31]), (0xab, 0xcd));
        assert_eq!((trust.ca, uri.reconnect), (Some("ca.pem".into()), Some(Duration::from_secs(5))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "http://h/e",
            "nbd:h",
            "nbd:///e",
            "nbd://h:0/e",
            "nbd://h:x/e",
            "nbd://[::1/e",
            "nbd://u@h/e",
            "nbd://h/%2",
            "nbd://h/%ff",
            "nbd+unix:///e",
            "nbd+unix://h/e?socket=s",
            "nbd://h/e?socket=s",
            "nbd://h/e?tls-ca=x",
            "nbd://h/e?colour=red",
            "nbds://h/e",
            "nbds://h/e?tls-pin=12",
            "nbds://h/e?tls-ca=x&tls-cert=y",
            "nbd://h/e?reconnect=soon",
        ] {
            assert!(NbdUri::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(export in ".{0,20}", path in "/.{1,20}") {
            let uri = NbdUri { endpoint: Endpoint::Unix { path: path.into() }, export, tls: None, reconnect: None };
            prop_assert_eq!(NbdUri::parse(&uri.to_string()).unwrap(), uri);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(nbds?(\\+unix)?://)?.{0,60}") {
            let _ = NbdUri::parse(&text);
        }
    }
}
