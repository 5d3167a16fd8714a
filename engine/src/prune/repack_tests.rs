use std::collections::HashSet;

use repo_format::{ChunkId, FrameEntry, PackName};

use super::{
    PruneOptions,
    tests::{AT_ONCE, Bench, noise, parts},
};
use crate::log::PackStatus;

/// The frames of every pack that is there.
fn frames(bench: &Bench) -> Vec<(PackName, FrameEntry)> {
    let reader = bench.reader();
    let there = reader.state().packs().filter(|(_, pack)| pack.status != PackStatus::Deleted);
    let packs = there.map(|(ordinal, _)| reader.pack(ordinal).unwrap());
    packs
        .flat_map(|pack| pack.directory().frames().to_vec().into_iter().map(move |frame| (pack.name(), frame)))
        .collect()
}

fn chunks(frame: &FrameEntry) -> Vec<ChunkId> {
    frame.chunks.iter().map(|chunk| chunk.id).collect()
}

#[test]
fn a_frame_that_is_mostly_needed_moves_whole_and_others_are_put_together_anew() {
    let mut bench = Bench::new();
    let every: Vec<u64> = (0..64).collect();
    let old = bench.back_up("web01", &parts(&every));
    // Of every eighth part all but a little in the middle, of every other eighth only a little.
    let kept = |seed: &u64| match seed % 8 {
        0 => [&noise(*seed, 1 << 16)[..30 << 10], &noise(1000 + seed, 4 << 10), &noise(*seed, 1 << 16)[34 << 10..]]
            .concat(),
        4 => noise(*seed, 16 << 10),
        _ => Vec::new(),
    };
    bench.back_up("web01", &every.iter().flat_map(kept).collect::<Vec<u8>>());
    bench.forget(&[old]);
    let before = frames(&bench);
    bench.prune(&PruneOptions { repack_below_percent: 90, ..AT_ONCE });
    bench.assert_whole();

    let names: HashSet<PackName> = before.iter().map(|(pack, _)| *pack).collect();
    let sealed: HashSet<Vec<ChunkId>> = before.iter().map(|(_, frame)| chunks(frame)).collect();
    let moved = frames(&bench).into_iter().filter(|(pack, frame)| !names.contains(pack) && frame.chunks.len() > 2);
    let (whole, anew): (Vec<_>, Vec<_>) = moved.partition(|(_, frame)| sealed.contains(&chunks(frame)));
    assert!(!whole.is_empty() && !anew.is_empty(), "{} whole, {} anew", whole.len(), anew.len());
}
