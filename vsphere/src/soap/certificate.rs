//! The certificate of a server: what is pinned of it, what VDDK wants of it, and who checks it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest;
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// SHA-256 of a server's own certificate: what a server is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

/// No 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no SHA-256 thumbprint: 64 hexadecimal digits, with or without colons between pairs")]
pub struct ThumbprintError {
    given: String,
}

impl std::str::FromStr for Thumbprint {
    type Err = ThumbprintError;

    fn from_str(given: &str) -> Result<Self, ThumbprintError> {
        let wrong = || ThumbprintError { given: given.to_owned() };
        let digits: Vec<u8> = given.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(wrong());
        }
        for (place, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *place = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&pairs(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// `AA:BB:..`
fn pairs(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// What there is to know of a server's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What it is pinned by.
    pub sha256: Thumbprint,
    /// The thumbprint that VDDK wants, as it wants it: 20 pairs, `AA:BB:..`. We never trust by it.
    pub sha1: String,
}

impl Certificate {
    fn of(leaf: &CertificateDer<'_>) -> Self {
        let hash = digest::digest(&digest::SHA256, leaf);
        let mut sha256 = [0; 32];
        sha256.iter_mut().zip(hash.as_ref()).for_each(|(place, byte)| *place = *byte);
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
        Self { sha256: Thumbprint(sha256), sha1: pairs(sha1.as_ref()) }
    }
}

/// Another certificate than the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate SHA-256 is {found}, pinned is {pinned}")]
pub(super) struct PinMismatch {
    pub(super) found: Thumbprint,
    pub(super) pinned: Thumbprint,
}

/// Whom a connection is let through to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The server with this certificate.
    Pinned(Thumbprint),
    /// Any server, to look at its certificate. Nothing secret may be said to it.
    Anybody,
}

/// Lets a server in by its own certificate alone: vCenters sign theirs themselves, with names that are often not the ones they are
/// called by. That the server has the key of that certificate is checked as ever.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Certificate>>,
}

impl Verifier {
    pub(super) fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        Self { trust, provider, seen: Mutex::new(None) }
    }

    /// The certificate of the last handshake in which the server proved to have its key and was let in.
    pub(super) fn seen(&self) -> Option<Certificate> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Certificate::of(leaf);
        if let Trust::Pinned(pinned) = self.trust
            && found.sha256 != pinned
        {
            let mismatch = PinMismatch { found: found.sha256, pinned };
            return Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into());
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_read_with_and_without_colons() {
        let plain = "0b".repeat(32);
        let read: Thumbprint = plain.parse().unwrap();
        assert_eq!(read.to_string().parse::<Thumbprint>().unwrap(), read);
        assert!(read.to_string().starts_with("0B:0B:"));
        for wrong in ["", "0b", &format!("{plain}00"), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(wrong.parse::<Thumbprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_thumbprint_for_vddk_is_twenty_pairs() {
        let certificate = Certificate::of(&CertificateDer::from(b"abc".to_vec()));
        assert_eq!(certificate.sha1, "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D");
        assert!(certificate.sha256.to_string().starts_with("BA:78:16:BF:"));
    }
}
