//! What goes wrong between the program and VMware's library, in sentences.

use std::{error, fmt, io, path::PathBuf};

use engine::{Kind, NbdError};

use super::{
    control::{CallFailure, ControlError},
    lines::LibraryLines,
};

/// Access to the disk is refused.
const ACCESS_CODE: u32 = 13;
/// The host is shut down, not available, refuses or loses connections: it enters maintenance, and its VMs go elsewhere.
const HOST_AWAY_CODES: [u32; 4] = [14009, 14011, 14014, 14015];
/// The library, or the host, has no memory left for another connection.
const NO_MEMORY_CODE: u32 = 2;
/// The library knows no better word.
const UNKNOWN_CODE: u32 = 1;

/// A request for bytes that the library could not fulfil: a part of the disk, no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// VMware's code.
    pub code: u32,
    /// What it means, as the library says.
    pub text: String,
    /// What the library said before: the cause below this error.
    pub lines: LibraryLines,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VDDK error {} ({})", self.code, self.text)
    }
}

impl error::Error for ReadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        (!self.lines.0.is_empty()).then_some(&self.lines as _)
    }
}

impl From<CallFailure> for ReadError {
    fn from(failure: CallFailure) -> Self {
        Self { code: failure.code, text: failure.text, lines: LibraryLines(failure.lines) }
    }
}

/// Why VMware's library is of no use, or not of this one. Said of a disk: `web01 disk0: …`.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The library crashes on empty texts.
    #[error("{what} is empty, and the VDDK needs it")]
    Empty {
        /// What.
        what: &'static str,
    },
    /// The system.
    #[error("the VDDK helper cannot be started: {source}")]
    Start {
        /// What it said.
        source: io::Error,
    },
    /// No library lies there.
    #[error("no libvixDiskLib.so.9, .8, .7 or .6 in {0} or its lib64", libdir.display())]
    NoLibrary {
        /// Where it was looked for.
        libdir: PathBuf,
    },
    /// The loader.
    #[error("the VDDK in {} cannot be loaded: {}", libdir.display(), said.join("; "))]
    Unloadable {
        /// Where it lies.
        libdir: PathBuf,
        /// What the loader said.
        said: Vec<String>,
    },
    /// The library refuses.
    #[error("{} failed: {error}", verb(function))]
    Call {
        /// Its function.
        function: String,
        /// What it said.
        #[source]
        error: ReadError,
    },
    /// It took a way that it must not.
    #[error("opened by {transport:?}, which is not among {allowed}; nothing was read")]
    NotAllowed {
        /// Which.
        transport: String,
        /// What may be.
        allowed: String,
    },
    /// It took a way that an encrypted disk is never read by.
    #[error("encrypted, but opened by {transport:?}; nothing was read")]
    Encrypted {
        /// Which.
        transport: String,
    },
    /// The process is no more.
    #[error("the VDDK helper {how}")]
    Ended {
        /// `ended by signal 11`.
        how: String,
        /// What the library said before.
        #[source]
        lines: LibraryLines,
    },
    /// And the one after it is no more either.
    #[error("the VDDK helper {how}; restarted once, ended again")]
    EndedAgain {
        /// `ended by signal 11`.
        how: String,
        /// What the library said before.
        #[source]
        lines: LibraryLines,
    },
    /// What it says makes no sense.
    #[error("the VDDK helper: {0}")]
    Control(ControlError),
    /// It, or the system below it, cannot.
    #[error("the VDDK helper: {what}")]
    Impossible {
        /// Why.
        what: String,
    },
    /// The disk's export.
    #[error(transparent)]
    Nbd(#[from] NbdError),
}

fn verb(function: &str) -> String {
    match function {
        "InitEx" => "starting the VDDK".to_owned(),
        "ConnectEx" => "connect".to_owned(),
        "PrepareForAccess" => "keeping the VM where it is".to_owned(),
        "EndAccess" => "letting the VM move again".to_owned(),
        "Open" | "Read" | "Write" | "Flush" | "Close" => function.to_lowercase(),
        _ => function.to_owned(),
    }
}

impl From<CallFailure> for ProcessError {
    fn from(failure: CallFailure) -> Self {
        Self::Call { function: failure.function.clone(), error: failure.into() }
    }
}

impl ProcessError {
    /// Whether the host is away for the moment: its VMs are soon reached by another one.
    pub fn is_host_away(&self) -> bool {
        self.opening_code().is_some_and(|code| HOST_AWAY_CODES.contains(&code))
    }

    /// Whether the host has no room for one more open disk.
    pub fn is_out_of_buffers(&self) -> bool {
        self.opening_code() == Some(NO_MEMORY_CODE)
    }

    fn opening_code(&self) -> Option<u32> {
        match self {
            Self::Call { function, error } if matches!(function.as_str(), "ConnectEx" | "Open") => Some(error.code),
            _ => None,
        }
    }

    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Empty { .. } => Kind::Invalid,
            Self::NoLibrary { .. } => Kind::Missing,
            Self::Start { .. } => Kind::Unavailable,
            Self::Call { .. } if self.is_host_away() || self.is_out_of_buffers() => Kind::Unavailable,
            Self::Unloadable { .. }
            | Self::Call { .. }
            | Self::NotAllowed { .. }
            | Self::Encrypted { .. }
            | Self::Ended { .. }
            | Self::EndedAgain { .. } => Kind::Failed,
            Self::Control(_) | Self::Impossible { .. } => Kind::Bug,
            Self::Nbd(error) => error.kind(),
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty { .. } => Some("give the vCenter, its user and its thumbprint"),
            Self::NoLibrary { .. } => Some("--vddk-libdir: the folder that VMware's archive unpacks to"),
            Self::Unloadable { .. } => {
                Some("install the libraries that it names (VDDK 8.0.2 and later want libssl.so.3), or use another VDDK")
            }
            Self::NotAllowed { .. } | Self::Encrypted { .. } => Some("--transport nbdssl"),
            Self::Call { function, error }
                if function == "Open" && matches!(error.code, UNKNOWN_CODE | ACCESS_CODE) =>
            {
                Some(
                    "common causes: wrong thumbprint, independent disk, missing Cryptographer.Access (hotadd: and \
                     Cryptographer.AddDisk)",
                )
            }
            Self::Call { .. } if self.is_host_away() => {
                Some("the host may be entering maintenance: run it again when the VM is on another one")
            }
            Self::Call { .. } if self.is_out_of_buffers() => {
                Some("the host has no buffers left: end other backups of VMs on it, or back up fewer at a time")
            }
            Self::Call { function, .. } if function == "ConnectEx" => {
                Some("check server, user, password and thumbprint, and that the VDDK is for this version of vSphere")
            }
            _ => None,
        }
    }
}
