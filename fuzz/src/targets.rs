//! The targets, by what they decode.

pub(crate) mod chunker;
pub(crate) mod disk_map;
pub(crate) mod frame;
pub(crate) mod log;
pub(crate) mod metadata;
pub(crate) mod nbd;
pub(crate) mod pack;
pub(crate) mod public;
pub(crate) mod soap;
pub(crate) mod splice;
pub(crate) mod vsphere;

use std::sync::LazyLock;

use repo_format::Keyring;

use crate::seal;

/// Derived once: targets are run millions of times.
pub(crate) static KEYS: LazyLock<Keyring> = LazyLock::new(seal::keyring);

/// `bytes` with the BLAKE3 of them behind.
pub(crate) fn with_hash(bytes: &[u8]) -> Vec<u8> {
    [bytes, blake3::hash(bytes).as_bytes()].concat()
}

/// Takes numbers off the front of an input.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn u8(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }
}
