//! What can be backed up: raw images, block devices and NBD exports. What only looks raw is told apart.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use engine::{DiskSource, NbdOptions, NbdSource, NbdUri, RawImage};

use crate::{args::NamedPath, exit::Exit, failure::Failure, nbd_failure::nbd_failure};

/// A disk to back up: its name, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSource {
    /// The disk's name.
    pub name: String,
    /// The image or device, or an NBD URI.
    pub path: PathBuf,
}

/// Positional sources become `disk0`, `disk1`, …; the VM is named, or after its only source.
pub fn name_sources(
    vm: Option<&str>,
    sources: &[String],
    disks: &[NamedPath],
) -> Result<(String, Vec<NamedSource>), Failure> {
    let numbered = |(number, path): (usize, &String)| NamedSource { name: format!("disk{number}"), path: path.into() };
    let mut named: Vec<NamedSource> = sources.iter().enumerate().map(numbered).collect();
    named.extend(disks.iter().map(|disk| NamedSource { name: disk.name.clone(), path: disk.path.clone().into() }));
    let mut names: Vec<&str> = named.iter().map(|source| source.name.as_str()).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows::<2>().find(|[one, other]| one == other) {
        return Err(Failure::invalid(format!("two disks are called {twice}"), "give each disk a name of its own"));
    }
    let only_stem = || match sources {
        [uri] if NbdUri::is_meant(uri) => NbdUri::parse(uri).ok().map(|uri| uri.export).filter(|name| !name.is_empty()),
        [only] => Path::new(only).file_stem().and_then(|stem| stem.to_str()).map(str::to_owned),
        _ => None,
    };
    match vm.map(str::to_owned).or_else(only_stem) {
        Some(vm) => Ok((vm, named)),
        None => Err(Failure::invalid("the VM has no name", "--vm NAME")),
    }
}

/// Opens a source. `raw_for_certain`: the operator says so, whatever it begins with.
pub fn open(source: &NamedSource, raw_for_certain: bool) -> Result<Box<dyn DiskSource>, Failure> {
    if let Some(uri) = source.path.to_str().filter(|text| NbdUri::is_meant(text)) {
        return open_nbd(&source.name, uri);
    }
    let image = RawImage::open(&source.path).map_err(|error| {
        Failure::new(
            Exit::Invalid,
            &error,
            format!("{} = {}", source.name, source.path.display()),
            "name a raw image or a block device that can be read",
        )
    })?;
    if !raw_for_certain && let Some(format) = container_format(&source.path) {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{}: begins like a {format} image, not a raw one", source.name),
            source.path.display(),
            format!(
                "show it as a raw device: qemu-nbd --read-only --connect=/dev/nbd0 {}, then back up /dev/nbd0; or --format raw",
                source.path.display()
            ),
        ));
    }
    Ok(Box::new(image))
}

/// Connects to an export. It is a disk whatever it begins with: somebody serves it as one.
fn open_nbd(disk: &str, text: &str) -> Result<Box<dyn DiskSource>, Failure> {
    let uri = NbdUri::parse(text).map_err(|error| {
        let advice = "write nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH";
        Failure::new(Exit::Invalid, error, format!("{disk} = {text}"), advice)
    })?;
    let source = NbdSource::open(&uri, NbdOptions::default()).map_err(|error| nbd_failure(&error, disk, &uri))?;
    if source.bytes() == 0 {
        return Err(Failure::new(
            Exit::Invalid,
            "the export is empty (0 bytes)",
            format!("{disk} = {uri}"),
            "name a disk",
        ));
    }
    Ok(Box::new(source))
}

/// The container format that the first bytes tell of.
fn container_format(path: &Path) -> Option<&'static str> {
    let mut head = [0; 21];
    let mut file = File::open(path).ok()?;
    // A file shorter than this is no container.
    file.read_exact(&mut head).ok()?;
    let magics: [(&[u8], &str); 6] = [
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "VMDK"),
        (b"COWD", "VMDK"),
        (b"# Disk DescriptorFile", "VMDK descriptor"),
        (b"vhdxfile", "VHDX"),
        (b"conectix", "VHD"),
    ];
    magics.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sources: &[&str]) -> Vec<String> {
        sources.iter().map(|source| (*source).to_owned()).collect()
    }

    #[test]
    fn positional_sources_are_numbered_and_one_gives_its_name() {
        let (vm, named) = name_sources(None, &texts(&["/images/web01.img"]), &[]).unwrap();
        assert_eq!((vm.as_str(), named[0].name.as_str()), ("web01", "disk0"));
        let (_, named) = name_sources(Some("x"), &texts(&["a", "b"]), &[]).unwrap();
        assert_eq!(named[1].name, "disk1");
        assert!(name_sources(None, &texts(&["a", "b"]), &[]).is_err());
    }

    #[test]
    fn two_disks_of_one_name_are_refused() {
        let disk = |path: &str| NamedPath { name: "disk0".to_owned(), path: path.to_owned() };
        assert_eq!(name_sources(Some("x"), &[], &[disk("a"), disk("b")]).unwrap_err().exit, Exit::Invalid);
    }

    #[test]
    fn an_nbd_source_gives_the_name_of_its_export() {
        let (vm, _) = name_sources(None, &texts(&["nbd+unix:///web01?socket=/run/x.sock"]), &[]).unwrap();
        assert_eq!(vm, "web01");
        assert!(name_sources(None, &texts(&["nbd://h"]), &[]).is_err());
        let source = NamedSource { name: "disk0".to_owned(), path: "nbd://h/e?colour=red".into() };
        assert!(open(&source, false).is_err_and(|failure| failure.exit == Exit::Invalid));
    }

    #[test]
    fn containers_are_told_apart_from_raw_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.img");
        for (begin, refused) in
            [(&b"QFI\xfb"[..], true), (b"KDMV", true), (b"# Disk DescriptorFile", true), (b"\xeb\x63\x90", false)]
        {
            let mut bytes = begin.to_vec();
            bytes.resize(4096, 0);
            std::fs::write(&path, bytes).unwrap();
            let source = NamedSource { name: "disk0".to_owned(), path: path.clone() };
            assert_eq!(open(&source, false).is_err_and(|failure| failure.exit == Exit::Invalid), refused);
            assert!(open(&source, true).is_ok());
        }
    }

    #[test]
    fn what_is_missing_a_folder_or_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, b"").unwrap();
        for path in [folder.path().join("missing"), folder.path().to_owned(), empty] {
            let source = NamedSource { name: "disk0".to_owned(), path };
            assert!(open(&source, false).is_err_and(|failure| failure.exit == Exit::Invalid));
        }
    }
}
