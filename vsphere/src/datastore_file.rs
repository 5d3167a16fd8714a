//! Files of datastores over HTTP: found, read, written. The NVRAM of a VM is one of them.

use std::time::Duration;

use engine::Kind;

use crate::{
    calls,
    properties::{Properties, PropertyError, properties_of},
    session::Session,
    soap::{CallError, Element, ManagedObject, percent_encoded},
    task::{Patience, TaskError, run_task},
};

/// Largest file that is read: an NVRAM has a few hundred KiB.
pub const DATASTORE_FILE_BYTES_MAX: u64 = 16 << 20;
/// How long a search may take.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// A place on a datastore: `[datastore] folder/file`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatastorePath {
    datastore: String,
    path: String,
}

/// No such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no place on a datastore: [DATASTORE] FOLDER/FILE")]
pub struct DatastorePathError {
    given: String,
}

impl std::str::FromStr for DatastorePath {
    type Err = DatastorePathError;

    fn from_str(given: &str) -> Result<Self, DatastorePathError> {
        let wrong = || DatastorePathError { given: given.to_owned() };
        let (datastore, path) = given.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(wrong)?;
        let path = path.trim_start().trim_matches('/');
        if datastore.is_empty() || path.split('/').any(|part| part == "..") {
            return Err(wrong());
        }
        Ok(Self { datastore: datastore.to_owned(), path: path.to_owned() })
    }
}

impl std::fmt::Display for DatastorePath {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "[{}] {}", self.datastore, self.path)
    }
}

impl DatastorePath {
    /// The name of the datastore.
    pub fn datastore(&self) -> &str {
        &self.datastore
    }

    /// Folder and file on it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }

    /// The folder it is in.
    #[must_use]
    pub fn folder(&self) -> Self {
        let path = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self { datastore: self.datastore.clone(), path: path.to_owned() }
    }

    /// A file of this folder.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
        Self { datastore: self.datastore.clone(), path }
    }

    /// Where it is in HTTP: every part percent-encoded. `dc_path` is the datacenter with the folders above it.
    fn url(&self, dc_path: &str) -> String {
        let parts: Vec<String> = self.path.split('/').map(percent_encoded).collect();
        format!(
            "/folder/{}?dcPath={}&dsName={}",
            parts.join("/"),
            percent_encoded(dc_path),
            percent_encoded(&self.datastore)
        )
    }
}

/// Why a file is not had, or not written.
#[derive(Debug, thiserror::Error)]
pub enum DatastoreFileError {
    /// It was asked for and not given.
    #[error("{path}: {source}")]
    Transfer {
        /// The file.
        path: DatastorePath,
        /// Why not.
        source: CallError,
    },
    /// The datastore could not be searched.
    #[error("{folder}: the datastore cannot be searched: {source}")]
    Search {
        /// Where.
        folder: DatastorePath,
        /// Why not.
        source: TaskError,
    },
    /// A place that makes no sense.
    #[error(transparent)]
    Path(#[from] DatastorePathError),
    /// A property may not be read.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// The server was not asked successfully.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl DatastoreFileError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Transfer { source, .. } | Self::Call(source) => source.kind(),
            Self::Search { source, .. } => source.kind(),
            Self::Path(_) => Kind::Failed,
            Self::Property(error) => error.kind(),
        }
    }
}

/// Reads a file, at most [`DATASTORE_FILE_BYTES_MAX`] of it; `None` if there is none.
pub fn read_datastore_file(
    session: &Session,
    dc_path: &str,
    path: &DatastorePath,
) -> Result<Option<Vec<u8>>, DatastoreFileError> {
    match session.get(&path.url(dc_path), DATASTORE_FILE_BYTES_MAX) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == Kind::Missing => Ok(None),
        Err(source) => Err(DatastoreFileError::Transfer { path: path.clone(), source }),
    }
}

/// Writes a file, over one that is there.
pub fn write_datastore_file(
    session: &Session,
    dc_path: &str,
    path: &DatastorePath,
    content: &[u8],
) -> Result<(), DatastoreFileError> {
    let written = session.put(&path.url(dc_path), content);
    written.map_err(|source| DatastoreFileError::Transfer { path: path.clone(), source })
}

/// Names of files in `folder` that match `pattern` (`*.nvram`), by the browser of a datastore. A folder that is not there has none.
pub fn search_datastore(
    session: &Session,
    datastore: &ManagedObject,
    folder: &DatastorePath,
    pattern: &str,
) -> Result<Vec<String>, DatastoreFileError> {
    let properties = properties_of(session, datastore, &["browser"])?;
    let browser = ManagedObject::of(properties.require("browser")?);
    let browser = browser.ok_or_else(|| properties.senseless("browser", "no reference"))?;
    let params = [
        Element::text_of("datastorePath", folder.to_string()),
        Element::new("searchSpec").with_text("matchPattern", pattern),
    ];
    let found = match run_task(session, calls::SEARCH_DATASTORE, &browser, &params, Patience::begin(SEARCH_TIME_MAX)) {
        Ok(found) => found,
        Err(error) if error.fault().is_some_and(|fault| fault.fault_type() == "FileNotFound") => None,
        Err(source) => return Err(DatastoreFileError::Search { folder: folder.clone(), source }),
    };
    let files = found.iter().flat_map(|result| result.all("file"));
    Ok(files.filter_map(|file| file.text_at("path")).map(str::to_owned).collect())
}

/// Where the NVRAM file of a VM may be, the likeliest first: as the layout says, beside the VMX as `extraConfig` names it.
///
/// `config` and `layoutEx` must have been read. A layout may name the file without its folder: then it is beside the VMX.
pub fn nvram_places(properties: &Properties) -> Result<Vec<DatastorePath>, DatastoreFileError> {
    let config = properties.require("config")?;
    let vmx = config.text_at("files.vmPathName").filter(|path| !path.is_empty());
    let vmx: DatastorePath = vmx.ok_or_else(|| properties.senseless("config.files.vmPathName", ""))?.parse()?;
    let beside = vmx.folder();
    let layout = properties.get("layoutEx")?;
    let of_layout = layout.into_iter().flat_map(|layout| layout.all("file"));
    let of_layout =
        of_layout.filter(|file| file.text_at("type") == Some("nvram")).filter_map(|file| file.text_at("name"));
    let mut places: Vec<DatastorePath> = Vec::new();
    for name in of_layout {
        match name.parse::<DatastorePath>() {
            Ok(place) if place.folder().path().is_empty() && !beside.path().is_empty() => {
                places.push(beside.join(place.file_name()));
                places.push(place);
            }
            Ok(place) => places.push(place),
            Err(_) => places.push(beside.join(name.rsplit('/').next().unwrap_or(name))),
        }
    }
    let named = config.all("extraConfig").find(|option| option.text_at("key") == Some("nvram"));
    let named = named.and_then(|option| option.text_at("value")).filter(|name| !name.is_empty() && !name.contains('/'));
    places.extend(named.map(|name| beside.join(name)));
    let mut seen = std::collections::HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    Ok(places)
}

/// The NVRAM file of a VM, found and read; `None` if it has none, as a VM that was never started.
///
/// `config`, `layoutEx` and `datastore` must have been read. Places that are named are tried first; then the VM's folder is
/// searched, where exactly one such file counts.
pub fn read_nvram(
    session: &Session,
    dc_path: &str,
    properties: &Properties,
) -> Result<Option<(DatastorePath, Vec<u8>)>, DatastoreFileError> {
    let places = nvram_places(properties)?;
    for place in places {
        if let Some(content) = read_datastore_file(session, dc_path, &place)? {
            return Ok(Some((place, content)));
        }
    }
    let config = properties.require("config")?;
    let vmx: DatastorePath = config.text_at("files.vmPathName").unwrap_or_default().parse()?;
    let Some(datastore) = datastore_named(session, properties, vmx.datastore())? else { return Ok(None) };
    let folder = vmx.folder();
    match search_datastore(session, &datastore, &folder, "*.nvram")?.as_slice() {
        [name] => {
            let place = folder.join(name);
            Ok(read_datastore_file(session, dc_path, &place)?.map(|content| (place, content)))
        }
        _ => Ok(None),
    }
}

/// The datastore of a VM that has this name.
fn datastore_named(
    session: &Session,
    properties: &Properties,
    name: &str,
) -> Result<Option<ManagedObject>, DatastoreFileError> {
    let datastores = properties.get("datastore")?.map(Element::children).unwrap_or_default();
    for datastore in datastores.iter().filter_map(ManagedObject::of) {
        if properties_of(session, &datastore, &["name"])?.require("name")?.text() == name {
            return Ok(Some(datastore));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
