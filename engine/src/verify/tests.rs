use repo_format::HashedChunk;

use super::*;
use crate::{
    monitor::Silent,
    problem::Part,
    store::{Name, NameKind, Store},
    test_repository::{CHUNK, TestRepository, content, flip},
};

const WHOLE: Depth = Depth::ReadData(Share::Whole);

fn run(reader: &mut Reader, depth: Depth) -> VerifyReport {
    verify(reader, &VerifyOptions { depth, points: Vec::new(), threads: 2 }, &Silent).unwrap()
}

fn without_key(repository: &TestRepository) -> VerifyReport {
    verify_without_key(repository.store.as_ref(), 2, &Silent).unwrap()
}

fn two_nights() -> (TestRepository, ChunkId, ChunkId) {
    let mut repository = TestRepository::new();
    let mut seeds: Vec<u8> = (0..1100_usize).map(|number| u8::try_from(number % 200).unwrap()).collect();
    let first = repository.back_up("web01", &[("a", &content(&seeds)), ("b", &content(&[1, 2, 3]))], true);
    (seeds[5], seeds[700]) = (253, 252);
    (205..1100).step_by(200).for_each(|number| seeds[number] = 251);
    let second = repository.back_up("web01", &[("a", &content(&seeds)), ("b", &content(&[1, 2, 3]))], true);
    repository.fill_cache();
    (repository, first, second)
}

fn is_log(name: &Name) -> bool {
    matches!(name.kind(), NameKind::Log(_))
}

#[test]
fn a_good_repository_has_no_problem_at_any_depth() {
    let (repository, ..) = two_nights();
    let packs = repository.packs().len() as u64;
    for depth in [Depth::Quick, WHOLE, Depth::ReadData(Share::Percent(10))] {
        let report = run(&mut repository.reader(), depth);
        assert_eq!(report.problems, [], "{depth:?}");
        assert_eq!((report.points_checked, report.packs_total), (2, packs));
    }
    assert_eq!(run(&mut repository.reader(), WHOLE).packs_checked, packs);
    let report = without_key(&repository);
    assert_eq!((report.problems, report.packs_checked), (Vec::new(), packs));
}

#[test]
fn an_object_that_is_longer_than_any_of_its_kind_keeps_nobody_out_and_is_named() {
    let (repository, ..) = two_nights();
    let names = repository.names().into_iter().filter(|name| !matches!(name.kind(), NameKind::Pack(_)));
    for name in names {
        let last = name.as_str().rsplit('/').next().unwrap().to_owned();
        let longer = |bytes: &mut Vec<u8>| {
            bytes.resize(1 + repo_format::ENTRY_BYTES_MAX, 7);
            true
        };
        repository.while_damaged(&name, longer, |repository| {
            let mut found = vec![without_key(repository).problems];
            // The log is there once: without one of its entries nobody may go on.
            if !is_log(&name) {
                found.push(run(&mut repository.reader(), Depth::Quick).problems);
            }
            let number = last.trim_start_matches('0').to_owned();
            for problems in found {
                let named = problems.iter().any(|problem| problem.object.contains(&number));
                assert!(named, "{name}: {problems:?}");
            }
        });
    }
}

#[test]
fn a_flipped_bit_of_any_object_is_found() {
    let (repository, ..) = two_nights();
    for name in repository.names() {
        let length = usize::try_from(repository.store.size(&name).unwrap().unwrap()).unwrap();
        let places = match name.kind() {
            NameKind::Pack(_) => {
                vec![0, 70, 4095, 4096, 4596, length / 2, length - 12288, length - 4097, length - 4096, length - 1]
            }
            _ => vec![0, length / 3, length / 2, length - 1],
        };
        let last = name.as_str().rsplit('/').next().unwrap().to_owned();
        for place in places {
            repository.while_damaged(&name, flip(place), |repository| {
                let problems = without_key(repository).problems;
                assert!(!problems.is_empty(), "{name} at {place}, without key");
                // An open repository has read its log already, and refuses to open with a damaged one.
                if !is_log(&name) {
                    let problems = run(&mut repository.reader(), WHOLE).problems;
                    assert!(
                        problems.iter().any(|problem| problem.object.contains(&last)),
                        "{name} at {place}: {problems:?}"
                    );
                }
            });
        }
    }
    assert_eq!(run(&mut repository.reader(), WHOLE).problems, []);
}

#[test]
fn an_object_that_is_short_or_missing_is_found() {
    let (repository, ..) = two_nights();
    let names = repository.names();
    let newest = names.iter().filter(|name| is_log(name)).max().cloned();
    for name in names {
        let cut = |bytes: &mut Vec<u8>| bytes.pop().is_some();
        repository.while_damaged(&name, cut, |repository| {
            assert!(!without_key(repository).problems.is_empty(), "{name} short");
        });
        repository.while_damaged(
            &name,
            |_| false,
            |repository| {
                // Without a key nobody knows which packs, and how many entries, there should be.
                if !matches!(name.kind(), NameKind::Pack(_)) && Some(&name) != newest.as_ref() {
                    assert!(!without_key(repository).problems.is_empty(), "{name} missing");
                }
                if !is_log(&name) {
                    let problems = run(&mut repository.reader(), Depth::Quick).problems;
                    assert!(!problems.is_empty(), "{name} missing, quick");
                }
            },
        );
    }
}

#[test]
fn damage_is_mapped_to_points_disks_and_ranges() {
    let (repository, first, second) = two_nights();
    let reader = repository.reader();
    // Cell 5 of the first night is gone in the second; cell 6 is in both.
    for (seed, points) in [(5, vec![first]), (6, vec![first, second])] {
        let bytes = content(&[seed]);
        let id = HashedChunk::of_data(&bytes, reader.keys()).id();
        let location = reader.locate_all(&id).unwrap()[0];
        let frame = usize::try_from(location.frame).unwrap();
        let at = usize::try_from(reader.pack(location.pack).unwrap().directory().offset(frame).unwrap()).unwrap();
        repository.while_damaged(&repository.pack_name(location.pack), flip(at + 30), |repository| {
            assert_eq!(run(&mut repository.reader(), Depth::Quick).problems, [], "quick reads no frames");
            let problems = run(&mut repository.reader(), WHOLE).problems;
            assert_eq!(problems.len(), 1);
            for point in &points {
                let of_disk =
                    |cost: &&crate::problem::Cost| cost.point == *point && cost.part == Part::Disk("a".to_owned());
                let cost = problems[0].costs.iter().find(of_disk).unwrap();
                let place = u64::from(seed) * CHUNK as u64;
                assert!(cost.ranges.iter().any(|range| range.contains(&place)), "{cost:?}");
                assert_eq!(cost.bytes, cost.ranges.iter().map(crate::byte_ranges::length).sum::<u64>());
                assert_eq!(cost.vm, "web01");
            }
        });
    }
}

#[test]
fn a_missing_pack_is_blamed_for_its_chunks_with_and_without_an_index() {
    let (repository, first, _) = two_nights();
    let pack = repository.packs()[0];
    repository.while_damaged(
        &repository.pack_name(pack),
        |_| false,
        |repository| {
            for mut reader in [repository.reader(), repository.cached_reader()] {
                let problems = run(&mut reader, Depth::Quick).problems;
                assert_eq!(problems.len(), 1, "{problems:?}");
                assert!(
                    problems[0].object.starts_with("pack ") && problems[0].costs.iter().any(|cost| cost.point == first)
                );
            }
        },
    );
}

#[test]
fn damage_that_no_point_needs_costs_nothing() {
    let mut repository = TestRepository::new();
    repository.back_up("web01", &[("a", &content(&[1, 2]))], false);
    let first = repository.packs()[0];
    let spare = repository.add_copies(&content(&[77, 1]));
    repository.while_damaged(&repository.pack_name(spare), flip(4200), |repository| {
        let problems = run(&mut repository.reader(), WHOLE).problems;
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].costs, []);
    });
    repository.while_damaged(&repository.pack_name(first), flip(4200), |repository| {
        let problems = run(&mut repository.reader(), WHOLE).problems;
        let bytes: u64 = problems[0].costs.iter().map(|cost| cost.bytes).sum();
        assert_eq!(bytes, 4096, "chunk 1 has a copy, chunk 2 has none");
    });
}

#[test]
fn damage_to_metadata_costs_what_lies_under_it() {
    let mut repository = TestRepository::new();
    let seeds: Vec<u8> = (1..=50).collect();
    let point = repository.back_up("web01", &[("a", &content(&seeds))], true);
    let pack = *repository.packs().last().unwrap();
    let directory = repository.reader().pack(pack).unwrap().directory().clone();
    assert!(directory.frames().len() > 1);
    for frame in 0..directory.frames().len() {
        let at = usize::try_from(directory.offset(frame).unwrap()).unwrap() + 40;
        repository.while_damaged(&repository.pack_name(pack), flip(at), |repository| {
            for depth in [Depth::Quick, WHOLE] {
                let problems = run(&mut repository.reader(), depth).problems;
                assert_eq!(problems.len(), 1, "{depth:?} {problems:?}");
                assert!(
                    problems[0].object.starts_with("pack ") && problems[0].costs.iter().any(|cost| cost.point == point)
                );
            }
        });
    }
}

#[test]
fn only_packs_of_the_named_points_are_read() {
    let mut repository = TestRepository::new();
    let point = repository.back_up("web01", &[("a", &content(&[1, 2]))], false);
    repository.back_up("web02", &[("a", &content(&[3, 4]))], false);
    let other = repository.packs()[2];
    let options = |point| VerifyOptions { depth: WHOLE, points: vec![point], threads: 1 };
    repository.while_damaged(&repository.pack_name(other), flip(4200), |repository| {
        let report = verify(&mut repository.reader(), &options(point), &Silent).unwrap();
        assert_eq!((report.problems.len(), report.packs_checked, report.points_checked), (0, 2, 1));
    });
    let unknown = verify(&mut repository.reader(), &options(ChunkId::from_bytes([0; 32])), &Silent);
    assert!(matches!(unknown, Err(VerifyError::Point { .. })));
}

#[test]
fn shares_add_up_over_runs_because_the_catalogue_remembers() {
    let (repository, ..) = two_nights();
    let packs = repository.packs().len() as u64;
    let mut checked = 0;
    for _ in 0..4 {
        let report = run(&mut repository.cached_reader(), Depth::ReadData(Share::Percent(25)));
        checked += report.packs_checked;
        assert_eq!(report.oldest_verified_ms.is_some(), checked >= packs);
    }
    assert!(checked >= packs);
}

#[test]
fn an_empty_folder_is_no_repository() {
    let nothing = crate::store::MemoryStore::new();
    assert!(matches!(verify_without_key(&nothing, 1, &Silent), Err(VerifyError::NoRepository { .. })));
}
