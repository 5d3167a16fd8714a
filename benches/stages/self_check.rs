//! The self-check: a sealed frame is opened again and compared before it is stored. Bytes are plain bytes.

use divan::{Bencher, counter::BytesCount};
use repo_format::{Compression, Decompressor};
use strongroom_benches::sample;

fn main() {
    divan::main();
}

#[divan::bench(args = [Compression::Stored, Compression::Zstd(1), Compression::Zstd(3)])]
fn self_check(bencher: Bencher, compression: Compression) {
    let frames = sample::frames();
    let sealed = sample::sealed(&frames, compression);
    let mut decompressor = Decompressor::new().expect("a context");
    bencher.counter(BytesCount::new(sample::disk().len())).bench_local(|| {
        for (sealed, plain) in sealed.iter().zip(&frames) {
            sealed.opens_to(sample::keys(), plain, &mut decompressor).expect("is itself");
        }
    });
}
