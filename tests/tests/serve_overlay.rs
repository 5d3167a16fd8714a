//! What clients write is theirs: it never reaches the repository, it outlives the run, and it belongs to one point.

use std::{collections::BTreeMap, fs, path::PathBuf};

use strongroom_tests::{Serving, Site, has_program, in_namespace, occupied_bytes, random, succeeds, write_full};

const MIB: usize = 1 << 20;

struct Subject {
    site: Site,
    image: PathBuf,
    bytes: Vec<u8>,
}

impl Subject {
    /// A disk that ends in the middle of a block.
    fn new() -> Self {
        let site = Site::new();
        let image = site.path("image");
        let bytes = random(51, 4 * MIB + 512);
        write_full(&image, &bytes);
        site.back_up("v", &image);
        Self { site, image, bytes }
    }

    fn repository(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = self.site.objects().into_iter();
        objects.map(|name| (name.clone(), fs::read(self.site.repository().join(name)).unwrap())).collect()
    }

    #[track_caller]
    fn reads_as(&self, uri: &str, wanted: &[u8]) {
        let copy = self.site.fresh("copy");
        succeeds("nbdcopy", &[uri, copy.to_str().unwrap()]);
        assert!(fs::read(&copy).unwrap() == wanted);
    }
}

fn write(uri: &str, command: &str) {
    let said = succeeds("qemu-io", &["-f", "raw", "-c", command, "-c", "flush", uri]);
    assert!(!said.contains("error") && !said.contains("failed"), "{command}: {said}");
}

#[test]
fn what_is_written_is_read_again_and_the_repository_stays_as_it_was() {
    if !has_program("qemu-io") || !has_program("nbdcopy") {
        return;
    }
    let subject = Subject::new();
    let before = subject.repository();
    let (site, mut wanted) = (&subject.site, subject.bytes.clone());
    let overlay = site.text("overlay");
    let serving = Serving::start(site, "v", 1, &["--overlay", &overlay]);
    subject.reads_as(serving.uri(), &wanted);
    // Whole blocks, parts of blocks, parts of several, zeros, a trim, the short last block.
    for (command, range, byte) in [
        ("write -P 0x11 1M 64k", MIB..MIB + 65536, 0x11),
        ("write -P 0x22 512 512", 512..1024, 0x22),
        ("write -P 0x33 10240 9216", 10240..19456, 0x33),
        ("write -z -u 2M 1M", 2 * MIB..3 * MIB, 0),
        ("write -z 20992 1024", 20992..22016, 0),
        ("write -P 0x44 4194304 512", 4 * MIB..4 * MIB + 512, 0x44),
        ("discard 3M 4k", 3 * MIB..3 * MIB + 4096, 0),
    ] {
        write(serving.uri(), command);
        wanted[range].fill(byte);
        subject.reads_as(serving.uri(), &wanted);
    }
    serving.stop().ends(0);
    assert!(occupied_bytes(overlay.as_ref()) < MIB as u64, "{}", occupied_bytes(overlay.as_ref()));

    let again = Serving::start(site, "v", 1, &["--overlay", &overlay]);
    subject.reads_as(again.uri(), &wanted);
    write(again.uri(), "write -P 0x55 3M 1M");
    wanted[3 * MIB..4 * MIB].fill(0x55);
    // Killed after a flush: nothing that was flushed is lost.
    again.signal(rustix::process::Signal::KILL);
    again.end();
    let third = Serving::start(site, "v", 1, &["--overlay", &overlay]);
    subject.reads_as(third.uri(), &wanted);
    third.stop().ends(0);

    assert!(subject.repository() == before, "the repository was written to");
    site.assert_restores("v", &subject.image);
}

#[test]
fn an_overlay_in_memory_is_gone_at_the_end() {
    if !has_program("qemu-io") || !has_program("nbdcopy") {
        return;
    }
    let subject = Subject::new();
    let serving = Serving::start(&subject.site, "v", 1, &["--overlay", "memory"]);
    write(serving.uri(), "write -P 0x11 1M 64k");
    let mut wanted = subject.bytes.clone();
    wanted[MIB..MIB + 65536].fill(0x11);
    subject.reads_as(serving.uri(), &wanted);
    serving.stop().ends(0);
    let again = Serving::start(&subject.site, "v", 1, &["--overlay", "memory"]);
    subject.reads_as(again.uri(), &subject.bytes);
    again.stop().ends(0);
    assert!(!subject.site.path("memory").exists());
}

#[test]
fn an_overlay_of_another_point_or_another_file_is_refused() {
    let subject = Subject::new();
    let site = &subject.site;
    let overlay = site.text("overlay");
    let serve = |selector: &str, overlay: &str| {
        let socket = site.fresh("sock");
        site.run(&["serve", selector, "--socket", socket.to_str().unwrap(), "--overlay", overlay])
    };
    let first = Serving::start(site, "v", 1, &["--overlay", &overlay]);
    serve("v", &overlay).fails(1, &[&overlay, "in use"]);
    first.stop().ends(0);
    let old = site.json(&["show", "v"])["point"]["id"].as_str().unwrap().to_owned();
    // The same bytes on another night are another point.
    site.back_up("v", &subject.image);
    serve("v@latest", &overlay).fails(2, &["not over this restore point", &old]);
    let other = site.text("other");
    write_full(other.as_ref(), &random(9, MIB));
    serve("v", &other).fails(2, &["no overlay"]);
    assert!(fs::read(&other).unwrap() == random(9, MIB));
    let zeros = site.text("zeros");
    write_full(zeros.as_ref(), &vec![0; MIB]);
    serve("v", &zeros).fails(2, &["no overlay"]);
    serve("v", site.repository().join("overlay").to_str().unwrap()).fails(2, &["inside the repository"]);
    Serving::start(site, &format!("id:{old}"), 1, &["--overlay", &overlay]).stop().ends(0);
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing_else() {
    if !has_program("qemu-io") || !has_program("nbdcopy") {
        return;
    }
    let subject = Subject::new();
    let script = r#"
        set -e
        mkdir -p "$HERE/small"
        mount -t tmpfs -o size=1536k none "$HERE/small"
        "$S" serve v --socket "$HERE/full.sock" --overlay "$HERE/small/overlay" > "$HERE/uris" &
        serving=$!
        while ! [ -s "$HERE/uris" ]; do sleep 0.05; done
        uri=$(cat "$HERE/uris")
        qemu-io -f raw -c 'write -P 0x11 64k 256k' -c flush "$uri"
        qemu-io -f raw -c 'write -P 0x22 1M 2M' "$uri" > "$HERE/said" 2>&1 || true
        grep -q 'No space left on device' "$HERE/said"
        qemu-io -f raw -c 'write -P 0x33 64k 64k' -c flush "$uri"
        nbdcopy "$uri" "$HERE/copy"
        kill -INT $serving
        wait $serving
    "#;
    let Some(run) = in_namespace(&subject.site, script) else { return };
    run.ends(0);
    let copy = fs::read(subject.site.path("copy")).unwrap();
    let mut wanted = subject.bytes.clone();
    wanted[65536..5 * 65536].fill(0x11);
    wanted[65536..2 * 65536].fill(0x33);
    let outside = |bytes: &[u8]| [&bytes[..MIB], &bytes[3 * MIB..]].concat();
    assert!(outside(&copy) == outside(&wanted), "something else was lost");
    // Where the refused write was to go, each block is old or new.
    for (block, old) in copy[MIB..3 * MIB].chunks(4096).zip(wanted[MIB..3 * MIB].chunks(4096)) {
        assert!(block == old || block.iter().all(|byte| *byte == 0x22));
    }
}
