use super::*;
use crate::test_kit::{broken, chunk_id, damage, flaw, keys, keys_of_two_epochs, noise, other_keys, prose};
use crate::{ErrorKind, MetadataChunk, MetadataKind};

const RANDOM: [u8; 24] = [5; 24];

fn plain(keys: &Keyring, chunks: &[Vec<u8>]) -> PlainFrame {
    let mut builder = FrameBuilder::new(Class::Data, 1 << 20);
    for chunk in chunks {
        builder.push(HashedChunk::of_data(chunk, keys)).unwrap();
    }
    builder.take().unwrap()
}

fn sealed(keys: &Keyring, chunks: &[Vec<u8>], compression: Compression) -> SealedFrame {
    plain(keys, chunks).seal(keys, &mut Compressor::new(compression).unwrap(), RANDOM).unwrap()
}

fn open(entry: &FrameEntry, bytes: &[u8], keys: &Keyring) -> Result<OpenFrame, FormatError> {
    open_frame(Class::Data, 1, entry, &mut bytes.to_vec(), keys, &mut Decompressor::new().unwrap())
}

/// A frame with a right tag over whatever bytes.
fn forged(entry: FrameEntry, stored: &[u8], keys: &Keyring) -> (FrameEntry, Vec<u8>) {
    let entry = FrameEntry { sealed_bytes: u32_length(stored.len() + SEALED_OVERHEAD).unwrap(), ..entry };
    let bytes = envelope::seal(keys, &entry.header(Class::Data, 1, keys), stored, RANDOM).unwrap();
    (entry, bytes)
}

fn entry_of(length: u32, codec: Codec) -> FrameEntry {
    FrameEntry {
        sealed_bytes: length + 40,
        plain_bytes: length,
        codec,
        chunks: vec![ChunkRef { id: chunk_id(1), length }],
    }
}

#[test]
fn chunks_read_back_stored_and_compressed() {
    let keys = keys();
    let chunks = [prose(1000), noise(300, 1), prose(1), vec![0; 5000]];
    for (compression, codec) in [
        (Compression::Stored, Codec::Stored),
        (Compression::Zstd(1), Codec::Zstd),
        (Compression::Zstd(-5), Codec::Zstd),
        (Compression::Zstd(19), Codec::Zstd),
    ] {
        let frame = sealed(&keys, &chunks, compression);
        assert_eq!(frame.entry().codec, codec);
        assert_eq!(frame.bytes().len(), to_usize(frame.entry().sealed_bytes));
        let opened = open(frame.entry(), frame.bytes(), &keys).unwrap();
        assert_eq!((opened.len(), opened.class()), (4, Class::Data));
        for (index, chunk) in chunks.iter().enumerate() {
            assert_eq!(opened.chunk(index, &keys).unwrap().bytes(), chunk);
        }
        assert_eq!(flaw(opened.chunk(4, &keys)).0, ErrorKind::Invalid);
    }
}

#[test]
fn metadata_chunks_read_back_with_their_kind() {
    let keys = keys();
    let chunk = MetadataChunk::new(MetadataKind::StreamPiece, b"piece");
    let mut builder = FrameBuilder::new(Class::Metadata, 1000);
    builder.push(HashedChunk::of_metadata(&chunk, &keys)).unwrap();
    let plain = builder.take().unwrap();
    let frame = plain.seal(&keys, &mut Compressor::new(Compression::Zstd(3)).unwrap(), RANDOM).unwrap();
    let mut bytes = frame.bytes().to_vec();
    let mut decompressor = Decompressor::new().unwrap();
    let opened = open_frame(Class::Metadata, 1, frame.entry(), &mut bytes, &keys, &mut decompressor).unwrap();
    let read = MetadataChunk::from_bytes(opened.chunk(0, &keys).unwrap().bytes().to_vec()).unwrap();
    assert_eq!(read.payload_of(MetadataKind::StreamPiece).unwrap(), b"piece");
}

#[test]
fn what_does_not_shrink_is_stored_as_it_is() {
    let frame = sealed(&keys(), &[noise(5000, 1)], Compression::Zstd(3));
    assert_eq!(frame.entry().codec, Codec::Stored);
    assert_eq!(frame.entry().sealed_bytes, 5040);
}

#[test]
fn a_frame_has_content_size_and_neither_checksum_nor_dictionary() {
    let mut compressor = Compressor::new(Compression::Zstd(3)).unwrap();
    let (_, bytes) = compressor.compress(&[7; 1000]).unwrap();
    assert_eq!(bytes[4] & 0b111, 0, "descriptor");
    assert_eq!(zstd::zstd_safe::get_frame_content_size(bytes).unwrap(), Some(1000));
}

#[test]
fn a_level_zstd_does_not_have_is_refused() {
    assert_eq!(flaw(Compressor::new(Compression::Zstd(23))), (ErrorKind::Invalid, "compression level".to_owned()));
}

#[test]
fn a_frame_with_any_broken_bit_or_length_is_refused() {
    let keys = keys();
    for compression in [Compression::Stored, Compression::Zstd(3)] {
        let frame = sealed(&keys, &[prose(60), vec![0; 40]], compression);
        for bytes in broken(frame.bytes()) {
            assert!(open(frame.entry(), &bytes, &keys).is_err());
        }
    }
}

#[test]
fn a_frame_opens_only_as_what_it_was_sealed_as() {
    let keys = keys_of_two_epochs();
    let chunks = [prose(100), prose(200)];
    let plain = plain(&keys, &chunks);
    let frame = plain.seal(&keys, &mut Compressor::new(Compression::Stored).unwrap(), RANDOM).unwrap();
    assert_eq!(frame.epoch(), 2);
    let open_as = |class, epoch, entry: &FrameEntry| {
        let mut bytes = frame.bytes().to_vec();
        open_frame(class, epoch, entry, &mut bytes, &keys, &mut Decompressor::new().unwrap())
    };
    assert!(open_as(Class::Data, 2, frame.entry()).is_ok());
    assert!(open_as(Class::Metadata, 2, frame.entry()).is_err(), "class");
    assert!(open_as(Class::Data, 1, frame.entry()).is_err(), "epoch");
    assert_eq!(flaw(open_as(Class::Data, 3, frame.entry())).0, ErrorKind::WrongKey, "epoch");
    let altered = |alter: fn(&mut FrameEntry)| {
        let mut entry = frame.entry().clone();
        alter(&mut entry);
        open_as(Class::Data, 2, &entry)
    };
    assert!(altered(|entry| entry.codec = Codec::Zstd).is_err(), "codec");
    assert!(altered(|entry| entry.chunks.swap(0, 1)).is_err(), "order");
    assert!(altered(|entry| entry.chunks[0].id = chunk_id(1)).is_err(), "chunk id");
    let moved = altered(|entry| {
        entry.chunks[0].length += 1;
        entry.chunks[1].length -= 1;
    });
    assert!(moved.is_err(), "cut");
    assert!(open(frame.entry(), frame.bytes(), &other_keys()).is_err(), "key");
}

#[test]
fn a_line_that_contradicts_itself_is_refused_before_anything_is_opened() {
    let refused = |entry: FrameEntry| {
        let mut line = Vec::new();
        entry.put(&mut line);
        let by_reader = damage(FrameEntry::read(&mut Reader::new("test", &line)));
        assert_eq!(by_reader, damage(open(&entry, &vec![0; to_usize(entry.sealed_bytes.min(1 << 23))], &keys())));
        by_reader
    };
    let good = entry_of(100, Codec::Stored);
    let with_chunks = |lengths: &[u32]| FrameEntry {
        chunks: lengths.iter().map(|length| ChunkRef { id: chunk_id(1), length: *length }).collect(),
        ..good.clone()
    };
    assert_eq!(refused(entry_of(0, Codec::Stored)), "plain length");
    assert_eq!(refused(entry_of(FRAME_BYTES_MAX + 1, Codec::Stored)), "plain length");
    assert_eq!(refused(with_chunks(&[])), "chunk lengths");
    assert_eq!(refused(with_chunks(&[99])), "chunk lengths");
    assert_eq!(refused(with_chunks(&[101])), "chunk lengths");
    assert_eq!(refused(with_chunks(&[u32::MAX, 101])), "chunk lengths");
    assert_eq!(refused(with_chunks(&[100, 0])), "chunk length");
    assert_eq!(refused(FrameEntry { sealed_bytes: 139, ..good.clone() }), "sealed length");
    assert_eq!(refused(FrameEntry { sealed_bytes: 141, ..good.clone() }), "sealed length");
    assert_eq!(refused(FrameEntry { sealed_bytes: 40, codec: Codec::Zstd, ..good }), "sealed length");
}

#[test]
fn an_unknown_codec_is_refused() {
    let mut line = Vec::new();
    entry_of(100, Codec::Stored).put(&mut line);
    assert_eq!(&line[..4], [140, 1, 100, 0]);
    line[3] = 2;
    assert_eq!(damage(FrameEntry::read(&mut Reader::new("test", &line))), "codec");
}

#[test]
fn an_authentic_frame_that_decompresses_to_another_length_is_refused() {
    let keys = keys();
    let zstd = zstd::bulk::compress(&prose(1000), 3).unwrap();
    for length in [999, 1001] {
        let (entry, bytes) = forged(entry_of(length, Codec::Zstd), &zstd, &keys);
        assert_eq!(damage(open(&entry, &bytes, &keys)), "zstd content size");
    }
    let (entry, bytes) = forged(entry_of(1000, Codec::Zstd), &zstd, &keys);
    assert!(open(&entry, &bytes, &keys).is_ok());
}

#[test]
fn an_authentic_frame_whose_zstd_data_lies_about_its_size_is_refused() {
    let keys = keys();
    let mut zstd = zstd::bulk::compress(&noise(200, 1), 3).unwrap();
    assert_eq!((zstd[4], zstd[5]), (0b10_0000, 200), "one segment, content size in one byte");
    for length in [199_u8, 201] {
        zstd[5] = length;
        let (entry, bytes) = forged(entry_of(length.into(), Codec::Zstd), &zstd, &keys);
        assert_eq!(damage(open(&entry, &bytes, &keys)), "zstd");
    }
}

#[test]
fn a_chunk_under_another_name_is_refused() {
    let keys = keys();
    let (entry, bytes) = forged(entry_of(100, Codec::Stored), &prose(100), &keys);
    let opened = open(&entry, &bytes, &keys).unwrap();
    assert_eq!(damage(opened.chunk(0, &keys)), "hash");
}

#[test]
fn a_frame_that_does_not_hold_what_was_sealed_is_caught_by_the_check() {
    let keys = keys();
    let mut decompressor = Decompressor::new().unwrap();
    for compression in [Compression::Stored, Compression::Zstd(3)] {
        let plain = plain(&keys, &[prose(60), vec![0; 40]]);
        let frame = plain.seal(&keys, &mut Compressor::new(compression).unwrap(), RANDOM).unwrap();
        assert_eq!(frame.opens_to(&keys, &plain, &mut decompressor), Ok(()));
        for bit in 0..frame.bytes.len() * 8 {
            let mut frame = frame.clone();
            frame.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(frame.opens_to(&keys, &plain, &mut decompressor).is_err());
        }
        let mut other = self::plain(&keys, &[prose(60), vec![0; 40]]);
        other.bytes[70] = 1;
        assert_eq!(damage(frame.opens_to(&keys, &other, &mut decompressor)), "bytes just sealed");
    }
}

#[test]
fn a_builder_takes_chunks_up_to_its_limit_and_no_further() {
    let keys = keys();
    let bytes = prose(1001);
    let mut builder = FrameBuilder::new(Class::Data, 1000);
    assert!(builder.is_empty() && builder.take().is_none());
    assert!(!builder.fits(1001));
    assert_eq!(flaw(builder.push(HashedChunk::of_data(&bytes, &keys))).0, ErrorKind::Invalid);
    assert_eq!(flaw(builder.push(HashedChunk::of_data(&[], &keys))).0, ErrorKind::Invalid);
    builder.push(HashedChunk::of_data(&bytes[..600], &keys)).unwrap();
    assert!(builder.fits(400) && !builder.fits(401));
    assert!(builder.push(HashedChunk::of_data(&bytes[..401], &keys)).is_err());
    builder.push(HashedChunk::of_data(&bytes[..400], &keys)).unwrap();
    let frame = builder.take().unwrap();
    assert_eq!(frame.chunks().iter().map(|chunk| chunk.length).collect::<Vec<_>>(), [600, 400]);
    assert!(builder.is_empty());
}

#[test]
fn a_frame_of_tiny_chunks_is_full_before_its_directory_outgrows_it() {
    let keys = keys();
    let mut builder = FrameBuilder::new(Class::Data, 2560);
    let mut count = 0;
    while builder.fits(1) {
        builder.push(HashedChunk::of_data(&[count], &keys)).unwrap();
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn a_recycled_frame_leaves_nothing_behind() {
    let keys = keys();
    let mut builder = FrameBuilder::new(Class::Data, 100);
    builder.push(HashedChunk::of_data(&prose(50), &keys)).unwrap();
    let frame = builder.take().unwrap();
    let buffer = frame.bytes().as_ptr();
    builder.recycle(frame);
    assert!(builder.is_empty());
    builder.push(HashedChunk::of_data(&prose(10), &keys)).unwrap();
    let frame = builder.take().unwrap();
    assert_eq!((frame.bytes().len(), frame.chunks().len(), frame.bytes().as_ptr()), (10, 1, buffer));
}

#[test]
fn a_frame_under_way_is_not_lost_to_a_recycled_one() {
    let keys = keys();
    let old = plain(&keys, &[prose(50)]);
    let mut builder = FrameBuilder::new(Class::Data, 100);
    builder.push(HashedChunk::of_data(&prose(10), &keys)).unwrap();
    builder.recycle(old);
    assert_eq!(builder.take().unwrap().bytes(), prose(10));
}

#[test]
fn a_buffer_can_be_used_for_one_frame_after_another() {
    let keys = keys();
    let mut decompressor = Decompressor::new().unwrap();
    let mut buffer = Vec::new();
    for length in [5000, 10, 300] {
        let frame = sealed(&keys, &[prose(length)], Compression::Zstd(3));
        let mut bytes = frame.bytes().to_vec();
        let opened =
            open_frame_into(buffer, Class::Data, 1, frame.entry(), &mut bytes, &keys, &mut decompressor).unwrap();
        assert_eq!(opened.bytes(), prose(length));
        buffer = opened.into_buffer();
    }
}

#[test]
fn nothing_of_the_content_is_printed() {
    let frame = plain(&keys(), &[b"secret words".to_vec()]);
    assert_eq!(format!("{frame:?}"), "PlainFrame(Data, 12 bytes, 1 chunks)");
}
