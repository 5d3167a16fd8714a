//! Properties of objects: what is there, what is not set, and what may not be read, which is an error of its own.

use std::sync::Arc;

use engine::Kind;

use crate::{
    calls,
    session::Session,
    soap::{CallError, Document, Element, Fault, ManagedObject},
    vm_home::RawXml,
};

/// Objects in one answer; more come in further answers.
const OBJECTS_MAX: u32 = 200;

/// A property that should be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// The server has it and does not hand it out.
    #[error("{object}: {path} is not readable ({fault})")]
    NotReadable {
        /// Whose.
        object: ManagedObject,
        /// Which.
        path: String,
        /// Why not.
        fault: Box<Fault>,
    },
    /// It has no value.
    #[error("{object}: {path} is not set")]
    NotSet {
        /// Whose.
        object: ManagedObject,
        /// Which.
        path: String,
    },
    /// Its value makes no sense.
    #[error("{object}: {path} is {found:?}")]
    Senseless {
        /// Whose.
        object: ManagedObject,
        /// Which.
        path: String,
        /// What it is.
        found: String,
    },
}

impl PropertyError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotReadable { fault, .. } => fault.kind(),
            Self::NotSet { .. } | Self::Senseless { .. } => Kind::Failed,
        }
    }
}

/// Properties of one object, as they were read in one moment.
#[derive(Clone, Debug)]
pub struct Properties {
    object: ManagedObject,
    values: Vec<(String, Element)>,
    missing: Vec<(String, Fault)>,
    /// What they were read from.
    answer: Arc<Document>,
}

impl Properties {
    /// Whose they are.
    pub fn object(&self) -> &ManagedObject {
        &self.object
    }

    /// The value of a property that was asked for; `None` if it is not set.
    pub fn get(&self, path: &str) -> Result<Option<&Element>, PropertyError> {
        if let Some((_, value)) = self.values.iter().find(|(name, _)| name == path) {
            return Ok(Some(value));
        }
        // A property below one that may not be read may not be read either.
        let covers = |name: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        match self.missing.iter().find(|(name, _)| covers(name)) {
            Some((_, fault)) => Err(PropertyError::NotReadable {
                object: self.object.clone(),
                path: path.to_owned(),
                fault: Box::new(fault.clone()),
            }),
            None => Ok(None),
        }
    }

    /// The value of a property that must be there.
    pub fn require(&self, path: &str) -> Result<&Element, PropertyError> {
        let not_set = || PropertyError::NotSet { object: self.object.clone(), path: path.to_owned() };
        self.get(path)?.ok_or_else(not_set)
    }

    /// What a property says; `None` if it is not set.
    pub fn text(&self, path: &str) -> Result<Option<&str>, PropertyError> {
        Ok(self.get(path)?.map(Element::text).filter(|text| !text.is_empty()))
    }

    /// A property that is `true` or `false`; not set is `false`.
    pub fn flag(&self, path: &str) -> Result<bool, PropertyError> {
        match self.text(path)? {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(found) => Err(self.senseless(path, found)),
        }
    }

    /// A property that refers to an object; `None` if it is not set.
    pub fn reference(&self, path: &str) -> Result<Option<ManagedObject>, PropertyError> {
        Ok(self.get(path)?.and_then(ManagedObject::of))
    }

    /// The error that a property says something that makes no sense.
    pub fn senseless(&self, path: &str, found: &str) -> PropertyError {
        PropertyError::Senseless { object: self.object.clone(), path: path.to_owned(), found: found.to_owned() }
    }

    /// The value of a property as it came, byte for byte, in its element `val`.
    pub fn raw(&self, path: &str) -> Option<&[u8]> {
        let (_, value) = self.values.iter().find(|(name, _)| name == path)?;
        Some(self.answer.source_of(value))
    }

    /// The same as a part that can be stored.
    pub fn raw_xml(&self, path: &str) -> Result<RawXml, PropertyError> {
        Ok(RawXml::of(&self.answer, self.require(path)?))
    }

    /// What was asked for and may not be read.
    pub fn missing(&self) -> &[(String, Fault)] {
        &self.missing
    }
}

/// Which properties of objects of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The kind, as the API names it; objects of kinds derived from it count too.
    pub kind: &'w str,
    /// Paths of properties.
    pub paths: &'w [&'w str],
}

impl Wanted<'_> {
    fn element(&self) -> Element {
        let paths = self.paths.iter().map(|path| Element::text_of("pathSet", *path));
        Element::new("propSet").with_text("type", self.kind).with_text("all", "false").with_all(paths)
    }
}

/// Reads properties of one object.
pub fn properties_of(session: &Session, object: &ManagedObject, paths: &[&str]) -> Result<Properties, CallError> {
    let objects = Element::new("objectSet").with(object.element("obj"));
    let found = retrieve(session, &[Wanted { kind: object.kind(), paths }], objects)?;
    let found = found.into_iter().find(|properties| properties.object == *object);
    found.ok_or_else(|| session.incomplete(calls::RETRIEVE_PROPERTIES, "properties of the object"))
}

/// Reads properties of all objects that `objects`, an `objectSet`, leads to, in as many answers as it takes.
pub(crate) fn retrieve(
    session: &Session,
    wanted: &[Wanted<'_>],
    objects: Element,
) -> Result<Vec<Properties>, CallError> {
    let collector = &session.content().property_collector;
    let specs = Element::new("specSet").with_all(wanted.iter().map(Wanted::element)).with(objects);
    let options = Element::new("options").with_text("maxObjects", OBJECTS_MAX.to_string());
    let mut answer = session.call(calls::RETRIEVE_PROPERTIES, collector, &[specs, options])?;
    let mut found = Vec::new();
    loop {
        let document = Arc::new(answer.into_document());
        let token = read_page(&document, &mut found);
        let Some(token) = token else { return Ok(found) };
        let token = Element::text_of("token", token);
        answer = session.call(calls::CONTINUE_RETRIEVE_PROPERTIES, collector, &[token])?;
    }
}

/// Adds what one answer holds; the token for the next, if there is one.
fn read_page(document: &Arc<Document>, found: &mut Vec<Properties>) -> Option<String> {
    let response = document.root().child("Body").and_then(|body| body.children().first());
    let page = response.and_then(|response| response.child("returnval"))?;
    for object in page.all("objects") {
        let Some(reference) = object.child("obj").and_then(ManagedObject::of) else { continue };
        let values = object
            .all("propSet")
            .filter_map(|property| Some((property.text_at("name")?.to_owned(), property.child("val")?.clone())));
        let missing = object.all("missingSet").filter_map(|property| {
            Some((property.text_at("path")?.to_owned(), Fault::of_localized(property.child("fault")?)))
        });
        found.push(Properties {
            object: reference,
            values: values.collect(),
            missing: missing.collect(),
            answer: Arc::clone(document),
        });
    }
    page.text_at("token").filter(|token| !token.is_empty()).map(str::to_owned)
}
