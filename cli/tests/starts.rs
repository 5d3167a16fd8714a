//! The program starts. Because this test names the program, `cargo test` builds it before `tests/` runs it.

use std::process::Command;

#[test]
fn the_program_starts_and_says_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_strongroom")).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("strongroom {}\n", env!("CARGO_PKG_VERSION")));
}
