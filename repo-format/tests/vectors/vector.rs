//! The file format of vectors: `name: value`, a value goes on where a line begins with a space.

use std::{collections::BTreeMap, path::Path};

use repo_format::{Keyring, RepositoryId, RepositoryKeys};

/// What came out of an object, by name, without the `out.` of the file.
pub type Outputs = BTreeMap<String, String>;

pub struct Vector {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Vector {
    pub fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut fields: Vec<(String, String)> = vec![];
        for line in std::fs::read_to_string(path).unwrap().lines() {
            if let Some(more) = line.strip_prefix(' ') {
                fields.last_mut().unwrap().1.push_str(more);
            } else {
                let (field, value) = line.split_once(':').unwrap_or_else(|| panic!("{name}: {line:?} is no field"));
                fields.push((field.to_owned(), value.trim().to_owned()));
            }
        }
        let count = fields.len();
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        assert_eq!(fields.len(), count, "{name}: a field stands twice");
        Self { name, fields }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn optional(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub fn text(&self, field: &str) -> &str {
        self.optional(field).unwrap_or_else(|| panic!("{}: {field} is missing", self.name))
    }

    pub fn number<T: std::str::FromStr>(&self, field: &str) -> T {
        self.text(field).parse().ok().unwrap_or_else(|| panic!("{}: {field} is no number", self.name))
    }

    pub fn optional_hex(&self, field: &str) -> Option<Vec<u8>> {
        self.optional(field).map(from_hex)
    }

    pub fn hex(&self, field: &str) -> Vec<u8> {
        from_hex(self.text(field))
    }

    pub fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.hex(field).try_into().unwrap()
    }

    /// What must come out.
    pub fn outputs(&self) -> Outputs {
        let out = |(field, value): (&String, &String)| Some((field.strip_prefix("out.")?.to_owned(), value.clone()));
        self.fields.iter().filter_map(out).collect()
    }

    /// The repository keys `key.1`, `key.2` … of the file, or `out.key.1` … with that prefix.
    pub fn repository_keys(&self, prefix: &str) -> RepositoryKeys {
        let mut keys = RepositoryKeys::generate(self.array(&format!("{prefix}key.1")));
        for epoch in 2.. {
            let field = format!("{prefix}key.{epoch}");
            if self.optional(&field).is_none() {
                break;
            }
            keys = keys.with_next_epoch(self.array(&field)).unwrap();
        }
        keys
    }

    /// The keyring made of `repository` and `key.1` …
    pub fn keyring(&self) -> Keyring {
        Keyring::new(&self.repository_keys(""), RepositoryId::from_bytes(self.array("repository")))
    }
}

pub fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Collects what came out.
pub fn outputs<const N: usize>(values: [(&str, String); N]) -> Outputs {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Adds what may be missing.
pub fn insert<T: ToString>(outputs: &mut Outputs, name: &str, value: Option<T>) {
    outputs.extend(value.map(|value| (name.to_owned(), value.to_string())));
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
