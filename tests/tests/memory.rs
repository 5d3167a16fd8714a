//! Memory does not grow with the disk.

use std::{fs, fs::File, time::Duration};

use strongroom_tests::{Running, Site, write_random_file};

const PEAK_BYTES_MAX: u64 = 512 << 20;

/// The most memory that the process held at any one time, as the kernel counts it; sampled until the process ends.
fn peak_bytes(running: &mut Running) -> u64 {
    let mut peak = 0;
    while running.goes_on() {
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or_default() * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

#[test]
fn backup_verification_and_restore_of_a_large_disk_stay_below_512_mib() {
    let site = Site::new();
    let image = site.path("large.img");
    File::create(&image).unwrap().set_len(8 << 30).unwrap();
    // 1 GiB in eight places.
    for part in 0..8_u64 {
        write_random_file(&image, part + 1, part << 30, 128 << 20);
    }
    let to = format!("disk0={}", site.text("back"));
    for args in
        [&["backup", image.to_str().unwrap()][..], &["verify", "--read-data"], &["restore", "large", "--disk", &to]]
    {
        let mut running = site.start(args);
        let peak = peak_bytes(&mut running);
        let run = running.end().ends(0);
        println!("{}: {} MiB", run.line, peak >> 20);
        assert!(peak > 0 && peak < PEAK_BYTES_MAX, "{}: {} MiB", run.line, peak >> 20);
    }
    let shown = site.json(&["show", "large"])["point"]["disks"][0].clone();
    assert_eq!((&shown["size_bytes"], &shown["data_bytes"]), (&(8_u64 << 30).into(), &(1_u64 << 30).into()));
    // Holes of 7 GiB need not be compared; what is at both ends of each stretch is.
    let (one, other) = (File::open(&image).unwrap(), File::open(site.path("back")).unwrap());
    assert_eq!(other.metadata().unwrap().len(), 8 << 30);
    for part in 0..8_u64 {
        for at in [part << 30, (part << 30) + (128 << 20) - 65_536] {
            let read = |file: &File| {
                let mut bytes = vec![0; 131_072];
                let count = std::os::unix::fs::FileExt::read_at(file, &mut bytes, at).unwrap();
                bytes.truncate(count);
                bytes
            };
            assert!(read(&one) == read(&other), "at {at}");
        }
    }
    assert!(strongroom_tests::occupied_bytes(&site.path("back")) < (1 << 30) + (16 << 20));
}
