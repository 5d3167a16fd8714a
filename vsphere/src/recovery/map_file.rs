//! `--map`: what things are called here, and where VMs go. TOML; a key that is not known is refused.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Why a map cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map file, line {line}: {what}")]
pub struct MapFileError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl MapFileError {
    /// How to react.
    pub fn kind(&self) -> engine::Kind {
        engine::Kind::Invalid
    }
}

/// Where a VM goes. What is missing is for the command line's options, then for the target's own choice.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Placement {
    /// The new name.
    pub name: Option<String>,
    /// Inventory path of the folder.
    pub folder: Option<String>,
    /// Name of the cluster or host whose resources it uses.
    pub cluster: Option<String>,
    /// Inventory path of the resource pool.
    pub pool: Option<String>,
    /// Name of the datastore.
    pub datastore: Option<String>,
    /// Whether it keeps its uuids: only where the original is gone for good.
    pub keep_uuid: Option<bool>,
}

/// What a policy is called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Name or id here; `sample` is "VM Encryption Policy".
    pub policy: String,
    /// It wins over the saved policy even where that is there.
    pub force: bool,
}

/// The map.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MapFile {
    /// For every VM.
    pub everywhere: Placement,
    /// For single VMs, by saved name.
    pub vms: BTreeMap<String, Placement>,
    /// Networks: saved name to name here.
    pub networks: BTreeMap<String, String>,
    /// Key providers: saved id to id here.
    pub key_providers: BTreeMap<String, String>,
    /// Policies: saved name or id, or `*` for those that have no entry.
    pub policies: BTreeMap<String, PolicyEntry>,
}

impl MapFile {
    /// Reads a map.
    pub fn read(text: &str) -> Result<Self, MapFileError> {
        let file: File = toml::from_str(text).map_err(|error| error_of(text, &error))?;
        Ok(Self {
            everywhere: Placement {
                name: None,
                folder: file.folder.map(Filled::into),
                cluster: file.cluster.map(Filled::into),
                pool: file.pool.map(Filled::into),
                datastore: file.datastore.map(Filled::into),
                keep_uuid: file.keep_uuid,
            },
            vms: file.vms.into_iter().map(|(name, place)| (name.0, place.into())).collect(),
            networks: plain(file.networks),
            key_providers: plain(file.key_providers),
            policies: file.policies.into_iter().map(|(name, entry)| (name.0, entry)).collect(),
        })
    }

    /// Where the VM of that saved name goes.
    pub fn placement(&self, vm: &str) -> Placement {
        let own = self.vms.get(vm).cloned().unwrap_or_default();
        let all = self.everywhere.clone();
        Placement {
            name: own.name,
            folder: own.folder.or(all.folder),
            cluster: own.cluster.or(all.cluster),
            pool: own.pool.or(all.pool),
            datastore: own.datastore.or(all.datastore),
            keep_uuid: own.keep_uuid.or(all.keep_uuid),
        }
    }

    /// What a network is called here: as it was, if there is no entry.
    pub fn network<'m>(&'m self, saved: &'m str) -> &'m str {
        self.networks.get(saved).map_or(saved, String::as_str)
    }
}

fn plain(map: BTreeMap<Filled, Filled>) -> BTreeMap<String, String> {
    map.into_iter().map(|(old, new)| (old.0, new.0)).collect()
}

fn error_of(text: &str, error: &toml::de::Error) -> MapFileError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    MapFileError { line, what: error.message().trim_end().replace('\n', " ") }
}

/// A word that says something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Filled(String);

impl TryFrom<String> for Filled {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            Err("an empty name; write the name or leave the entry out")
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Filled> for String {
    fn from(filled: Filled) -> Self {
        filled.0
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    folder: Option<Filled>,
    cluster: Option<Filled>,
    pool: Option<Filled>,
    datastore: Option<Filled>,
    keep_uuid: Option<bool>,
    #[serde(default)]
    vms: BTreeMap<Filled, FilePlacement>,
    #[serde(default)]
    networks: BTreeMap<Filled, Filled>,
    #[serde(default)]
    key_providers: BTreeMap<Filled, Filled>,
    #[serde(default)]
    policies: BTreeMap<Filled, PolicyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FilePlacement {
    name: Option<Filled>,
    folder: Option<Filled>,
    cluster: Option<Filled>,
    pool: Option<Filled>,
    datastore: Option<Filled>,
    keep_uuid: Option<bool>,
}

impl From<FilePlacement> for Placement {
    fn from(file: FilePlacement) -> Self {
        Self {
            name: file.name.map(Filled::into),
            folder: file.folder.map(Filled::into),
            cluster: file.cluster.map(Filled::into),
            pool: file.pool.map(Filled::into),
            datastore: file.datastore.map(Filled::into),
            keep_uuid: file.keep_uuid,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePolicy {
    #[serde(rename = "use")]
    policy: Filled,
    #[serde(default)]
    force: bool,
}

impl<'de> Deserialize<'de> for PolicyEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = PolicyEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a policy, or { use = \"name\", force = true }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<PolicyEntry, E> {
                let name = Filled::try_from(name.to_owned()).map_err(E::custom)?;
                Ok(PolicyEntry { policy: name.0, force: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PolicyEntry, A::Error> {
                let file = FilePolicy::deserialize(MapAccessDeserializer::new(map))?;
                Ok(PolicyEntry { policy: file.policy.0, force: file.force })
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
datastore = "ds-ssd"
folder = "DC1/vm/dr"
cluster = "Cluster1"
pool = "DC1/host/Cluster1/Resources"

[vms.web01]
name = "web01-dr"
datastore = "ds-big"
keep-uuid = true

[networks]
"VM Network" = "DR Network"

[key-providers]
kms-prod = "kms-dr"

[policies]
"VM Encryption Policy" = { use = "DR Encryption", force = true }
"*" = "sample"
"#;

    #[test]
    fn every_entry_finds_its_place() {
        let map = MapFile::read(WHOLE).unwrap();
        let web = map.placement("web01");
        assert_eq!((web.name.as_deref(), web.datastore.as_deref()), (Some("web01-dr"), Some("ds-big")));
        assert_eq!((web.folder.as_deref(), web.keep_uuid), (Some("DC1/vm/dr"), Some(true)));
        let other = map.placement("db01");
        assert_eq!((other.name, other.datastore.as_deref(), other.keep_uuid), (None, Some("ds-ssd"), None));
        assert_eq!((map.network("VM Network"), map.network("LAN")), ("DR Network", "LAN"));
        assert_eq!(map.key_providers["kms-prod"], "kms-dr");
        assert_eq!(
            map.policies["VM Encryption Policy"],
            PolicyEntry { policy: "DR Encryption".to_owned(), force: true }
        );
        assert_eq!(map.policies["*"], PolicyEntry { policy: "sample".to_owned(), force: false });
        assert_eq!(MapFile::read("").unwrap(), MapFile::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let rows = [
            ("datastor = \"x\"", 1, "unknown field `datastor`"),
            ("\n\n[vms.web01]\nuuid = true\n", 4, "unknown field `uuid`"),
            ("[policies]\na = { use = \"b\", froce = true }", 2, "unknown field `froce`"),
            ("[policies]\na = 7", 2, "the name of a policy, or { use = "),
            ("[networks]\n\"VM Network\" = \"\"", 2, "an empty name"),
            ("[key-providers]\na = [\"b\"]", 2, "expected a string"),
            ("datastore = \"x", 1, ""),
            ("a = 1\na = 2", 2, "duplicate key"),
        ];
        for (text, line, what) in rows {
            let error = MapFile::read(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.what.contains(what), "{text}: {error}");
        }
    }
}
