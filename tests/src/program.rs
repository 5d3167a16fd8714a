//! The program under test, built once.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Path of the program: `STRONGROOM_TEST_PROGRAM`, or a release build beside this test.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match env::var_os("STRONGROOM_TEST_PROGRAM") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// `./test` sets it: then a part that is missing fails a test instead of skipping it.
pub fn full_run() -> bool {
    env::var_os("STRONGROOM_TEST_FULL").is_some_and(|value| !value.is_empty())
}

fn build() -> PathBuf {
    // target/PROFILE/deps/this-test
    let here = env::current_exe().unwrap();
    let target = here.ancestors().nth(3).unwrap().to_owned();
    let program = target.join("release/strongroom");
    if is_newer_than_its_sources(&program) {
        return program;
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "strongroom"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(built.success(), "the program does not build");
    program
}

/// `cargo test --workspace` has just built it (`cli/tests/` sees to that); a second build would differ in the features of
/// some crate and make all of them again.
fn is_newer_than_its_sources(program: &Path) -> bool {
    let Ok(built) = fs::metadata(program).and_then(|about| about.modified()) else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths: Vec<PathBuf> = ["cli", "vsphere", "engine", "repo-format", "Cargo.toml", "Cargo.lock", "SPEC.md"]
        .iter()
        .map(|name| root.join(name))
        .collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::metadata(&path).and_then(|about| about.modified()).is_ok_and(|changed| changed > built) {
            return false;
        }
    }
    true
}
