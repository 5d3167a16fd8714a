//! Frames.

use repo_format::{
    ChunkId, ChunkRef, Class, Codec, Compression, Compressor, Decompressor, FrameBuilder, FrameEntry, HashedChunk,
    open_frame,
};

use super::{Input, KEYS};
use crate::{
    Outcome,
    seal::{DATA_FRAME, Header, seal, working_key},
};

/// `codec u8 | plain length u32 | stored bytes`, sealed: what an attacker with the key could make the decompressor read.
pub fn frame(bytes: &[u8]) -> Outcome {
    let mut input = Input(bytes);
    let codec = if input.u8().is_multiple_of(2) { Codec::Stored } else { Codec::Zstd };
    let length = input.u32();
    let stored = input.0;
    let id = ChunkId::from_bytes([1; 32]);
    let sealed_bytes = u32::try_from(stored.len() + 40).unwrap_or(u32::MAX);
    let entry = FrameEntry { sealed_bytes, plain_bytes: length, codec, chunks: vec![ChunkRef { id, length }] };
    let named = [&id.as_bytes()[..], &u64::from(length).to_le_bytes()].concat();
    let header = Header {
        object_type: DATA_FRAME,
        codec: u8::from(codec == Codec::Zstd),
        plain_bytes: length.into(),
        object: *blake3::keyed_hash(&working_key("frame id"), &named).as_bytes(),
    };
    let mut sealed = seal(&header, stored);
    let opened =
        Decompressor::new().and_then(|mut zstd| open_frame(Class::Data, 1, &entry, &mut sealed, &KEYS, &mut zstd));
    if let Ok(frame) = &opened {
        assert_eq!(u32::try_from(frame.bytes().len()), Ok(length));
        if codec == Codec::Stored {
            assert_eq!(frame.bytes(), stored);
        }
        assert!(frame.chunk(0, &KEYS).is_err(), "no bytes have that name");
    }
    Outcome::of(&opened)
}

/// `compression u8 | cut u8 | chunks`: what is sealed opens again, and a flipped bit is refused.
pub fn frame_round_trip(bytes: &[u8]) -> Outcome {
    let mut input = Input(bytes);
    let compression = match input.u8() % 4 {
        0 => Compression::Stored,
        1 => Compression::Zstd(-3),
        2 => Compression::Zstd(3),
        _ => Compression::Zstd(12),
    };
    let cut = usize::from(input.u8()) + 1;
    let mut builder = FrameBuilder::new(Class::Data, 1 << 16);
    let chunks: Vec<&[u8]> = input
        .0
        .chunks(cut)
        .take_while(|chunk| builder.fits(chunk.len()) && builder.push(HashedChunk::of_data(chunk, &KEYS)).is_ok())
        .collect();
    let Some(plain) = builder.take() else { return Outcome::Refused("nothing".to_owned()) };
    let sealed = Compressor::new(compression).and_then(|mut zstd| plain.seal(&KEYS, &mut zstd, [9; 24]));
    let Ok(sealed) = sealed else { panic!("any frame can be sealed") };
    let Ok(mut zstd) = Decompressor::new() else { panic!("zstd has no memory") };
    assert_eq!(sealed.opens_to(&KEYS, &plain, &mut zstd), Ok(()));
    let mut flipped = sealed.bytes().to_vec();
    let place = usize::from(input.u8()) % flipped.len();
    flipped.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1);
    assert!(open_frame(Class::Data, sealed.epoch(), sealed.entry(), &mut flipped, &KEYS, &mut zstd).is_err());
    let opened =
        open_frame(Class::Data, sealed.epoch(), sealed.entry(), &mut sealed.bytes().to_vec(), &KEYS, &mut zstd);
    if let Ok(frame) = &opened {
        assert_eq!(frame.len(), chunks.len());
        for (index, chunk) in chunks.iter().enumerate() {
            assert!(frame.chunk(index, &KEYS).is_ok_and(|read| read.bytes() == *chunk));
        }
    }
    assert!(opened.is_ok());
    Outcome::of(&opened)
}
