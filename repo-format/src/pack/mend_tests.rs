//! What parity mends, and that it mends nothing else.

use proptest::prelude::*;

use super::*;
use crate::test_kit::{keys, noise};
use crate::{
    Class, Compression, Compressor, FrameBuilder, HashedChunk, Keyring, PackName, Salt, SessionId, frame::SealedFrame,
};

const SHARD: usize = 1024;
const LAYOUT: PackLayout = PackLayout { shard_bytes: 1024, pack_bytes: 64 * 1024, parity_rate: 64 };

fn frame(length: usize, keys: &Keyring) -> SealedFrame {
    let mut builder = FrameBuilder::new(Class::Data, 1 << 20);
    builder.push(HashedChunk::of_data(&noise(length, length as u64), keys)).unwrap();
    builder.take().unwrap().seal(keys, &mut Compressor::new(Compression::Stored).unwrap(), [1; 24]).unwrap()
}

fn pack(layout: PackLayout, lengths: &[usize], close: PackClose) -> FullPack {
    let keys = keys();
    let head = PackHead {
        class: Class::Data,
        epoch: 1,
        session: SessionId::from_bytes(*b"session session!"),
        salt: Salt::from_bytes([0x5a; 32]),
    };
    let mut builder = PackBuilder::new(head, layout);
    lengths.iter().for_each(|length| builder.push(frame(*length, &keys)).unwrap());
    builder.finish(&keys, close, [2; 24], &mut |padding| padding.fill(0xfa)).unwrap()
}

/// 64 shards, 8 of them parity.
fn full() -> FullPack {
    pack(LAYOUT, &[9000, 12_000, 15_000], PackClose::Full)
}

fn spoiled(pack: &FullPack, shards: &[u32]) -> Vec<u8> {
    let mut bytes = pack.bytes().to_vec();
    for shard in shards {
        let at = *shard as usize * SHARD;
        bytes[at..at + SHARD].copy_from_slice(&noise(SHARD, u64::from(*shard) + 1000));
    }
    bytes
}

fn mend(name: PackName, bytes: &[u8]) -> Result<MendedPack, Unmendable> {
    mend_pack(name, &[bytes])
}

#[test]
fn a_pack_has_the_drawn_parity_and_reads_as_without() {
    let pack = full();
    let footer = Footer::decode(&pack.bytes()[..SHARD]).unwrap();
    assert_eq!((footer.shards(), footer.parity_shards(), footer.parity_place()), (64, 8, 54..62));
    assert_eq!(footer.directory_b(), 62 * 1024, "the parity ends where directory B begins");
    let data: Vec<&[u8]> =
        pack.bytes()[SHARD..54 * SHARD].chunks(SHARD).chain([&pack.bytes()[62 * SHARD..63 * SHARD]]).collect();
    let mut wanted = vec![0; 8 * SHARD];
    parity::encode(&data, &mut wanted, SHARD);
    assert!(pack.bytes()[54 * SHARD..62 * SHARD] == wanted);
    assert_eq!(FullPack::reopen(pack.name(), pack.bytes().to_vec(), &keys()), Ok(pack));
}

#[test]
fn a_short_pack_has_two_parity_shards_beside_the_padme_length_of_the_rest() {
    let default = PackLayout { parity_rate: 16, ..LAYOUT };
    let without = PackLayout { parity_rate: 0, ..LAYOUT };
    for lengths in [&[100][..], &[9000], &[9000, 12_000]] {
        let [with, without] =
            [default, without].map(|layout| pack(layout, lengths, PackClose::Early).bytes().len() / SHARD);
        assert_eq!(with, without + 2, "{lengths:?}");
    }
}

#[test]
fn every_frame_that_fits_can_be_finished_with_parity() {
    let keys = keys();
    for parity_rate in [1, 16, 64] {
        for shards in [16, 17, 64, 76] {
            let layout = PackLayout { shard_bytes: 1024, pack_bytes: shards * 1024, parity_rate };
            // A quarter of the pack, the largest frame that a config allows.
            let largest = frame(shards as usize * 256, &keys);
            let mut builder = PackBuilder::new(full().head().clone(), layout);
            assert!(builder.fits(&largest), "{shards} shards at {parity_rate}");
            while builder.fits(&largest) {
                builder.push(largest.clone()).unwrap();
            }
            for length in [3000, 700, 200, 30, 1] {
                let frame = frame(length, &keys);
                while builder.fits(&frame) {
                    builder.push(frame.clone()).unwrap();
                }
            }
            let pack = builder.finish(&keys, PackClose::Full, [2; 24], &mut |padding| padding.fill(0)).unwrap();
            assert_eq!(pack.bytes().len(), shards as usize * SHARD);
        }
    }
}

#[test]
fn a_pack_without_parity_says_how_much_is_damaged() {
    let pack = pack(PackLayout { parity_rate: 0, ..LAYOUT }, &[9000], PackClose::Early);
    assert_eq!(mend(pack.name(), &spoiled(&pack, &[3])), Err(Unmendable::TooMany { bad: 1, parity: 0 }));
    let footer = mend(pack.name(), &spoiled(&pack, &[0])).unwrap();
    assert_eq!((footer.bytes == pack.bytes(), footer.mended), (true, vec![0]), "one footer makes the other");
}

#[test]
fn a_file_that_is_too_short_or_too_long_is_mended_as_far_as_the_parity_goes() {
    let pack = full();
    for cut in 1..=20_usize {
        let bytes = &pack.bytes()[..pack.bytes().len() - cut * SHARD + 17];
        let mended = mend(pack.name(), bytes);
        // The footer, which the first shard has too; directory B and up to seven of the eight parity shards.
        match cut {
            1..=9 => assert!(mended.unwrap().bytes == pack.bytes(), "{cut}"),
            cut => assert_eq!(mended, Err(Unmendable::TooMany { bad: u32::try_from(cut).unwrap() - 1, parity: 8 })),
        }
    }
    let long = [pack.bytes(), &noise(5000, 1)].concat();
    let mended = mend(pack.name(), &long).unwrap();
    assert!(mended.bytes == pack.bytes() && mended.mended.is_empty());
    let long = [&spoiled(&pack, &[0])[..], &noise(5000, 1)].concat();
    assert!(mend(pack.name(), &long).unwrap().bytes == pack.bytes(), "the last footer is found inside");
}

#[test]
fn two_footers_damaged_at_different_places_make_one() {
    let pack = full();
    let block = 64 + 32 + 62 * 12 + 32;
    assert!(block > 512, "two pieces");
    let mut bytes = pack.bytes().to_vec();
    bytes[300] ^= 1;
    bytes[63 * SHARD + 600] ^= 1;
    assert!(mend(pack.name(), &bytes).unwrap().bytes == pack.bytes());
    bytes[63 * SHARD + 300] ^= 2;
    assert_eq!(mend(pack.name(), &bytes), Err(Unmendable::NoFooter));
    // Zeros follow the block: they need not be read.
    let mut bytes = pack.bytes().to_vec();
    bytes[SHARD - 1] = 7;
    bytes[64 * SHARD - 1] = 7;
    assert!(mend(pack.name(), &bytes).unwrap().bytes == pack.bytes());
}

#[test]
fn a_footer_that_lies_makes_no_pack() {
    let (pack, other) = (full(), pack(LAYOUT, &[9000, 100], PackClose::Full));
    assert_eq!(mend(pack.name(), other.bytes()), Err(Unmendable::OtherPack));
    assert_eq!(mend(pack.name(), &spoiled(&other, &[5])), Err(Unmendable::OtherPack));
    // The other's footer over this pack's shards: nearly nothing is as it says.
    let mut bytes = pack.bytes().to_vec();
    bytes[..SHARD].copy_from_slice(&other.bytes()[..SHARD]);
    bytes[63 * SHARD..].copy_from_slice(&other.bytes()[63 * SHARD..]);
    assert!(matches!(mend(pack.name(), &bytes), Err(Unmendable::TooMany { .. })));
    // One of the two is right.
    bytes[63 * SHARD..].copy_from_slice(&pack.bytes()[63 * SHARD..]);
    assert!(mend(pack.name(), &bytes).unwrap().bytes == pack.bytes());
}

#[test]
fn a_second_copy_gives_what_it_has_right() {
    let pack = full();
    let (one, two): (Vec<u32>, Vec<u32>) = ((1..=30).collect(), (25..=60).collect());
    let [one, two] = [spoiled(&pack, &one), spoiled(&pack, &two)];
    assert_eq!(mend(pack.name(), &one), Err(Unmendable::TooMany { bad: 30, parity: 8 }));
    let mended = mend_pack(pack.name(), &[&one, &two]).unwrap();
    assert!(mended.bytes == pack.bytes());
    assert_eq!(mended.mended, (1..=30).collect::<Vec<u32>>());
    assert!(mend_pack(pack.name(), &[&[], pack.bytes()]).unwrap().bytes == pack.bytes(), "a missing pack");
}

#[test]
fn what_is_not_there_cannot_be_mended() {
    let name = full().name();
    for bytes in [&[][..], &[0; 5000], b"SRMPACK1", &noise(20_000, 1)] {
        assert_eq!(mend(name, bytes), Err(Unmendable::NoFooter));
    }
}

#[test]
fn a_full_pack_of_the_usual_size_is_mended_with_any_16_shards_gone() {
    let layout = PackLayout { shard_bytes: 1 << 10, pack_bytes: 64 << 10, parity_rate: 16 };
    assert_eq!(parity::parity_shards(512, 16), 16);
    // The same counts in small shards: 512 of them need a footer of 6248 bytes.
    let layout = PackLayout { shard_bytes: 1 << 13, pack_bytes: 512 << 13, ..layout };
    let pack = pack(layout, &[1 << 20, 1 << 20, 1 << 20], PackClose::Full);
    let spoil = |shards: &[usize]| {
        let mut bytes = pack.bytes().to_vec();
        shards.iter().for_each(|shard| bytes[shard << 13] ^= 0x40);
        bytes
    };
    for first in [1, 100, 480, 494, 495] {
        let shards: Vec<usize> = (first..first + 16).collect();
        assert!(mend(pack.name(), &spoil(&shards)).unwrap().bytes == pack.bytes(), "{first}");
        let more: Vec<usize> =
            (first - 1..first + 16).filter(|shard| *shard != 0).chain((first == 1).then_some(200)).collect();
        assert_eq!(mend(pack.name(), &spoil(&more)), Err(Unmendable::TooMany { bad: 17, parity: 16 }), "{first}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any set of shards as large as the parity, one footer beside it: mended. One more: said exactly.
    #[test]
    fn bad_shards_are_mended_up_to_the_parity_and_counted_beyond(
        shards in proptest::collection::btree_set(1_u32..63, 0..14),
        footer in proptest::option::of(prop_oneof![Just(0_u32), Just(63)]),
    ) {
        let pack = full();
        let bad: Vec<u32> = shards.iter().copied().chain(footer).collect();
        let mended = mend(pack.name(), &spoiled(&pack, &bad));
        if shards.len() <= 8 {
            let mended = mended.unwrap();
            prop_assert!(mended.bytes == pack.bytes());
            let mut wanted = bad;
            wanted.sort_unstable();
            prop_assert_eq!(mended.mended, wanted);
        } else {
            prop_assert_eq!(mended, Err(Unmendable::TooMany { bad: u32::try_from(shards.len()).unwrap(), parity: 8 }));
        }
    }

    /// Whatever happens to the bytes: what comes out is the pack, or nothing does.
    #[test]
    fn no_damage_makes_a_wrong_pack(
        flips in proptest::collection::vec((0_usize..64 * 1024, any::<u8>()), 0..40),
        cut in proptest::option::of(0_usize..64 * 1024),
        tail in 0_usize..3000,
    ) {
        let pack = full();
        let mut bytes = pack.bytes().to_vec();
        flips.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        bytes.truncate(cut.unwrap_or(bytes.len()));
        bytes.extend(noise(tail, 3));
        if let Ok(mended) = mend(pack.name(), &bytes) {
            prop_assert!(mended.bytes == pack.bytes());
        }
    }
}
