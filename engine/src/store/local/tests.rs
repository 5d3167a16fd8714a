//! What the local store does when the file system fails under it, and what may lie about in its folder.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use rustix::io::Errno;

use super::{fs::NewFile, *};
use crate::store::conformance;

/// The real file system, with one call that fails.
struct FailingFs {
    real: RealFs,
    fail: Arc<Mutex<Option<Failure>>>,
}

/// Fails call number `skip` (from 0) to `call`, and the later ones too if `for_ever`.
struct Failure {
    call: &'static str,
    skip: u32,
    errno: Errno,
    for_ever: bool,
}

type Switch = Arc<Mutex<Option<Failure>>>;

fn fails(switch: &Switch, call: &str) -> io::Result<()> {
    let mut failure = switch.lock().unwrap();
    let Some(due) = failure.as_mut().filter(|failure| failure.call == call) else { return Ok(()) };
    if due.skip > 0 {
        due.skip -= 1;
        return Ok(());
    }
    let errno = due.errno;
    if !due.for_ever {
        *failure = None;
    }
    Err(errno.into())
}

struct FailingFile(Box<dyn NewFile>, Switch);

impl NewFile for FailingFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if fails(&self.1, "write").is_err() {
            // As a full disk does: a part arrives.
            self.0.write_all(&bytes[..bytes.len() / 2])?;
            return Err(Errno::NOSPC.into());
        }
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        fails(&self.1, "sync")?;
        self.0.sync()
    }
}

impl Fs for FailingFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        fails(&self.fail, "create")?;
        Ok(Box::new(FailingFile(self.real.create(path)?, Arc::clone(&self.fail))))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fails(&self.fail, "link")?;
        // A network file system does the work and loses its answer.
        if fails(&self.fail, "link answer").is_err() {
            self.real.link(from, to)?;
            return Err(Errno::EXIST.into());
        }
        // A sweeper takes our temporary file for a leftover.
        if fails(&self.fail, "sweeper").is_err() {
            self.real.unlink(from)?;
        }
        self.real.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fails(&self.fail, "rename")?;
        self.real.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fails(&self.fail, "unlink")?;
        self.real.unlink(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.real.make_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fails(&self.fail, "sync_dir")?;
        self.real.sync_dir(path)
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<()> {
        self.real.read_at(path, offset, bytes, into)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.real.length(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        self.real.names(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.real.is_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<bool> {
        self.real.lock_dir(path)
    }

    fn is_being_written(&self, path: &Path) -> io::Result<bool> {
        self.real.is_being_written(path)
    }
}

struct Bench {
    folder: tempfile::TempDir,
    store: LocalStore,
    fail: Switch,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fail = Switch::default();
        let store = LocalStore::over(
            Box::new(FailingFs { real: RealFs::default(), fail: Arc::clone(&fail) }),
            &folder.path().join("repository"),
        );
        store.prepare().unwrap();
        Self { folder, store, fail }
    }

    fn fail(&self, call: &'static str, errno: Errno) {
        *self.fail.lock().unwrap() = Some(Failure { call, skip: 0, errno, for_ever: false });
    }

    fn fail_for_ever(&self, call: &'static str, errno: Errno) {
        *self.fail.lock().unwrap() = Some(Failure { call, skip: 0, errno, for_ever: true });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("repository").join(name)
    }

    fn temporary_files(&self) -> usize {
        std::fs::read_dir(self.path("tmp")).unwrap().count()
    }
}

#[test]
fn an_object_whose_file_could_not_be_written_or_synced_does_not_exist() {
    for (call, errno, reaction) in [
        ("create", Errno::MFILE, Reaction::Unavailable),
        ("create", Errno::ROFS, Reaction::Denied),
        ("write", Errno::NOSPC, Reaction::Full),
        ("sync", Errno::IO, Reaction::Unavailable),
        ("sync", Errno::DQUOT, Reaction::Full),
        ("link", Errno::NOSPC, Reaction::Full),
    ] {
        let bench = Bench::new();
        bench.fail(call, errno);
        assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap_err().reaction, reaction, "{call} {errno:?}");
        assert_eq!(bench.store.get(&Name::log(1), 99).unwrap(), None, "{call}");
        assert_eq!(bench.temporary_files(), 0, "{call}");
        // Written again from memory, to a new file.
        assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap(), PutNew::Created);
    }
}

#[test]
fn the_same_holds_for_packs() {
    for (call, errno, reaction) in [
        ("write", Errno::NOSPC, Reaction::Full),
        ("sync", Errno::IO, Reaction::Unavailable),
        ("link", Errno::IO, Reaction::Unavailable),
    ] {
        let (bench, pack) = (Bench::new(), conformance::pack(1));
        bench.fail(call, errno);
        assert_eq!(bench.store.put_pack(&pack).unwrap_err().reaction, reaction, "{call}");
        assert_eq!(bench.store.size(&Name::pack(pack.name())).unwrap(), None);
        assert_eq!(bench.temporary_files(), 0);
        bench.store.put_pack(&pack).unwrap();
    }
}

#[test]
fn after_a_failed_sync_of_a_folder_the_store_stops_and_vouches_for_nothing() {
    let bench = Bench::new();
    bench.fail("sync_dir", Errno::IO);
    assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap_err().reaction, Reaction::Unknown);
    // The name is there to see, and a second sync would succeed: neither may be taken for durable.
    assert!(bench.path("log/00000000000000000001").exists());
    assert_eq!(bench.store.get(&Name::log(1), 99).unwrap_err().reaction, Reaction::Unavailable);
    assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap_err().reaction, Reaction::Unavailable);
    assert_eq!(bench.store.put_pack(&conformance::pack(1)).unwrap_err().reaction, Reaction::Unavailable);
    // Another process, or another run, finds out for itself.
    let again = LocalStore::at(&bench.path(""));
    assert_eq!(again.put_new(&Name::log(1), b"entry").unwrap(), PutNew::Created);
}

#[test]
fn a_lost_answer_to_our_own_link_is_ours() {
    let bench = Bench::new();
    bench.fail("link answer", Errno::EXIST);
    assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap(), PutNew::Created);
    assert_eq!(bench.store.get(&Name::log(1), 99).unwrap(), Some(b"entry".to_vec()));
}

#[test]
fn a_temporary_file_that_was_swept_is_written_again() {
    let bench = Bench::new();
    bench.fail("sweeper", Errno::NOENT);
    assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap(), PutNew::Created);
    bench.fail_for_ever("sweeper", Errno::NOENT);
    assert!(bench.store.put_new(&Name::log(2), b"entry").is_err());
    assert_eq!(bench.store.get(&Name::log(2), 99).unwrap(), None);
}

#[test]
fn a_temporary_file_that_cannot_be_removed_harms_nothing() {
    let bench = Bench::new();
    bench.fail_for_ever("unlink", Errno::IO);
    assert_eq!(bench.store.put_new(&Name::log(1), b"entry").unwrap(), PutNew::Created);
    assert_eq!(bench.store.put_new(&Name::log(1), b"other").unwrap(), PutNew::Exists(b"entry".to_vec()));
    assert_eq!(bench.store.put_new(&Name::log(2), b"next").unwrap(), PutNew::Created);
    assert_eq!(bench.temporary_files(), 3);
    *bench.fail.lock().unwrap() = None;
    bench.store.sweep_unfinished().unwrap();
    assert_eq!(bench.temporary_files(), 0);
    assert_eq!(bench.store.get(&Name::log(1), 99).unwrap(), Some(b"entry".to_vec()));
}

#[test]
fn a_damaged_pack_is_healed_and_a_failed_healing_leaves_it_as_it_was() {
    let (bench, pack) = (Bench::new(), conformance::pack(1));
    bench.store.put_pack(&pack).unwrap();
    let name = Name::pack(pack.name());
    let path = bench.path(name.as_str());
    for damage in [&pack.bytes()[..100], &[0; 5000], b""] {
        std::fs::write(&path, damage).unwrap();
        bench.fail("rename", Errno::IO);
        assert!(bench.store.put_pack(&pack).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), damage);
        assert_eq!(bench.temporary_files(), 0);
        bench.store.put_pack(&pack).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), pack.bytes());
    }
}

#[test]
fn what_is_not_ours_is_not_listed() {
    let bench = Bench::new();
    bench.store.put_new(&Name::log(1), b"entry").unwrap();
    bench.store.put_pack(&conformance::pack(1)).unwrap();
    for foreign in ["log/1", "log/readme", "packs/thesis.pdf", "packs/00/x", "keys/.nfs000001", "tmp/dead-0"] {
        std::fs::write(bench.path(foreign), b"foreign").unwrap();
    }
    std::fs::create_dir(bench.path("packs/zz")).unwrap();
    assert_eq!(conformance::names(&bench.store, Prefix::Log), [Name::log(1)]);
    assert_eq!(conformance::names(&bench.store, Prefix::Packs), [Name::pack(conformance::pack(1).name())]);
    assert_eq!(conformance::names(&bench.store, Prefix::Keys), []);
}

#[test]
fn files_and_folders_are_for_their_owner_alone() {
    let bench = Bench::new();
    bench.store.put_new(&Name::log(1), b"entry").unwrap();
    bench.store.put_pack(&conformance::pack(1)).unwrap();
    let mode = |path: &str| std::fs::metadata(bench.path(path)).unwrap().permissions().mode() & 0o777;
    for folder in ["", "packs", "packs/00", "packs/ff", "log", "keys", "tmp"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    let pack = Name::pack(conformance::pack(1).name());
    for file in ["reserve", "log/00000000000000000001", pack.as_str()] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(bench.store.size(&Name::reserve()).unwrap(), Some(1 << 20));
}

#[test]
fn a_short_read_into_a_large_buffer_reads_no_more_than_was_asked_for() {
    let bench = Bench::new();
    bench.store.put_new(&Name::log(1), &[7; 10_000]).unwrap();
    let mut buffer = Vec::with_capacity(1 << 20);
    bench.store.get_range(&Name::log(1), 4096..4196, &mut buffer).unwrap();
    assert_eq!(buffer, [7; 100]);
    // A range that no file can have costs an error, not memory.
    assert_eq!(
        bench.store.get_range(&Name::log(1), 0..u64::MAX / 2, &mut buffer).unwrap_err().reaction,
        Reaction::Damaged
    );
    assert!(buffer.capacity() <= 1 << 20);
}

#[test]
fn a_body_written_in_pieces_reads_back_as_it_is_wherever_it_lies_in_memory() {
    let bench = Bench::new();
    let bytes: Vec<u8> = (0..(1_u32 << 20) + 77).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (number, skip) in (1..).zip([0, 1, 16, 63]) {
        bench.store.put_new(&Name::log(number), &bytes[skip..]).unwrap();
        assert!(bench.store.get(&Name::log(number), 2 << 20).unwrap().unwrap() == bytes[skip..], "skip {skip}");
    }
}

#[test]
fn two_processes_do_not_prepare_one_folder() {
    let bench = Bench::new();
    let other = LocalStore::at(&bench.path(""));
    bench.store.put_new(&Name::log(1), b"first entry of a repository whose config is about to come").unwrap();
    assert!(other.prepare().unwrap_err().to_string().contains("another process"));
    assert!(bench.store.get(&Name::log(1), 99).unwrap().is_some());
}
