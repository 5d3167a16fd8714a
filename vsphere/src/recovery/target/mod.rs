//! The target of a recovery: where a VM goes, and what that place is like.
//!
//! **Invariant:** nothing is changed here.

mod gather;
mod inventory;
mod networks;
mod place;

use engine::Kind;

use crate::{
    inventory::InventoryError,
    properties::PropertyError,
    soap::{CallError, ManagedObject},
    vm_change::VmPlace,
};

pub use gather::Target;
pub use inventory::TargetInventory;

/// Where a VM goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlace {
    /// Folder, pool and host, as the call wants them.
    pub vm: VmPlace,
    /// The datastore.
    pub datastore: ManagedObject,
    /// What the datastore is called.
    pub datastore_name: String,
    /// The datacenter, as `/folder` wants it.
    pub dc_path: String,
    /// The name of the host, if one is chosen.
    pub host_name: Option<String>,
    /// Hosts that may run it: the chosen one, or those that the cluster chooses from.
    pub hosts: Vec<ManagedObject>,
    /// Networks that can be reached there.
    pub networks: Vec<ManagedObject>,
    /// For a person: `DC1/Cluster1/ds-ssd`.
    pub text: String,
}

/// Why there is no place for a VM, or nothing is known of it.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// What was named is not there.
    #[error("there is no {what} {wanted:?} here; there {}", listed(there))]
    NoSuch {
        /// `datastore`.
        what: &'static str,
        /// What was named.
        wanted: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Nothing was named, and there are several or none.
    #[error("which {what}? {}", several(there))]
    Choose {
        /// `datastore`.
        what: &'static str,
        /// What there is.
        there: Vec<String>,
    },
    /// It takes no files now.
    #[error("datastore {name} cannot be used: {why}")]
    Unusable {
        /// The datastore.
        name: String,
        /// Why.
        why: String,
    },
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The inventory.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A property.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "is none at all".to_owned() } else { format!("are {}", names.join(", ")) }
}

fn several(names: &[String]) -> String {
    if names.is_empty() {
        "there is none that can be used".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}

impl PlaceError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuch { .. } | Self::Choose { .. } => Kind::Invalid,
            Self::Unusable { .. } => Kind::Unavailable,
            Self::Call(error) => error.kind(),
            Self::Inventory(error) => error.kind(),
            Self::Property(error) => error.kind(),
        }
    }

    /// What to do, where it is not what the kind says.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuch { what, .. } | Self::Choose { what, .. } => {
                let option = match *what {
                    "datastore" => "--datastore NAME",
                    "folder" => "--folder PATH",
                    _ => "--pool PATH",
                };
                Some(format!("{option}, or an entry of the --map file"))
            }
            Self::Unusable { .. } => Some("--datastore NAME: another one".to_owned()),
            Self::Call(_) | Self::Inventory(_) | Self::Property(_) => None,
        }
    }
}
