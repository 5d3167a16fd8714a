//! XML as a bounded, untyped tree, read and written.
//!
//! Prefixes are stripped from names, the order of elements is kept, and each element knows where in the source it stood, so that
//! a part can be stored as it came, byte for byte. No DTD; the five entities and character references only.

use std::{fmt::Write as _, ops::Range};

use quick_xml::{
    Reader, XmlVersion,
    escape::{escape, resolve_predefined_entity},
    events::{BytesRef, BytesStart, Event},
};

/// Largest answer that is read.
pub const XML_BYTES_MAX: usize = 256 << 20;
/// Deepest nesting that is followed.
pub const XML_DEPTH_MAX: usize = 256;

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// More than anybody should send.
    #[error("the answer has {bytes} bytes, at most {XML_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Nested beyond reason.
    #[error("the answer nests deeper than {XML_DEPTH_MAX} elements at byte {at}")]
    TooDeep {
        /// Where.
        at: u64,
    },
    /// No well-formed XML, or more of it than is understood (a DTD, entities of its own).
    #[error("the answer is not XML that can be read: {what} at byte {at}")]
    Malformed {
        /// Where.
        at: u64,
        /// What is wrong.
        what: String,
    },
}

/// An element: what it is called, what it says, what is in it.
///
/// The same type is read from answers and built for requests; elements are written in the order they were added in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
    source: Range<usize>,
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// An element that says `text`.
    pub fn text_of(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), ..Self::default() }
    }

    /// A reference to a managed object: `<name type="VirtualMachine">vm-16</name>`.
    pub fn reference(name: impl Into<String>, kind: &str, moref: &str) -> Self {
        Self::text_of(name, moref).with_attribute("type", kind)
    }

    /// With one more attribute. `xsi:type` is given as `xsi:type`, and read back as `type` of [`Element::xsi_type`].
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// With `xsi:type`, which says which type of several an object is.
    #[must_use]
    pub fn with_xsi_type(self, kind: &str) -> Self {
        self.with_attribute("xsi:type", kind)
    }

    /// With one more child at the end.
    #[must_use]
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// With a child that says `text`.
    #[must_use]
    pub fn with_text(self, name: &str, text: impl Into<String>) -> Self {
        self.with(Self::text_of(name, text))
    }

    /// With more children at the end; `None` adds none.
    #[must_use]
    pub fn with_all(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    /// With a child before the first that has one of these names; at the end if none has.
    #[must_use]
    pub fn with_before(mut self, names: &[&str], child: Element) -> Self {
        let place = self.children.iter().position(|other| names.contains(&other.name.as_str()));
        self.children.insert(place.unwrap_or(self.children.len()), child);
        self
    }

    /// Another name for the same content.
    #[must_use]
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Its name, without prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says itself: entities resolved, without white space around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its children in order.
    pub fn children(&self) -> &[Element] {
        &self.children
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every child of that name.
    pub fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at the end of a path: `config.hardware.device` is the first device.
    pub fn at(&self, path: &str) -> Option<&Element> {
        path.split('.').try_fold(self, |element, name| element.child(name))
    }

    /// What the element at the end of a path says.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(Element::text)
    }

    /// A number at the end of a path; `None` if there is none or it is no number.
    pub fn number_at<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text_at(path)?.parse().ok()
    }

    /// `true` or `1`, `false` or `0`.
    pub fn flag_at(&self, path: &str) -> Option<bool> {
        match self.text_at(path)? {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// The attribute `name`, which must have had no prefix: of a reference, the kind of its object.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Which type of several this is, without prefix.
    pub fn xsi_type(&self) -> Option<&str> {
        let (_, value) = self.attributes.iter().find(|(key, _)| key.ends_with(":type"))?;
        Some(without_prefix(value))
    }

    /// Where in the source it stands, its own tags included.
    pub fn source(&self) -> Range<usize> {
        self.source.clone()
    }

    /// Written out, without any white space between elements.
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        // Writing into a string cannot fail.
        let _ = write!(out, "<{}", self.name);
        for (key, value) in &self.attributes {
            let _ = write!(out, " {key}=\"{}\"", escape(value.as_str()));
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        let _ = write!(out, ">{}", escape(self.text.as_str()));
        self.children.iter().for_each(|child| child.write(out));
        let _ = write!(out, "</{}>", self.name);
    }
}

/// Text as it stands between tags.
pub(super) fn escaped(text: &str) -> String {
    escape(text).into_owned()
}

fn without_prefix(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// A tree with the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Document {
    source: Vec<u8>,
    root: Element,
}

impl Document {
    /// Reads `source`.
    pub fn read(source: Vec<u8>) -> Result<Self, XmlError> {
        let root = read_root(&source)?;
        Ok(Self { source, root })
    }

    /// The outermost element.
    pub fn root(&self) -> &Element {
        &self.root
    }

    /// The bytes that an element of this document was read from.
    pub fn source_of(&self, element: &Element) -> &[u8] {
        self.source.get(element.source()).unwrap_or_default()
    }
}

fn read_root(source: &[u8]) -> Result<Element, XmlError> {
    if source.len() > XML_BYTES_MAX {
        return Err(XmlError::TooLarge { bytes: source.len() });
    }
    let text = std::str::from_utf8(source)
        .map_err(|error| malformed(error.valid_up_to() as u64, "bytes that are no UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let begins = position(&reader);
        let event = reader.read_event().map_err(|error| malformed(reader.error_position(), error))?;
        let ends = position(&reader);
        match event {
            Event::Start(tag) => {
                if open.len() >= XML_DEPTH_MAX {
                    return Err(XmlError::TooDeep { at: begins as u64 });
                }
                open.push(element_of(&tag, begins..ends)?);
            }
            Event::Empty(tag) => close(element_of(&tag, begins..ends)?, &mut open, &mut root)?,
            Event::End(_) => {
                let Some(mut element) = open.pop() else {
                    return Err(malformed(begins as u64, "an end without a beginning"));
                };
                element.source.end = ends;
                element.text = element.text.trim().to_owned();
                close(element, &mut open, &mut root)?;
            }
            Event::Text(text) => say(&mut open, &text.xml10_content(), begins)?,
            Event::CData(text) => say(&mut open, &text.xml10_content(), begins)?,
            Event::GeneralRef(reference) => say(&mut open, &resolved(&reference, begins)?, begins)?,
            Event::DocType(_) => return Err(malformed(begins as u64, "a document type, which no vCenter sends")),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(root),
        _ => Err(malformed(source.len() as u64, "an element without an end, or none at all")),
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn malformed(at: u64, what: impl ToString) -> XmlError {
    XmlError::Malformed { at, what: what.to_string() }
}

fn element_of(tag: &BytesStart<'_>, source: Range<usize>) -> Result<Element, XmlError> {
    let at = source.start as u64;
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| malformed(at, error))?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| malformed(at, error))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    let name = tag.local_name().as_ref().to_owned();
    Ok(Element { name, attributes, source, ..Element::default() })
}

/// Puts a finished element where it belongs.
fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), XmlError> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err(malformed(element.source.start as u64, "a second outermost element")),
    }
    Ok(())
}

fn say(open: &mut [Element], text: &str, at: usize) -> Result<(), XmlError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(malformed(at as u64, "text outside of every element")),
    }
    Ok(())
}

fn resolved(reference: &BytesRef<'_>, at: usize) -> Result<String, XmlError> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| malformed(at as u64, error))? {
        return Ok(character.to_string());
    }
    match resolve_predefined_entity(reference) {
        Some(text) => Ok(text.to_owned()),
        None => Err(malformed(at as u64, format_args!("the entity &{};", &**reference))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="x">
 <soapenv:Body><R xmlns="urn:vim25">
  <val xsi:type="vim25:VirtualDisk"><key>2000</key><label>Hard &lt;disk&gt; &#x31;</label><empty/></val>
  <result xsi:type="ManagedObjectReference" type="VirtualMachine">vm-16</result>
 </R></soapenv:Body></soapenv:Envelope>"#;

    fn read(text: &str) -> Result<Document, XmlError> {
        Document::read(text.as_bytes().to_vec())
    }

    #[test]
    fn an_answer_is_read_without_prefixes_and_with_entities_resolved() {
        let document = read(ANSWER).unwrap();
        let body = document.root().at("Body.R").unwrap();
        assert_eq!(body.text_at("val.label"), Some("Hard <disk> 1"));
        assert_eq!(body.number_at::<u32>("val.key"), Some(2000));
        assert_eq!(body.child("val").unwrap().xsi_type(), Some("VirtualDisk"));
        let reference = body.child("result").unwrap();
        assert_eq!((reference.attribute("type"), reference.text()), (Some("VirtualMachine"), "vm-16"));
        assert_eq!(reference.xsi_type(), Some("ManagedObjectReference"));
    }

    #[test]
    fn a_part_is_there_byte_for_byte() {
        let document = read(ANSWER).unwrap();
        let part = document.source_of(document.root().at("Body.R.val").unwrap());
        assert!(part.starts_with(b"<val xsi:type=") && part.ends_with(b"<empty/></val>"));
        assert!(part.windows(4).any(|window| window == b"&lt;"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let spec = Element::new("spec")
            .with_xsi_type("VirtualMachineConfigSpec")
            .with_text("name", "a<b>&\"c\"")
            .with(Element::reference("vm", "VirtualMachine", "vm-1"))
            .with(Element::new("nothing"));
        let document = read(&spec.to_xml().replace("<spec ", "<spec xmlns:xsi=\"x\" ")).unwrap();
        assert_eq!(document.root().text_at("name"), Some("a<b>&\"c\""));
        assert_eq!(document.root().xsi_type(), Some("VirtualMachineConfigSpec"));
        assert_eq!(document.root().child("vm").unwrap().attribute("type"), Some("VirtualMachine"));
    }

    #[test]
    fn what_no_vcenter_sends_is_refused() {
        let deep = "<a>".repeat(XML_DEPTH_MAX + 1) + &"</a>".repeat(XML_DEPTH_MAX + 1);
        assert!(matches!(read(&deep), Err(XmlError::TooDeep { .. })));
        for text in [
            "",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "x<a/>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a>&x;</a>",
            "</a>",
        ] {
            assert!(matches!(read(text), Err(XmlError::Malformed { .. })), "{text}");
        }
    }
}
