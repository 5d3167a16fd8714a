//! Frames from plain to sealed and back: compression (or none), nonce, XChaCha20-Poly1305. Bytes are plain bytes.
//!
//! `stored` is the seal alone; `zstd N` less `compress N` of the bench `compress` is the seal of what remains.

use divan::{Bencher, counter::BytesCount};
use repo_format::{Class, Compression, Decompressor, open_frame_into};
use strongroom_benches::sample;

fn main() {
    divan::main();
}

const CHOICES: [Compression; 4] =
    [Compression::Stored, Compression::Zstd(1), Compression::Zstd(2), Compression::Zstd(3)];

#[divan::bench(args = CHOICES)]
fn seal(bencher: Bencher, compression: Compression) {
    let frames = sample::frames();
    let mut compressor = sample::compressor(compression);
    bencher.counter(BytesCount::new(sample::disk().len())).bench_local(|| {
        for (n, frame) in frames.iter().enumerate() {
            divan::black_box(frame.seal(sample::keys(), &mut compressor, sample::nonce(n)).expect("seals"));
        }
    });
}

/// With the copy of the sealed bytes that opening in place needs.
#[divan::bench(args = CHOICES)]
fn open(bencher: Bencher, compression: Compression) {
    let sealed = sample::sealed(&sample::frames(), compression);
    let mut decompressor = Decompressor::new().expect("a context");
    let (mut work, mut buffer) = (Vec::new(), Vec::new());
    bencher.counter(BytesCount::new(sample::disk().len())).bench_local(|| {
        for frame in &sealed {
            work.clear();
            work.extend_from_slice(frame.bytes());
            let reused = std::mem::take(&mut buffer);
            let opened =
                open_frame_into(reused, Class::Data, 1, frame.entry(), &mut work, sample::keys(), &mut decompressor);
            buffer = opened.expect("opens").into_buffer();
        }
    });
}

/// What restore and verify do: open, and hash every chunk again.
#[divan::bench]
fn open_and_hash(bencher: Bencher) {
    let sealed = sample::sealed(&sample::frames(), Compression::Zstd(3));
    let mut decompressor = Decompressor::new().expect("a context");
    let (mut work, mut buffer) = (Vec::new(), Vec::new());
    bencher.counter(BytesCount::new(sample::disk().len())).bench_local(|| {
        for frame in &sealed {
            work.clear();
            work.extend_from_slice(frame.bytes());
            let reused = std::mem::take(&mut buffer);
            let opened =
                open_frame_into(reused, Class::Data, 1, frame.entry(), &mut work, sample::keys(), &mut decompressor)
                    .expect("opens");
            for chunk in 0..opened.len() {
                divan::black_box(opened.chunk(chunk, sample::keys()).expect("is itself").id());
            }
            buffer = opened.into_buffer();
        }
    });
}
