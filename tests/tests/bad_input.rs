//! Bad input gets one clear error, the right exit code, and nothing is lost.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use engine::{DiskSource, Kind, MemorySource, OnBad, RawImage, SourceError};
use repo_format::Completeness;
use strongroom_tests::{Site, back_up, disk, in_namespace, random, write_full, write_random_file};

const MIB: usize = 1 << 20;

/// A site with one VM, `old`, that must still come back at the end.
struct Guarded {
    site: Site,
    image: PathBuf,
}

impl Guarded {
    fn new() -> Self {
        let site = Site::new();
        let image = site.path("old.img");
        write_full(&image, &disk(1, 2 * MIB + 99));
        site.back_up("old", &image);
        Self { site, image }
    }

    /// Nothing was lost, and nothing was added: there are this many points.
    #[track_caller]
    fn is_as_it_was(&self, points: usize) {
        assert_eq!(self.site.json(&["list"])["points"].as_array().unwrap().len(), points);
        assert_eq!(self.site.json(&["verify"])["problems"], serde_json::json!([]));
        self.site.assert_restores("old", &self.image);
    }
}

#[test]
fn a_wrong_password_ends_with_12() {
    let guarded = Guarded::new();
    let wrong = guarded.site.path("wrong");
    fs::write(&wrong, "not the password").unwrap();
    let wrong = wrong.to_str().unwrap();
    let run = guarded.site.run(&["list", "--password-file", wrong]).fails(12, &["no key slot", "--recovery-key-file"]);
    assert!(!run.stderr.contains("not the password"));
    guarded.is_as_it_was(1);
}

#[test]
fn where_no_repository_is_every_command_ends_with_10() {
    let site = Site::bare();
    let folder = site.path("holiday pictures");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("beach.jpg"), b"sand").unwrap();
    fs::write(site.path("image"), b"x").unwrap();
    fs::write(site.path("file"), b"no folder").unwrap();
    let image = site.text("image");
    for place in [site.path("nowhere"), folder.clone(), site.path("file")] {
        let place = place.to_str().unwrap();
        for args in
            [&["list"][..], &["verify"], &["verify", "--no-key"], &["backup", &image], &["key", "list"], &["stats"]]
        {
            let mut args = args.to_vec();
            args.extend(["--repo", place]);
            site.run(&args).fails(10, &[place, "strongroom init"]);
        }
    }
    let folder = folder.to_str().unwrap();
    site.run(&["init", "--repo", folder, "--no-recovery-key", "--kdf-memory", "32K"]).fails(1, &[folder]);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    site.run(&["list", "--repo", ""]).fails(2, &["--repo"]);
}

#[test]
fn a_second_init_in_a_repository_ends_with_1() {
    let guarded = Guarded::new();
    let here = guarded.site.text("repository");
    guarded.site.run(&["init", "--no-recovery-key"]).fails(1, &["a repository is there already", &here]);
    guarded.is_as_it_was(1);
}

#[test]
fn a_repository_of_a_newer_format_ends_with_14_and_names_the_version() {
    let guarded = Guarded::new();
    let repository = guarded.site.repository();
    let before = fs::read(repository.join("config")).unwrap();
    let mut newer = before.clone();
    newer[8] = 2;
    for name in ["config", "config.copy"] {
        fs::write(repository.join(name), &newer).unwrap();
    }
    guarded.site.run(&["list"]).fails(14, &["format", "2", "use a newer strongroom"]);
    guarded.site.run(&["backup", guarded.image.to_str().unwrap()]).fails(14, &[]);
    for name in ["config", "config.copy"] {
        fs::write(repository.join(name), &before).unwrap();
    }
    guarded.is_as_it_was(1);
}

#[test]
fn an_image_that_is_missing_unreadable_a_folder_or_empty_ends_with_2() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    File::create(site.path("empty.img")).unwrap();
    fs::create_dir(site.path("folder.img")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.path("pipe.img"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let cases = [
        ("missing.img", "No such file"),
        ("folder.img", "is neither a file nor a block device"),
        ("empty.img", "is empty (0 bytes)"),
        ("pipe.img", "is neither a file nor a block device"),
        ("old.img/x", "Not a directory"),
    ];
    for (name, words) in cases {
        let path = site.text(name);
        site.run(&["backup", "--vm", "new", &path]).fails(2, &[&path, words]);
        // All disks or none.
        site.run(&["backup", "--vm", "new", &site.text("old.img"), &path]).fails(2, &[&path, "disk1"]);
    }
    let mut qcow2 = b"QFI\xfb".to_vec();
    qcow2.resize(8192, 0);
    fs::write(site.path("guest.img"), qcow2).unwrap();
    site.run(&["backup", &site.text("guest.img")]).fails(2, &["qcow2", "qemu-nbd"]);
    let disk = format!("--disk=c={}", site.text("old.img"));
    site.run(&["backup", "--vm", "new", &disk, &disk]).fails(2, &["two disks are called c"]);
    site.run(&["backup", "--vm", "new", &site.text("old.img"), &disk]).fails(2, &["--disk"]);
    guarded.is_as_it_was(1);
}

/// An image that loses its second half when the first read comes.
struct Shrinking {
    path: PathBuf,
    image: RawImage,
    done: AtomicBool,
}

impl DiskSource for Shrinking {
    fn bytes(&self) -> u64 {
        self.image.bytes()
    }

    fn allocated(&self) -> Result<Vec<std::ops::Range<u64>>, SourceError> {
        self.image.allocated()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        if !self.done.swap(true, Ordering::SeqCst) {
            let file = File::options().write(true).open(&self.path).unwrap();
            file.set_len(self.image.bytes() / 2).unwrap();
        }
        self.image.read_at(offset, into)
    }
}

#[test]
fn an_image_that_shrinks_while_it_is_read_makes_no_point() {
    let guarded = Guarded::new();
    let path = guarded.site.path("shrinking.img");
    write_full(&path, &random(2, 40 * MIB));
    let image = RawImage::open(&path).unwrap();
    let source = Shrinking { path, image, done: AtomicBool::new(false) };
    let error =
        back_up(&guarded.site, "new", vec![("disk0", Box::new(source) as _)], 2, OnBad::Keep).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    assert!(error.to_string().contains("something is changing it"), "{error}");
    guarded.is_as_it_was(1);
}

#[test]
fn an_image_that_is_cut_under_the_program_ends_with_1() {
    let guarded = Guarded::new();
    let path = guarded.site.path("shrinking.img");
    write_random_file(&path, 3, 0, 400 << 20);
    let before = guarded.site.packs().len();
    let running = guarded.site.start(&["backup", "--threads", "1", path.to_str().unwrap()]);
    guarded.site.wait_for_packs(before + 1);
    File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    running.end().fails(1, &["shrinking disk0", "something is changing it"]);
    guarded.is_as_it_was(1);
}

#[test]
fn what_cannot_be_read_is_a_bad_extent_and_never_zeros() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    let bytes = disk(4, 20 * MIB);
    let source = || {
        let unreadable = vec![5_000_000..5_000_001, 17 << 20..(17 << 20) + 70_000];
        Box::new(MemorySource::new(bytes.clone()).with_unreadable(unreadable)) as Box<dyn DiskSource>
    };
    let error = back_up(site, "hurt", vec![("disk0", source())], 2, OnBad::Fail).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    guarded.is_as_it_was(1);

    let report = back_up(site, "hurt", vec![("disk0", source())], 2, OnBad::Keep).unwrap();
    assert_eq!(report.completeness, Completeness::Incomplete);
    let id = report.point.to_string();
    let bad = report.disks[0].bad_bytes;
    assert!((86_385..200_000).contains(&bad), "{bad}");
    let to = format!("disk0={}", site.text("back"));
    site.run(&["restore", "hurt", "--disk", &to]).fails(1, &["incomplete", &id[..8]]);
    site.run(&["restore", &id, "--disk", &to]).fails(5, &["could not be read", "--accept-loss bad-extents"]);
    assert!(!site.path("back").exists());
    site.run(&["restore", &id, "--disk", &to, "--accept-loss", "bad-extents"]).ends(3);
    let mut expected = bytes.clone();
    let listed = fs::read_to_string(site.path("back.bad")).unwrap();
    let mut covered = 0;
    for line in listed.lines() {
        let (start, length) = line.split_once(' ').unwrap();
        let (start, length): (usize, usize) = (start.parse().unwrap(), length.parse().unwrap());
        expected[start..start + length].fill(0);
        covered += length as u64;
    }
    assert_eq!(covered, bad);
    assert!(fs::read(site.path("back")).unwrap() == expected, "only what is listed may differ");
    guarded.is_as_it_was(2);
}

#[test]
fn a_target_that_exists_is_not_touched_without_overwrite() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    let target = site.path("precious");
    fs::write(&target, b"precious").unwrap();
    let to = format!("disk0={}", target.display());
    site.run(&["restore", "old", "--disk", &to]).fails(2, &["exists", "--overwrite"]);
    site.run(&["restore", "old", "--disk", &to, "--dry-run"]).fails(2, &["exists"]);
    // Consent is asked for, and nobody is there to give it.
    site.run(&["restore", "old", "--disk", &to, "--overwrite"]).fails(2, &["--yes"]);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    site.run(&["restore", "old", "--disk", &format!("disk7={}", site.text("x"))]).fails(2, &["disk7", "disk0"]);
    let inside = format!("disk0={}", site.text("repository/packs/x"));
    site.run(&["restore", "old", "--disk", &inside]).fails(2, &["inside the repository"]);
    fs::create_dir(site.path("folder")).unwrap();
    site.run(&["restore", "old", "--disk", &format!("disk0={}", site.text("folder"))]).fails(2, &["folder"]);
    guarded.is_as_it_was(1);
}

/// A loop device of the image, as long as this lives; `None` where there are none to be had.
struct LoopDevice(String);

impl LoopDevice {
    fn of(path: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(path).output().ok()?;
        let device = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        if !output.status.success() || device.is_empty() {
            eprintln!("skipped: no loop devices on this machine: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self(device))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_device_that_is_too_small_is_refused_with_both_sizes_and_a_larger_one_keeps_its_tail() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    let (small, large) = (site.path("small"), site.path("large"));
    write_full(&small, &random(5, MIB));
    write_full(&large, &random(6, 4 * MIB));
    let Some(device) = LoopDevice::of(&small) else { return };
    let to = format!("disk0={}", device.0);
    let (disk_bytes, device_bytes) = ((2 * MIB + 99).to_string(), MIB.to_string());
    let args = ["restore", "old", "--disk", to.as_str(), "--overwrite", "--yes"];
    site.run(&args).fails(2, &[&disk_bytes, &device_bytes, "at least the disk's size"]);
    assert!(fs::read(&small).unwrap() == random(5, MIB));
    drop(device);

    let Some(device) = LoopDevice::of(&large) else { return };
    let to = format!("disk0={}", device.0);
    let run = site.run(&["restore", "old", "--disk", &to, "--overwrite", "--yes"]).ends(0);
    assert!(run.stderr.contains("as they were"), "{}", run.stderr);
    drop(device);
    let (old, written) = (fs::read(&guarded.image).unwrap(), fs::read(&large).unwrap());
    assert!(written[..old.len()] == old && written[old.len()..] == random(6, 4 * MIB)[old.len()..]);
    guarded.is_as_it_was(1);
}

#[test]
fn a_restore_onto_a_full_disk_ends_with_6_and_goes_on_when_there_is_room() {
    let guarded = Guarded::new();
    let big = guarded.site.path("big.img");
    write_random_file(&big, 7, 0, 24 << 20);
    guarded.site.back_up("big", &big);
    let script = r#"
        mkdir -p "$HERE/full" && mount -t tmpfs -o size=16m none "$HERE/full" || exit 99
        "$S" restore big --disk disk0="$HERE/full/back"; echo "first: $?" >&2
        ls "$HERE/full" | sed "s/^/left: /" >&2
        mount -o remount,size=64m "$HERE/full" || exit 98
        "$S" restore big --disk disk0="$HERE/full/back" || exit 97
        cmp "$HERE/full/back" "$HERE/big.img""#;
    if let Some(run) = in_namespace(&guarded.site, script) {
        let run = run.ends(0);
        assert!(run.stderr.contains("first: 6"), "{}", run.stderr);
        assert!(run.stderr.contains("no space left") || run.stderr.contains("room"), "{}", run.stderr);
        assert!(!run.stderr.contains("left: back\n"), "a half restore has the final name: {}", run.stderr);
    }
    guarded.is_as_it_was(2);
}

#[test]
fn a_backup_into_a_full_repository_ends_with_6_and_the_rerun_needs_no_manual_step() {
    let site = Site::bare();
    write_full(&site.path("small.img"), &disk(8, 2 * MIB));
    write_random_file(&site.path("big.img"), 9, 0, 150 << 20);
    let script = r#"
        mkdir -p "$HERE/repository" && mount -t tmpfs -o size=96m none "$HERE/repository" || exit 99
        "$S" init --no-recovery-key --kdf-memory 32K >&2 || exit 98
        "$S" backup "$HERE/small.img" || exit 97
        "$S" backup "$HERE/big.img"; echo "full: $?" >&2
        "$S" backup "$HERE/big.img"; echo "still full: $?" >&2
        "$S" list --json || exit 96
        "$S" verify --read-data || exit 95
        "$S" restore small --disk disk0="$HERE/small.back" || exit 94
        cmp "$HERE/small.back" "$HERE/small.img" || exit 93
        mount -o remount,size=400m "$HERE/repository" || exit 92
        "$S" backup --json "$HERE/big.img" > "$HERE/rerun.json" || exit 91
        "$S" verify --read-data || exit 90
        "$S" restore big --disk disk0="$HERE/big.back" || exit 89
        cmp "$HERE/big.back" "$HERE/big.img""#;
    let Some(run) = in_namespace(&site, script) else { return };
    let run = run.ends(0);
    assert!(run.stderr.contains("full: 6\n") && run.stderr.contains("still full: 6\n"), "{}", run.stderr);
    assert!(run.stderr.contains("free some room"), "{}", run.stderr);
    let rerun: serde_json::Value = serde_json::from_str(&fs::read_to_string(site.path("rerun.json")).unwrap()).unwrap();
    assert!(rerun["result"]["adopted_packs"].as_u64().unwrap() > 0, "finished packs were thrown away: {rerun}");
}

#[test]
fn a_selector_that_fits_nothing_or_too_much_lists_the_candidates() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    site.run(&["show", "odl"]).fails(1, &["no VM \"odl\"", "old"]);
    site.run(&["list", "odl"]).fails(1, &["odl", "old"]);
    site.run(&["restore", "old@2001-01-01", "--to", &site.text("x")]).fails(1, &["the oldest is", "the newest"]);
    site.run(&["show", "old@latest~5"]).fails(1, &["the oldest is"]);
    site.run(&["show", "id:00000000ffff"]).fails(1, &["00000000ffff"]);
    site.run(&["show", "old@yesterday"]).fails(2, &[]);
    site.run(&["show", "old/disk9/x"]).fails(1, &[]);
    let id = site.json(&["list"])["points"][0]["id"].as_str().unwrap().to_owned();
    // A VM that is called like the beginning of a point.
    let name = &id[..6];
    site.back_up(name, &guarded.image);
    site.run(&["show", name]).fails(2, &["fits more than one", &format!("vm:{name}"), &id[..8]]);
    for clear in [format!("vm:{name}"), format!("id:{name}"), format!("{name}@latest")] {
        site.run(&["show", &clear]).ends(0);
    }
    guarded.is_as_it_was(2);
}

#[test]
fn the_last_key_slot_cannot_be_removed() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    site.run(&["key", "remove", "recovery"]).fails(2, &["--yes"]);
    site.run(&["key", "remove", "recovery", "--yes"]).ends(0);
    site.run(&["key", "remove", "first", "--yes"]).fails(2, &["last"]);
    site.run(&["key", "remove", "nobody", "--yes"]).fails(1, &["nobody"]);
    site.run(&["list", "--password-file", &site.text("nothing")]).fails(2, &["cannot be read"]);
    let recovery = site.text("recovery-key");
    let mut command = site.command(&["list", "--recovery-key-file", &recovery]);
    command.env_remove("STRONGROOM_PASSWORD_FILE");
    assert_eq!(command.output().unwrap().status.code(), Some(12), "a removed slot opens nothing");
    guarded.is_as_it_was(1);
}

#[test]
fn a_malformed_vm_home_is_refused_with_its_line() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    let image = guarded.image.to_str().unwrap();
    let cases = [
        ("{\n  \"schema\": \"strongroom.vm-home/1\",\n  \"encryptionbundle\": \"x\"\n}", "line 3"),
        ("{\n  \"schema\": \"strongroom.vm-home/1\",\n", "line 3"),
        ("{\"schema\": \"strongroom.vm-home/9\"}", "strongroom.vm-home/1"),
        ("<xml/>", "line 1"),
        ("", "empty"),
    ];
    for (text, words) in cases {
        let path = site.path("home.json");
        fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        site.run(&["backup", "--vm", "old", image, "--vm-home", path]).fails(2, &[path, words]);
    }
    site.run(&["backup", "--vm", "old", image, "--vm-home", "nowhere.json"]).fails(2, &["nowhere.json"]);
    guarded.is_as_it_was(1);
}

#[test]
fn a_word_that_is_not_built_ends_with_14_in_text_and_json() {
    let site = Site::bare();
    for line in ["hooks", "repair points", "report", "key rotate"] {
        let args: Vec<&str> = line.split(' ').collect();
        site.run(&args).fails(14, &["is not built into this version"]);
        let mut args = args.clone();
        args.push("--json");
        let run = site.run(&args).ends(14);
        let document = run.document();
        assert_eq!((&document["exit_code"], &document["outcome"]), (&14.into(), &"failed".into()));
        assert!(document["error"].is_object() && document["result"].is_null());
    }
    site.run(&["list", "--repo", "s3://bucket/prefix"]).fails(14, &["s3://"]);
    site.run(&["list", "--repo", "s3:https://user:hidden@host/bucket"]).fails(14, &[]);
    site.run(&["lits"]).fails(2, &["list"]);
}

#[test]
fn a_history_that_was_rolled_back_ends_with_13_until_it_is_accepted_by_its_digest() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    let log = site.repository().join("log");
    let entries = || {
        let mut names: Vec<PathBuf> = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = entries();
    site.back_up("new", &guarded.image);
    let kept: Vec<(PathBuf, Vec<u8>)> =
        entries().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for (path, _) in kept.iter().filter(|(path, _)| !before.contains(path)) {
        fs::remove_file(path).unwrap();
    }
    for args in
        [&["list"][..], &["verify"], &["backup", guarded.image.to_str().unwrap()], &["restore", "old", "--to", "x"]]
    {
        site.run(args).fails(13, &["--accept-rollback"]);
    }
    let document = site.run(&["list", "--json"]).ends(13).document();
    assert_eq!(document["error"]["kind"], "history");
    // The entries come back: so does everything.
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
    }
    guarded.is_as_it_was(2);

    for (path, _) in kept.iter().filter(|(path, _)| !before.contains(path)) {
        fs::remove_file(path).unwrap();
    }
    let said = site.run(&["list"]).fails(13, &[]).stderr;
    let digest = said.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    let accepted = digest.into_iter().any(|digest| site.run(&["list", "--accept-rollback", digest]).code == 0);
    assert!(accepted, "no digest in the error is the one to type: {said}");
    guarded.is_as_it_was(1);
}

#[test]
fn a_command_line_that_is_wrong_still_gives_one_document() {
    let site = Site::bare();
    for args in [&["--json"][..], &["list", "--json", "--no-such"], &["restore", "x", "--json"], &["lits", "--json"]] {
        let document = site.run(args).ends(2).document();
        assert_eq!(document["exit_code"], 2);
        for field in ["error", "where", "try"] {
            assert!(document["error"][field].is_string(), "{field}: {document}");
        }
    }
}

#[test]
fn a_standard_output_that_is_closed_leaves_no_half_commit() {
    let guarded = Guarded::new();
    let site = &guarded.site;
    let mut command = site.command(&["backup", "--json", "--vm", "old", guarded.image.to_str().unwrap()]);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = command.stdout(writer).status().unwrap();
    assert_ne!(status.code(), Some(101));
    guarded.is_as_it_was(2);
}
