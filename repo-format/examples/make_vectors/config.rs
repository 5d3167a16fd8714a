use repo_format::{ChunkerKind, Chunking, Config, FormatError, Keyring, RepositoryId, RepositoryKeys};

use crate::file::{VectorFile, patched};

const KEY: [u8; 32] = [0x11; 32];
const REPOSITORY: [u8; 16] = *b"vector testbench";

fn config() -> Config {
    Config::new(RepositoryId::from_bytes(REPOSITORY), Chunking::default(), 1_790_000_000_000)
}

fn encode(config: &Config) -> Vec<u8> {
    config.encode(&Keyring::new(&RepositoryKeys::generate(KEY), config.repository))
}

/// The default config with `patch` at `at`, MAC and checksum made right again.
fn resigned(at: usize, patch: &[u8]) -> Vec<u8> {
    resign(patched(&encode(&config()), at, patch))
}

fn resign(mut out: Vec<u8>) -> Vec<u8> {
    out.truncate(72);
    let key = blake3::derive_key("strongroom v1 config mac", &KEY);
    let mac = blake3::keyed_hash(&key, &out);
    out.extend_from_slice(mac.as_bytes());
    let check = blake3::hash(&out);
    out.extend_from_slice(check.as_bytes());
    out
}

/// The same of a config without parity.
fn unprotected(at: usize, patch: &[u8]) -> Vec<u8> {
    resign(patched(&encode(&Config { parity_rate: 0, ..config() }), at, patch))
}

/// The default config with `patch` at `at`, and only the checksum made right again.
fn rechecked(at: usize, patch: &[u8]) -> Vec<u8> {
    let mut out = patched(&encode(&config()), at, patch);
    out.truncate(104);
    let check = blake3::hash(&out);
    out.extend_from_slice(check.as_bytes());
    out
}

fn keyed(file: VectorFile, input: &[u8]) -> VectorFile {
    file.hex("repository", &REPOSITORY).hex("key.1", &KEY).hex("input", input)
}

fn accepted(name: &str, claim: &str, config: &Config) -> Result<VectorFile, FormatError> {
    config.check()?;
    Ok(keyed(VectorFile::new("config", name, claim).accepted(), &encode(config))
        .field("out.repository", config.repository)
        .field("out.chunker", if config.chunking.chunker == ChunkerKind::Block { "block" } else { "fastcdc" })
        .field("out.min_log2", config.chunking.min_log2)
        .field("out.avg_log2", config.chunking.avg_log2)
        .field("out.max_log2", config.chunking.max_log2)
        .field("out.data_pack_bytes", config.data_pack_bytes)
        .field("out.metadata_pack_bytes", config.metadata_pack_bytes)
        .field("out.frame_bytes_max", config.frame_bytes_max)
        .field("out.shard_log2", config.shard_log2)
        .field("out.segment_log2", config.segment_log2)
        .field("out.single_writer", config.single_writer)
        .field("out.parity_rate", config.parity_rate)
        .field("out.created", config.created_ms)
        .field("out.optional_features", config.optional_features))
}

fn damaged(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    keyed(VectorFile::new("config", name, claim).rejected("damaged"), input)
}

fn unsupported(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    keyed(VectorFile::new("config", name, claim).rejected("unsupported"), input)
}

pub fn all() -> Result<Vec<VectorFile>, FormatError> {
    let good = encode(&config());
    let mut files = accepted_ones()?;
    files.extend([
        unsupported("format_2", "a newer format is unsupported", &resigned(8, &[2])),
        unsupported(
            "format_2_unchecked",
            "a newer format is unsupported whatever its checksum",
            &patched(&good, 8, &[2]),
        ),
        unsupported("required_feature", "a required feature that nobody knows is unsupported", &resigned(19, &[0x80])),
        damaged("format_0", "no format is 0", &resigned(8, &[0])),
        damaged("magic", "a config begins with its magic", &resigned(0, b"s")),
        damaged(
            "mac",
            "the MAC is made with the repository's key",
            &rechecked(72, &[good.get(72).map_or(0, |byte| !byte)]),
        ),
        damaged("unsigned_change", "a change without the key is noticed", &rechecked(61, &[25])),
        damaged(
            "checksum",
            "the checksum covers the MAC",
            &patched(&good, 103, &[good.get(103).map_or(0, |byte| !byte)]),
        ),
        damaged("short", "a config is not 135 bytes", good.get(..135).unwrap_or_default()),
        damaged("long", "a config is not 137 bytes", &[&good[..], &[0]].concat()),
        damaged("reserved_10", "the reserved bytes 10 and 11 are 0", &resigned(11, &[1])),
        damaged("parity_65", "at most 64 of 512 shards are parity", &resigned(63, &[65])),
        damaged(
            "parity_pack_small",
            "a pack with parity has at least 16 shards",
            &resigned(52, &(15_u32 << 16).to_le_bytes()),
        ),
        damaged("flag", "a flag that is not listed is reserved", &resigned(62, &[2])),
        damaged("another_repository", "the config is that of the repository whose keys are used", &resigned(28, &[0])),
        damaged("chunker_0", "no chunker is 0", &resigned(44, &[0])),
        damaged("chunker_3", "no chunker is 3", &resigned(44, &[3])),
        damaged("min_11", "min is at least 2^12", &resigned(45, &[11])),
        damaged("min_above_avg", "min is at most avg", &resigned(45, &[17])),
        damaged("avg_12", "avg is at least 2^13", &resigned(45, &[12, 12])),
        damaged("avg_21", "avg is at most 2^20", &resigned(45, &[14, 21, 21])),
        damaged("max_below_avg", "max is at least avg", &resigned(47, &[15])),
        damaged("max_22", "max is at most 2^21", &resigned(47, &[22])),
        damaged("data_pack_odd", "a data pack is whole shards", &resigned(48, &((1_u32 << 25) + 4096).to_le_bytes())),
        damaged("data_pack_large", "a data pack is at most 2^28 bytes", &resigned(48, &(1_u32 << 29).to_le_bytes())),
        damaged("metadata_pack_small", "a pack has at least 8 shards", &unprotected(52, &(7_u32 << 16).to_le_bytes())),
        damaged("footer", "a pack's footer fits one shard", &resigned(60, &[12])),
        damaged(
            "frame_small",
            "a frame takes more than the largest chunk",
            &resigned(56, &(1_u32 << 18).to_le_bytes()),
        ),
        damaged(
            "frame_large",
            "a frame is at most a quarter of a metadata pack",
            &resigned(56, &((1_u32 << 20) + 1).to_le_bytes()),
        ),
        damaged("shard_9", "a shard is at least 2^10 bytes", &resigned(60, &[9])),
        damaged("shard_21", "a shard is at most 2^20 bytes", &resigned(60, &[21])),
        damaged("segment_17", "a segment holds the largest chunk", &resigned(61, &[17])),
        damaged("segment_27", "a segment is at most 2^26 bytes", &resigned(61, &[27])),
    ]);
    Ok(files)
}

fn accepted_ones() -> Result<Vec<VectorFile>, FormatError> {
    let small = Config {
        chunking: Chunking { chunker: ChunkerKind::FastCdc, min_log2: 12, avg_log2: 13, max_log2: 13 },
        data_pack_bytes: 76 << 10,
        metadata_pack_bytes: 64 << 10,
        frame_bytes_max: 16 << 10,
        shard_log2: 10,
        segment_log2: 13,
        parity_rate: 0,
        ..config()
    };
    let large = Config {
        chunking: Chunking { min_log2: 20, avg_log2: 20, max_log2: 21, ..Chunking::default() },
        data_pack_bytes: 1 << 28,
        metadata_pack_bytes: 1 << 28,
        frame_bytes_max: 1 << 22,
        shard_log2: 20,
        segment_log2: 26,
        created_ms: u64::MAX,
        parity_rate: 64,
        ..config()
    };
    Ok(vec![
        accepted("defaults", "the defaults are allowed", &config())?,
        accepted("smallest", "the smallest parameters are allowed, a footer filling its shard", &small)?,
        accepted("largest", "the largest parameters are allowed", &large)?,
        accepted(
            "single_writer",
            "a repository may allow a single writer",
            &Config { single_writer: true, ..config() },
        )?,
        accepted(
            "optional_feature",
            "a reader ignores optional features it does not know",
            &Config { optional_features: 1 << 63, ..config() },
        )?,
    ])
}
