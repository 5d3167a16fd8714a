//! The stand-in for VMware's library: built once, installed in a folder as VMware's archive unpacks to.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;

/// Which library the stand-in is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// Version 8.
    Version8,
    /// Before 6.7: no allocated blocks.
    Old,
    /// Version 6: no sector sizes, no allocated blocks.
    Version6,
}

impl Like {
    fn features(self) -> &'static str {
        match self {
            Self::Version8 => "",
            Self::Old => "old",
            Self::Version6 => "old,v6",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Version8 | Self::Old => "libvixDiskLib.so.8",
            Self::Version6 => "libvixDiskLib.so.6",
        }
    }
}

/// An installed stand-in.
pub struct StandIn {
    folder: TempDir,
}

impl StandIn {
    /// Version 8 with these settings (`stand-in.toml`), serving the files below `<its folder>/ds`.
    pub fn install(settings: &str) -> Self {
        Self::like(Like::Version8, settings)
    }

    /// Another version.
    pub fn like(version: Like, settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-vddk-stand-in-").tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib64")).unwrap();
        fs::create_dir_all(folder.path().join("ds/web01")).unwrap();
        fs::copy(built(version), folder.path().join("lib64").join(version.name())).unwrap();
        let stand_in = Self { folder };
        stand_in.set(settings);
        stand_in
    }

    /// Version 8, serving the files of a datastore that is a folder elsewhere: `[ds1] enc01/enc01.vmdk` is `enc01/enc01.vmdk`
    /// in it.
    pub fn over(datastore: &Path) -> Self {
        let stand_in = Self::install("");
        stand_in.set_over(datastore, "");
        stand_in
    }

    /// Other settings over the files of a datastore.
    pub fn set_over(&self, datastore: &Path, settings: &str) {
        let root = format!("root = {:?}\n", datastore.to_str().unwrap());
        fs::write(self.libdir().join("stand-in.toml"), root + settings).unwrap();
    }

    /// Other settings, for processes that are started from here on.
    pub fn set(&self, settings: &str) {
        let root = format!("root = {:?}\n", self.root().to_str().unwrap());
        fs::write(self.libdir().join("stand-in.toml"), root + settings).unwrap();
    }

    /// What `--vddk-libdir` is given.
    pub fn libdir(&self) -> &Path {
        self.folder.path()
    }

    /// Below it lie the files that are served.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("ds")
    }

    /// The file that is served as `[ds] web01/<name>.vmdk`.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.root().join(format!("web01/{name}.vmdk"))
    }
}

/// Builds it beside this test, each kind in a folder of its own: features would make the others anew.
fn built(version: Like) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let here = env::current_exe().unwrap();
    let target = here.ancestors().nth(3).unwrap().join("vddk-stand-in");
    let library = target.join("release/libvddk_stand_in.so");
    let kept = target.join(format!("{version:?}.so"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "vddk-stand-in", "--features", version.features()])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(done.success(), "the stand-in does not build");
    fs::copy(library, &kept).unwrap();
    kept
}
