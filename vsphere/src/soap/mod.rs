//! SOAP as vCenter speaks it: an untyped tree that keeps what it does not understand, and the calls on it.

mod xml;

pub use xml::{Document, Element, XmlError};
