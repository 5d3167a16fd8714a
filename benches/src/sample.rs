//! What the stage benches work on: chunks, frames and packs of one sample of disk content.
//!
//! `STRONGROOM_BENCH_IMAGE=FILE` takes the sample from a real image (64 MiB of data cells, evenly spread); otherwise it is made.

use std::{fs::File, os::unix::fs::FileExt as _, sync::OnceLock};

use repo_format::{
    Chunker, ChunkerKind, Chunking, Class, Compression, Compressor, Config, FrameBuilder, HashedChunk, Keyring,
    PackBuilder, PackHead, PackLayout, PlainFrame, RepositoryId, RepositoryKeys, RunEnd, Salt, SealedFrame, SessionId,
};

use crate::{content, random::Random};

/// Bytes of the sample.
pub const SAMPLE_BYTES: usize = 64 << 20;
const PIECE: usize = 1 << 20;

/// The sample: no zero cells, files of every kind in about the shares of a server's disk.
pub fn disk() -> &'static [u8] {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    SAMPLE.get_or_init(|| std::env::var_os("STRONGROOM_BENCH_IMAGE").map_or_else(made, |path| of_image(&path)))
}

fn of_image(path: &std::ffi::OsStr) -> Vec<u8> {
    let file = File::open(path).unwrap_or_else(|error| panic!("STRONGROOM_BENCH_IMAGE: {}: {error}", path.display()));
    let bytes = file.metadata().map(|data| data.len()).unwrap_or_default();
    let mut out = Vec::with_capacity(SAMPLE_BYTES);
    let mut piece = vec![0; PIECE];
    // Two walks over different thirds of the image give a spread without reading all of it.
    for offset in
        (0..bytes / PIECE as u64).step_by(3).chain((1..bytes / PIECE as u64).step_by(3)).map(|n| n * PIECE as u64)
    {
        file.read_exact_at(&mut piece, offset).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cells = piece.chunks_exact(16 << 10).filter(|cell| cell.iter().any(|byte| *byte != 0));
        cells.for_each(|cell| out.extend_from_slice(cell));
        if out.len() >= SAMPLE_BYTES {
            break;
        }
    }
    assert!(out.len() >= PIECE * 8, "{}: fewer than 8 MiB of data", path.display());
    out.truncate(SAMPLE_BYTES);
    out
}

fn made() -> Vec<u8> {
    use content::Kind;
    let mut random = Random::of(1, &[0x7361_6d70]);
    let mut out = Vec::with_capacity(SAMPLE_BYTES + (4 << 20));
    while out.len() < SAMPLE_BYTES {
        let (kind, low, high) = match random.below(100) {
            0..88 => (Kind::Source, 1 << 10, 64 << 10),
            88..97 => (Kind::Program, 16 << 10, 2 << 20),
            97 => (Kind::Media, 128 << 10, 2 << 20),
            98 => (Kind::Log, 256 << 10, 2 << 20),
            _ => (Kind::Database, 1 << 20, 4 << 20),
        };
        let length = random.log_between(low, high) as usize;
        out.extend(content::make(kind, length, &mut random));
        let end = out.len().next_multiple_of(4096);
        out.resize(end, 0);
    }
    out.truncate(SAMPLE_BYTES);
    out
}

/// A keyring of a fixed repository.
pub fn keys() -> &'static Keyring {
    static KEYS: OnceLock<Keyring> = OnceLock::new();
    KEYS.get_or_init(|| Keyring::new(&RepositoryKeys::generate([7; 32]), RepositoryId::from_bytes([7; 16])))
}

/// The default chunking with this chunker.
pub fn chunking(chunker: ChunkerKind) -> Chunking {
    Chunking { chunker, ..Chunking::default() }
}

/// The config of a fixed repository with defaults.
pub fn config() -> Config {
    Config::new(RepositoryId::from_bytes([7; 16]), Chunking::default(), 0)
}

/// Lengths of the chunks of `run`, as a worker cuts it: at most one largest chunk in view.
pub fn cut(chunker: &Chunker, chunking: &Chunking, run: &[u8]) -> Vec<usize> {
    let (mut at, mut lengths) = (0, Vec::new());
    while at < run.len() {
        let rest = &run[at..];
        let (window, end) = match rest.get(..chunking.max_bytes() as usize) {
            Some(window) if window.len() < rest.len() => (window, RunEnd::Beyond),
            _ => (rest, RunEnd::Here),
        };
        let length = chunker.cut(window, at as u64, end).unwrap_or(rest.len());
        lengths.push(length);
        at += length;
    }
    lengths
}

/// The chunks of the sample, by the default chunker.
pub fn chunks() -> Vec<&'static [u8]> {
    let chunking = Chunking::default();
    let mut rest = disk();
    let lengths = cut(&Chunker::new(&chunking, keys()), &chunking, rest);
    let mut split = |length| {
        let (chunk, behind) = rest.split_at(length);
        rest = behind;
        chunk
    };
    lengths.into_iter().map(&mut split).collect()
}

/// The frames of the sample.
pub fn frames() -> Vec<PlainFrame> {
    let mut builder = FrameBuilder::new(Class::Data, config().frame_bytes_max);
    let mut frames = Vec::new();
    for chunk in chunks() {
        if !builder.fits(chunk.len()) {
            frames.extend(builder.take());
        }
        builder.push(HashedChunk::of_data(chunk, keys())).expect("a chunk fits an empty frame");
    }
    frames.extend(builder.take());
    frames
}

/// A compressor for frames.
pub fn compressor(compression: Compression) -> Compressor {
    Compressor::new(compression).expect("a level of zstd")
}

/// The frames sealed; every nonce seed is different.
pub fn sealed(frames: &[PlainFrame], compression: Compression) -> Vec<SealedFrame> {
    let mut compressor = compressor(compression);
    let seal = |(n, frame): (usize, &PlainFrame)| frame.seal(keys(), &mut compressor, nonce(n)).expect("a frame seals");
    frames.iter().enumerate().map(seal).collect()
}

/// 24 bytes that differ by `n`.
pub fn nonce(n: usize) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&(n as u64).to_le_bytes());
    nonce
}

/// An empty data pack of the defaults.
pub fn pack_builder(salt: u8, buffer: Vec<u8>) -> PackBuilder {
    let head = PackHead {
        class: Class::Data,
        epoch: 1,
        session: SessionId::from_bytes([1; 16]),
        salt: Salt::from_bytes([salt; 32]),
    };
    PackBuilder::with_buffer(head, PackLayout::of(&config(), Class::Data), buffer)
}
