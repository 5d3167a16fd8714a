//! Making packs durable in a local store: write, fsync, link, fsync of the folder. Bytes are those of the packs.
//!
//! The store is made below `STRONGROOM_BENCH_DIR`, else below the temporary folder: name a folder on the disk that is to be measured.

use divan::{Bencher, counter::BytesCount};
use engine::{LocalStore, Store as _};
use repo_format::{Compression, FullPack, PackClose};
use strongroom_benches::{random::Random, sample};

fn main() {
    divan::main();
}

fn full_pack(salt: u8, random: &mut Random) -> FullPack {
    let sealed = sample::sealed(&sample::frames(), Compression::Stored);
    let mut pack = sample::pack_builder(salt, Vec::new());
    for frame in sealed {
        if !pack.fits(&frame) {
            break;
        }
        pack.push(frame).expect("fits");
    }
    pack.finish(sample::keys(), PackClose::Full, sample::nonce(1), &mut |bytes| random.fill(bytes)).expect("finishes")
}

#[divan::bench(sample_count = 24, sample_size = 1)]
fn put_pack(bencher: Bencher) {
    let parent = std::env::var_os("STRONGROOM_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent).expect("a folder");
    let store = LocalStore::at(&folder.path().join("repository"));
    store.prepare().expect("an empty folder");
    let mut random = Random::of(3, &[]);
    let mut salt = 0;
    bencher
        .counter(BytesCount::new(sample::config().data_pack_bytes))
        .with_inputs(|| {
            salt += 1;
            full_pack(salt, &mut random)
        })
        .bench_local_refs(|pack| store.put_pack(pack).expect("stored"));
}
