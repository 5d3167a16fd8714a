use crate::{
    file::{VectorFile, patched},
    frame::Frame,
    parity,
    wire::{Header, hex, keyed, noise, seal, varint},
};

const SHARD: usize = 1024;
const SALT: [u8; 32] = [0x5a; 32];
const SESSION: [u8; 16] = *b"a session's id!!";

/// The parts of a pack, each to be bent.
#[derive(Clone)]
struct Pack {
    head: Vec<u8>,
    frames: Vec<Frame>,
    /// The plaintext of the directory, before zeros.
    lines: Vec<u8>,
    directory_shards: usize,
    padding: usize,
    parity_shards: usize,
    footer: Footer,
}

/// What the footer says other than the truth.
#[derive(Clone, Default)]
struct Footer {
    shards: Option<u32>,
    parity: Option<u32>,
    directory_a: Option<u64>,
    directory_b: Option<u64>,
    directory_bytes: Option<u32>,
    shard_bytes: Option<u32>,
    tail: u8,
    check: u8,
}

fn head(class: u8) -> Vec<u8> {
    [&b"SRMPACK1"[..], &[1, 0, class, 0], &1_u32.to_le_bytes(), &SESSION, &SALT].concat()
}

fn line(frame: &Frame) -> Vec<u8> {
    let chunks: Vec<u8> = frame.chunks.iter().flat_map(|(id, length)| [&id[..], &varint(*length)].concat()).collect();
    let sealed = frame.stored.len() as u64 + 40;
    [&varint(sealed)[..], &varint(frame.plain_bytes), &[frame.codec], &varint(frame.chunks.len() as u64), &chunks]
        .concat()
}

fn lines(frames: &[Frame]) -> Vec<u8> {
    [varint(frames.len() as u64), frames.iter().flat_map(line).collect()].concat()
}

impl Pack {
    fn new(frames: &[Frame]) -> Self {
        let class = if frames.iter().any(|frame| frame.metadata) { 2 } else { 1 };
        Self {
            head: head(class),
            frames: frames.to_vec(),
            lines: lines(frames),
            directory_shards: 1,
            padding: 0,
            parity_shards: 0,
            footer: Footer::default(),
        }
    }

    fn directory_a(&self) -> usize {
        SHARD + self.frames.iter().map(|frame| frame.stored.len() + 40).sum::<usize>()
    }

    /// All shards but the first and the last, without regard to what the footer says.
    fn middle(&self) -> Vec<u8> {
        let length = self.directory_shards * SHARD - 40;
        let mut plain = self.lines.clone();
        plain.resize(length, 0);
        let object_type = if self.head.get(10) == Some(&2) { 4 } else { 3 };
        let header = Header { object_type, codec: 0, epoch: 1, plain_bytes: length as u64, object: SALT };
        let directory = seal(header, &plain);
        let mut middle: Vec<u8> = self.frames.iter().flat_map(Frame::seal).collect();
        middle.extend_from_slice(&directory);
        let end = (middle.len() + directory.len() + self.padding).next_multiple_of(SHARD);
        middle.extend_from_slice(&noise(0xfa, end - middle.len() - directory.len()));
        let mut data = middle.clone();
        data.extend_from_slice(&directory);
        middle.extend_from_slice(&parity::shards(&data, SHARD, self.parity_shards));
        middle.extend_from_slice(&directory);
        middle
    }

    fn footer(&self, middle: &[u8]) -> Vec<u8> {
        let said = &self.footer;
        let number = |value: usize| u32::try_from(value).unwrap_or_default();
        let directory_bytes = self.directory_shards * SHARD;
        let directory_b = SHARD + middle.len() - directory_bytes;
        let mut block = self.head.clone();
        block.extend_from_slice(&said.shards.unwrap_or(number(middle.len() / SHARD + 2)).to_le_bytes());
        block.extend_from_slice(&said.parity.unwrap_or(number(self.parity_shards)).to_le_bytes());
        block.extend_from_slice(&said.directory_a.unwrap_or(self.directory_a() as u64).to_le_bytes());
        block.extend_from_slice(&said.directory_b.unwrap_or(directory_b as u64).to_le_bytes());
        block.extend_from_slice(&said.directory_bytes.unwrap_or(number(directory_bytes)).to_le_bytes());
        block.extend_from_slice(&said.shard_bytes.unwrap_or(1024).to_le_bytes());
        let mut checks: Vec<u8> = vec![];
        for shard in middle.chunks(SHARD) {
            let check = blake3::hash(shard);
            checks.extend(check.as_bytes().iter().take(12).map(|byte| byte ^ said.check));
        }
        // As many as the footer says, if that fits.
        let said_checks =
            said.shards.map_or(checks.len(), |shards| 12 * usize::try_from(shards - 2).unwrap_or_default());
        checks.resize(if said_checks < SHARD { said_checks } else { checks.len() }, 0);
        block.extend_from_slice(&checks);
        let hash = blake3::hash(&block);
        block.extend_from_slice(hash.as_bytes());
        block.resize(SHARD - 1, 0);
        block.push(said.tail);
        block
    }

    fn encode(&self) -> Vec<u8> {
        let middle = self.middle();
        let footer = self.footer(&middle);
        [&footer[..], &middle, &footer].concat()
    }
}

fn named(file: VectorFile, input: &[u8]) -> VectorFile {
    keyed(file).field("name", blake3::hash(input)).hex("input", input)
}

fn accepted(name: &str, claim: &str, pack: &Pack, input: &[u8]) -> VectorFile {
    let file = named(VectorFile::new("pack", name, claim).accepted(), input)
        .field("out.class", if pack.head.get(10) == Some(&2) { "metadata" } else { "data" })
        .field("out.epoch", 1)
        .hex("out.session", &SESSION)
        .hex("out.salt", &SALT)
        .field("out.shards", input.len() / SHARD)
        .field("out.parity_shards", pack.parity_shards)
        .field("out.frames", pack.frames.len());
    let mut offset = SHARD;
    pack.frames.iter().enumerate().fold(file, |file, (index, frame)| {
        let chunks: Vec<String> = frame.chunks.iter().map(|(id, length)| format!("{}:{length}", hex(id))).collect();
        let text =
            format!("{offset} {} {} {} {}", frame.stored.len() + 40, frame.plain_bytes, frame.codec, chunks.join(" "));
        offset += frame.stored.len() + 40;
        file.field(&format!("out.frame.{index}"), text)
    })
}

fn damaged(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    named(VectorFile::new("pack", name, claim).rejected("damaged"), input)
}

pub fn all() -> Vec<VectorFile> {
    let frames = [Frame::stored(&[noise(1, 300), noise(2, 40)]), Frame::zstd(&[vec![0x61; 500]])];
    let pack = Pack::new(&frames);
    let piece = b"\x06a piece".to_vec();
    let metadata = Frame {
        metadata: true,
        chunks: vec![(crate::wire::chunk_id("metadata", &piece), piece.len() as u64)],
        ..Frame::stored(&[piece])
    };
    let metadata = Pack::new(&[metadata]);
    let padded = Pack { padding: 1500, ..pack.clone() };
    let protected = Pack { parity_shards: 3, padding: 5000, ..pack.clone() };
    let mut files = vec![
        accepted("parity", "parity shards lie before the last directory", &protected, &protected.encode()),
        accepted("data", "a data pack of two frames", &pack, &pack.encode()),
        accepted("metadata", "a metadata pack has its own directory type", &metadata, &metadata.encode()),
        accepted("padding", "padding between the directories means nothing", &padded, &padded.encode()),
    ];
    files.extend(copies(&pack));
    files.extend(wrong_heads(&pack));
    files.extend(wrong_footers(&pack));
    files.extend(wrong_directories(&pack));
    files
}

/// One damaged copy of two. The shard checks are those of the bytes as they are.
fn copies(pack: &Pack) -> Vec<VectorFile> {
    let whole = pack.encode();
    let last = whole.len() - SHARD;
    let broken = |bytes: &[u8], at: usize| patched(bytes, at, &[bytes.get(at).map_or(0, |byte| byte ^ 1)]);
    let directory_a = pack.directory_a() - SHARD + 100;
    let directory_b = pack.middle().len() - 100;
    let rebuilt = |places: &[usize]| {
        let middle = places.iter().fold(pack.middle(), |middle, place| broken(&middle, *place));
        let footer = pack.footer(&middle);
        [&footer[..], &middle, &footer].concat()
    };
    vec![
        accepted("footer_b", "where the first footer is damaged the last one serves", pack, &broken(&whole, 70)),
        accepted("footer_a", "where the last footer is damaged the first one serves", pack, &broken(&whole, last + 70)),
        damaged("no_footer", "one of the footers is needed", &broken(&broken(&whole, 70), last + 70)),
        accepted(
            "directory_b",
            "where the first directory is damaged the last one serves",
            pack,
            &rebuilt(&[directory_a]),
        ),
        accepted(
            "directory_a",
            "where the last directory is damaged the first one serves",
            pack,
            &rebuilt(&[directory_b]),
        ),
        damaged("no_directory", "one of the directories is needed", &rebuilt(&[directory_a, directory_b])),
        keyed(VectorFile::new("pack", "name", "a pack bears the BLAKE3 of its bytes as its name").rejected("damaged"))
            .field("name", blake3::hash(&whole))
            .hex("input", &broken(&whole, pack.directory_a() + SHARD)),
        damaged(
            "shard_check",
            "a shard that its check does not match is damaged",
            &Pack { footer: Footer { check: 1, ..Footer::default() }, ..pack.clone() }.encode(),
        ),
        damaged("frame", "a damaged frame does not authenticate", &rebuilt(&[50])),
    ]
}

fn wrong_heads(pack: &Pack) -> Vec<VectorFile> {
    let with = |at: usize, patch: &[u8]| Pack { head: patched(&pack.head, at, patch), ..pack.clone() }.encode();
    let newer = with(8, &[2]);
    vec![
        damaged("magic", "a pack begins with its magic", &with(0, b"s")),
        named(VectorFile::new("pack", "format_2", "a newer format is unsupported").rejected("unsupported"), &newer),
        damaged("format_0", "no format is 0", &with(8, &[0])),
        damaged("class_0", "no class is 0", &with(10, &[0])),
        damaged("class_3", "no class is 3", &with(10, &[3])),
        damaged("reserved", "the reserved byte of the head is 0", &with(11, &[1])),
        damaged("epoch_0", "no key epoch is 0", &with(12, &[0])),
        named(
            VectorFile::new("pack", "epoch_2", "a key epoch that is not in the slot is a wrong key")
                .rejected("wrong_key"),
            &with(12, &[2]),
        ),
        damaged("salt", "the directory is bound to the salt", &with(32, &[0])),
    ]
}

fn wrong_footers(pack: &Pack) -> Vec<VectorFile> {
    let with = |footer: Footer| Pack { footer, ..pack.clone() }.encode();
    let good = Footer::default();
    let a = pack.directory_a() as u64;
    let end = pack.encode();
    vec![
        damaged(
            "parity_many",
            "at most a third of the shards is parity",
            &with(Footer { parity: Some(2), ..good.clone() }),
        ),
        damaged(
            "parity_place",
            "there is room for the parity between the directories",
            &with(Footer { parity: Some(1), ..good.clone() }),
        ),
        damaged(
            "shards_more",
            "the number of shards is that of the pack",
            &with(Footer { shards: Some(7), ..good.clone() }),
        ),
        damaged("shards_2", "a pack has more than two shards", &with(Footer { shards: Some(2), ..good.clone() })),
        damaged(
            "shards_many",
            "a check for each shard fits in the footer",
            &with(Footer { shards: Some(u32::MAX), ..good.clone() }),
        ),
        damaged(
            "shard_bytes",
            "the shard is as long as the footer says",
            &with(Footer { shard_bytes: Some(2048), ..good.clone() }),
        ),
        damaged(
            "directory_a_early",
            "directory A is not in the first shard",
            &with(Footer { directory_a: Some(1000), ..good.clone() }),
        ),
        damaged(
            "directory_a_off",
            "directory A follows the last frame",
            &with(Footer { directory_a: Some(a - 1), ..good.clone() }),
        ),
        damaged(
            "directory_b_off",
            "directory B ends where the last shard begins",
            &with(Footer { directory_b: Some(2049), ..good.clone() }),
        ),
        damaged(
            "directory_bytes_0",
            "a directory is not empty",
            &with(Footer { directory_bytes: Some(0), ..good.clone() }),
        ),
        damaged(
            "directory_bytes_odd",
            "a directory is whole shards",
            &with(Footer { directory_bytes: Some(1000), ..good.clone() }),
        ),
        damaged("footer_tail", "behind the footer there are zeros", &with(Footer { tail: 1, ..good })),
        damaged("cut", "a pack is whole", end.get(..end.len() - SHARD).unwrap_or_default()),
    ]
}

fn wrong_directories(pack: &Pack) -> Vec<VectorFile> {
    let with = |lines: Vec<u8>| Pack { lines, ..pack.clone() }.encode();
    let bent = |bend: fn(&mut Frame)| {
        let mut frames = pack.frames.clone();
        frames.iter_mut().take(1).for_each(bend);
        with(lines(&frames))
    };
    let good = &pack.lines;
    let mut padded = good.clone();
    padded.push(1);
    let overlong = [&[0x82, 0][..], good.get(1..).unwrap_or_default()].concat();
    let large = Pack { directory_shards: 2, ..pack.clone() };
    let first: Vec<Frame> = pack.frames.iter().take(1).cloned().collect();
    let nothing = Pack { frames: vec![], lines: vec![0], padding: 1, ..pack.clone() };
    vec![
        damaged("no_frame", "a pack holds at least one frame", &nothing.encode()),
        damaged("missing_frame", "the frames end at directory A", &with(lines(&first))),
        damaged("count", "a count is no greater than the bytes hold", &with(vec![0xff, 0xff, 0x7f])),
        damaged("varint", "a varint is the shortest", &with(overlong)),
        damaged("directory_tail", "behind the frames there are zeros", &with(padded)),
        damaged("directory_large", "a directory has the fewest zeros", &large.encode()),
        damaged("codec_2", "no codec is 2", &bent(|frame| frame.codec = 2)),
        damaged("no_chunk", "a frame holds at least one chunk", &bent(|frame| frame.chunks.clear())),
        damaged("chunk_0", "a chunk has at least one byte", &bent(|frame| frame.chunks.push(([1; 32], 0)))),
        damaged("sum", "the lengths of the chunks sum up to the frame's", &bent(|frame| frame.plain_bytes += 1)),
    ]
}
