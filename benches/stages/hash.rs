//! Naming chunks: every byte of every data cell, every night.

use divan::{Bencher, counter::BytesCount};
use repo_format::{HashedChunk, PackName};
use strongroom_benches::sample;

fn main() {
    divan::main();
}

#[divan::bench]
fn chunk_ids(bencher: Bencher) {
    let (chunks, keys) = (sample::chunks(), sample::keys());
    bencher.counter(BytesCount::new(sample::disk().len())).bench(|| {
        for chunk in &chunks {
            divan::black_box(HashedChunk::of_data(chunk, keys).id());
        }
    });
}

/// The name of a pack: stored bytes only.
#[divan::bench]
fn pack_name(bencher: Bencher) {
    let pack = &sample::disk()[..32 << 20];
    bencher.counter(BytesCount::new(pack.len())).bench(|| PackName::of(pack));
}
