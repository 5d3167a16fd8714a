//! What a prune remembers for the next one, and what an index that lies can do.

use std::sync::Arc;

use super::{
    tests::{AT_ONCE, Bench, noise, parts, secret},
    *,
};
use crate::{
    index::IndexEntry,
    monitor::Silent,
    repository::open_writer,
    store::{NameKind, counting::CountingStore},
};

/// Nothing is rewritten: all reads of metadata packs are the survey's.
const NO_REPACK: PruneOptions = PruneOptions { repack_below_percent: 0, max_repack_bytes: Some(0), ..AT_ONCE };

fn registered(bench: &Bench) -> HashSet<PackName> {
    bench.reader().state().packs().map(|(_, pack)| pack.name).collect()
}

/// Packs of which a prune reads anything.
fn packs_read_by_prune(bench: &Bench) -> HashSet<PackName> {
    let store = CountingStore::new(&bench.store);
    let over = Arc::clone(&store) as Arc<dyn Store>;
    let mut writer = open_writer(bench.environment_over(over), &secret()).unwrap();
    prune(&mut writer, &NO_REPACK, &Silent).unwrap();
    let pack_of = |name: &Name| match name.kind() {
        NameKind::Pack(pack) => Some(pack),
        _ => None,
    };
    store.take().ranges.iter().filter_map(|(name, _)| pack_of(name)).collect()
}

#[test]
fn after_one_more_night_a_prune_reads_the_maps_of_that_night_only() {
    let mut bench = Bench::new();
    let seeds: Vec<u64> = (0..40).collect();
    bench.back_up("web01", &parts(&seeds));
    bench.back_up("db01", &noise(900, 1 << 20));
    assert!(!packs_read_by_prune(&bench).is_empty(), "the first prune reads every map");
    assert_eq!(packs_read_by_prune(&bench), HashSet::new(), "the second reads none");
    let before = registered(&bench);
    bench.back_up("web01", &parts(&seeds.iter().map(|seed| if *seed == 7 { 777 } else { *seed }).collect::<Vec<_>>()));
    let read = packs_read_by_prune(&bench);
    assert!(!read.is_empty() && read.is_disjoint(&before), "{read:?}");
    assert_eq!(packs_read_by_prune(&bench), HashSet::new());
    bench.assert_whole();
}

#[test]
fn a_forgotten_point_drops_out_although_its_maps_are_remembered() {
    let mut bench = Bench::new();
    let old = bench.back_up("web01", &noise(1, 2 << 20));
    bench.back_up("web01", &noise(2, 1 << 20));
    bench.prune(&NO_REPACK);
    bench.forget(&[old]);
    assert!(bench.prune(&NO_REPACK).removed_bytes >= 2 << 20);
    bench.assert_whole();
}

#[test]
fn damaged_notes_cost_time_and_never_a_needed_pack() {
    let mut bench = Bench::new();
    let notes_of = |bench: &Bench| -> Vec<std::path::PathBuf> {
        let folder = bench.folder.path().join("cache").join(bench.reader().config().repository.to_string());
        let names = std::fs::read_dir(folder.join("notes")).unwrap();
        names.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    };
    let mut old = bench.back_up("web01", &noise(1, 1 << 20));
    for round in 0..12_u64 {
        let new = bench.back_up("web01", &noise(2 + round, 1 << 20));
        bench.prune(&NO_REPACK);
        bench.forget(&[std::mem::replace(&mut old, new)]);
        let paths = notes_of(&bench);
        assert!(!paths.is_empty());
        // One of the two kinds of files at a time: the other must not hide what damage to this one does.
        let damaged = if round % 2 == 0 { "run" } else { "notes" };
        for path in paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == damaged)) {
            let mut bytes = std::fs::read(&path).unwrap();
            let length = bytes.len();
            match round {
                0 => bytes.clear(),
                1 => bytes.truncate(length / 2),
                2 => bytes.fill(0),
                _ => (0..length).filter(|at| (*at as u64 + round).is_multiple_of(97)).for_each(|at| bytes[at] ^= 0x41),
            }
            std::fs::write(&path, bytes).unwrap();
        }
        assert!(bench.prune(&NO_REPACK).removed_packs > 0, "round {round}");
        bench.assert_whole();
    }
}

#[test]
fn an_index_that_lies_about_where_needed_chunks_lie_condemns_nothing() {
    let mut bench = Bench::new();
    bench.back_up("web01", &noise(1, 1 << 20));
    bench.back_up("db01", &noise(2, 1 << 19));
    let mut writer = bench.writer();
    writer.index().unwrap();
    let data: Vec<PackOrdinal> =
        writer.state().packs().filter(|(_, pack)| pack.class == Class::Data).map(|(ordinal, _)| ordinal).collect();
    let (needed, elsewhere) = (data[0], *data.last().unwrap());
    let directory = Arc::clone(writer.pack(needed).unwrap().directory());
    let chunks = directory.frames().iter().flat_map(|frame| &frame.chunks);
    let mut lies: Vec<IndexEntry> =
        chunks.map(|chunk| IndexEntry { id: chunk.id, pack: elsewhere.0, frame: 0, position: 0 }).collect();
    writer.index_sync().unwrap().add_run(&mut lies, 0, Vec::new()).unwrap();
    writer.0.reload_index();
    // By the index nothing in that pack is needed any more.
    let look = look(&writer, Vec::new(), &NO_REPACK, &Silent).unwrap();
    assert!(look.choice.dead.contains(&needed), "the lie has to be believed by the survey");
    let report = prune(&mut writer, &NO_REPACK, &Silent).unwrap();
    assert_eq!((report.condemned_packs, report.removed_packs), (0, 0));
    bench.assert_whole();
}
