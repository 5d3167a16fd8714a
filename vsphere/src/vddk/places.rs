//! Where VMware's library may lie below the folder it was unpacked to.

use std::path::{Path, PathBuf};

/// Majors that are looked for, newest first.
const MAJORS: [u32; 4] = [9, 8, 7, 6];

/// Files that would be the library, with its major: in `lib64` first, newest first.
pub(crate) fn library_files(libdir: &Path) -> impl Iterator<Item = (PathBuf, u32)> {
    [libdir.join("lib64"), libdir.to_owned()]
        .into_iter()
        .flat_map(|folder| MAJORS.map(|major| (folder.join(format!("libvixDiskLib.so.{major}")), major)))
}
