//! Packs.

use repo_format::{
    Class, Compression, Compressor, Directory, Footer, FrameBuilder, HashedChunk, PACK_HEAD_BYTES, PackBuilder,
    PackClose, PackHead, PackLayout, PackName, Salt, SessionId,
};

use super::{Input, KEYS, with_hash};
use crate::{
    Outcome,
    seal::{DATA_DIRECTORY, Header, seal},
};

const SHARD: usize = 1024;
const SALT: [u8; 32] = [0x77; 32];

/// The first 64 bytes.
pub fn pack_head(bytes: &[u8]) -> Outcome {
    let head = bytes.first_chunk::<PACK_HEAD_BYTES>();
    head.map_or_else(|| Outcome::Refused("short".to_owned()), |head| Outcome::of(&PackHead::decode(head)))
}

/// A shard as it is, and a footer block with a right checksum: `length of the block u16 | block`.
pub fn pack_footer(bytes: &[u8]) -> Outcome {
    let _ = Footer::decode(bytes);
    if bytes.starts_with(b"SRMPACK1") {
        return Outcome::of(&Footer::decode(bytes.get(..SHARD).unwrap_or(bytes)));
    }
    let mut input = Input(bytes);
    let length = usize::from(input.u16()).min(input.0.len());
    let mut shard = with_hash(input.0.get(..length).unwrap_or_default());
    shard.resize(shard.len().next_power_of_two().max(SHARD), 0);
    let footer = Footer::decode(&shard);
    if let Ok(footer) = &footer {
        assert!(footer.directory_a() >= footer.shard_bytes().into());
        assert!(footer.directory_a() + u64::from(footer.directory_bytes()) <= footer.directory_b());
        assert!(footer.directory_b() + u64::from(footer.directory_bytes()) < footer.pack_bytes());
        let _ = footer.check_shard(1, &shard);
    }
    Outcome::of(&footer)
}

/// `directory A u16 | lines`: the plaintext of a directory, sealed. Frames that are accepted lie where frames may lie.
pub fn pack_directory(bytes: &[u8]) -> Outcome {
    let mut input = Input(bytes);
    let directory_a = u64::from(input.u16());
    let length = (input.0.len() + 40).next_multiple_of(SHARD);
    let mut plain = input.0.to_vec();
    plain.resize(length - 40, 0);
    let header = Header { object_type: DATA_DIRECTORY, codec: 0, plain_bytes: plain.len() as u64, object: SALT };
    let mut sealed = seal(&header, &plain);
    let footer = match Footer::decode(&footer_around(directory_a, length)) {
        Ok(footer) => footer,
        Err(error) => return Outcome::refused(&error),
    };
    let directory = Directory::open(&mut sealed, &footer, &KEYS);
    if let Ok(directory) = &directory {
        let mut end = SHARD as u64;
        for (index, frame) in directory.frames().iter().enumerate() {
            assert_eq!(directory.offset(index), Some(end));
            end += u64::from(frame.sealed_bytes);
            let chunks: u64 = frame.chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
            assert!(chunks == u64::from(frame.plain_bytes) && !frame.chunks.is_empty());
        }
        assert_eq!(end, directory_a);
    }
    Outcome::of(&directory)
}

/// The first shard of a pack of 64 shards.
fn footer_around(directory_a: u64, directory_bytes: usize) -> Vec<u8> {
    let shards = 64_usize;
    let directory_b = ((shards - 1) * SHARD).saturating_sub(directory_bytes);
    let mut block = head_bytes();
    block.extend_from_slice(&64_u32.to_le_bytes());
    block.extend_from_slice(&[0; 4]);
    block.extend_from_slice(&directory_a.to_le_bytes());
    block.extend_from_slice(&(directory_b as u64).to_le_bytes());
    block.extend_from_slice(&u32::try_from(directory_bytes).unwrap_or(u32::MAX).to_le_bytes());
    block.extend_from_slice(&1024_u32.to_le_bytes());
    block.resize(block.len() + (shards - 2) * 12, 0);
    let mut shard = with_hash(&block);
    shard.resize(SHARD, 0);
    shard
}

/// A head of epoch 1.
pub(crate) fn head_bytes() -> Vec<u8> {
    [&b"SRMPACK1"[..], &[1, 0, 1, 0, 1, 0, 0, 0], &[0x88; 16], &SALT].concat()
}

/// `close u8`, then a frame per `chunks u8 | length u16`: what fits is finished, has its length and reads back.
pub fn pack_round_trip(bytes: &[u8]) -> Outcome {
    let mut input = Input(bytes);
    let close = if input.u8().is_multiple_of(2) { PackClose::Full } else { PackClose::Early };
    let session = SessionId::from_bytes([0x88; 16]);
    let head = PackHead { class: Class::Data, epoch: KEYS.epoch(), session, salt: Salt::from_bytes(SALT) };
    let layout = PackLayout { shard_bytes: 1024, pack_bytes: 24 * 1024, parity_rate: 0 };
    let mut builder = PackBuilder::new(head, layout);
    let Ok(mut stored) = Compressor::new(Compression::Stored) else { panic!("nothing is asked of zstd") };
    while !input.0.is_empty() {
        let (chunks, length) = (input.u8(), usize::from(input.u16() % 6000) + 1);
        let mut frame = FrameBuilder::new(Class::Data, 12 * 1024);
        for count in 0..=chunks {
            let chunk = vec![count; length];
            if !frame.fits(length) || frame.push(HashedChunk::of_data(&chunk, &KEYS)).is_err() {
                break;
            }
        }
        let Some(Ok(sealed)) = frame.take().map(|plain| plain.seal(&KEYS, &mut stored, [1; 24])) else { break };
        if !builder.fits(&sealed) {
            assert!(builder.push(sealed).is_err());
            break;
        }
        assert_eq!(builder.push(sealed), Ok(()));
    }
    if builder.is_empty() {
        return Outcome::Refused("no frame".to_owned());
    }
    let frames = builder.frames().to_vec();
    let Ok(pack) = builder.finish(&KEYS, close, [2; 24], &mut |padding| padding.fill(3)) else {
        panic!("what fits is finished")
    };
    assert!(pack.bytes().len() <= 24 * 1024 && (close == PackClose::Early || pack.bytes().len() == 24 * 1024));
    assert_eq!(pack.name(), PackName::of(pack.bytes()));
    let Ok(footer) = Footer::decode(pack.bytes().get(..SHARD).unwrap_or_default()) else { panic!("footer") };
    for (index, shard) in (0..).zip(pack.bytes().chunks(SHARD)).skip(1).take(pack.bytes().len() / SHARD - 2) {
        assert_eq!(footer.check_shard(index, shard), Ok(()));
    }
    assert_eq!(pack.directory().frames(), frames);
    Outcome::Accepted
}
