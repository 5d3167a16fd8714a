use super::{builder::PackBuilder, directory, footer::shard_check, *};
use crate::envelope::{self, SEALED_OVERHEAD};
use crate::test_kit::{broken, damage, flaw, keys, noise, other_keys, prose};
use crate::{
    Class, Codec, Compression, Compressor, Decompressor, ErrorKind, FormatError, FrameBuilder, FrameEntry, HashedChunk,
    Keyring, PackName, Salt, SealedFrame, SessionId, open_frame,
};

const SHARD: usize = 1024;
const LAYOUT: PackLayout = PackLayout { shard_bytes: 1024, pack_bytes: 16 * 1024, parity_rate: 0 };

fn head() -> PackHead {
    PackHead {
        class: Class::Data,
        epoch: 1,
        session: SessionId::from_bytes(*b"session session!"),
        salt: Salt::from_bytes([0x5a; 32]),
    }
}

fn frame_of(class: Class, chunks: &[Vec<u8>], keys: &Keyring) -> SealedFrame {
    let mut builder = FrameBuilder::new(class, 1 << 20);
    chunks.iter().for_each(|chunk| builder.push(HashedChunk::of_data(chunk, keys)).unwrap());
    builder.take().unwrap().seal(keys, &mut Compressor::new(Compression::Stored).unwrap(), [1; 24]).unwrap()
}

fn frame(length: usize, keys: &Keyring) -> SealedFrame {
    frame_of(Class::Data, &[noise(length, length as u64)], keys)
}

fn finish(builder: PackBuilder, close: PackClose, keys: &Keyring) -> FullPack {
    builder.finish(keys, close, [2; 24], &mut |padding| padding.fill(0xfa)).unwrap()
}

fn pack(lengths: &[usize], close: PackClose, keys: &Keyring) -> FullPack {
    let mut builder = PackBuilder::new(head(), LAYOUT);
    lengths.iter().for_each(|length| builder.push(frame(*length, keys)).unwrap());
    finish(builder, close, keys)
}

fn first_shard(pack: &FullPack) -> &[u8] {
    &pack.bytes()[..SHARD]
}

fn footer(pack: &FullPack) -> Footer {
    Footer::decode(first_shard(pack)).unwrap()
}

fn slice(pack: &FullPack, offset: u64, length: u32) -> &[u8] {
    let offset = usize::try_from(offset).unwrap();
    &pack.bytes()[offset..offset + usize::try_from(length).unwrap()]
}

/// The directory of `pack` with its plaintext replaced.
fn forged_directory(pack: &FullPack, plain: &[u8], keys: &Keyring) -> Result<Directory, FormatError> {
    let mut footer = footer(pack);
    let length = (plain.len() + SEALED_OVERHEAD).next_multiple_of(SHARD);
    let mut padded = plain.to_vec();
    padded.resize(length - SEALED_OVERHEAD, 0);
    footer.directory_bytes = u32::try_from(length).unwrap();
    let mut sealed = envelope::seal(keys, &directory::header(&footer.head, padded.len()), &padded, [3; 24]).unwrap();
    Directory::open(&mut sealed, &footer, keys)
}

fn lines(frames: &[FrameEntry]) -> Vec<u8> {
    let mut plain = vec![u8::try_from(frames.len()).unwrap()];
    frames.iter().for_each(|frame| frame.put(&mut plain));
    plain
}

#[test]
fn every_frame_of_a_pack_opens_from_either_directory() {
    let keys = keys();
    let pack = pack(&[3000, 1, 2000], PackClose::Full, &keys);
    let footer = footer(&pack);
    assert_eq!(footer, Footer::decode(&pack.bytes()[15 * SHARD..]).unwrap());
    assert_eq!(footer.head(), &head());
    for offset in [footer.directory_a(), footer.directory_b()] {
        let mut sealed = slice(&pack, offset, footer.directory_bytes()).to_vec();
        let directory = Directory::open(&mut sealed, &footer, &keys).unwrap();
        assert_eq!(&directory, pack.directory());
        for (index, length) in [3000, 1, 2000].into_iter().enumerate() {
            let entry = directory.frame(index).unwrap();
            let mut bytes = slice(&pack, directory.offset(index).unwrap(), entry.sealed_bytes).to_vec();
            let mut decompressor = Decompressor::new().unwrap();
            let opened = open_frame(Class::Data, 1, entry, &mut bytes, &keys, &mut decompressor).unwrap();
            assert_eq!(opened.chunk(0, &keys).unwrap().bytes(), noise(length, length as u64));
        }
        assert!(directory.frame(3).is_none() && directory.offset(3).is_none());
    }
}

#[test]
fn a_full_pack_has_exactly_its_length_and_the_drawn_parts() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    let bytes = pack.bytes();
    assert_eq!(bytes.len(), 16 * SHARD);
    assert_eq!(bytes[..SHARD], bytes[15 * SHARD..], "footer twice");
    let directory_a = SHARD + 3040;
    assert_eq!(bytes[directory_a..directory_a + SHARD], bytes[14 * SHARD..15 * SHARD], "directory twice");
    assert!(bytes[directory_a + SHARD..14 * SHARD].iter().all(|byte| *byte == 0xfa), "random padding between");
    let footer_bytes = 64 + 32 + 14 * 12 + 32;
    assert!(bytes[footer_bytes..SHARD].iter().all(|byte| *byte == 0), "zeros after the footer");
    assert_eq!(pack.name(), PackName::of(bytes));
}

#[test]
fn a_pack_closed_early_has_the_padme_length_of_its_parts() {
    let keys = keys();
    // Footer 2, directory 2, frame 3 shards; frames and padding make up the rest.
    for (frames, shards) in
        [(vec![3 * SHARD - 40], 7), (vec![3 * SHARD - 39], 8), (vec![100], 5), (vec![9 * SHARD], 14)]
    {
        assert_eq!(pack(&frames, PackClose::Early, &keys).bytes().len(), shards * SHARD, "{frames:?}");
    }
    let big = PackLayout { shard_bytes: 1024, pack_bytes: 60 * 1024, parity_rate: 0 };
    let mut builder = PackBuilder::new(head(), big);
    (0..29).for_each(|_| builder.push(frame(SHARD - 40, &keys)).unwrap());
    // 29 frames, 2 directories of 2 shards, 2 footers: 35 shards; Padmé steps by 2 shards there.
    assert_eq!(finish(builder, PackClose::Early, &keys).bytes().len(), 36 * SHARD);
}

#[test]
fn a_pack_closed_early_is_never_longer_than_a_full_one() {
    let keys = keys();
    let layout = PackLayout { shard_bytes: 1024, pack_bytes: 35 * 1024, parity_rate: 0 };
    let mut builder = PackBuilder::new(head(), layout);
    (0..29).for_each(|_| builder.push(frame(SHARD - 40, &keys)).unwrap());
    assert_eq!(finish(builder, PackClose::Early, &keys).bytes().len(), 35 * SHARD);
}

#[test]
fn what_fits_can_be_finished_and_what_does_not_is_refused() {
    let keys = keys();
    let room = 12 * SHARD - SEALED_OVERHEAD;
    let mut builder = PackBuilder::new(head(), LAYOUT);
    assert!(builder.fits(&frame(room, &keys)) && !builder.fits(&frame(room + 1, &keys)));
    assert_eq!(flaw(builder.push(frame(room + 1, &keys))).0, ErrorKind::Invalid);
    builder.push(frame(room, &keys)).unwrap();
    assert!(!builder.fits(&frame(1, &keys)));
    assert_eq!(finish(builder, PackClose::Full, &keys).bytes().len(), 16 * SHARD);
}

#[test]
fn packs_filled_to_the_brim_with_small_chunks_are_finished() {
    let keys = keys();
    for chunks in [1, 2, 7, 28, 60] {
        let frame = frame_of(Class::Data, &vec![prose(5); chunks], &keys);
        let mut builder = PackBuilder::new(head(), LAYOUT);
        while builder.fits(&frame) {
            builder.push(frame.clone()).unwrap();
        }
        assert!(!builder.is_empty() && builder.frames().len() < 200);
        for close in [PackClose::Full, PackClose::Early] {
            let mut same = PackBuilder::new(head(), LAYOUT);
            builder.frames().iter().for_each(|_| same.push(frame.clone()).unwrap());
            assert!(finish(same, close, &keys).bytes().len() <= 16 * SHARD);
        }
    }
}

#[test]
fn any_frame_fits_an_empty_pack_of_four_times_its_length() {
    let keys = keys();
    for (pack_bytes, frame_bytes_max) in [(8 * 1024, 2048), (64 * 1024, 16 * 1024)] {
        for length in [1, 37, 255, 256, 257, 1000, 2047, 2048] {
            let mut frame = FrameBuilder::new(Class::Data, frame_bytes_max);
            let chunk = noise(length, 1);
            while frame.fits(length) {
                frame.push(HashedChunk::of_data(&chunk, &keys)).unwrap();
            }
            let mut stored = Compressor::new(Compression::Stored).unwrap();
            let sealed = frame.take().unwrap().seal(&keys, &mut stored, [1; 24]).unwrap();
            let builder = PackBuilder::new(head(), PackLayout { shard_bytes: 1024, pack_bytes, parity_rate: 0 });
            assert!(builder.fits(&sealed), "chunks of {length} in {pack_bytes}");
        }
    }
}

#[test]
fn a_frame_of_another_class_or_epoch_is_refused() {
    let keys = keys();
    let mut builder = PackBuilder::new(head(), LAYOUT);
    assert_eq!(flaw(builder.push(frame_of(Class::Metadata, &[prose(5)], &keys))).0, ErrorKind::Invalid);
    let mut builder = PackBuilder::new(PackHead { epoch: 2, ..head() }, LAYOUT);
    assert_eq!(flaw(builder.push(frame(5, &keys))).0, ErrorKind::Invalid);
}

#[test]
fn an_empty_pack_is_not_finished() {
    let builder = PackBuilder::new(head(), LAYOUT);
    let finished = builder.finish(&keys(), PackClose::Early, [2; 24], &mut |_| {});
    assert_eq!(flaw(finished), (ErrorKind::Invalid, "frames".to_owned()));
}

#[test]
fn a_footer_longer_than_a_shard_is_refused() {
    let layout = PackLayout { shard_bytes: 1024, pack_bytes: 77 * 1024, parity_rate: 0 };
    let keys = keys();
    let mut builder = PackBuilder::new(head(), layout);
    builder.push(frame(5, &keys)).unwrap();
    assert_eq!(flaw(builder.finish(&keys, PackClose::Full, [2; 24], &mut |_| {})).0, ErrorKind::Invalid);
}

#[test]
fn a_buffer_used_again_leaves_nothing_behind() {
    let keys = keys();
    let first = pack(&[3000, 4000], PackClose::Full, &keys);
    let mut builder = PackBuilder::with_buffer(head(), LAYOUT, first.into_bytes());
    builder.push(frame(100, &keys)).unwrap();
    assert_eq!(finish(builder, PackClose::Full, &keys), pack(&[100], PackClose::Full, &keys));
}

#[test]
fn every_broken_bit_of_a_shard_is_found_by_its_check() {
    let pack = pack(&[3000], PackClose::Early, &keys());
    let footer = footer(&pack);
    for index in 1..footer.shards() - 1 {
        let start = usize::try_from(index).unwrap() * SHARD;
        let shard = &pack.bytes()[start..start + SHARD];
        assert_eq!(footer.check_shard(index, shard), Ok(()));
        assert_eq!(shard_check(shard)[..], blake3::hash(shard).as_bytes()[..12]);
        for bytes in broken(shard).step_by(61) {
            assert_eq!(damage(footer.check_shard(index, &bytes)), format!("shard {index}"));
        }
    }
    for index in [0, footer.shards() - 1, u32::MAX] {
        assert_eq!(flaw(footer.check_shard(index, first_shard(&pack))).0, ErrorKind::Invalid);
    }
}

#[test]
fn a_footer_with_any_broken_bit_or_length_is_refused() {
    let pack = pack(&[3000], PackClose::Early, &keys());
    for bytes in broken(first_shard(&pack)) {
        assert!(Footer::decode(&bytes).is_err());
    }
}

/// The footer of a pack, altered and given a right checksum.
fn forged_footer(alter: impl FnOnce(&mut Vec<u8>)) -> Result<Footer, FormatError> {
    let pack = pack(&[3000], PackClose::Full, &keys());
    let mut block = first_shard(&pack)[..64 + 32 + 14 * 12].to_vec();
    alter(&mut block);
    block.extend_from_slice(blake3::hash(&block).as_bytes());
    block.resize(SHARD.max(block.len()), 0);
    Footer::decode(&block)
}

fn put(block: &mut [u8], at: usize, value: &[u8]) {
    block[at..at + value.len()].copy_from_slice(value);
}

#[test]
fn a_footer_that_contradicts_itself_is_refused() {
    assert!(forged_footer(|_| {}).is_ok());
    let cases: [(usize, &[u8], &str); 17] = [
        (0, b"S", "accepted"),
        (0, b"X", "magic"),
        (8, &[0, 0], "format"),
        (10, &[0], "class"),
        (10, &[3], "class"),
        (11, &[1], "reserved"),
        (12, &[0; 4], "key epoch"),
        (64, &[1, 0], "shards"),
        (64, &[255; 4], "shards"),
        (68, &[6], "parity shards"),
        (72, &1023_u64.to_le_bytes(), "directory A"),
        (72, &(13 * 1024_u64 + 1).to_le_bytes(), "directory A"),
        (72, &[255; 8], "directory A"),
        (80, &(13 * 1024_u64).to_le_bytes(), "directory B"),
        (80, &[255; 8], "directory B"),
        (88, &1000_u32.to_le_bytes(), "directory length"),
        (92, &512_u32.to_le_bytes(), "shard bytes"),
    ];
    for (at, value, field) in cases {
        let footer = forged_footer(|block| put(block, at, value));
        match field {
            "accepted" => assert!(footer.is_ok()),
            field => assert_eq!(damage(footer), field, "{at}: {value:?}"),
        }
    }
    assert_eq!(damage(forged_footer(|block| put(block, 88, &[0; 4]))), "directory length");
    let newer = forged_footer(|block| put(block, 8, &[2, 0]));
    assert_eq!(flaw(newer), (ErrorKind::Unsupported, "format".to_owned()));
}

#[test]
fn bytes_after_a_footer_that_are_not_zero_are_refused() {
    let pack = pack(&[3000], PackClose::Full, &keys());
    let mut shard = first_shard(&pack).to_vec();
    shard[SHARD - 1] = 1;
    assert_eq!(damage(Footer::decode(&shard)), "end of the shard");
}

#[test]
fn a_head_reads_from_the_first_64_bytes() {
    let pack = pack(&[3000], PackClose::Full, &keys());
    let bytes: &[u8; PACK_HEAD_BYTES] = pack.bytes()[..64].try_into().unwrap();
    assert_eq!(PackHead::decode(bytes), Ok(head()));
}

#[test]
fn a_directory_with_any_broken_bit_or_length_is_refused() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Early, &keys);
    let footer = footer(&pack);
    let sealed = slice(&pack, footer.directory_a(), footer.directory_bytes());
    for mut bytes in broken(sealed) {
        assert!(Directory::open(&mut bytes, &footer, &keys).is_err());
    }
}

#[test]
fn a_directory_opens_only_with_the_head_and_key_of_its_pack() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    let open = |alter: fn(&mut Footer), keys: &Keyring| {
        let mut footer = footer(&pack);
        alter(&mut footer);
        let mut sealed = slice(&pack, footer.directory_a(), footer.directory_bytes()).to_vec();
        Directory::open(&mut sealed, &footer, keys)
    };
    assert!(open(|_| {}, &keys).is_ok());
    assert!(open(|_| {}, &other_keys()).is_err());
    assert!(open(|footer| footer.head.class = Class::Metadata, &keys).is_err());
    assert!(open(|footer| footer.head.salt = Salt::from_bytes([1; 32]), &keys).is_err());
    assert_eq!(flaw(open(|footer| footer.head.epoch = 2, &keys)).0, ErrorKind::WrongKey);
}

#[test]
fn frames_that_do_not_end_at_directory_a_are_refused() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    let entry = pack.directory().frame(0).unwrap().clone();
    assert!(forged_directory(&pack, &lines(std::slice::from_ref(&entry)), &keys).is_ok());
    assert_eq!(damage(forged_directory(&pack, &lines(&[entry.clone(), entry]), &keys)), "end of the last frame");
}

#[test]
fn a_bad_line_is_refused_with_its_place() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    let entry = pack.directory().frame(0).unwrap().clone();
    let bad = FrameEntry { plain_bytes: 2999, codec: Codec::Zstd, ..entry.clone() };
    assert_eq!(damage(forged_directory(&pack, &lines(&[entry, bad]), &keys)), "frame 1: chunk lengths");
}

#[test]
fn a_directory_whose_padding_is_not_zero_is_refused() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    let mut plain = lines(pack.directory().frames());
    plain.push(1);
    assert_eq!(damage(forged_directory(&pack, &plain, &keys)), "padding");
}

#[test]
fn a_directory_of_no_frames_is_refused() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    assert_eq!(damage(forged_directory(&pack, &lines(&[]), &keys)), "frames");
}

#[test]
fn a_directory_with_a_shard_of_padding_is_refused() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    let mut plain = lines(pack.directory().frames());
    plain.resize(SHARD - SEALED_OVERHEAD, 0);
    assert!(forged_directory(&pack, &plain, &keys).is_ok());
    plain.resize(2 * SHARD - SEALED_OVERHEAD, 0);
    assert_eq!(damage(forged_directory(&pack, &plain, &keys)), "padding");
}

#[test]
fn a_count_beyond_the_directory_is_refused() {
    let keys = keys();
    let pack = pack(&[3000], PackClose::Full, &keys);
    assert_eq!(damage(forged_directory(&pack, &[0xff, 0xff, 0xff, 0x7f], &keys)), "frames");
}
