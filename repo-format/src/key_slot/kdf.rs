//! From a secret to the key that opens a slot.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rayon::{
    iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator},
    slice::ParallelSliceMut,
};
use zeroize::{Zeroize, Zeroizing};

use super::{SlotKind, SlotSecret, WHAT};
use crate::{FormatError, keys::Key};

/// Blocks of 1 KiB that a thread wipes in one go.
const WIPED_AT_ONCE: usize = 1024;

/// What one guess at a password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// How often it is filled.
    pub passes: u32,
    /// How many threads can share the work.
    pub lanes: u32,
}

impl Default for KdfCost {
    fn default() -> Self {
        Self { memory_kib: 262_144, passes: 3, lanes: 4 }
    }
}

impl KdfCost {
    /// Of secrets that nobody can guess.
    pub(super) const NONE: Self = Self { memory_kib: 0, passes: 0, lanes: 0 };

    const MEMORY_KIB_MAX: u32 = 4 << 20;

    pub(super) fn check(&self, kind: SlotKind) -> Result<(), FormatError> {
        let Self { memory_kib, passes, lanes } = *self;
        let (holds, wanted) = match kind {
            SlotKind::Password => (
                (1..=16).contains(&lanes)
                    && (1..=32).contains(&passes)
                    && (8 * lanes..=Self::MEMORY_KIB_MAX).contains(&memory_kib),
                "1 … 16 lanes, 1 … 32 passes, memory 8 KiB × lanes … 4 GiB",
            ),
            SlotKind::KeyFile | SlotKind::RecoveryKey => (*self == Self::NONE, "0, 0, 0 where there is no password"),
        };
        if holds {
            return Ok(());
        }
        let found = format_args!("{memory_kib} KiB, {passes} passes, {lanes} lanes");
        Err(FormatError::invalid(WHAT, "KDF parameters", found, wanted))
    }
}

/// What a secret is stretched to: the key-encryption key, and what tells whether the secret is the right one.
pub(super) struct Stretched {
    pub(super) kek: Zeroizing<Key>,
    pub(super) commitment: Zeroizing<[u8; 32]>,
}

pub(super) fn stretch(secret: &SlotSecret, salt: &[u8; 32], cost: KdfCost) -> Result<Stretched, FormatError> {
    let bytes = secret.bytes()?;
    let mut output = Zeroizing::new([0; 64]);
    match secret.kind() {
        SlotKind::Password => argon2id(&bytes, salt, cost, &mut output)?,
        SlotKind::KeyFile => derive("strongroom v1 key file", salt, &bytes, &mut output),
        SlotKind::RecoveryKey => derive("strongroom v1 recovery key", salt, &bytes, &mut output),
    }
    let mut stretched = Stretched { kek: Zeroizing::default(), commitment: Zeroizing::default() };
    for (to, from) in stretched.kek.iter_mut().chain(stretched.commitment.iter_mut()).zip(output.iter()) {
        *to = *from;
    }
    Ok(stretched)
}

fn derive(context: &str, salt: &[u8; 32], secret: &[u8], output: &mut [u8; 64]) {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(salt).update(secret).finalize_xof().fill(output);
    hasher.zeroize();
}

fn argon2id(password: &[u8], salt: &[u8; 32], cost: KdfCost, output: &mut [u8; 64]) -> Result<(), FormatError> {
    let failed = |found: &dyn ToString| {
        FormatError::invalid(WHAT, "Argon2id", found.to_string(), format_args!("{} KiB of memory", cost.memory_kib))
    };
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(output.len())).map_err(|e| failed(&e))?;
    let mut memory = Vec::new();
    // Up to 4 GiB that the slot asks for: a refusal is an error, not an abort.
    memory.try_reserve_exact(params.block_count()).map_err(|e| failed(&e))?;
    // Touched, and wiped below, on all processors: the kernel clears every page, which takes one alone a fifth of the whole.
    (0..params.block_count()).into_par_iter().map(|_| Block::new()).collect_into_vec(&mut memory);
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, output, memory.as_mut_slice())
        .map_err(|e| failed(&e));
    memory.par_chunks_mut(WIPED_AT_ONCE).for_each(|blocks| blocks.iter_mut().zeroize());
    result
}
