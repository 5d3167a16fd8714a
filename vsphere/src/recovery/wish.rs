//! What the operator asks for.

use std::collections::BTreeSet;

use super::{loss::Loss, map_file::MapFile};

/// `--vm-encryption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum EncryptionWish {
    /// As it was: the same keys.
    #[default]
    SameKeys,
    /// Encrypted, with keys made for it.
    NewKeys,
    /// In the clear.
    None,
}

/// `--storage-policy`: for encrypted parts whose own policy is gone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum PolicyWish {
    /// Nothing was said.
    #[default]
    AsSaved,
    /// This one, by name or id.
    Named(String),
    /// "VM Encryption Policy", which every vCenter has.
    Sample,
}

/// `--allow-unbootable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Unbootable {
    /// A VM that would not start is not made.
    #[default]
    Refused,
    /// It is made, and waits for its key.
    Allowed,
}

/// `--power-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PowerOn {
    /// It stays off.
    #[default]
    No,
    /// It is started if it can start.
    Yes,
}

/// Is somebody there who can be asked?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Operator {
    /// Nobody.
    #[default]
    Away,
    /// At a terminal.
    AtTerminal,
}

/// What the decision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Purpose {
    /// To know what would come out. The name need not be free, and no configuration is needed.
    #[default]
    Plan,
    /// To make the VM.
    Restore,
}

/// What was agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Consents {
    /// `--accept-loss`.
    pub losses: BTreeSet<Loss>,
    /// `--allow-unbootable`.
    pub unbootable: Unbootable,
}

/// The wish. Options such as `--network` and `--key-provider` are entries of `map`.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What becomes of the encryption.
    pub encryption: EncryptionWish,
    /// What was agreed to.
    pub consents: Consents,
    /// The policy for encrypted parts whose own is gone.
    pub policy: PolicyWish,
    /// Old names to new ones.
    pub map: MapFile,
    /// Start it?
    pub power_on: PowerOn,
    /// Who is there.
    pub operator: Operator,
    /// What the decision is for.
    pub purpose: Purpose,
}
