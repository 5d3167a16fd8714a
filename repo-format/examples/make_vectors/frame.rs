use crate::{
    file::{VectorFile, patched},
    wire::{Header, chunk_id, hex, keyed, noise, seal, working_key},
};

/// A frame and what a directory would say of it.
#[derive(Clone)]
pub struct Frame {
    pub metadata: bool,
    pub codec: u8,
    pub plain_bytes: u64,
    pub chunks: Vec<([u8; 32], u64)>,
    pub stored: Vec<u8>,
}

impl Frame {
    /// Chunks as they are.
    pub fn stored(chunks: &[Vec<u8>]) -> Self {
        let plain = chunks.concat();
        let names = chunks.iter().map(|chunk| (chunk_id("data", chunk), chunk.len() as u64)).collect();
        Self { metadata: false, codec: 0, plain_bytes: plain.len() as u64, chunks: names, stored: plain }
    }

    /// Chunks as one zstd frame.
    pub fn zstd(chunks: &[Vec<u8>]) -> Self {
        let stored = zstd::bulk::compress(&chunks.concat(), 3).unwrap_or_default();
        Self { codec: 1, stored, ..Self::stored(chunks) }
    }

    pub fn seal(&self) -> Vec<u8> {
        let named: Vec<u8> =
            self.chunks.iter().flat_map(|(id, length)| [&id[..], &length.to_le_bytes()].concat()).collect();
        let header = Header {
            object_type: if self.metadata { 2 } else { 1 },
            codec: self.codec,
            epoch: 1,
            plain_bytes: self.plain_bytes,
            object: *blake3::keyed_hash(&working_key("frame id"), &named).as_bytes(),
        };
        seal(header, &self.stored)
    }
}

/// `sealed` under what a directory says of it.
fn described(file: VectorFile, frame: &Frame, sealed: &[u8]) -> VectorFile {
    let chunks: Vec<String> = frame.chunks.iter().map(|(id, length)| format!("{}:{length}", hex(id))).collect();
    keyed(file)
        .field("class", if frame.metadata { "metadata" } else { "data" })
        .field("epoch", 1)
        .field("codec", frame.codec)
        .field("plain_bytes", frame.plain_bytes)
        .field("chunks", chunks.join(" "))
        .hex("input", sealed)
}

fn accepted(name: &str, claim: &str, frame: &Frame, plain: &[u8]) -> VectorFile {
    described(VectorFile::new("frame", name, claim).accepted(), frame, &frame.seal()).hex("out.plain", plain)
}

fn damaged(name: &str, claim: &str, frame: &Frame, sealed: &[u8]) -> VectorFile {
    described(VectorFile::new("frame", name, claim).rejected("damaged"), frame, sealed)
}

fn words(length: usize) -> Vec<u8> {
    b"pack my box with five dozen jugs ".iter().copied().cycle().take(length).collect()
}

pub fn all() -> Vec<VectorFile> {
    let chunks = [noise(1, 70), words(200), noise(2, 1)];
    let plain = chunks.concat();
    let stored = Frame::stored(&chunks);
    let zstd = Frame::zstd(&chunks);
    let piece = [&[6][..], b"a piece"].concat();
    let metadata = Frame {
        metadata: true,
        chunks: vec![(chunk_id("metadata", &piece), piece.len() as u64)],
        ..Frame::stored(std::slice::from_ref(&piece))
    };
    let mut files = vec![
        accepted("stored", "chunks lie side by side", &stored, &plain),
        accepted("zstd", "chunks are compressed together", &zstd, &plain),
        accepted("one_byte", "a chunk may have one byte", &Frame::stored(&[vec![7]]), &[7]),
        accepted("metadata", "a metadata frame has its own key and type", &metadata, &piece),
    ];
    files.extend(wrong_seals(&stored, &metadata));
    files.extend(wrong_lengths(&stored));
    files.extend(wrong_zstd(&chunks));
    files
}

fn wrong_seals(stored: &Frame, metadata: &Frame) -> Vec<VectorFile> {
    let sealed = stored.seal();
    let flipped = |at: usize| patched(&sealed, at, &[sealed.get(at).map_or(0, |byte| byte ^ 1)]);
    let last = sealed.len() - 1;
    let mut swapped = stored.clone();
    swapped.chunks.swap(0, 1);
    let mut renamed = stored.clone();
    renamed.chunks.iter_mut().take(1).for_each(|(id, _)| *id = [9; 32]);
    let mut recut = stored.clone();
    recut.chunks.iter_mut().take(2).zip([71, 199]).for_each(|((_, length), new)| *length = new);
    vec![
        damaged("nonce", "a changed nonce does not authenticate", stored, &flipped(0)),
        damaged("ciphertext", "a changed ciphertext does not authenticate", stored, &flipped(30)),
        damaged("tag", "a changed tag does not authenticate", stored, &flipped(last)),
        damaged("short", "a frame is as long as stated", stored, sealed.get(..last).unwrap_or_default()),
        damaged("order", "chunks cannot change places", &swapped, &sealed),
        damaged("renamed", "a chunk cannot be given another id under the same seal", &renamed, &sealed),
        damaged("recut", "chunks cannot be cut elsewhere", &recut, &sealed),
        damaged(
            "class",
            "a metadata frame does not open as a data frame",
            &Frame { metadata: false, ..metadata.clone() },
            &metadata.seal(),
        ),
        damaged("codec", "stored bytes do not open as a zstd frame", &Frame { codec: 1, ..stored.clone() }, &sealed),
        damaged("hash", "a chunk whose hash is not its id is refused", &renamed, &renamed.seal()),
    ]
}

fn wrong_lengths(stored: &Frame) -> Vec<VectorFile> {
    let with = |lengths: &[u64]| {
        let chunks = stored.chunks.iter().zip(lengths).map(|((id, _), length)| (*id, *length)).collect();
        Frame { chunks, ..stored.clone() }
    };
    let forged = |name, claim, frame: &Frame| damaged(name, claim, frame, &frame.seal());
    vec![
        forged("no_chunk", "a frame holds at least one chunk", &with(&[])),
        forged("empty_chunk", "a chunk has at least one byte", &with(&[0, 270, 1])),
        forged("sum_below", "the chunks fill the plain bytes", &with(&[70, 199, 1])),
        forged("sum_above", "the chunks do not exceed the plain bytes", &with(&[70, 201, 1])),
        forged(
            "plain_length",
            "stored bytes are as long as the plain length",
            &Frame { plain_bytes: 272, ..with(&[70, 201, 1]) },
        ),
    ]
}

fn wrong_zstd(chunks: &[Vec<u8>]) -> Vec<VectorFile> {
    let good = Frame::zstd(chunks);
    let plain = chunks.concat();
    let forged = |name, claim, stored: Vec<u8>| {
        let frame = Frame { stored, ..good.clone() };
        damaged(name, claim, &frame, &frame.seal())
    };
    let compressed = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap_or_default();
    let unsized_frame = zstd::bulk::Compressor::new(3).and_then(|mut zstd| {
        zstd.include_contentsize(false)?;
        zstd.compress(&plain)
    });
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &1_u32.to_le_bytes(), b"x"].concat();
    let half = plain.len() / 2;
    let (first, second) = plain.split_at(half);
    vec![
        forged(
            "zstd_longer",
            "a zstd frame does not give more than the plain length",
            compressed(&[&plain[..], b"x"].concat()),
        ),
        forged(
            "zstd_shorter",
            "a zstd frame does not give less than the plain length",
            compressed(plain.get(1..).unwrap_or_default()),
        ),
        forged("zstd_sizeless", "a zstd frame states its content size", unsized_frame.unwrap_or_default()),
        forged("zstd_two", "there is one zstd frame, not two", [compressed(first), compressed(second)].concat()),
        forged("zstd_skippable", "no skippable frame follows", [&good.stored[..], &skippable].concat()),
        forged(
            "zstd_cut",
            "a zstd frame is whole",
            good.stored.get(..good.stored.len() - 1).unwrap_or_default().to_vec(),
        ),
        forged("zstd_none", "codec 1 is a zstd frame", plain.clone()),
        forged("zstd_window", "a zstd window has at most 8 MiB", wide_window(&plain)),
    ]
}

/// A raw block under a header that asks for a window of 16 MiB.
fn wide_window(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).unwrap_or_default();
    let block = (length << 3) | 1;
    [&0xfd2f_b528_u32.to_le_bytes()[..], &[0x80, 14 << 3], &length.to_le_bytes(), &block.to_le_bytes()[..3], plain]
        .concat()
}
