//! SOAP as vCenter speaks it: an untyped tree that keeps what it does not understand, and the calls on it.

mod certificate;
mod client;
mod fault;
mod http;
mod managed_object;
#[cfg(test)]
pub(crate) mod test_server;
mod tls;
mod xml;

pub use certificate::{Certificate, Thumbprint, ThumbprintError};
pub(crate) use client::Client;
pub use client::{Again, Answer, CallError, Door, Method, first_sight};
pub use fault::{Fault, FaultClass};
pub(crate) use http::percent_encoded;
pub use http::{Endpoint, EndpointError, Sent, TransportError};
pub use managed_object::ManagedObject;
pub use xml::{Document, Element, XmlError};
