//! What goes in comes out, however it went in.

use std::{fs::File, os::unix::fs::FileExt};

use engine::{DiskSource, MemorySource, OnBad};
use rustix::fs::{SeekFrom, seek};
use strongroom_tests::{Site, back_up, disk, occupied_bytes, random, write_full, write_sparse};

const MIB: usize = 1 << 20;
const CHUNKERS: [&str; 2] = ["block", "fastcdc"];

fn root(result: &serde_json::Value) -> String {
    result["disks"][0]["map_root"].as_str().unwrap().to_owned()
}

#[test]
fn one_disk_has_one_map_root_whatever_it_was_read_from_and_by_however_many_threads() {
    for chunker in CHUNKERS {
        let site = Site::with(&["--chunker", chunker]);
        // Three segments, the last short and no multiple of anything.
        let mut bytes = disk(1, 40 * MIB + 1234);
        // Zeros that end inside cells, and a whole segment's worth of them.
        bytes[5 * MIB + 100..7 * MIB - 3].fill(0);
        bytes[16 * MIB..32 * MIB].fill(0);
        let (full, sparse) = (site.path("full.img"), site.path("sparse.img"));
        write_full(&full, &bytes);
        write_sparse(&sparse, &bytes);
        assert!(occupied_bytes(&sparse) + 10 * (MIB as u64) < occupied_bytes(&full), "no holes were made");

        let mut roots = Vec::new();
        for (image, threads) in [(&sparse, "1"), (&full, "2"), (&sparse, "8"), (&full, "1"), (&full, "8")] {
            let image = image.to_str().unwrap();
            roots.push(root(&site.json(&["backup", "--vm", "web01", "--threads", threads, image])));
        }
        let holes_not_told = Box::new(MemorySource::new(bytes.clone())) as Box<dyn DiskSource>;
        let report = back_up(&site, "web01", vec![("disk0", holes_not_told)], 2, OnBad::Fail).unwrap();
        roots.push(report.disks[0].map_root.to_string());
        // Another VM: its chunks are those of the first.
        roots.push(root(&site.back_up("web02", &sparse)));
        roots.dedup();
        assert_eq!(roots.len(), 1, "{chunker}");
        let shown = site.json(&["show", "web01"]);
        assert_eq!(shown["point"]["disks"][0]["map_root"], roots[0].as_str());
        site.assert_restores("web01", &full);
        site.assert_restores("web01@latest~5", &full);
    }
}

#[test]
fn sizes_that_are_no_multiple_of_a_sector_are_stored_to_the_byte() {
    for chunker in CHUNKERS {
        let site = Site::with(&["--chunker", chunker]);
        for size in
            [1, 2, 511, 513, 4095, 4097, 16 * 1024 - 1, 16 * 1024 + 1, 256 * 1024 + 7, 16 * MIB - 1, 16 * MIB + 1]
        {
            let image = site.path(&format!("s{size}.img"));
            write_full(&image, &disk(size as u64, size));
            let vm = format!("vm-{size}");
            let stored = site.back_up(&vm, &image);
            assert_eq!(stored["disks"][0]["size_bytes"], size);
            site.assert_restores(&vm, &image);
        }
    }
}

#[test]
fn all_disks_of_a_vm_are_one_restore_point() {
    let site = Site::new();
    let images = ["a.img", "b.img", "zeros.img"].map(|name| site.path(name));
    write_full(&images[0], &disk(3, 3 * MIB));
    write_full(&images[1], &disk(4, 5 * MIB + 17));
    write_sparse(&images[2], &vec![0; 20 * MIB]);
    let [a, b, zeros] = images.each_ref().map(|path| path.to_str().unwrap());
    let disks = [("disk0", a), ("disk1", b), ("scratch", zeros)].map(|(name, path)| format!("--disk={name}={path}"));
    let stored = site.json(&["backup", "--vm", "db", &disks[0], &disks[1], &disks[2]]);
    let names: Vec<&str> =
        stored["disks"].as_array().unwrap().iter().map(|disk| disk["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["disk0", "disk1", "scratch"]);
    assert_eq!(site.json(&["list"])["points"].as_array().unwrap().len(), 1);
    site.run(&["restore", "db", "--to", &site.text("back")]).ends(0);
    for (name, image) in [("disk0", &images[0]), ("disk1", &images[1]), ("scratch", &images[2])] {
        assert!(strongroom_tests::is_same(&site.path(&format!("back/{name}.img")), image), "{name}");
    }
    assert!(occupied_bytes(&site.path("back/scratch.img")) < 64 * 1024);
}

#[test]
fn holes_come_back_as_holes_and_on_request_as_room() {
    let site = Site::new();
    let mut bytes = vec![0; 64 * MIB];
    bytes[MIB..2 * MIB].copy_from_slice(&random(7, MIB));
    bytes[50 * MIB..51 * MIB].copy_from_slice(&random(8, MIB));
    let image = site.path("image");
    write_full(&image, &bytes);
    site.back_up("web01", &image);
    let restore = |name: &str, more: &[&str]| {
        let to = format!("disk0={}", site.text(name));
        let mut args = vec!["restore", "web01", "--disk", &to];
        args.extend(more);
        site.run(&args).ends(0);
        site.path(name)
    };
    let sparse = restore("sparse", &[]);
    assert!(strongroom_tests::is_same(&sparse, &image));
    assert!(occupied_bytes(&sparse) <= 3 * MIB as u64, "{}", occupied_bytes(&sparse));
    let hole = seek(File::open(&sparse).unwrap(), SeekFrom::Hole(MIB as u64)).unwrap();
    assert_eq!(hole, 2 * MIB as u64);
    let reserved = restore("reserved", &["--no-sparse"]);
    assert!(strongroom_tests::is_same(&reserved, &image));
    assert!(occupied_bytes(&reserved) >= 64 * MIB as u64);
}

#[test]
fn a_night_stores_what_changed_and_both_nights_come_back() {
    for chunker in CHUNKERS {
        let site = Site::with(&["--chunker", chunker]);
        let night1 = disk(5, 24 * MIB);
        let mut night2 = night1.clone();
        night2[9 * MIB..9 * MIB + 70_000].copy_from_slice(&random(6, 70_000));
        night2[20 * MIB..21 * MIB].fill(0);
        let (one, two) = (site.path("1.img"), site.path("2.img"));
        write_full(&one, &night1);
        write_full(&two, &night2);
        let first = site.back_up("web01", &one);
        let second = site.back_up("web01", &two);
        assert!(second["disks"][0]["new_bytes"].as_u64().unwrap() < 1_000_000, "{chunker}: {second}");
        assert!(first["disks"][0]["new_bytes"].as_u64().unwrap() > 5_000_000);
        let third = site.back_up("web01", &two);
        assert_eq!((&third["disks"][0]["new_bytes"], &third["disks"][0]["changed_bytes"]), (&0.into(), &0.into()));
        site.assert_restores("web01@latest~2", &one);
        site.assert_restores("web01@latest~1", &two);
        site.assert_restores("web01", &two);
        assert_eq!(site.json(&["verify", "--read-data"])["problems"], serde_json::json!([]));
    }
}

#[test]
fn every_legal_chunk_size_comes_back() {
    for sizes in ["4K,8K,16K", "4K,64K,1M", "64K,64K,64K", "256K,1M,2M"] {
        for chunker in CHUNKERS {
            if chunker == "fastcdc" && sizes == "64K,64K,64K" {
                continue; // nothing to roll over
            }
            let site = Site::with(&["--chunker", chunker, "--chunk-size", sizes]);
            let image = site.path("image");
            write_full(&image, &disk(9, 18 * MIB + 333));
            site.back_up("web01", &image);
            site.assert_restores("web01", &image);
        }
    }
}

#[test]
fn an_interrupted_restore_leaves_no_file_of_the_final_name_and_the_same_command_finishes_it() {
    let site = Site::new();
    let image = site.path("image");
    strongroom_tests::write_random_file(&image, 11, 0, 300 << 20);
    site.back_up("web01", &image);
    let (target, part) = (site.path("back"), site.path("back.part"));
    let to = format!("disk0={}", target.display());
    let args = ["restore", "web01", "--disk", to.as_str()];
    let running = site.start(&args);
    while !part.exists() || occupied_bytes(&part) < 8 << 20 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(!target.exists(), "the restore was too quick for this test");
    }
    running.signal(rustix::process::Signal::INT);
    running.end().fails(130, &["run the same command again"]);
    assert!(part.exists() && !target.exists());
    site.run(&args).ends(0);
    assert!(strongroom_tests::is_same(&target, &image) && !part.exists());
}

#[test]
fn a_file_that_is_replaced_is_cut_to_the_disk() {
    let site = Site::new();
    let (image, target) = (site.path("image"), site.path("back"));
    write_full(&image, &disk(12, MIB + 5));
    site.back_up("web01", &image);
    write_full(&target, &random(13, 2 * MIB));
    site.run(&["restore", "web01", "--disk", &format!("disk0={}", target.display()), "--overwrite", "--yes"]).ends(0);
    assert!(strongroom_tests::is_same(&target, &image));
    File::open(&target).unwrap().read_exact_at(&mut [0; 5], MIB as u64).unwrap();
}

#[test]
fn a_dry_run_tells_what_a_backup_stores_and_leaves_the_repository_as_it_was() {
    let site = Site::new();
    let image = site.path("web01.img");
    write_full(&image, &disk(3, 6 * MIB));
    let before = site.objects();
    let image = image.to_str().unwrap();
    let planned = site.json(&["backup", "-n", "--vm", "web01", image]);
    assert_eq!(site.objects(), before);
    assert_eq!(site.json(&["list"])["points"].as_array().map(Vec::len), Some(0));
    let done = site.json(&["backup", "--vm", "web01", image]);
    for field in ["size_bytes", "data_bytes", "new_bytes", "stored_bytes", "map_root"] {
        assert_eq!(planned["disks"][0][field], done["disks"][0][field], "{field}");
    }
}
