use repo_format::{Chunker, ChunkerKind, Chunking, Keyring, RepositoryId, RepositoryKeys, RunEnd};

use crate::file::VectorFile;

const KEY: [u8; 32] = [0x11; 32];
const REPOSITORY: [u8; 16] = *b"vector testbench";

/// A part of a run, as the vector names it.
enum Part {
    /// So many bytes of the extended BLAKE3 of the seed.
    Random(u8, usize),
    /// So many times this byte.
    Fill(u8, usize),
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match *self {
            Self::Random(seed, length) => {
                let mut bytes = vec![0; length];
                blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
                bytes
            }
            Self::Fill(byte, length) => vec![byte; length],
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Random(seed, length) => format!("random {seed:02x} {length}"),
            Self::Fill(byte, length) => format!("fill {byte:02x} {length}"),
        }
    }
}

fn vector(name: &str, claim: &str, chunking: Chunking, address: u64, parts: &[Part]) -> VectorFile {
    let keys = Keyring::new(&RepositoryKeys::generate(KEY), RepositoryId::from_bytes(REPOSITORY));
    let chunker = Chunker::new(&chunking, &keys);
    let run: Vec<u8> = parts.iter().flat_map(Part::bytes).collect();
    let mut rest = &run[..];
    let mut lengths: Vec<String> = vec![];
    let mut start = address;
    while let Some((chunk, more)) =
        chunker.cut(rest, start, RunEnd::Here).and_then(|length| rest.split_at_checked(length))
    {
        lengths.push(chunk.len().to_string());
        start += chunk.len() as u64;
        rest = more;
    }
    VectorFile::new("chunker", name, claim)
        .accepted()
        .hex("repository", &REPOSITORY)
        .hex("key.1", &KEY)
        .field("chunker", if chunking.chunker == ChunkerKind::Block { "block" } else { "fastcdc" })
        .field("min_log2", chunking.min_log2)
        .field("avg_log2", chunking.avg_log2)
        .field("max_log2", chunking.max_log2)
        .field("address", address)
        .field("input", parts.iter().map(Part::text).collect::<Vec<_>>().join(" + "))
        .field("input_blake3", blake3::hash(&run))
        .field("out.lengths", lengths.join(" "))
}

pub fn all() -> Vec<VectorFile> {
    use Part::{Fill, Random};
    let block = Chunking::default();
    let fine = Chunking { min_log2: 12, avg_log2: 13, max_log2: 15, ..block };
    let even = Chunking { min_log2: 16, avg_log2: 16, max_log2: 16, ..block };
    let fastcdc = Chunking { chunker: ChunkerKind::FastCdc, ..block };
    let coarse = Chunking { min_log2: 19, avg_log2: 20, max_log2: 21, ..block };
    let fastcdc_fine = Chunking { chunker: ChunkerKind::FastCdc, ..fine };
    let fastcdc_coarse = Chunking { chunker: ChunkerKind::FastCdc, ..coarse };
    vec![
        vector("block_random", "block cuts random bytes by their blocks", block, 0, &[Random(1, 2 << 20)]),
        vector("block_fine", "block cuts with its smallest sizes", fine, 0, &[Random(2, 256 << 10)]),
        vector("block_coarse", "block cuts with its largest sizes", coarse, 0, &[Random(3, 6 << 20)]),
        vector("block_min_is_max", "block with one size cuts at round addresses", even, 4096, &[Random(4, 300_000)]),
        vector(
            "block_fill",
            "block cuts what it cannot tell apart at round addresses",
            block,
            12_288,
            &[Fill(0xff, 1 << 20)],
        ),
        vector("block_short", "a run below min is one chunk", block, 16_384, &[Random(5, 10_000)]),
        vector("block_one_byte", "a run of one byte is one chunk", block, 0, &[Random(5, 1)]),
        vector("block_tail", "block does not look at a block that is not whole", fine, 0, &[Random(6, 65_536 + 4095)]),
        vector(
            "block_resync",
            "block finds its cuts again behind bytes that differ",
            fine,
            0,
            &[Random(7, 40_960), Random(2, 256 << 10)],
        ),
        vector(
            "block_run_of_max",
            "a run of max bytes without a cut is cut at a round address",
            Chunking { max_log2: 17, ..block },
            4096,
            &[Fill(0xff, 1 << 17)],
        ),
        vector("block_address", "where a run lies moves forced cuts", block, 1 << 40 | 36_864, &[Fill(0xff, 1 << 20)]),
        vector("fastcdc_random", "fastcdc cuts random bytes", fastcdc, 0, &[Random(1, 2 << 20)]),
        vector("fastcdc_fine", "fastcdc cuts with its smallest sizes", fastcdc_fine, 0, &[Random(2, 256 << 10)]),
        vector("fastcdc_coarse", "fastcdc cuts with its largest sizes", fastcdc_coarse, 0, &[Random(3, 6 << 20)]),
        vector("fastcdc_fill", "fastcdc cuts equal bytes at max", fastcdc, 12_288, &[Fill(0xff, 1 << 20)]),
        vector("fastcdc_odd", "fastcdc cuts a run of odd length", fastcdc_fine, 0, &[Random(6, 65_535)]),
    ]
}
