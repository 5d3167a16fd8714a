//! Building a pack from sealed frames: copying, shard checks, directory, footers, name. Bytes are those of the pack.

use divan::{Bencher, counter::BytesCount};
use repo_format::{Compression, PackClose};
use strongroom_benches::{random::Random, sample};

fn main() {
    divan::main();
}

#[divan::bench]
fn pack_build(bencher: Bencher) {
    // Stored frames of 64 MiB fill more than one pack.
    let sealed = sample::sealed(&sample::frames(), Compression::Stored);
    let mut buffer = Vec::new();
    let mut random = Random::of(2, &[]);
    bencher
        .counter(BytesCount::new(sample::config().data_pack_bytes))
        .with_inputs(|| sealed.clone())
        .bench_local_values(|sealed| {
            let mut pack = sample::pack_builder(1, std::mem::take(&mut buffer));
            for frame in sealed {
                if !pack.fits(&frame) {
                    break;
                }
                pack.push(frame).expect("fits");
            }
            let full = pack
                .finish(sample::keys(), PackClose::Full, sample::nonce(1), &mut |bytes| random.fill(bytes))
                .expect("finishes");
            buffer = full.into_bytes();
        });
}
