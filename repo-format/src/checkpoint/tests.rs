use super::*;
use crate::{AttemptId, LogEntry, test_kit};

fn keys() -> crate::Keyring {
    test_kit::keys()
}

/// Entries `1..=count`, chained.
fn entries(count: u64) -> Vec<Vec<u8>> {
    let keys = keys();
    let mut previous = Digest::of(b"config");
    (1..=count)
        .map(|number| {
            let header = EntryHeader {
                epoch: 1,
                repository: keys.repository(),
                number,
                previous,
                checkpoint: 0,
                attempt: AttemptId::from_bytes([1; 16]),
            };
            let entry = LogEntry { header, time_ms: number, records: Vec::new() }.seal(&keys, [2; 24]).unwrap();
            previous = Digest::of(&entry);
            entry
        })
        .collect()
}

fn part(first: u64, entries: &[Vec<u8>]) -> (Digest, Vec<u8>) {
    let mut builder = CheckpointPartBuilder::new(&keys().repository(), first);
    entries.iter().for_each(|entry| builder.push(entry).unwrap());
    builder.finish()
}

#[test]
fn a_part_gives_back_its_entries_byte_for_byte() {
    let entries = entries(5);
    let (name, bytes) = part(2, &entries[1..]);
    let found = CheckpointPart::decode(&bytes, &name, &keys().repository()).unwrap();
    assert_eq!((found.first, found.is_whole), (2, false));
    assert!(found.entries.iter().zip(&entries[1..]).all(|(found, entry)| found == entry));
    let end = found.check_chain(Some(Digest::of(&entries[0])), &keys().repository()).unwrap();
    assert_eq!(end, Digest::of(&entries[4]));
}

#[test]
fn equal_entries_give_equal_parts() {
    assert_eq!(part(1, &entries(3)), part(1, &entries(3)));
}

#[test]
fn any_flipped_bit_and_any_other_length_is_refused() {
    let (name, bytes) = part(1, &entries(2));
    let repository = keys().repository();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(CheckpointPart::decode(&damaged, &name, &repository).is_err(), "bit {bit}");
        // Under a name of its own nothing is left that could be taken for the part of another repository or another size.
        if let Ok(part) = CheckpointPart::decode(&damaged, &Digest::of(&damaged), &repository) {
            let previous = Some(Digest::of(b"config"));
            assert!(part.first != 1 || part.check_chain(previous, &repository).is_err(), "bit {bit}");
        }
    }
    for length in 0..bytes.len() {
        assert!(CheckpointPart::decode(&bytes[..length], &Digest::of(&bytes[..length]), &repository).is_err());
    }
    let long = [&bytes[..], &[0]].concat();
    assert!(CheckpointPart::decode(&long, &Digest::of(&long), &repository).is_err());
}

#[test]
fn a_part_is_whole_at_1024_entries_or_8_mib_and_takes_no_more() {
    let repository = keys().repository();
    let mut many = CheckpointPartBuilder::new(&repository, 1);
    (0..PART_ENTRIES_MAX).for_each(|_| {
        assert!(!many.is_whole());
        many.push(&[7]).unwrap();
    });
    assert!(many.is_whole() && many.push(&[7]).is_err());
    let mut long = CheckpointPartBuilder::new(&repository, 1);
    long.push(&vec![7; PART_BYTES_WHOLE - HEADER_BYTES - LENGTH_BYTES - 1]).unwrap();
    assert!(!long.is_whole());
    long.push(&[7]).unwrap();
    assert!(long.is_whole());
    let (name, bytes) = many.finish();
    assert!(CheckpointPart::decode(&bytes, &name, &repository).unwrap().is_whole);
}

#[test]
fn a_part_without_entries_or_from_entry_0_on_is_refused() {
    let repository = keys().repository();
    for (name, bytes) in [CheckpointPartBuilder::new(&repository, 1).finish(), part(0, &entries(1))] {
        assert!(CheckpointPart::decode(&bytes, &name, &repository).is_err());
    }
}

#[test]
fn entries_that_do_not_follow_each_other_are_no_chain() {
    let entries = entries(4);
    let repository = keys().repository();
    for order in [[0, 2], [1, 0], [0, 0]] {
        let (name, bytes) = part(1, &order.map(|at: usize| entries[at].clone()));
        let found = CheckpointPart::decode(&bytes, &name, &repository).unwrap();
        assert!(found.check_chain(None, &repository).is_err(), "{order:?}");
    }
}

#[test]
fn the_digest_is_that_of_the_notations_one_after_another() {
    let mut digester = StateDigester::new();
    digester
        .number(300)
        .text("ab")
        .raw(&[9; 3])
        .option(None, StateDigester::number)
        .option(Some(5), StateDigester::number);
    assert_eq!(digester.finish(), Digest::of(&[0xac, 2, 2, b'a', b'b', 9, 9, 9, 0, 1, 5]));
}
