//! Images with real file systems in them, sparse and full.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use strongroom_tests::{Site, disk, full_run, is_same};

/// Runs a maker of file systems; `false` if it is not installed and need not be.
fn made_by(maker: &str, arguments: &[&str]) -> bool {
    let folders = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    match Command::new(maker).args(arguments).env("PATH", folders).output() {
        Ok(output) => {
            assert!(output.status.success(), "{maker}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            assert!(!full_run(), "{maker}: {error}");
            eprintln!("skipped: {maker}: {error}");
            false
        }
    }
}

/// Files as a machine has them: many small ones, a few large, one twice.
fn tree(folder: &Path) {
    fs::create_dir_all(folder.join("etc")).unwrap();
    for number in 0..200_usize {
        let bytes = disk(number as u64, 300 + number * 37);
        fs::write(folder.join(format!("etc/{number}.conf")), bytes).unwrap();
    }
    fs::write(folder.join("large"), disk(500, 9 << 20)).unwrap();
    fs::write(folder.join("large-again"), disk(500, 9 << 20)).unwrap();
}

fn full_copy(image: &Path) -> PathBuf {
    let full = image.with_extension("full");
    let status = Command::new("cp").arg("--sparse=never").args([image, &full]).status().unwrap();
    assert!(status.success());
    full
}

fn comes_back(site: &Site, image: &Path) {
    let full = full_copy(image);
    let one = site.back_up("sparse", image);
    let other = site.back_up("full", &full);
    assert!(one["disks"][0]["data_bytes"].as_u64().unwrap() > 8 << 20);
    assert_eq!(one["disks"][0]["map_root"], other["disks"][0]["map_root"]);
    assert_eq!(other["disks"][0]["new_bytes"], 0);
    for (vm, image) in [("sparse", image), ("full", &full)] {
        site.assert_restores(vm, image);
    }
    assert!(is_same(image, &full));
}

#[test]
fn an_ext4_image_comes_back_sparse_and_full() {
    for chunker in ["block", "fastcdc"] {
        let site = Site::with(&["--chunker", chunker]);
        let (folder, image) = (site.path("tree"), site.path("ext4.img"));
        tree(&folder);
        if made_by("mkfs.ext4", &["-q", "-F", "-d", folder.to_str().unwrap(), image.to_str().unwrap(), "96M"]) {
            comes_back(&site, &image);
        }
    }
}

#[test]
fn an_xfs_image_comes_back_sparse_and_full() {
    let site = Site::new();
    let (folder, image, prototype) = (site.path("tree"), site.text("xfs.img"), site.text("prototype"));
    tree(&folder);
    let mut lines = vec!["/".to_owned(), "0 0".to_owned(), "d--755 0 0".to_owned()];
    for name in ["large", "large-again"] {
        lines.push(format!("{name} ---644 0 0 {}", folder.join(name).display()));
    }
    for number in 0..200 {
        lines.push(format!("{number}.conf ---644 0 0 {}", folder.join(format!("etc/{number}.conf")).display()));
    }
    lines.push("$".to_owned());
    fs::write(&prototype, lines.join("\n") + "\n").unwrap();
    if made_by("mkfs.xfs", &["-q", "-f", "-p", &prototype, "-d", &format!("name={image},file,size=320m")]) {
        comes_back(&site, Path::new(&image));
    }
}
