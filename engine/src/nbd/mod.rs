//! NBD: the protocol as values ([`wire`]), whom to talk to ([`uri`]), and both ends of a connection.
//!
//! ```text
//!   uri ──► stream (TCP, Unix, TLS) ──► client::handshake ──► Link (one reader thread) ──► NbdClient (links, reconnects)
//!           stream ◄── server::handshake ◄── server::session (reader, workers) ◄── Export
//! ```

mod client;
mod error;
mod server;
mod stream;
mod tls;
mod uri;
pub mod wire;

pub(crate) use client::contexts_of;
pub use client::{
    Answer, Ask, Expecting, NbdClient, NbdOptions, Negotiated, Progress, ReplyError, Ticket, Wanted, negotiate,
    read_reply,
};
pub use error::NbdError;
pub use server::{
    Chosen, Export, Fault, Listen, ListenError, Listener, Piece, ServerLimits, SessionEnd, Shared, ZeroHow, offer,
    serve_client, serve_requests,
};
pub use stream::{Channel, Socket};
pub use tls::{ServerTls, ServerTlsFiles, TlsError};
pub use uri::{Endpoint, NbdUri, Trust, UriError};
