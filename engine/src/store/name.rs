//! The names of SPEC.md section 4. Nothing else is ever asked of a store.

use std::fmt;

use repo_format::{Digest, PackName, SessionId, SlotId};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameKind {
    /// The parameters of the repository.
    Config,
    /// The same bytes again.
    ConfigCopy,
    /// A key slot, and which of its two copies.
    Slot(SlotId, u8),
    /// A pack.
    Pack(PackName),
    /// A log entry, by its number.
    Log(u64),
    /// A copy of SPEC.md.
    Spec,
    /// Space that prune may give up on a full disk.
    Reserve,
    /// The heartbeat of a session.
    Heartbeat(SessionId),
    /// Copies of log entries.
    CheckpointPart(Digest),
}

/// The name of an object in a store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    kind: NameKind,
    text: String,
}

impl Name {
    /// `config`.
    pub fn config() -> Self {
        Self::of(NameKind::Config)
    }

    /// `config.copy`.
    pub fn config_copy() -> Self {
        Self::of(NameKind::ConfigCopy)
    }

    /// `keys/…`; `copy` is 0 or 1, anything else counts as 1.
    pub fn slot(slot: SlotId, copy: u8) -> Self {
        Self::of(NameKind::Slot(slot, copy.min(1)))
    }

    /// `packs/…`.
    pub fn pack(pack: PackName) -> Self {
        Self::of(NameKind::Pack(pack))
    }

    /// `log/…`.
    pub fn log(number: u64) -> Self {
        Self::of(NameKind::Log(number))
    }

    /// `SPEC.md`.
    pub fn spec() -> Self {
        Self::of(NameKind::Spec)
    }

    /// `reserve`.
    pub fn reserve() -> Self {
        Self::of(NameKind::Reserve)
    }

    /// `sess/…`.
    pub fn heartbeat(session: SessionId) -> Self {
        Self::of(NameKind::Heartbeat(session))
    }

    /// `ckpt/…`.
    pub fn checkpoint_part(part: Digest) -> Self {
        Self::of(NameKind::CheckpointPart(part))
    }

    /// The name that `text` spells, if it spells one exactly.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = match text.split_once('/') {
            None => match text {
                "config" => NameKind::Config,
                "config.copy" => NameKind::ConfigCopy,
                "SPEC.md" => NameKind::Spec,
                "reserve" => NameKind::Reserve,
                _ => return None,
            },
            Some(("keys", rest)) => {
                let (slot, copy) = rest.split_once('-')?;
                NameKind::Slot(slot.parse().ok()?, copy.parse().ok().filter(|copy| *copy <= 1)?)
            }
            Some(("packs", rest)) => NameKind::Pack(rest.split_once('/')?.1.parse().ok()?),
            Some(("log", number)) => NameKind::Log(number.parse().ok()?),
            Some(("ckpt", part)) => NameKind::CheckpointPart(part.parse().ok()?),
            Some(("sess", session)) => NameKind::Heartbeat(session.parse().ok()?),
            Some(_) => return None,
        };
        // Upper-case digits, signs, lost zeros: a second spelling of a name is no name.
        Some(Self::of(kind)).filter(|name| name.text == text)
    }

    /// What it is the name of.
    pub fn kind(&self) -> NameKind {
        self.kind
    }

    /// The name, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn of(kind: NameKind) -> Self {
        let text = match kind {
            NameKind::Config => "config".to_owned(),
            NameKind::ConfigCopy => "config.copy".to_owned(),
            NameKind::Slot(slot, copy) => format!("keys/{slot}-{copy}"),
            NameKind::Pack(pack) => format!("packs/{:02x}/{pack}", pack.as_bytes()[0]),
            NameKind::Log(number) => format!("log/{number:020}"),
            NameKind::Spec => "SPEC.md".to_owned(),
            NameKind::Reserve => "reserve".to_owned(),
            NameKind::Heartbeat(session) => format!("sess/{session}"),
            NameKind::CheckpointPart(part) => format!("ckpt/{part}"),
        };
        Self { kind, text }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.text)
    }
}

/// Names that can be listed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Key slots.
    Keys,
    /// Packs.
    Packs,
    /// Log entries.
    Log,
    /// Copies of log entries.
    CheckpointParts,
}

impl Prefix {
    /// The folder they lie in.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Packs => "packs",
            Self::Log => "log",
            Self::CheckpointParts => "ckpt",
        }
    }

    /// Whether `name` is one of them.
    pub fn holds(self, name: &Name) -> bool {
        match name.kind() {
            NameKind::Slot(..) => self == Self::Keys,
            NameKind::Pack(_) => self == Self::Packs,
            NameKind::Log(_) => self == Self::Log,
            NameKind::CheckpointPart(_) => self == Self::CheckpointParts,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Name> {
        vec![
            Name::config(),
            Name::config_copy(),
            Name::slot(SlotId::from_bytes([0xab; 16]), 0),
            Name::slot(SlotId::from_bytes([0xab; 16]), 1),
            Name::pack(PackName::from_bytes([0x0c; 32])),
            Name::log(1),
            Name::log(u64::MAX),
            Name::spec(),
            Name::reserve(),
            Name::heartbeat(SessionId::from_bytes([7; 16])),
            Name::checkpoint_part(Digest::from_bytes([0x1c; 32])),
        ]
    }

    #[test]
    fn names_are_spelled_as_in_section_4() {
        assert_eq!(Name::log(12).as_str(), "log/00000000000000000012");
        let pack = Name::pack(PackName::from_bytes([0x0c; 32]));
        assert_eq!(pack.as_str(), format!("packs/0c/{}", "0c".repeat(32)));
        assert_eq!(Name::slot(SlotId::from_bytes([0xab; 16]), 1).as_str(), format!("keys/{}-1", "ab".repeat(16)));
    }

    #[test]
    fn every_name_reads_back() {
        for name in all() {
            assert_eq!(Name::parse(name.as_str()), Some(name));
        }
    }

    #[test]
    fn a_second_spelling_is_no_name() {
        let pack = "0c".repeat(32);
        for text in [
            "",
            "Config",
            "log/1",
            "log/+0000000000000000001",
            "log/00000000000000000001/",
            "tmp/x",
            "log/99999999999999999999",
            &format!("packs/0d/{pack}"),
            &format!("packs/0C/{}", pack.to_uppercase()),
            &format!("keys/{}-2", "ab".repeat(16)),
            &format!("keys/{}-00", "ab".repeat(16)),
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_holds_its_own_names_only() {
        let count = |prefix: Prefix| all().iter().filter(|name| prefix.holds(name)).count();
        assert_eq!([Prefix::Keys, Prefix::Packs, Prefix::Log, Prefix::CheckpointParts].map(count), [2, 1, 2, 1]);
    }
}
