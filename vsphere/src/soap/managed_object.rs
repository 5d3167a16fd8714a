//! What a call is made on: a managed object of the server, by kind and reference.

use std::fmt;

use super::xml::Element;

/// A managed object: `VirtualMachine:vm-16`.
///
/// The reference means something only to the server that gave it, and only as long as the object lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ManagedObject {
    kind: String,
    moref: String,
}

impl ManagedObject {
    /// The object `moref`, of `kind` as the API names it (`VirtualMachine`).
    pub fn new(kind: impl Into<String>, moref: impl Into<String>) -> Self {
        Self { kind: kind.into(), moref: moref.into() }
    }

    /// The object that an element refers to: `<obj type="VirtualMachine">vm-16</obj>`.
    ///
    /// In the result of a task `xsi:type` says only that it is a reference; the kind stands in the attribute without prefix.
    pub fn of(element: &Element) -> Option<Self> {
        let kind = element.attribute("type")?;
        let is_there = !kind.is_empty() && !element.text().is_empty();
        is_there.then(|| Self::new(kind, element.text()))
    }

    /// Its kind, as the API names it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its reference: `vm-16`.
    pub fn moref(&self) -> &str {
        &self.moref
    }

    /// As an element of a request.
    pub fn element(&self, name: &str) -> Element {
        Element::reference(name, &self.kind, &self.moref)
    }
}

impl fmt::Display for ManagedObject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.kind, self.moref)
    }
}
