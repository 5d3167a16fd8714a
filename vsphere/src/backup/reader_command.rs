//! A command that serves one disk over NBD: somebody else's reader, started for each disk and ended with it.
//!
//! ```text
//!   nbdkit -f -r -U {socket} vddk libdir={libdir} server={server} user={user} password=+{password_file}
//!          thumbprint={thumbprint} vm=moref={vm} snapshot={snapshot} transports=nbdssl file={path}
//! ```

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use engine::{DiskSource, NbdError, NbdOptions, NbdSource, NbdUri, SourceError};
use tempfile::TempDir;

/// How long a command may take to listen.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

/// What stands in a command for what.
pub(super) struct Blanks<'b> {
    pub(super) vm: &'b str,
    pub(super) snapshot: &'b str,
    pub(super) path: &'b str,
    pub(super) server: &'b str,
    pub(super) user: &'b str,
    pub(super) password: &'b str,
    pub(super) thumbprint: &'b str,
    pub(super) libdir: &'b str,
}

/// Why a command serves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("the reader command {program} cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("the reader command {program} ended with {status} before it listened; what it said is above")]
    Ended { program: String, status: String },
    #[error("the reader command {program} does not listen after {} seconds", LISTEN_TIME_MAX.as_secs())]
    Silent { program: String },
    #[error("the reader command's folder: {0}")]
    Folder(io::Error),
    #[error(transparent)]
    Nbd(#[from] NbdError),
}

/// A disk that a command serves. The command ends with it.
pub(super) struct CommandDisk {
    source: NbdSource,
    _served: Served,
}

struct Served {
    child: Child,
    _folder: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl CommandDisk {
    /// Starts `words` with its blanks filled in, without a shell, and connects to the export without a name.
    pub(super) fn open(words: &[String], blanks: &Blanks<'_>) -> Result<Self, CommandError> {
        let folder = tempfile::Builder::new().prefix("strongroom-reader-").tempdir().map_err(CommandError::Folder)?;
        let (socket, password_file) = (folder.path().join("nbd.sock"), folder.path().join("password"));
        write_private(&password_file, blanks.password).map_err(CommandError::Folder)?;
        let fill = |word: &String| blanks.fill(word, &socket, &password_file);
        let words: Vec<String> = words.iter().map(fill).collect();
        let (program, arguments) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let child = Command::new(program)
            .args(arguments)
            .env_remove("STRONGROOM_PASSWORD")
            .env_remove("STRONGROOM_FROM_PASSWORD")
            .env_remove("STRONGROOM_VCENTER_PASSWORD")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let child = child.map_err(|source| CommandError::Start { program: program.to_owned(), source })?;
        let mut served = Served { child, _folder: folder };
        wait_for(&mut served.child, &socket, program)?;
        let uri = NbdUri::parse(&format!("nbd+unix:///?socket={}", socket.display()))
            .map_err(|error| CommandError::Folder(io::Error::other(error.to_string())))?;
        Ok(Self { source: NbdSource::open(&uri, NbdOptions::default())?, _served: served })
    }
}

impl Blanks<'_> {
    fn fill(&self, word: &str, socket: &Path, password_file: &Path) -> String {
        let (socket, password_file) = (socket.display().to_string(), password_file.display().to_string());
        let blanks = [
            ("{vm}", self.vm),
            ("{snapshot}", self.snapshot),
            ("{path}", self.path),
            ("{server}", self.server),
            ("{user}", self.user),
            ("{password_file}", &password_file),
            ("{thumbprint}", self.thumbprint),
            ("{libdir}", self.libdir),
            ("{socket}", &socket),
        ];
        blanks.iter().fold(word.to_owned(), |word, (blank, value)| word.replace(blank, value))
    }
}

/// For an encrypted disk the command has to say that it takes the way that stays sealed.
pub(super) fn keeps_to_nbdssl(words: &[String]) -> bool {
    words.iter().any(|word| word == "transports=nbdssl")
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn wait_for(child: &mut Child, socket: &Path, program: &str) -> Result<(), CommandError> {
    let begun = Instant::now();
    while !socket.exists() {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(CommandError::Ended { program: program.to_owned(), status: status.to_string() });
        }
        if begun.elapsed() > LISTEN_TIME_MAX {
            return Err(CommandError::Silent { program: program.to_owned() });
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

impl CommandError {
    pub(super) fn kind(&self) -> engine::Kind {
        match self {
            Self::Start { .. } => engine::Kind::Invalid,
            Self::Ended { .. } | Self::Silent { .. } | Self::Folder(_) => engine::Kind::Failed,
            Self::Nbd(error) => error.kind(),
        }
    }
}

impl DiskSource for CommandDisk {
    fn bytes(&self) -> u64 {
        self.source.bytes()
    }

    fn allocated(&self) -> Result<Vec<std::ops::Range<u64>>, SourceError> {
        self.source.allocated()
    }

    fn allocated_within(&self, range: &std::ops::Range<u64>) -> Result<Vec<std::ops::Range<u64>>, SourceError> {
        self.source.allocated_within(range)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.source.read_at(offset, into)
    }

    fn will_read(&self, ranges: &[std::ops::Range<u64>], stretch_bytes: u64) {
        self.source.will_read(ranges, stretch_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blank_is_filled_and_the_password_is_named_by_its_file_only() {
        let blanks = Blanks {
            vm: "vm-16",
            snapshot: "snapshot-7",
            path: "[ds] a/a.vmdk",
            server: "vc1",
            user: "svc",
            password: "hidden",
            thumbprint: "AA:BB",
            libdir: "/opt/vddk",
        };
        let fill = |word: &str| blanks.fill(word, Path::new("/t/nbd.sock"), Path::new("/t/password"));
        assert_eq!(fill("vm=moref={vm}"), "vm=moref=vm-16");
        assert_eq!(fill("password=+{password_file}"), "password=+/t/password");
        assert_eq!(fill("{snapshot} {path} {server} {user} {thumbprint} {libdir} {socket}").matches('{').count(), 0);
        assert!(keeps_to_nbdssl(&["nbdkit".to_owned(), "transports=nbdssl".to_owned()]));
        assert!(!keeps_to_nbdssl(&["transports=san:nbdssl".to_owned()]));
    }
}
