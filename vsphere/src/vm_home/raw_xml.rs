//! A part of an answer as it came.

use std::{collections::BTreeMap, fmt};

use quick_xml::{Reader, events::Event};
use zeroize::Zeroizing;

use crate::soap::{Document, Element};

/// An element byte for byte, with the name spaces that its prefixes mean. Its bytes hold `encryption.bundle`: they are not shown.
#[derive(Clone)]
pub struct RawXml {
    source: Zeroizing<Vec<u8>>,
    namespaces: BTreeMap<String, String>,
    element: Element,
}

impl RawXml {
    /// `element` of `document`.
    pub fn of(document: &Document, element: &Element) -> Self {
        Self {
            source: Zeroizing::new(document.source_of(element).to_vec()),
            namespaces: namespaces_at(document, element),
            element: element.clone(),
        }
    }

    /// The element.
    pub fn element(&self) -> &Element {
        &self.element
    }

    /// Its bytes.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// What its prefixes mean: prefix (empty for the default) and name.
    pub fn namespaces(&self) -> &BTreeMap<String, String> {
        &self.namespaces
    }

    /// Without the meaning of one prefix.
    pub(super) fn without_prefix(mut self, prefix: &str) -> Self {
        self.namespaces.remove(prefix);
        self
    }
}

impl PartialEq for RawXml {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.namespaces == other.namespaces
    }
}

impl Eq for RawXml {}

impl fmt::Debug for RawXml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawXml(<{}>, {} bytes)", self.element.name(), self.source.len())
    }
}

/// The name spaces that hold where `element` begins: those that elements around it declare, the inner ones winning.
fn namespaces_at(document: &Document, element: &Element) -> BTreeMap<String, String> {
    let root = document.root();
    let begins = element.source().start.saturating_sub(root.source().start);
    let source = std::str::from_utf8(document.source_of(root)).unwrap_or_default();
    let mut reader = Reader::from_str(source);
    let mut open: Vec<Vec<(String, String)>> = Vec::new();
    while usize::try_from(reader.buffer_position()).is_ok_and(|position| position < begins) {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                let declared = tag.attributes().flatten().filter_map(|attribute| {
                    let key: &str = attribute.key.as_ref();
                    let prefix = match key.strip_prefix("xmlns") {
                        Some("") => "",
                        Some(rest) => rest.strip_prefix(':')?,
                        None => return None,
                    };
                    let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok()?;
                    Some((prefix.to_owned(), value.into_owned()))
                });
                open.push(declared.collect());
            }
            Ok(Event::End(_)) => {
                open.pop();
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    open.into_iter().flatten().collect()
}
