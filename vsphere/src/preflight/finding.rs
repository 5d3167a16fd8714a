//! What a check found: of what, how bad, and what to do.

use std::fmt;

use engine::Kind;

/// Which check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckId {
    /// P1: the server is a vCenter.
    Server,
    /// P2: its certificate is the pinned one.
    Certificate,
    /// P3: versions of server and library.
    Versions,
    /// P4: the user's rights.
    Privileges,
    /// P5: what is encrypted, and under which key.
    Encryption,
    /// P6: what is stored is sealed.
    Sealed,
    /// P7: the ways to the disks.
    Transport,
    /// P8: the VM that this program runs in.
    Proxy,
    /// P9: key providers and keys.
    Keys,
    /// P10: NVRAM files.
    Nvram,
    /// P11: disks that no snapshot covers.
    Disks,
    /// P12: the state of the VMs.
    VmState,
    /// P13: how quiet guests can be made.
    Quiescing,
}

impl fmt::Display for CheckId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self {
            Self::Server => 1,
            Self::Certificate => 2,
            Self::Versions => 3,
            Self::Privileges => 4,
            Self::Encryption => 5,
            Self::Sealed => 6,
            Self::Transport => 7,
            Self::Proxy => 8,
            Self::Keys => 9,
            Self::Nvram => 10,
            Self::Disks => 11,
            Self::VmState => 12,
            Self::Quiescing => 13,
        };
        write!(out, "P{number}")
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// A backup is made, and is worth less than it could be.
    Warning,
    /// A backup fails.
    Problem(Kind),
}

impl State {
    /// The word that programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem(_) => "problem",
        }
    }

    /// How to react to a problem.
    pub fn kind(self) -> Option<Kind> {
        match self {
            Self::Problem(kind) => Some(kind),
            Self::Ok | Self::Note | Self::Warning => None,
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: CheckId,
    /// Of what: a VM, a disk, a key, the server.
    pub object: String,
    /// How bad it is.
    pub state: State,
    /// What was found: lower case, no trailing stop.
    pub found: String,
    /// What to do, if there is something to do.
    pub hint: Option<String>,
}

impl Finding {
    fn new(check: CheckId, state: State, object: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { check, object: object.to_string(), state, found: found.to_string(), hint: None }
    }

    pub(super) fn ok(check: CheckId, object: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(check, State::Ok, object, found)
    }

    pub(super) fn note(check: CheckId, object: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(check, State::Note, object, found)
    }

    pub(super) fn warning(check: CheckId, object: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(check, State::Warning, object, found)
    }

    pub(super) fn problem(check: CheckId, kind: Kind, object: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(check, State::Problem(kind), object, found)
    }

    pub(super) fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}
