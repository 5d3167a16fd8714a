//! The rules of the house, read off its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const LINES_MAX: usize = 600;

/// An external crate, and the only places that may name it.
const HOMES: [(&str, &[&str]); 17] = [
    ("blake3", &["repo-format/", "engine/src/store/", "engine/src/entropy.rs", "fuzz/src/"]),
    ("aws_lc_rs", &["repo-format/", "vsphere/src/soap/"]),
    ("aes", &["repo-format/"]),
    ("chacha20", &["repo-format/"]),
    ("chacha20poly1305", &["repo-format/", "fuzz/src/"]),
    ("argon2", &["repo-format/src/key_slot"]),
    ("crossbeam_channel", &["engine/src/pipeline/", "engine/src/pack_sink.rs"]),
    ("reed_solomon_simd", &["repo-format/src/pack/parity.rs"]),
    ("rayon", &["engine/src/pipeline/", "engine/src/pack_sink.rs", "repo-format/src/key_slot/kdf.rs"]),
    ("redb", &["engine/src/catalog"]),
    ("memmap2", &["engine/src/index/"]),
    ("rustls", &["engine/src/nbd/", "vsphere/src/soap/"]),
    ("ureq", &["vsphere/src/soap/"]),
    ("quick_xml", &["vsphere/src/soap/", "vsphere/src/vm_home/"]),
    ("libloading", &["vsphere/src/vddk/sys.rs"]),
    ("clap", &["cli/src/args/", "cli/src/main.rs"]),
    ("zxcvbn", &["cli/src/secrets.rs"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All files below the root with one of these endings, less what is built or of somebody else: name and text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let (mut folders, mut found) = (vec![root().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "corpus" && name != "__pycache__" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Less comments: what the compiler sees, near enough.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `name::` where `name` is no part of a longer word or path.
fn names_crate(code: &str, name: &str) -> bool {
    let wanted = format!("{name}::");
    let mut rest = code;
    let mut before = ' ';
    while let Some(at) = rest.find(&wanted) {
        let (head, tail) = rest.split_at(at);
        let previous = head.chars().next_back().unwrap_or(before);
        if !is_word(previous) && previous != ':' {
            return true;
        }
        before = ':';
        rest = &tail[wanted.len()..];
    }
    code.contains(&format!("use {name};")) || code.contains(&format!("use {name} as"))
}

#[test]
fn each_external_crate_is_named_only_in_its_home() {
    let mut strays = Vec::new();
    for (path, text) in files(&[".rs"]) {
        // Tests may use what they like.
        if path.contains("tests") {
            continue;
        }
        let code = code(&text);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (name, homes) in HOMES {
            if names_crate(code, name) && !homes.iter().any(|home| path.starts_with(home)) {
                strays.push(format!("{path} names {name}"));
            }
        }
        if code.contains("fastcdc::v2020") && path != "repo-format/src/chunker/fastcdc.rs" {
            strays.push(format!("{path} names fastcdc"));
        }
    }
    assert_eq!(strays, Vec::<String>::new());
}

#[test]
fn a_crate_of_the_workspace_depends_only_on_crates_below_it() {
    let allowed: [(&str, &[&str]); 4] = [
        ("repo-format", &[]),
        ("engine", &["repo-format"]),
        ("vsphere", &["repo-format", "engine"]),
        ("cli", &["repo-format", "engine", "vsphere"]),
    ];
    for (member, below) in allowed {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        for ours in ["repo-format", "engine", "strongroom", "vsphere"] {
            let depends = manifest
                .lines()
                .any(|line| line.starts_with(&format!("{ours}.")) || line.starts_with(&format!("{ours} =")));
            assert!(!depends || below.contains(&ours), "{member} depends on {ours}");
        }
    }
}

#[test]
fn the_format_knows_no_files_sockets_threads_or_clocks() {
    for (path, text) in files(&[".rs"]).into_iter().filter(|(path, _)| path.starts_with("repo-format/src/")) {
        for word in ["std::fs", "std::net", "std::thread", "std::time", "std::process", "std::env", "getrandom"] {
            assert!(!code(&text).contains(word), "{path} names {word}");
        }
    }
}

#[test]
fn the_engine_neither_prints_nor_names_vmware() {
    for (path, text) in files(&[".rs"]).into_iter().filter(|(path, _)| path.starts_with("engine/src/")) {
        for word in ["println!", "eprintln!", "print!", "vmware", "vddk", "VDDK", "vsphere"] {
            assert!(!code(&text).contains(word), "{path} says {word}");
        }
    }
}

/// Rows of the drawing in docs/architecture.md, top first: the rooms of each.
fn rows() -> Vec<BTreeSet<String>> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let labels = ["conductors", "roles", "stages", "durable nouns", "ground"];
    let mut rows = vec![BTreeSet::new(); labels.len()];
    let mut current = None;
    for line in text.lines() {
        let label = labels.iter().position(|label| line.starts_with(&format!("  {label}  ")));
        let words = match (label, current) {
            (Some(row), _) => {
                current = Some(row);
                line.trim_start().strip_prefix(labels[row]).unwrap()
            }
            // A row may go on below its label.
            (None, Some(_)) if line.starts_with("         ") => line,
            _ => {
                current = None;
                continue;
            }
        };
        let row = &mut rows[current.unwrap()];
        row.extend(words.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned));
    }
    rows
}

/// Rooms of the engine that a file imports; tests may import what they like.
fn imports(text: &str) -> BTreeSet<String> {
    let text = code(text);
    let text = text.replace("#[cfg(test)]\nmod tests;", "").replace("#[cfg(test)]\nmod conformance;", "");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = BTreeSet::new();
    for after in text.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => {
                found.insert(after.split(|c| !is_word(c)).next().unwrap().to_owned());
            }
            Some(list) => {
                let (mut depth, mut begins) = (0, true);
                let mut word = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        c if begins && is_word(c) => word.push(c),
                        _ if !word.is_empty() => {
                            begins = false;
                            found.insert(std::mem::take(&mut word));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

#[test]
fn no_room_of_the_engine_imports_from_a_row_above_its_own() {
    let rows = rows();
    let lib = fs::read_to_string(root().join("engine/src/lib.rs")).unwrap();
    let rooms: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("mod ").or_else(|| line.strip_prefix("pub mod "))?.strip_suffix(';'))
        .filter(|room| *room != "test_repository")
        .collect();
    let row_of: BTreeMap<&str, usize> = rooms
        .iter()
        .map(|room| {
            let row = rows.iter().position(|row| row.contains(*room));
            (*room, row.unwrap_or_else(|| panic!("docs/architecture.md does not say in which row {room} is")))
        })
        .collect();
    let mut upward = BTreeSet::new();
    for (path, text) in files(&[".rs"]) {
        let Some(inside) = path.strip_prefix("engine/src/") else { continue };
        let room = inside.split(['/', '.']).next().unwrap();
        if path.ends_with("/tests.rs") || path.ends_with("/conformance.rs") || !row_of.contains_key(room) {
            continue;
        }
        for imported in imports(&text) {
            if row_of.get(imported.as_str()).is_some_and(|row| *row < row_of[room]) {
                upward.insert(format!("{path} imports {imported}"));
            }
        }
    }
    assert_eq!(upward, BTreeSet::new());
}

#[test]
fn nothing_is_put_off() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!"), concat!("unimple", "mented!")];
    for (path, text) in files(&[".rs", ".md", ".py", ".toml"]) {
        for word in words {
            assert!(!text.contains(word), "{path} says {word}");
        }
    }
}

#[test]
fn unsafe_stands_where_it_must_and_with_its_argument() {
    for (path, text) in files(&[".rs"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let bare = line.split("//").next().unwrap_or_default();
            let stands =
                ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| bare.contains(form));
            // The type of a foreign function does nothing.
            let stands = stands && !bare.contains("unsafe extern \"C\" fn(");
            if !stands || path == "tests/tests/house.rs" {
                continue;
            }
            let places = ["engine/src/index/", "vsphere/src/vddk/sys.rs", "tests/vddk-stand-in/src/"];
            let is_place = places.iter().any(|place| path.starts_with(place));
            assert!(is_place, "{path}:{} has unsafe", number + 1);
            let above = &lines[number.saturating_sub(6)..number];
            assert!(above.iter().any(|line| line.contains("SAFETY:")), "{path}:{}: no SAFETY comment", number + 1);
        }
    }
}

#[test]
fn every_place_that_the_specification_names_exists() {
    let text = fs::read_to_string(root().join("SPEC.md")).unwrap();
    let mut named = 0;
    for line in text.lines().filter(|line| line.starts_with("*Implemented in ")) {
        let mut folder = PathBuf::new();
        let places = line.split(';').next().unwrap();
        for place in places.split('`').skip(1).step_by(2) {
            let path = if place.contains('/') { root().join(place) } else { folder.join(place) };
            assert!(path.exists(), "SPEC.md names {place}");
            folder = path.parent().unwrap().to_owned();
            named += 1;
        }
        for vectors in line.split('`').filter_map(|word| word.strip_suffix("-*")) {
            let beside = fs::read_dir(root().join("tests/vectors")).unwrap();
            let begin = format!("{vectors}-");
            let found = beside
                .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(&begin))
                .count();
            assert!(found > 0, "SPEC.md names vectors {vectors}-*");
        }
    }
    assert!(named >= 12, "{named}");
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    for (path, text) in files(&[".rs", ".py"]) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines, at most {LINES_MAX}");
    }
}

#[test]
fn the_documents_name_only_files_that_exist() {
    let documents = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/architecture.md",
        "docs/threat-model.md",
        "docs/glossary.md",
    ];
    for document in documents {
        let path = root().join(document);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:") {
                assert!(path.parent().unwrap().join(file).exists(), "{document} links to {link}");
            }
        }
    }
}

#[test]
fn the_schemas_in_the_documents_are_those_of_the_program() {
    let site = strongroom_tests::Site::bare();
    site.run(&["generate", "schemas", &site.text("schemas")]).ends(0);
    let folder = root().join("docs/schemas");
    let names = |folder: &Path| -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&folder), names(&site.path("schemas")), "strongroom generate schemas docs/schemas");
    for name in names(&folder) {
        let texts =
            [folder.join(&name), site.path("schemas").join(&name)].map(|path| fs::read_to_string(path).unwrap());
        assert!(texts[0] == texts[1], "docs/schemas/{name} is old: strongroom generate schemas docs/schemas");
    }
}
