//! P3: VMware's library, looked at from outside. It is not loaded: that is the work of a process of its own, for one VM.

use std::{
    fs,
    path::{Path, PathBuf},
};

use engine::Kind;

use super::finding::{CheckId, Finding};
use crate::vddk::library_files;

/// Releases of vSphere in their order: a library serves from two before its own to one after.
const RELEASES: [(u32, u32); 5] = [(6, 5), (6, 7), (7, 0), (8, 0), (9, 0)];
const BEFORE: usize = 2;
const AFTER: usize = 1;

/// What the library wants of this machine, lest it dies, and how it is had.
const WANTED: [(&str, &str); 2] =
    [("/sys/class/scsi_disk", "modprobe sd_mod"), ("/etc/mtab", "ln -s /proc/self/mounts /etc/mtab")];

/// The library's file, whether it serves this server, and what it wants of this machine.
pub(super) fn check_library(libdir: Option<&Path>, api: Option<(u32, u32)>) -> Vec<Finding> {
    let Some(libdir) = libdir else {
        let text = "no --vddk-libdir was given: whether disks can be read was not looked at";
        return vec![
            Finding::warning(CheckId::Versions, "VMware's library", text)
                .hint("--vddk-libdir DIR, or --reader nbd:TEMPLATE"),
        ];
    };
    let place = libdir.display();
    let Some((file, major)) = library_files(libdir).find(|(file, _)| file.exists()) else {
        let text = "there is no libvixDiskLib.so.9, .8, .7 or .6, neither in lib64 nor in the folder itself";
        return vec![
            Finding::problem(CheckId::Versions, Kind::Invalid, place, text)
                .hint("--vddk-libdir with the folder vmware-vix-disklib-distrib of VMware's archive"),
        ];
    };
    let mut findings = vec![serves(&file, major, api)];
    for (path, advice) in WANTED {
        if !Path::new(path).exists() {
            let text = format!("{path} is not there: the library is known to die without it");
            findings.push(Finding::warning(CheckId::Versions, place.to_string(), text).hint(advice));
        }
    }
    findings
}

fn serves(file: &Path, major: u32, api: Option<(u32, u32)>) -> Finding {
    let (version, release) = version_of(file, major);
    let object = file.display();
    let rank = |wanted: (u32, u32)| RELEASES.iter().rposition(|release| *release <= wanted);
    let (Some(own), Some(theirs)) = (release.and_then(rank), api.and_then(rank)) else {
        return Finding::ok(CheckId::Versions, object, format!("library {version}"));
    };
    let (major, minor) = api.unwrap_or_default();
    if theirs + BEFORE >= own && theirs <= own + AFTER {
        return Finding::ok(CheckId::Versions, object, format!("library {version} serves vSphere {major}.{minor}"));
    }
    let text = format!("library {version} is not made for vSphere {major}.{minor}");
    Finding::warning(CheckId::Versions, object, text).hint("use the library of the vCenter's own release")
}

/// The version as the name behind the links has it (`libvixDiskLib.so.8.0.2`), and the release of vSphere it belongs to. A major
/// alone says no release where there were several.
fn version_of(file: &Path, major: u32) -> (String, Option<(u32, u32)>) {
    let real: PathBuf = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = name.split_once(".so.").map_or_else(|| major.to_string(), |(_, version)| version.to_owned());
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let release = match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => Some((major, minor)),
        _ if major == 6 => None,
        _ => Some((major, 0)),
    };
    (version, release)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::State;

    fn library(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, "").unwrap();
        (folder, file)
    }

    #[test]
    fn a_library_serves_from_two_releases_before_its_own_to_one_after() {
        let (_folder, file) = library("libvixDiskLib.so.8.0.2");
        for (api, state) in [
            ((6, 5), State::Warning),
            ((6, 7), State::Ok),
            ((7, 0), State::Ok),
            ((8, 0), State::Ok),
            ((9, 0), State::Ok),
        ] {
            assert_eq!(serves(&file, 8, Some(api)).state, state, "{api:?}");
        }
        let (_folder, file) = library("libvixDiskLib.so.7");
        assert_eq!(serves(&file, 7, Some((9, 0))).state, State::Warning);
        assert_eq!(serves(&file, 7, Some((8, 0))).state, State::Ok);
        let (_folder, file) = library("libvixDiskLib.so.6");
        assert_eq!(serves(&file, 6, Some((9, 0))).found, "library 6");
    }
}
