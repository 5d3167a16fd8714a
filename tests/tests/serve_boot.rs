//! A machine boots from a served point: its kernel and a tiny initramfs are the test's, its disk is the export.
//!
//! Emulated, without KVM: a kernel, busybox, and nothing else. The kernel is Debian's, unpacked (not installed) below `target/`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use strongroom_tests::{Serving, Site, full_run, has_program, is_same, succeeds};

const MARK: &str = "the-mark-on-the-disk-4711";
const PATIENCE: Duration = Duration::from_secs(240);

/// Debian's kernel for virtual machines and its modules: `STRONGROOM_TEST_KERNEL` names the folder that `./test` unpacked it in.
fn kernel() -> Option<(PathBuf, PathBuf)> {
    let Some(folder) = std::env::var_os("STRONGROOM_TEST_KERNEL").map(PathBuf::from) else {
        assert!(!full_run(), "STRONGROOM_TEST_KERNEL is not set");
        eprintln!("skipped: STRONGROOM_TEST_KERNEL is not set");
        return None;
    };
    let first = |folder: PathBuf, begin: &str| {
        let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin));
        found.sort();
        found.pop()
    };
    let modules =
        ["lib/modules", "usr/lib/modules"].map(|name| folder.join(name)).into_iter().find(|path| path.is_dir());
    Some((first(folder.join("boot"), "vmlinuz").unwrap(), first(modules.unwrap(), "").unwrap()))
}

/// Modules in the order in which they are to be loaded: each says in itself what it needs.
fn with_needs(modules: &Path, wanted: &[&str]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![modules.join("kernel")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { all.push(path) }
        }
    }
    let stem = |path: &Path| path.file_name().unwrap().to_str().unwrap().split(".ko").next().unwrap().replace('-', "_");
    let mut order: Vec<PathBuf> = Vec::new();
    let mut waiting: Vec<String> = wanted.iter().rev().map(|name| (*name).to_owned()).collect();
    while let Some(name) = waiting.pop() {
        // What is not there is built into the kernel.
        let Some(path) = all.iter().find(|path| stem(path) == name) else { continue };
        if order.contains(path) {
            continue;
        }
        let needs: Vec<String> =
            needs(path).into_iter().filter(|need| !order.iter().any(|path| stem(path) == *need)).collect();
        let there = |need: &String| all.iter().any(|path| stem(path) == *need);
        match needs.iter().any(there) {
            true => waiting.extend(std::iter::once(name).chain(needs)),
            false => order.push(path.clone()),
        }
    }
    order
}

/// Names after `depends=` in a module.
fn needs(module: &Path) -> Vec<String> {
    let bytes = fs::read(module).unwrap();
    let key = b"\0depends=";
    let Some(at) = bytes.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let list = bytes[at + key.len()..].split(|byte| *byte == 0).next().unwrap();
    let list = String::from_utf8_lossy(list).replace('-', "_");
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What PID 1 does: load drivers, mount the disk, say what is on it, write to it, switch off.
fn init(modules: &[PathBuf]) -> String {
    let loads: String = modules
        .iter()
        .map(|path| format!("insmod /modules/{}\n", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    format!(
        "#!/bin/sh\n\
         mount -t devtmpfs none /dev\nmount -t proc none /proc\nexec >/dev/console 2>&1\n{loads}\
         n=0; while ! [ -b /dev/vda ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done\n\
         mount -t ext4 /dev/vda /disk || echo MOUNT-FAILED\n\
         echo; echo FOUND $(cat /disk/mark)\n\
         cat /disk/seen 2>/dev/null\n\
         echo SEEN-BEFORE >> /disk/seen\n\
         umount /disk\nsync\necho DONE\npoweroff -f\n"
    )
}

fn initramfs(site: &Site, modules: &Path) -> PathBuf {
    let root = site.path("initramfs");
    for folder in ["bin", "dev", "proc", "disk", "modules"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists()).unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in ["sh", "mount", "umount", "insmod", "cat", "echo", "sleep", "sync", "poweroff"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    // ext4 asks for its checksum by name, not as something that it needs.
    let modules = with_needs(modules, &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]);
    for path in &modules {
        let name = path.file_name().unwrap();
        fs::copy(path, root.join("modules").join(name)).unwrap();
    }
    fs::write(root.join("init"), init(&modules)).unwrap();
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
    let archive = site.path("initramfs.cpio");
    succeeds(
        "sh",
        &["-c", &format!("cd '{}' && find . | cpio --quiet -o -H newc > '{}'", root.display(), archive.display())],
    );
    archive
}

/// Boots with `uri` as the only disk, and gives what the console said.
fn boot(site: &Site, kernel: &Path, initramfs: &Path, uri: &str) -> String {
    let console = site.fresh("console");
    let mut child = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-m", "192", "-smp", "1", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1 tsc=unstable random.trust_cpu=on mitigations=off"])
        .args(["-drive", &format!("file={uri},format=raw,if=virtio,cache=none"), "-net", "none"])
        .args(["-serial", &format!("file:{}", console.display())])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the machine does not switch off:\n{}", fs::read_to_string(&console).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    String::from_utf8_lossy(&fs::read(&console).unwrap()).into_owned()
}

#[test]
fn a_machine_boots_from_a_served_point_and_what_it_writes_stays_beside_it() {
    let Some((kernel, modules)) = kernel() else { return };
    if !has_program("qemu-system-x86_64") || !has_program("mkfs.ext4") && !Path::new("/sbin/mkfs.ext4").exists() {
        return;
    }
    let site = Site::new();
    let (tree, image) = (site.path("tree"), site.path("disk.img"));
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("mark"), MARK).unwrap();
    let make = format!("PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -d '{}' '{}' 24M", tree.display(), image.display());
    succeeds("sh", &["-c", &make]);
    site.back_up("guest", &image);
    let initramfs = initramfs(&site, &modules);

    let overlay = site.text("overlay");
    for round in 0..2 {
        let serving = Serving::start(&site, "guest", 1, &["--overlay", &overlay]);
        let console = boot(&site, &kernel, &initramfs, serving.uri());
        serving.stop().ends(0);
        assert!(console.contains(&format!("FOUND {MARK}")) && console.contains("DONE"), "{console}");
        // The second machine sees what the first one wrote.
        assert_eq!(console.contains("SEEN-BEFORE"), round == 1, "{console}");
    }
    let back = site.path("back.img");
    site.run(&["restore", "guest", "--disk", &format!("disk0={}", back.display())]).ends(0);
    assert!(is_same(&back, &image), "the point itself changed");
}
