//! Compressing and decompressing frames. Bytes are plain bytes; the program prints the ratio of each level first.
//!
//! zstd alone, as `repo-format` calls it: one context per thread, whole frames.

use divan::{Bencher, counter::BytesCount};
use repo_format::Compression;
use strongroom_benches::sample;

fn main() {
    if !std::env::args().any(|argument| argument == "--list") {
        let frames = sample::frames();
        let plain: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
        for level in [1, 2, 3] {
            let stored: usize =
                sample::sealed(&frames, Compression::Zstd(level)).iter().map(|frame| frame.bytes().len()).sum();
            println!("zstd {level}: {plain} bytes -> {stored}, ratio {:.3}", plain as f64 / stored as f64);
        }
    }
    divan::main();
}

#[divan::bench(args = [-1, 1, 2, 3])]
fn compress(bencher: Bencher, level: i32) {
    let frames = sample::frames();
    let mut zstd = zstd::bulk::Compressor::new(level).expect("a level of zstd");
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(4 << 20));
    bencher.counter(BytesCount::new(sample::disk().len())).bench_local(|| {
        for frame in &frames {
            out.clear();
            zstd.compress_to_buffer(frame.bytes(), &mut out).expect("compresses");
        }
    });
}

#[divan::bench(args = [1, 2, 3])]
fn decompress(bencher: Bencher, level: i32) {
    let frames = sample::frames();
    let compressed: Vec<_> =
        frames.iter().map(|frame| zstd::bulk::compress(frame.bytes(), level).expect("compresses")).collect();
    let mut zstd = zstd::bulk::Decompressor::new().expect("a context");
    let mut out = Vec::with_capacity(4 << 20);
    bencher.counter(BytesCount::new(sample::disk().len())).bench_local(|| {
        for frame in &compressed {
            out.clear();
            zstd.decompress_to_buffer(frame, &mut out).expect("decompresses");
        }
    });
}
