//! A VM's key and its bundle: worth something together, nothing apart.

use std::fmt;

use repo_format::SecretBytes;

use crate::soap::Element;

/// A key as vCenter names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KmsKey {
    /// `keyId.keyId`.
    pub id: String,
    /// `keyId.providerId.id`.
    pub provider: Option<String>,
}

impl KmsKey {
    /// The key `id` of `provider`.
    pub fn new(id: impl Into<String>, provider: Option<&str>) -> Self {
        Self { id: id.into(), provider: provider.map(str::to_owned) }
    }

    /// Of a `CryptoKeyId`.
    pub fn of(key: &Element) -> Option<Self> {
        let id = key.text_at("keyId").filter(|id| !id.is_empty())?;
        Some(Self::new(id, key.text_at("providerId.id").filter(|provider| !provider.is_empty())))
    }

    /// For a line that must stay short: `kms-prod/0b1f..`.
    pub fn short(&self) -> String {
        let head: String = self.id.chars().take(4).collect();
        let dots = if head.len() < self.id.len() { ".." } else { "" };
        match &self.provider {
            Some(provider) => format!("{provider}/{head}{dots}"),
            None => format!("{head}{dots}"),
        }
    }

    /// What a person calls its provider.
    pub fn provider_name(&self) -> &str {
        self.provider.as_deref().unwrap_or("(provider not recorded)")
    }
}

impl fmt::Display for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            Some(provider) => write!(f, "{provider}/{}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// Key and bundle of an encrypted VM.
///
/// **Invariant:** neither is given to a specification without the other; that is why they are one value.
#[derive(Clone, Debug)]
pub struct VmEncryption {
    key: KmsKey,
    bundle: SecretBytes,
}

impl VmEncryption {
    /// Both.
    pub fn new(key: KmsKey, bundle: SecretBytes) -> Self {
        Self { key, bundle }
    }

    /// The key.
    pub fn key(&self) -> &KmsKey {
        &self.key
    }

    /// The bundle: a secret.
    pub fn bundle(&self) -> &SecretBytes {
        &self.bundle
    }

    /// The same with the key under another provider's name. The bundle still names the old one.
    #[must_use]
    pub fn under(self, provider: &str) -> Self {
        Self { key: KmsKey { provider: Some(provider.to_owned()), ..self.key }, ..self }
    }
}

/// What a saved VM has of its encryption.
#[derive(Clone, Debug)]
pub enum SavedEncryption {
    /// No key, no bundle, no encrypted disk, no vTPM.
    Clear,
    /// Key and bundle.
    Whole(VmEncryption),
    /// The bundle is missing.
    KeyOnly(KmsKey),
    /// The key is missing.
    BundleOnly,
    /// It was encrypted, and neither was saved.
    Bare,
}

impl SavedEncryption {
    /// Was the VM not encrypted at all?
    pub fn is_clear(&self) -> bool {
        matches!(self, Self::Clear)
    }

    /// The key of the VM home, if it is known.
    pub fn key(&self) -> Option<&KmsKey> {
        match self {
            Self::Whole(encryption) => Some(encryption.key()),
            Self::KeyOnly(key) => Some(key),
            Self::Clear | Self::BundleOnly | Self::Bare => None,
        }
    }

    /// Which half is missing, in a person's words.
    pub fn missing(&self) -> Option<&'static str> {
        match self {
            Self::Clear | Self::Whole(_) => None,
            Self::KeyOnly(_) => Some("encryption.bundle was not saved"),
            Self::BundleOnly => Some("the KMS key id (config.keyId) was not saved"),
            Self::Bare => Some("neither the KMS key id (config.keyId) nor encryption.bundle was saved"),
        }
    }
}
