//! By which way a disk may be read or written, decided before anything is opened.
//!
//! | way | encrypted disk | clear disk |
//! |---|---|---|
//! | `nbdssl` | yes | yes |
//! | `hotadd` | if the proxy VM is encrypted too | yes |
//! | `san` | **never** | for reading |
//! | `nbd` | never: in the clear on the wire | never |

use std::{fmt, str::FromStr};

use engine::Kind;

/// A way of the library to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Over the network, over TLS.
    Nbdssl,
    /// The disk is attached to the VM that this program runs in.
    Hotadd,
    /// From the storage network.
    San,
    /// Over the network, in the clear.
    Nbd,
}

impl Transport {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Nbdssl, Self::Hotadd, Self::San, Self::Nbd];

    /// As VMware writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nbdssl => "nbdssl",
            Self::Hotadd => "hotadd",
            Self::San => "san",
            Self::Nbd => "nbd",
        }
    }

    /// The way that the library says it took.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.word() == word)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An ordered list of ways, best first, none of them twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transports(Vec<Transport>);

/// Why a list is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportsError {
    /// No such way.
    #[error("{found:?} is no transport: write one or several of nbdssl, hotadd, san, nbd, best first")]
    Unknown {
        /// What was written.
        found: String,
    },
    /// Twice the same.
    #[error("transport {transport} is listed twice")]
    Twice {
        /// Which.
        transport: Transport,
    },
}

impl TransportsError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Default for Transports {
    fn default() -> Self {
        Self(vec![Transport::Nbdssl])
    }
}

impl FromStr for Transports {
    type Err = TransportsError;

    fn from_str(text: &str) -> Result<Self, TransportsError> {
        let mut list = Vec::new();
        for word in text.split(',').map(str::trim) {
            let transport =
                Transport::of_word(word).ok_or_else(|| TransportsError::Unknown { found: word.to_owned() })?;
            if list.contains(&transport) {
                return Err(TransportsError::Twice { transport });
            }
            list.push(transport);
        }
        Ok(Self(list))
    }
}

impl fmt::Display for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(","))
    }
}

impl Transports {
    /// The ways, best first.
    pub fn list(&self) -> &[Transport] {
        &self.0
    }

    fn words(&self, between: &str) -> String {
        self.0.iter().map(|transport| transport.word()).collect::<Vec<_>>().join(between)
    }

    /// As the library takes it: `nbdssl:hotadd`.
    pub fn modes(&self) -> String {
        self.words(":")
    }

    /// What of this list may be used for a disk. A way that is refused whatever this machine is refuses the whole list; one
    /// that only this machine is not fit for is left out with a note.
    pub fn for_disk(&self, disk: DiskState, access: Access, proxy: Proxy) -> Result<Allowed, Refused> {
        let mut allowed = Allowed { transports: Self(Vec::new()), left_out: Vec::new() };
        for transport in self.0.iter().copied() {
            match judge(transport, disk, access, proxy) {
                Ok(()) => allowed.transports.0.push(transport),
                Err(refused @ Refused { why: Why::ProxyNotEncrypted | Why::NoProxy, .. }) => {
                    allowed.left_out.push(refused);
                }
                Err(refused) => return Err(refused),
            }
        }
        match allowed.left_out.first() {
            Some(refused) if allowed.transports.0.is_empty() => Err(*refused),
            _ => Ok(allowed),
        }
    }
}

/// Ways that may be used for a disk, at least one, and those of the list that may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// To be used.
    pub transports: Transports,
    /// Left out, and why.
    pub left_out: Vec<Refused>,
}

/// How a disk lies in vSphere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// Under a key.
    Encrypted,
    /// In the clear.
    Clear,
}

/// What is wanted of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its bytes, for a backup.
    Read,
    /// To be written, by a restore.
    Write,
}

/// The machine that this program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// An encrypted VM of this vCenter.
    EncryptedVm,
    /// A VM of this vCenter in the clear.
    ClearVm,
    /// No VM of this vCenter.
    Elsewhere,
}

/// A way that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{transport} is refused: {why}")]
pub struct Refused {
    /// Which.
    pub transport: Transport,
    /// Why.
    pub why: Why,
}

/// Why a way is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// VMware's rule.
    #[error("the disk is encrypted, and over the storage network it comes as it lies there")]
    SanEncrypted,
    /// It could be listened to.
    #[error("the disk's bytes would go over the network in the clear")]
    ClearOnWire,
    /// Restores are not written that way.
    #[error("a disk is restored by nbdssl or hotadd only")]
    SanWrite,
    /// VMware's rule.
    #[error("the disk is encrypted, and the VM that this program runs in is not")]
    ProxyNotEncrypted,
    /// There is nothing that a disk could be attached to.
    #[error("this program does not run in a VM of this vCenter")]
    NoProxy,
}

impl Refused {
    /// How to react: another list, or another machine.
    pub fn kind(&self) -> Kind {
        match self.why {
            Why::SanEncrypted | Why::ClearOnWire | Why::SanWrite => Kind::Invalid,
            Why::ProxyNotEncrypted | Why::NoProxy => Kind::Failed,
        }
    }

    /// What to do.
    pub fn hint(&self) -> &'static str {
        "--transport nbdssl"
    }
}

/// Whether a way may be taken: the table above.
pub fn judge(transport: Transport, disk: DiskState, access: Access, proxy: Proxy) -> Result<(), Refused> {
    let why = match (transport, disk, access, proxy) {
        (Transport::Nbdssl, ..) => return Ok(()),
        (Transport::Nbd, ..) => Why::ClearOnWire,
        (Transport::San, DiskState::Encrypted, ..) => Why::SanEncrypted,
        (Transport::San, DiskState::Clear, Access::Write, _) => Why::SanWrite,
        (Transport::San, DiskState::Clear, Access::Read, _) => return Ok(()),
        (Transport::Hotadd, _, _, Proxy::Elsewhere) => Why::NoProxy,
        (Transport::Hotadd, DiskState::Encrypted, _, Proxy::ClearVm) => Why::ProxyNotEncrypted,
        (Transport::Hotadd, ..) => return Ok(()),
    };
    Err(Refused { transport, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Transports {
        text.parse().unwrap()
    }

    #[test]
    fn a_list_is_in_order_and_names_each_way_once() {
        assert_eq!(list("hotadd, nbdssl").list(), [Transport::Hotadd, Transport::Nbdssl]);
        assert_eq!(list("hotadd,nbdssl").modes(), "hotadd:nbdssl");
        assert_eq!(list("san,hotadd,nbdssl").to_string(), "san,hotadd,nbdssl");
        assert_eq!(Transports::default().modes(), "nbdssl");
        let wrong = |text: &str| text.parse::<Transports>().unwrap_err().to_string();
        assert!(wrong("nbdssl,nbdssl").contains("twice"));
        for text in ["", "file", "nbdssl,", "NBDSSL", "nbdssl:hotadd"] {
            assert!(wrong(text).contains("is no transport"), "{text}");
        }
    }

    /// Row by row: nbdssl, hotadd, san, nbd; `y` may be taken.
    #[test]
    fn the_whole_table_is_as_the_guide_has_it() {
        use Access::{Read, Write};
        use DiskState::{Clear, Encrypted};
        use Proxy::{ClearVm, Elsewhere, EncryptedVm};
        for (disk, access, proxy, row) in [
            (Encrypted, Read, EncryptedVm, "yy--"),
            (Encrypted, Read, ClearVm, "y---"),
            (Encrypted, Read, Elsewhere, "y---"),
            (Encrypted, Write, EncryptedVm, "yy--"),
            (Encrypted, Write, ClearVm, "y---"),
            (Encrypted, Write, Elsewhere, "y---"),
            (Clear, Read, EncryptedVm, "yyy-"),
            (Clear, Read, ClearVm, "yyy-"),
            (Clear, Read, Elsewhere, "y-y-"),
            (Clear, Write, EncryptedVm, "yy--"),
            (Clear, Write, ClearVm, "yy--"),
            (Clear, Write, Elsewhere, "y---"),
        ] {
            let found = Transport::ALL.map(|transport| match judge(transport, disk, access, proxy) {
                Ok(()) => 'y',
                Err(_) => '-',
            });
            assert_eq!(found.iter().collect::<String>(), row, "{disk:?} {access:?} {proxy:?}");
        }
    }

    #[test]
    fn a_refused_way_refuses_the_list_and_an_unfit_machine_only_shortens_it() {
        let ask = |text: &str, disk| list(text).for_disk(disk, Access::Read, Proxy::ClearVm);
        let refused = ask("nbdssl,san", DiskState::Encrypted).unwrap_err();
        assert_eq!((refused.why, refused.kind()), (Why::SanEncrypted, Kind::Invalid));
        assert_eq!(ask("nbd", DiskState::Clear).unwrap_err().why, Why::ClearOnWire);
        let shorter = ask("hotadd,nbdssl", DiskState::Encrypted).unwrap();
        assert_eq!(shorter.transports.modes(), "nbdssl");
        assert_eq!(shorter.left_out.first().unwrap().why, Why::ProxyNotEncrypted);
        let only = ask("hotadd", DiskState::Encrypted).unwrap_err();
        assert_eq!((only.why, only.kind(), only.hint()), (Why::ProxyNotEncrypted, Kind::Failed, "--transport nbdssl"));
        assert_eq!(ask("hotadd,san", DiskState::Clear).unwrap().transports.modes(), "hotadd:san");
    }
}
