//! The parameters of a repository. SPEC.md section 8.
//!
//! ```text
//!   0  magic "SRMCONFG"          8          48  data pack bytes u32                4
//!   8  format u16                2          52  metadata pack bytes u32            4
//!  10  reserved u16              2          56  frame bytes max u32                4
//!  12  required features u64     8          60  shard log2 u8 · segment log2 u8    2
//!  20  optional features u64     8          62  flags u8 (bit 0: single writer)    1
//!  28  repository id            16          63  parity rate u8                     1
//!  44  chunker u8 · min, avg,               64  created u64                        8
//!      max log2 u8 each          4          72  keyed BLAKE3 of bytes 0…71        32
//!                                          104  BLAKE3 of bytes 0…103             32     = 136 bytes
//! ```

use crate::{Class, ErrorKind, FORMAT, FormatError, Keyring, RepositoryId, codec::Reader};

const WHAT: &str = "config";
const MAGIC: &[u8; 8] = b"SRMCONFG";
const MAC_AT: usize = 72;
const CHECK_AT: usize = 104;
const FLAG_SINGLE_WRITER: u8 = 1;

/// Of 512 shards of a pack, so many are parity if nobody asks for another number.
const PARITY_RATE: u8 = 16;
const PARITY_RATE_MAX: u8 = 64;
/// The fewest shards of a full pack that has parity: below, a frame would not find room beside it.
const PARITY_PACK_SHARDS_MIN: u32 = 16;

/// Length of a config.
pub const CONFIG_BYTES: usize = 136;

const _: () = assert!(8 + 2 + 2 + 8 + 8 + 16 + 4 + 4 + 4 + 4 + 2 + 1 + 1 + 8 == MAC_AT);
const _: () = assert!(MAC_AT + 32 == CHECK_AT && CHECK_AT + 32 == CONFIG_BYTES);

/// How disks are cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkerKind {
    /// By a keyed hash of whole 4 KiB blocks: for disks of virtual machines.
    Block,
    /// By a rolling hash of bytes.
    FastCdc,
}

impl ChunkerKind {
    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::Block => 1,
            Self::FastCdc => 2,
        }
    }

    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Block),
            2 => Some(Self::FastCdc),
            _ => None,
        }
    }
}

/// Chunker and chunk sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// How to cut.
    pub chunker: ChunkerKind,
    /// Log2 of the smallest chunk, which is also the size of a cell.
    pub min_log2: u8,
    /// Log2 of the size that chunks should have.
    pub avg_log2: u8,
    /// Log2 of the largest chunk.
    pub max_log2: u8,
}

impl Default for Chunking {
    fn default() -> Self {
        Self { chunker: ChunkerKind::Block, min_log2: 14, avg_log2: 16, max_log2: 18 }
    }
}

impl Chunking {
    /// Smallest chunk that a cut makes; the rest of a run may be smaller.
    pub const fn min_bytes(&self) -> u32 {
        pow2(self.min_log2)
    }

    /// The size around which chunks gather.
    pub const fn avg_bytes(&self) -> u32 {
        pow2(self.avg_log2)
    }

    /// Largest chunk.
    pub const fn max_bytes(&self) -> u32 {
        pow2(self.max_log2)
    }

    /// Refuses sizes that no repository may have.
    pub fn check(&self) -> Result<(), FormatError> {
        let Self { min_log2: min, avg_log2: avg, max_log2: max, .. } = *self;
        require(
            12 <= min && min <= avg && avg <= max && max <= 21 && (13..=20).contains(&avg),
            "min, avg, max log2",
            format_args!("{min}, {avg}, {max}"),
            "12 ≤ min ≤ avg ≤ max ≤ 21 and 13 ≤ avg ≤ 20",
        )
    }
}

/// Everything a repository was created with; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The repository.
    pub repository: RepositoryId,
    /// How disks are cut.
    pub chunking: Chunking,
    /// Size of a full data pack.
    pub data_pack_bytes: u32,
    /// Size of a full metadata pack.
    pub metadata_pack_bytes: u32,
    /// The most plain bytes of a frame.
    pub frame_bytes_max: u32,
    /// Log2 of the unit in which packs are checked and read.
    pub shard_log2: u8,
    /// Log2 of the stretch of a disk that one segment map describes.
    pub segment_log2: u8,
    /// The store cannot create if absent: only one writer may exist.
    pub single_writer: bool,
    /// Of 512 shards of a pack, so many are parity; 0: none.
    pub parity_rate: u8,
    /// When it was created, by the creator's clock.
    pub created_ms: u64,
    /// Features that a reader may ignore.
    pub optional_features: u64,
}

impl Config {
    /// A repository with these chunks and defaults for the rest.
    pub fn new(repository: RepositoryId, chunking: Chunking, created_ms: u64) -> Self {
        let frame_bytes_max = (1 << 20).max(chunking.max_bytes().saturating_mul(2));
        Self {
            repository,
            chunking,
            data_pack_bytes: 1 << 25,
            metadata_pack_bytes: (1 << 22).max(frame_bytes_max.saturating_mul(4)),
            frame_bytes_max,
            shard_log2: 16,
            segment_log2: 24,
            single_writer: false,
            parity_rate: PARITY_RATE,
            created_ms,
            optional_features: 0,
        }
    }

    /// Refuses parameters that no repository may have.
    pub fn check(&self) -> Result<(), FormatError> {
        self.chunking.check()?;
        let (shard, segment) = (self.shard_log2, self.segment_log2);
        require((10..=20).contains(&shard), "shard log2", shard, "10 … 20")?;
        let largest = self.chunking.max_log2;
        require((largest..=26).contains(&segment), "segment log2", segment, format_args!("{largest} … 26"))?;
        let parity = self.parity_rate;
        require(parity <= PARITY_RATE_MAX, "parity rate", parity, format_args!("0 … {PARITY_RATE_MAX}"))?;
        self.check_pack("data pack bytes", self.data_pack_bytes)?;
        self.check_pack("metadata pack bytes", self.metadata_pack_bytes)?;
        let most = (1 << 22).min(self.data_pack_bytes / 4).min(self.metadata_pack_bytes / 4);
        let largest = self.chunking.max_bytes();
        let frame = self.frame_bytes_max;
        require(
            frame > largest && frame <= most,
            "frame bytes max",
            frame,
            format_args!("more than the largest chunk {largest}, at most {most}"),
        )
    }

    fn check_pack(&self, field: &str, pack_bytes: u32) -> Result<(), FormatError> {
        let shard_bytes = self.shard_bytes();
        let shards = pack_bytes / shard_bytes;
        let least = if self.parity_rate == 0 { 8 } else { PARITY_PACK_SHARDS_MIN };
        require(
            pack_bytes.is_multiple_of(shard_bytes) && shards >= least && pack_bytes <= 1 << 28,
            field,
            pack_bytes,
            format_args!("{least} or more shards of {shard_bytes}, at most 2^28"),
        )?;
        // Head, seven numbers, a check of 12 bytes for each shard but two, a hash.
        let footer_bytes = 64 + 32 + 12 * (shards - 2) + 32;
        require(footer_bytes <= shard_bytes, field, pack_bytes, format_args!("a footer of {footer_bytes} in one shard"))
    }

    /// Size of a shard.
    pub const fn shard_bytes(&self) -> u32 {
        pow2(self.shard_log2)
    }

    /// Size of a segment.
    pub const fn segment_bytes(&self) -> u64 {
        pow2(self.segment_log2) as u64
    }

    /// Size of a full pack.
    pub const fn pack_bytes(&self, class: Class) -> u32 {
        match class {
            Class::Data => self.data_pack_bytes,
            Class::Metadata => self.metadata_pack_bytes,
        }
    }

    /// The bytes of `config`.
    pub fn encode(&self, keys: &Keyring) -> Vec<u8> {
        let mut out = Vec::with_capacity(CONFIG_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&0_u64.to_le_bytes());
        out.extend_from_slice(&self.optional_features.to_le_bytes());
        out.extend_from_slice(self.repository.as_bytes());
        let Chunking { chunker, min_log2, avg_log2, max_log2 } = self.chunking;
        out.extend_from_slice(&[chunker.to_wire(), min_log2, avg_log2, max_log2]);
        out.extend_from_slice(&self.data_pack_bytes.to_le_bytes());
        out.extend_from_slice(&self.metadata_pack_bytes.to_le_bytes());
        out.extend_from_slice(&self.frame_bytes_max.to_le_bytes());
        let flags = if self.single_writer { FLAG_SINGLE_WRITER } else { 0 };
        out.extend_from_slice(&[self.shard_log2, self.segment_log2, flags, self.parity_rate]);
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        let mac = keys.config_mac(&out);
        out.extend_from_slice(mac.as_bytes());
        let check = blake3::hash(&out);
        out.extend_from_slice(check.as_bytes());
        out
    }

    /// Reads a config without a key; [`UnverifiedConfig::verify`] makes it one to rely on.
    pub fn decode(bytes: &[u8]) -> Result<UnverifiedConfig, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(MAGIC)?;
        reader.format()?;
        // Before anything else that it covers: a flipped bit is damage, whatever field it hit.
        check_sum(bytes)?;
        if bytes.len() != CONFIG_BYTES {
            return Err(FormatError::damaged(WHAT, "length", bytes.len(), format_args!("must be {CONFIG_BYTES}")));
        }
        reader.reserved("reserved", 2)?;
        let required_features = reader.u64("required features")?;
        if required_features != 0 {
            let found = format_args!("{required_features:#x}");
            return Err(FormatError::unsupported(WHAT, "required features", found, "this program knows none"));
        }
        let optional_features = reader.u64("optional features")?;
        let repository = RepositoryId::from_bytes(reader.array("repository id")?);
        let chunking = Chunking {
            chunker: read_chunker(&mut reader)?,
            min_log2: reader.u8("min log2")?,
            avg_log2: reader.u8("avg log2")?,
            max_log2: reader.u8("max log2")?,
        };
        let data_pack_bytes = reader.u32("data pack bytes")?;
        let metadata_pack_bytes = reader.u32("metadata pack bytes")?;
        let frame_bytes_max = reader.u32("frame bytes max")?;
        let shard_log2 = reader.u8("shard log2")?;
        let segment_log2 = reader.u8("segment log2")?;
        let flags = reader.u8("flags")?;
        if flags & !FLAG_SINGLE_WRITER != 0 {
            return Err(reader.damaged("flags", flags, "0 or 1"));
        }
        let parity_rate = reader.u8("parity rate")?;
        let config = Self {
            repository,
            chunking,
            data_pack_bytes,
            metadata_pack_bytes,
            frame_bytes_max,
            shard_log2,
            segment_log2,
            single_writer: flags & FLAG_SINGLE_WRITER != 0,
            parity_rate,
            created_ms: reader.u64("created")?,
            optional_features,
        };
        let mac = reader.array("mac")?;
        reader.take("checksum", 32)?;
        reader.end()?;
        config.check().map_err(|error| FormatError { kind: ErrorKind::Damaged, ..error })?;
        let Some(signed) = bytes.get(..MAC_AT) else {
            return Err(FormatError::damaged(WHAT, "length", bytes.len(), CONFIG_BYTES));
        };
        Ok(UnverifiedConfig { config, signed: signed.to_vec(), mac })
    }

    /// Checks all that can be checked without a key.
    pub fn check_public(bytes: &[u8]) -> Result<(), FormatError> {
        Self::decode(bytes).map(|_| ())
    }
}

/// The last 32 bytes are the BLAKE3 of all before them.
fn check_sum(bytes: &[u8]) -> Result<(), FormatError> {
    match bytes.split_last_chunk::<32>() {
        Some((body, check)) if blake3::hash(body) == *check => Ok(()),
        _ => Err(FormatError::damaged(WHAT, "checksum", "does not match", "the BLAKE3 of all bytes before it")),
    }
}

/// A config whose checksum is right, but which anybody may have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedConfig {
    config: Config,
    signed: Vec<u8>,
    mac: [u8; 32],
}

impl UnverifiedConfig {
    /// The repository it claims to describe.
    pub const fn repository(&self) -> RepositoryId {
        self.config.repository
    }

    /// The config, if it was written by someone who holds the key.
    pub fn verify(self, keys: &Keyring) -> Result<Config, FormatError> {
        if self.config.repository != keys.repository() {
            let wanted = format_args!("the keys are those of {}", keys.repository());
            return Err(FormatError::damaged(WHAT, "repository id", self.config.repository, wanted));
        }
        // Hash compares in constant time.
        if keys.config_mac(&self.signed) != self.mac {
            return Err(FormatError::damaged(WHAT, "mac", "does not match", "written with this repository's key"));
        }
        Ok(self.config)
    }
}

pub(crate) fn read_chunker(reader: &mut Reader<'_>) -> Result<ChunkerKind, FormatError> {
    let byte = reader.u8("chunker")?;
    ChunkerKind::from_wire(byte).ok_or_else(|| reader.damaged("chunker", byte, "1 (block) or 2 (fastcdc)"))
}

fn require(holds: bool, field: &str, found: impl ToString, wanted: impl ToString) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(FormatError::invalid(WHAT, field, found, wanted)) }
}

/// 2^`log2`, 0 where that does not fit.
const fn pow2(log2: u8) -> u32 {
    match 1_u32.checked_shl(log2 as u32) {
        Some(bytes) => bytes,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::RepositoryKeys;

    fn keys() -> Keyring {
        keys_of(5, 9)
    }

    fn keys_of(key: u8, repository: u8) -> Keyring {
        Keyring::new(&RepositoryKeys::generate([key; 32]), RepositoryId::from_bytes([repository; 16]))
    }

    fn config() -> Config {
        Config::new(RepositoryId::from_bytes([9; 16]), Chunking::default(), 1_700_000_000_000)
    }

    /// Puts `bytes` at `at` and makes the checksum right again.
    fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut out = config().encode(&keys());
        out[at..at + bytes.len()].copy_from_slice(bytes);
        let check = blake3::hash(&out[..CHECK_AT]);
        out[CHECK_AT..].copy_from_slice(check.as_bytes());
        out
    }

    fn kind(bytes: &[u8]) -> ErrorKind {
        Config::decode(bytes).and_then(|config| config.verify(&keys())).unwrap_err().kind
    }

    #[test]
    fn a_config_reads_back() {
        let config = Config { single_writer: true, optional_features: 6, shard_log2: 17, parity_rate: 3, ..config() };
        let read = Config::decode(&config.encode(&keys())).unwrap();
        assert_eq!(read.repository(), config.repository);
        assert_eq!(read.verify(&keys()), Ok(config));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let bytes = config().encode(&keys());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Bits of the format but the lowest make it a greater one.
            let wanted = if (65..80).contains(&bit) { ErrorKind::Unsupported } else { ErrorKind::Damaged };
            assert_eq!(kind(&damaged), wanted, "bit {bit}");
        }
    }

    #[test]
    fn any_other_length_is_refused() {
        let bytes = config().encode(&keys());
        for length in 0..bytes.len() {
            assert_eq!(kind(&bytes[..length]), ErrorKind::Damaged);
        }
        assert_eq!(kind(&[&bytes[..], &[0]].concat()), ErrorKind::Damaged);
    }

    #[test]
    fn whoever_lacks_the_key_cannot_change_a_parameter() {
        let bytes = patched(61, &[25]);
        assert!(Config::check_public(&bytes).is_ok());
        assert_eq!(kind(&bytes), ErrorKind::Damaged);
        let bytes = config().encode(&keys());
        let verify = |keys: &Keyring| Config::decode(&bytes).unwrap().verify(keys).unwrap_err().field;
        assert_eq!(verify(&keys_of(6, 9)), "mac");
        assert_eq!(verify(&keys_of(5, 8)), "repository id");
    }

    #[test]
    fn a_newer_format_or_a_required_feature_is_unsupported() {
        assert_eq!(kind(&patched(8, &[2])), ErrorKind::Unsupported);
        assert_eq!(kind(&patched(19, &[0x80])), ErrorKind::Unsupported);
        assert!(Config::check_public(&patched(20, &[0xff; 8])).is_ok(), "optional features are the writer's affair");
    }

    #[test]
    fn reserved_bytes_and_parameters_beyond_the_limits_are_damage() {
        let cases: [(usize, &[u8]); 22] = [
            (0, b"X"),
            (8, &[0, 0]),
            (10, &[1]),
            (11, &[1]),
            (44, &[0]),
            (44, &[3]),
            (45, &[11]),
            (45, &[17]),
            (46, &[12]),
            (46, &[19]),
            (47, &[22]),
            (47, &[20]),
            (48, &[1]),
            (48, &0_u32.to_le_bytes()),
            (48, &(1_u32 << 29).to_le_bytes()),
            (52, &(15_u32 << 16).to_le_bytes()),
            (56, &(1_u32 << 18).to_le_bytes()),
            (56, &((1_u32 << 21) + 1).to_le_bytes()),
            (60, &[9]),
            (60, &[21]),
            (61, &[27]),
            (62, &[2]),
        ];
        for (at, bytes) in cases {
            assert_eq!(
                Config::check_public(&patched(at, bytes)).unwrap_err().kind,
                ErrorKind::Damaged,
                "{at}: {bytes:?}"
            );
        }
        assert_eq!(kind(&patched(63, &[65])), ErrorKind::Damaged);
    }

    #[test]
    fn a_pack_whose_footer_does_not_fit_a_shard_is_refused() {
        // 128 bytes and 12 for each shard but two: 1024 bytes are enough for 76 shards.
        let with = |shards: u32| Config { data_pack_bytes: shards << 10, shard_log2: 10, ..config() };
        assert_eq!(with(77).check().unwrap_err().field, "data pack bytes");
        assert_ne!(with(76).check().unwrap_err().field, "data pack bytes");
    }

    #[test]
    fn defaults_are_the_ones_of_the_spec() {
        let config = config();
        assert_eq!(
            (config.data_pack_bytes, config.metadata_pack_bytes, config.frame_bytes_max),
            (1 << 25, 1 << 22, 1 << 20)
        );
        assert_eq!((config.shard_bytes(), config.segment_bytes(), config.parity_rate), (1 << 16, 1 << 24, 16));
        assert_eq!(
            (config.chunking.min_bytes(), config.chunking.avg_bytes(), config.chunking.max_bytes()),
            (1 << 14, 1 << 16, 1 << 18)
        );
    }

    #[test]
    fn every_allowed_chunking_has_defaults_that_are_allowed() {
        for min_log2 in 0..=255 {
            for (avg_log2, max_log2) in (11..=22).flat_map(|avg| (11..=23).map(move |max| (avg, max))) {
                let chunking = Chunking { min_log2, avg_log2, max_log2, ..Chunking::default() };
                assert_eq!(Config::new(config().repository, chunking, 0).check().is_ok(), chunking.check().is_ok());
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(at in 8_usize..CHECK_AT, bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let bytes = &bytes[..bytes.len().min(CHECK_AT - at)];
            let _ = Config::decode(&patched(at, bytes)).map(|config| config.verify(&keys()));
        }
    }
}
