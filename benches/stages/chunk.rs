//! Cutting: every byte of every data cell goes through it, every night.

use divan::{Bencher, counter::BytesCount};
use repo_format::{Chunker, ChunkerKind};
use strongroom_benches::sample;

fn main() {
    divan::main();
}

#[divan::bench]
fn block(bencher: Bencher) {
    cut(bencher, ChunkerKind::Block);
}

#[divan::bench]
fn fastcdc(bencher: Bencher) {
    cut(bencher, ChunkerKind::FastCdc);
}

fn cut(bencher: Bencher, kind: ChunkerKind) {
    let (disk, chunking) = (sample::disk(), sample::chunking(kind));
    let chunker = Chunker::new(&chunking, sample::keys());
    bencher.counter(BytesCount::new(disk.len())).bench(|| sample::cut(&chunker, &chunking, disk));
}

/// Looking for holes where there are some, in the form of the engine's loop; data shows itself in its first bytes and costs nothing.
#[divan::bench]
fn zero_cells(bencher: Bencher) {
    let zeros = vec![0_u8; 16 << 20];
    let is_zero =
        |cell: &[u8]| cell.as_chunks::<64>().0.iter().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0);
    bencher.counter(BytesCount::new(zeros.len())).bench(|| zeros.chunks(16 << 10).filter(|cell| is_zero(cell)).count());
}
