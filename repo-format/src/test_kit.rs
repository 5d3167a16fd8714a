//! What the unit tests of this crate have in common: a keyring, chunks, and ways to break bytes.

use crate::{ChunkId, ErrorKind, FormatError, Keyring, RepositoryId, RepositoryKeys};

pub(crate) const REPOSITORY: RepositoryId = RepositoryId::from_bytes(*b"test repository!");

/// The working keys of the test repository; the same every time.
pub(crate) fn keys() -> Keyring {
    Keyring::new(&RepositoryKeys::generate([0x42; 32]), REPOSITORY)
}

/// Keys of the same repository with a second epoch.
pub(crate) fn keys_of_two_epochs() -> Keyring {
    Keyring::new(&RepositoryKeys::generate([0x42; 32]).with_next_epoch([0x43; 32]).unwrap(), REPOSITORY)
}

/// Working keys that open nothing of the test repository.
pub(crate) fn other_keys() -> Keyring {
    Keyring::new(&RepositoryKeys::generate([0x66; 32]), REPOSITORY)
}

pub(crate) fn chunk_id(fill: u8) -> ChunkId {
    ChunkId::from_bytes([fill; 32])
}

/// Bytes that no compressor shrinks; the same every time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that every compressor shrinks.
pub(crate) fn prose(length: usize) -> Vec<u8> {
    b"all work and no play makes a disk compressible. ".iter().copied().cycle().take(length).collect()
}

/// Every truncation of `bytes`, every single flipped bit, and one byte more.
pub(crate) fn broken(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let truncated = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let flipped = (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    truncated.chain(flipped).chain([[bytes, &[0]].concat()])
}

/// The kind and the place of what must be an error.
pub(crate) fn flaw<T>(result: Result<T, FormatError>) -> (ErrorKind, String) {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => (error.kind, error.field),
    }
}

/// The place of what must be damage.
pub(crate) fn damage<T>(result: Result<T, FormatError>) -> String {
    let (kind, field) = flaw(result);
    assert_eq!(kind, ErrorKind::Damaged, "{field}");
    field
}
