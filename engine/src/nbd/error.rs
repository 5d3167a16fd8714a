//! What goes wrong between a client and a server.

use std::io;

use super::{tls::TlsError, wire::WireError};
use crate::error::Kind;

/// Why an NBD server is of no use, or not of this one.
#[derive(Debug, thiserror::Error)]
pub enum NbdError {
    /// Nobody answers there.
    #[error("{server}: cannot connect: {source}")]
    Connect {
        /// Whom.
        server: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended, and could not be made again in time.
    #[error("{server}: the connection was lost: {what}")]
    Lost {
        /// Whom.
        server: String,
        /// How.
        what: String,
    },
    /// The server's bytes are not NBD.
    #[error("{server}: the server breaks the NBD protocol: {source}")]
    Protocol {
        /// Whom.
        server: String,
        /// What came.
        source: WireError,
    },
    /// TLS does not come about.
    #[error("{server}: {source}")]
    Tls {
        /// Whom.
        server: String,
        /// Why.
        source: TlsError,
    },
    /// The server wants TLS.
    #[error("{server}: the server talks only over TLS")]
    TlsRequired {
        /// Whom.
        server: String,
    },
    /// The server cannot do TLS.
    #[error("{server}: the server has no TLS")]
    NoTls {
        /// Whom.
        server: String,
    },
    /// There is no such export.
    #[error("{server}: there is no export {export:?}; the server has {}", listed(there))]
    NoExport {
        /// Whom.
        server: String,
        /// What was asked for.
        export: String,
        /// What there is; `None`: the server does not tell.
        there: Option<Vec<String>>,
    },
    /// There is no such context of block status.
    #[error("{server}: the export has no {context}; it has {}", listed(&Some(there.clone())))]
    NoContext {
        /// Whom.
        server: String,
        /// What was asked for.
        context: String,
        /// What there is.
        there: Vec<String>,
    },
    /// The server refuses an option.
    #[error("{server}: the server refuses: {what}")]
    Refused {
        /// Whom.
        server: String,
        /// What, and what it said.
        what: String,
    },
    /// The server answered a request with an error.
    #[error("{server}: the server answers error {error} at byte {offset}{}", said(message))]
    Remote {
        /// Whom.
        server: String,
        /// NBD's number of it.
        error: u32,
        /// Of which request.
        offset: u64,
        /// What it said; may be empty.
        message: String,
    },
    /// After a new connection the export is another.
    #[error("{server}: the export had {before_bytes} bytes and has {after_bytes} after a new connection")]
    SizeChanged {
        /// Whom.
        server: String,
        /// Its size.
        before_bytes: u64,
        /// Its size now.
        after_bytes: u64,
    },
    /// It cannot be written.
    #[error("{server}: the export is read-only")]
    ReadOnly {
        /// Whom.
        server: String,
    },
}

fn listed(names: &Option<Vec<String>>) -> String {
    match names {
        None => "a list that it keeps to itself".to_owned(),
        Some(names) if names.is_empty() => "none".to_owned(),
        Some(names) => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl NbdError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Lost { .. } | Self::NoExport { .. } | Self::Refused { .. } => {
                Kind::Unavailable
            }
            Self::TlsRequired { .. } | Self::NoTls { .. } | Self::ReadOnly { .. } => Kind::Invalid,
            Self::NoContext { .. } => Kind::Missing,
            Self::Tls { source, .. } => source.kind(),
            Self::Protocol { .. } | Self::Remote { .. } | Self::SizeChanged { .. } => Kind::Failed,
        }
    }
}
