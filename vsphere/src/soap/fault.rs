//! Why a server did not do as asked: a fault, kept whole, and what it means for us.

use std::fmt;

use engine::Kind;

use super::xml::Element;

/// A fault of a call, of a task, or of a property that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: String,
    message: String,
    message_keys: Vec<String>,
    details: Element,
}

impl Fault {
    /// Of `<Fault>` in the body of an answer.
    pub fn of_answer(fault: &Element) -> Self {
        let message = fault.text_at("faultstring").unwrap_or_default();
        let detail = fault.child("detail").and_then(|detail| detail.children().first());
        match detail {
            // Without xsi:type the element's name says it: `InvalidLoginFault`.
            Some(detail) => Self::of_detail(detail, message),
            None => {
                let kind = fault.text_at("faultcode").unwrap_or("Fault");
                let kind = kind.rsplit_once(':').map_or(kind, |(_, local)| local);
                Self {
                    kind: kind.to_owned(),
                    message: message.to_owned(),
                    message_keys: Vec::new(),
                    details: fault.clone(),
                }
            }
        }
    }

    /// Of a `LocalizedMethodFault`: the error of a task, the fault of a property.
    pub fn of_localized(fault: &Element) -> Self {
        let message = fault.text_at("localizedMessage").unwrap_or_default();
        match fault.child("fault") {
            Some(detail) => Self::of_detail(detail, message),
            None => Self::of_detail(fault, message),
        }
    }

    fn of_detail(detail: &Element, message: &str) -> Self {
        let kind = detail.xsi_type().unwrap_or_else(|| detail.name().strip_suffix("Fault").unwrap_or(detail.name()));
        let message_keys = detail.all("faultMessage").filter_map(|part| part.text_at("key")).map(str::to_owned);
        let said = detail.all("faultMessage").filter_map(|part| part.text_at("message")).find(|text| !text.is_empty());
        let message = if message.is_empty() { said.unwrap_or_default() } else { message };
        Self {
            kind: kind.to_owned(),
            message: message.to_owned(),
            message_keys: message_keys.collect(),
            details: detail.clone(),
        }
    }

    /// Its type, as the API names it: `NoPermission`.
    pub fn fault_type(&self) -> &str {
        &self.kind
    }

    /// What the server says, in its language.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Keys of its messages, the same in every language: `msg.vigor.enc.keyNotFound`.
    pub fn message_keys(&self) -> &[String] {
        &self.message_keys
    }

    /// The fault as it came.
    pub fn details(&self) -> &Element {
        &self.details
    }

    /// What it means.
    pub fn class(&self) -> FaultClass {
        classify(self)
    }

    /// How to react, as far as the fault alone says it.
    pub fn kind(&self) -> Kind {
        self.class().kind()
    }

    fn says(&self, text: &str) -> bool {
        self.message.contains(text) || self.message_keys.iter().any(|key| key.contains(text))
    }

    fn says_one_of(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.says(text))
    }
}

/// `NoPermission: Permission to perform this operation was denied. (privilege Cryptographer.Access on VirtualMachine:vm-16)`
impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.kind)?;
        if !self.message.is_empty() {
            write!(out, ": {}", self.message)?;
        }
        if !self.message_keys.is_empty() {
            write!(out, " [{}]", self.message_keys.join(", "))?;
        }
        match self.class() {
            FaultClass::NoPermission { object, privilege } => match object {
                Some(object) => write!(out, " (privilege {privilege} on {object})"),
                None => write!(out, " (privilege {privilege})"),
            },
            FaultClass::KeyUnavailable { key_ids } if !key_ids.is_empty() => {
                write!(out, " (key {})", key_ids.join(", "))
            }
            _ => Ok(()),
        }
    }
}

/// What a fault means for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The session is not, or no longer, logged in.
    NotAuthenticated,
    /// User or password is wrong, or the user may not log in.
    LoginRefused,
    /// A right is missing.
    NoPermission {
        /// On which object.
        object: Option<String>,
        /// Its id.
        privilege: String,
    },
    /// The object is no longer there.
    Gone,
    /// Something else is being done to the object: later.
    Busy,
    /// The host cannot be reached through this vCenter: later.
    HostUnreachable,
    /// The guest could not be brought to a rest.
    NotQuiesced,
    /// The VM cannot be snapshotted now.
    NotSnapshottable,
    /// A file of the VM, or a change id, is not as the server expects.
    File,
    /// The datastore is full.
    NoSpace,
    /// Name or datastore path cannot be used.
    BadName,
    /// The VM must be powered off (or on).
    PowerState,
    /// The key is not to be had, or the host does not have it.
    KeyUnavailable {
        /// The keys, if the fault names them.
        key_ids: Vec<String>,
    },
    /// The policy cannot be applied, or is none that encrypts.
    WrongPolicy,
    /// Shared disks, and disks that are no file, cannot be encrypted.
    DiskNotEncryptable,
    /// Encrypted disks want an encrypted VM home.
    HomeNotEncrypted,
    /// Encryption or snapshots of the VM are not as they were when this was planned.
    StateDiffers,
    /// The server does not know the call: it is older.
    UnknownMethod,
    /// We sent what must never be sent.
    OurMistake,
    /// An argument is not accepted.
    InvalidArgument,
    /// Anything else: its text is all there is.
    Other,
}

impl FaultClass {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Busy => Kind::Busy,
            Self::HostUnreachable | Self::NoSpace | Self::KeyUnavailable { .. } => Kind::Unavailable,
            Self::Gone => Kind::Missing,
            Self::BadName
            | Self::PowerState
            | Self::WrongPolicy
            | Self::DiskNotEncryptable
            | Self::HomeNotEncrypted
            | Self::InvalidArgument => Kind::Invalid,
            Self::UnknownMethod => Kind::Unsupported,
            Self::OurMistake => Kind::Bug,
            Self::NotAuthenticated
            | Self::LoginRefused
            | Self::NoPermission { .. }
            | Self::NotQuiesced
            | Self::NotSnapshottable
            | Self::File
            | Self::StateDiffers
            | Self::Other => Kind::Failed,
        }
    }
}

/// Faults of keys come under many types and are told by their message keys; those are asked first.
fn classify(fault: &Fault) -> FaultClass {
    by_message(fault).unwrap_or_else(|| by_type(fault))
}

fn by_message(fault: &Fault) -> Option<FaultClass> {
    let class = match fault.kind.as_str() {
        "GenericVmConfigFault" | "SystemError" if fault.says_one_of(&KEY_UNAVAILABLE) => {
            FaultClass::KeyUnavailable { key_ids: key_ids(&fault.details) }
        }
        "GenericVmConfigFault" if fault.says_one_of(&["msg.vtpm.add.notEncrypted", "msg.vigor.enc.required.vtpm"]) => {
            FaultClass::OurMistake
        }
        "SystemError" if fault.says("Key required for encryption.bundle") => FaultClass::OurMistake,
        "NotSupported" if fault.says("msg.disk.policyChangeFailure") => FaultClass::WrongPolicy,
        "InvalidArgument" if fault.says("dataFileKey") || invalid_property(fault).contains("dataFileKey") => {
            FaultClass::OurMistake
        }
        "InvalidDeviceSpec" if fault.says("enc.badPolicy") => FaultClass::WrongPolicy,
        "InvalidDeviceSpec" if fault.says_one_of(&["enc.notDisk", "enc.sharedBacking", "enc.notFile"]) => {
            FaultClass::DiskNotEncryptable
        }
        "InvalidDeviceSpec" if fault.says_one_of(&["configSpec.enc.mismatch", "deviceSpec.add.noencrypt"]) => {
            FaultClass::HomeNotEncrypted
        }
        "InvalidVmConfig" | "InvalidDeviceOperation" if fault.says_one_of(&["configSpec.enc.", "deviceSpec.enc."]) => {
            FaultClass::StateDiffers
        }
        _ => return None,
    };
    Some(class)
}

/// As vm-operator maps them to "the key cannot be had".
const KEY_UNAVAILABLE: [&str; 4] =
    ["msg.vigor.enc.keyNotFound", "msg.keysafe.locator", "Error creating disk Key locator", "Key locator error"];

fn by_type(fault: &Fault) -> FaultClass {
    match fault.kind.as_str() {
        "NotAuthenticated" => FaultClass::NotAuthenticated,
        "InvalidLogin" | "NoPermissionOnLogin" | "InvalidLocale" => FaultClass::LoginRefused,
        "NoPermission" => FaultClass::NoPermission {
            object: fault.details.child("object").map(|object| match object.attribute("type") {
                Some(kind) => format!("{kind}:{}", object.text()),
                None => object.text().to_owned(),
            }),
            privilege: fault.details.text_at("privilegeId").unwrap_or("(not named)").to_owned(),
        },
        "ManagedObjectNotFound" => FaultClass::Gone,
        "TaskInProgress" | "FileLocked" | "ConcurrentAccess" => FaultClass::Busy,
        "HostNotConnected" | "HostCommunication" | "HostNotReachable" | "Timedout" => FaultClass::HostUnreachable,
        "ApplicationQuiesceFault" | "FilesystemQuiesceFault" | "ToolsUnavailable" => FaultClass::NotQuiesced,
        "SnapshotFault"
        | "TooManySnapshotLevels"
        | "SnapshotDisabled"
        | "SnapshotLocked"
        | "SnapshotNoChange"
        | "SnapshotIncompatibleDeviceInVm"
        | "MultipleSnapshotsNotSupported" => FaultClass::NotSnapshottable,
        "FileFault" | "FileNotFound" | "CannotAccessFile" | "NotFound" => FaultClass::File,
        "NoDiskSpace" | "InsufficientStorageSpace" => FaultClass::NoSpace,
        "DuplicateName" | "InvalidName" | "InvalidDatastorePath" | "FileAlreadyExists" => FaultClass::BadName,
        "InvalidPowerState" => FaultClass::PowerState,
        "EncryptionKeyRequired" => FaultClass::KeyUnavailable { key_ids: key_ids(&fault.details) },
        "MethodNotFound" => FaultClass::UnknownMethod,
        "InvalidArgument" => FaultClass::InvalidArgument,
        _ => FaultClass::Other,
    }
}

fn invalid_property(fault: &Fault) -> &str {
    fault.details.text_at("invalidProperty").unwrap_or_default()
}

fn key_ids(details: &Element) -> Vec<String> {
    let of = |key: &Element| match (key.text_at("keyId"), key.text_at("providerId.id")) {
        (Some(id), Some(provider)) if !provider.is_empty() => Some(format!("{provider}/{id}")),
        (Some(id), _) => Some(id.to_owned()),
        (None, _) => None,
    };
    details.all("requiredKey").filter_map(of).collect()
}

#[cfg(test)]
mod tests;
