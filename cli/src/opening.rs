//! Repository, secrets and folders brought together: from the options of every command to an open repository.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use engine::{
    Environment, LocalStore, PinnedReader, Reader, StateFolder, Store, SystemClock, SystemEntropy, Writer, open_reader,
    open_writer,
};
use repo_format::{ChunkId, Digest};

use crate::{
    args::{FromArgs, GlobalArgs},
    exit::Exit,
    failure::Failure,
    folders,
    output::{HeadLine, RepositoryLine, WarningLine},
    secrets::{self, Secret, SecretSource},
};

/// An open repository and what a person should know about how it was opened.
pub struct Opened<H> {
    /// The handle.
    pub handle: H,
    /// Where it is.
    pub place: String,
    /// Warnings.
    pub warnings: Vec<WarningLine>,
}

/// The folder of the repository.
pub fn repository_path(global: &GlobalArgs) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = match (&global.repo, variable("STRONGROOM_REPOSITORY"), variable("STRONGROOM_REPOSITORY_FILE")) {
        (Some(url), _, _) => url.clone(),
        (None, Some(_), Some(_)) => {
            return Err(Failure::invalid(
                "STRONGROOM_REPOSITORY and STRONGROOM_REPOSITORY_FILE both name a repository",
                "set one of them",
            ));
        }
        (None, Some(url), None) => url,
        (None, None, Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|error| {
                Failure::new(
                    Exit::Invalid,
                    format!("STRONGROOM_REPOSITORY_FILE cannot be read: {error}"),
                    &file,
                    "check the path",
                )
            })?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        (None, None, None) => {
            return Err(Failure::invalid("no repository was named", "--repo PATH, or set STRONGROOM_REPOSITORY"));
        }
    };
    path_of(&url)
}

/// `PATH` and `file:///PATH`; other schemes are not built.
fn path_of(url: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = url.strip_prefix("file://") {
        return match path.starts_with('/') {
            true => Ok(PathBuf::from(path)),
            false => Err(Failure::invalid(format!("{url} names no folder of this machine"), "write file:///PATH")),
        };
    }
    // A secret in a URL ends up in process lists and logs; it is not repeated here either.
    if let Some((scheme, _)) = url.strip_prefix("s3:").map(|rest| ("s3", rest)).or_else(|| url.split_once("://"))
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return match scheme {
            "s3" | "https" | "http" | "sftp" | "rest" => {
                Err(Failure::not_built(&format!("a repository at {scheme}://")))
            }
            _ => Err(Failure::invalid(format!("{scheme}:// is no kind of repository"), "write PATH or file:///PATH")),
        };
    }
    if url.is_empty() {
        return Err(Failure::invalid("the repository's path is empty", "--repo PATH"));
    }
    Ok(PathBuf::from(url))
}

/// The store alone, for what needs no key.
pub fn store(global: &GlobalArgs) -> Result<(Arc<dyn Store>, PathBuf), Failure> {
    let path = repository_path(global)?;
    Ok((Arc::new(LocalStore::at(&path)), path))
}

/// What this client brings along.
pub fn environment(global: &GlobalArgs, store: Arc<dyn Store>) -> Result<Environment, Failure> {
    let cache = if global.no_cache { None } else { Some(folders::cache(global.cache_dir.as_deref())?) };
    let accept_rollback = match &global.accept_rollback {
        Some(text) => Some(text.parse::<Digest>().map_err(|error| {
            Failure::invalid(format!("--accept-rollback: {error}"), "copy the whole digest from the error message")
        })?),
        None => None,
    };
    Ok(Environment {
        store,
        cache,
        state: StateFolder::at(&folders::state(global.state_dir.as_deref())?),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        program: format!("strongroom {}", env!("CARGO_PKG_VERSION")),
        accept_rollback,
    })
}

/// Opens the repository for reading.
pub fn reader(global: &GlobalArgs) -> Result<Opened<Reader>, Failure> {
    open_with(global, open_reader)
}

/// Opens the repository for adding to it.
pub fn writer(global: &GlobalArgs) -> Result<Opened<Writer>, Failure> {
    open_with(global, open_writer)
}

/// The store of the repository that is copied or repaired from.
pub fn store_from(global: &GlobalArgs, from: &FromArgs) -> Result<(Arc<dyn Store>, PathBuf), Failure> {
    let other = GlobalArgs { repo: Some(from.from.clone()), ..global.clone() };
    let (store, path) = store(&other)?;
    check_there(&path)?;
    Ok((store, path))
}

/// Opens the repository that is copied from, with its own ways in.
pub fn reader_from(global: &GlobalArgs, from: &FromArgs) -> Result<Opened<Reader>, Failure> {
    let other = GlobalArgs { repo: Some(from.from.clone()), accept_rollback: None, ..global.clone() };
    open_by(&other, || secrets::choose_from(&from.secrets()), open_reader)
}

fn open_with<H: AsReader>(
    global: &GlobalArgs,
    open: impl FnOnce(Environment, &repo_format::SlotSecret) -> Result<H, engine::OpenError>,
) -> Result<Opened<H>, Failure> {
    open_by(global, || secrets::choose_here(&global.secrets()), open)
}

fn open_by<H: AsReader>(
    global: &GlobalArgs,
    choose: impl FnOnce() -> Result<SecretSource, Failure>,
    open: impl FnOnce(Environment, &repo_format::SlotSecret) -> Result<H, engine::OpenError>,
) -> Result<Opened<H>, Failure> {
    let (store, path) = store(global)?;
    check_there(&path)?;
    let environment = environment(global, store)?;
    let Secret { secret, warnings } = secrets::read(&choose()?, false)?;
    let place = path.display().to_string();
    let handle = open(environment, &secret).map_err(|error| Failure::of(&error, error.kind(), &place))?;
    let warnings = warnings.into_iter().map(|message| WarningLine { code: "secret".to_owned(), message });
    let mut warnings: Vec<WarningLine> = warnings.collect();
    let voids = handle.reader().log().voids().len();
    if voids > 0 {
        let message =
            format!("{voids} records of the log break its rules and are ignored; strongroom verify names them");
        warnings.push(WarningLine { code: "void_records".to_owned(), message });
    }
    Ok(Opened { handle, place, warnings })
}

/// A folder that is no repository is told before a password is asked for.
fn check_there(path: &Path) -> Result<(), Failure> {
    let there = |name: &str| path.join(name).try_exists();
    let missing = match (there("config"), there("config.copy")) {
        (Ok(false), Ok(false)) => true,
        (Err(error), _) | (_, Err(error)) => {
            let kind = error.kind();
            if kind == std::io::ErrorKind::NotADirectory {
                true
            } else {
                let what = format!("the repository cannot be reached: {error}");
                return Err(Failure::new(
                    Exit::Unavailable,
                    what,
                    path.display(),
                    "make the folder reachable and run the command again",
                ));
            }
        }
        _ => false,
    };
    if !missing {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NoRepository,
        "there is no repository here",
        path.display(),
        "check --repo, or make a repository: strongroom init",
    ))
}

/// Both handles can read.
pub trait AsReader {
    /// The reading side.
    fn reader(&self) -> &Reader;
}

impl AsReader for Reader {
    fn reader(&self) -> &Reader {
        self
    }
}

impl AsReader for PinnedReader {
    fn reader(&self) -> &Reader {
        self
    }
}

impl AsReader for Writer {
    fn reader(&self) -> &Reader {
        self
    }
}

impl<H: AsReader> Opened<H> {
    /// The repository as documents name it.
    pub fn line(&self) -> RepositoryLine {
        let reader = self.handle.reader();
        RepositoryLine { id: reader.config().repository.to_string(), head: HeadLine::of(reader.head()) }
    }
}

impl Opened<Writer> {
    /// Pins `point`, so that no prune takes it away while it is read; that it could not be done is a warning.
    pub fn pinning(mut self, point: ChunkId) -> Opened<PinnedReader> {
        let handle = PinnedReader::pin(self.handle, point);
        if let Some(error) = handle.failure() {
            let message = format!("the point is not pinned ({error}): a prune may take it away once it was forgotten");
            self.warnings.push(WarningLine { code: "not_pinned".to_owned(), message });
        }
        Opened { handle, place: self.place, warnings: self.warnings }
    }

    /// For a dry run, which writes nothing.
    pub fn without_pin(self) -> Opened<PinnedReader> {
        Opened { handle: PinnedReader::without_pin(self.handle), place: self.place, warnings: self.warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_path_or_a_file_url() {
        assert_eq!(path_of("/backup/vms"), Ok("/backup/vms".into()));
        assert_eq!(path_of("file:///backup/vms"), Ok("/backup/vms".into()));
        assert_eq!(path_of("vms:2026"), Ok("vms:2026".into()));
        assert_eq!(path_of("file://host/x").unwrap_err().exit, Exit::Invalid);
        assert_eq!(path_of("gopher://x").unwrap_err().exit, Exit::Invalid);
        assert_eq!(path_of("").unwrap_err().exit, Exit::Invalid);
    }

    #[test]
    fn object_stores_are_not_built_and_their_secrets_not_repeated() {
        for url in ["s3://bucket/prefix", "s3:https://user:hidden@host/bucket"] {
            let failure = path_of(url).unwrap_err();
            assert_eq!(failure.exit, Exit::Unsupported);
            assert!(!failure.what.contains("hidden"));
        }
    }
}
