//! Content that compresses, repeats and changes the way the content of real disks does.

use std::io::Write as _;

use crate::random::Random;

/// Bytes of a database page.
pub const PAGE: usize = 8192;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Source code, scripts, configuration, documentation.
    Source,
    /// Programs and libraries.
    Program,
    /// Pictures, video, archives: nothing to compress.
    Media,
    /// Log lines.
    Log,
    /// Heap pages of a database.
    Database,
}

const WORDS: &[&str] = &[
    "return",
    "self",
    "value",
    "if",
    "let",
    "the",
    "of",
    "for",
    "in",
    "error",
    "name",
    "data",
    "size",
    "index",
    "buffer",
    "result",
    "string",
    "path",
    "file",
    "state",
    "config",
    "request",
    "session",
    "order",
    "account",
    "queue",
    "worker",
    "cache",
    "status",
    "update",
    "insert",
    "select",
    "timeout",
    "retry",
    "connection",
    "accepted",
    "failed",
    "invoice",
    "customer",
    "payment",
    "shard",
    "replica",
    "upstream",
    "latency",
    "method",
    "kernel",
    "systemd",
    "postgres",
    "nginx",
    "disk",
    "usage",
    "warning",
    "blocked",
    "berlin",
    "paris",
    "london",
    "tokyo",
    "street",
    "address",
    "shipped",
    "pending",
    "mutex",
    "thread",
    "vector",
    "template",
];

/// `length` bytes of a file of this kind; the same for the same `random`.
pub fn make(kind: Kind, length: usize, random: &mut Random) -> Vec<u8> {
    match kind {
        Kind::Source => source(length, random),
        Kind::Program => program(length, random),
        Kind::Media => random.bytes(length),
        Kind::Log => log(length, random),
        Kind::Database => {
            (0..length.div_ceil(PAGE)).flat_map(|number| page(number as u64, random)).take(length).collect()
        }
    }
}

fn source(length: usize, random: &mut Random) -> Vec<u8> {
    // A file speaks of few things: its own identifiers come again and again.
    let own: Vec<String> = (0..40).map(|_| format!("{}_{}", random.skewed(WORDS), random.skewed(WORDS))).collect();
    let mut out = Vec::with_capacity(length + 128);
    let mut indent = 0;
    while out.len() < length {
        let _ = match random.below(12) {
            0 => writeln!(out, "{:indent$}// {}", "", phrase(random, 8)),
            1 => {
                indent = (indent + 4).min(16);
                writeln!(
                    out,
                    "{:i$}fn {}({}: &{}) -> {} {{",
                    "",
                    random.skewed(&own),
                    random.skewed(&own),
                    random.skewed(WORDS),
                    random.skewed(&own),
                    i = indent - 4
                )
            }
            2 => {
                indent = indent.saturating_sub(4);
                writeln!(out, "{:indent$}}}\n", "")
            }
            3 => writeln!(
                out,
                "{:indent$}if {} == {} {{ return {:?}; }}",
                "",
                random.skewed(&own),
                random.below(4096),
                phrase(random, 3)
            ),
            4 => writeln!(
                out,
                "{:indent$}const {}: u64 = {:#x};",
                "",
                random.skewed(&own),
                random.next_u64() >> random.below(60)
            ),
            _ => writeln!(
                out,
                "{:indent$}{} = {}.{}({});",
                "",
                random.skewed(&own),
                random.skewed(&own),
                random.skewed(WORDS),
                random.skewed(&own)
            ),
        };
    }
    out.truncate(length);
    out
}

fn phrase(random: &mut Random, words: u64) -> String {
    let words: Vec<&str> = (0..1 + random.below(words)).map(|_| *random.skewed(WORDS)).collect();
    words.join(" ")
}

/// Machine code by its statistics: few opcodes, small operands, addresses that share their high bytes, tables, strings, padding.
fn program(length: usize, random: &mut Random) -> Vec<u8> {
    let opcodes: Vec<[u8; 3]> =
        (0..160).map(|_| [0x48 | random.below(5) as u8, random.next_u64() as u8, random.next_u64() as u8]).collect();
    let targets: Vec<u32> = (0..300).map(|_| random.below(1 << 20) as u32).collect();
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    let mut address = 0x40_0000_u64;
    while out.len() < length {
        match random.below(24) {
            // Functions resemble earlier ones near and far: what a higher level of compression finds.
            20.. if out.len() > 4096 => {
                let start = random.below(out.len() as u64 - 2048) as usize;
                let again = out[start..start + random.log_between(64, 1024) as usize].to_vec();
                let end = out.len() + again.len();
                out.extend(again);
                for _ in 0..4 {
                    let at = end - 1 - random.below(64) as usize;
                    out[at] = random.next_u64() as u8;
                }
            }
            0..13 => {
                for _ in 0..random.between(20, 200) {
                    let opcode = random.skewed(&opcodes);
                    out.extend_from_slice(&opcode[..1 + random.below(3) as usize]);
                    match random.below(5) {
                        0 => out.push((random.below(32) * 8) as u8),
                        1 => {
                            let call = random.skewed(&targets).wrapping_sub(out.len() as u32);
                            out.push(0xe8);
                            out.extend_from_slice(&call.to_le_bytes());
                        }
                        2 => out.push(random.next_u64() as u8),
                        _ => {}
                    }
                }
                out.extend_from_slice(&[0x5d, 0xc3]);
                out.resize(out.len().next_multiple_of(16), 0x90);
            }
            13..16 => {
                for _ in 0..random.between(20, 120) {
                    address += random.log_between(8, 512) & !7;
                    out.extend_from_slice(&address.to_le_bytes());
                    out.extend_from_slice(&(random.log_between(4, 2048) as u32).to_le_bytes());
                    out.extend_from_slice(&[0x12, 0, 0x0e, 0]);
                }
            }
            16..19 => {
                for _ in 0..random.between(10, 60) {
                    let _ = write!(out, "{}_{}\0", phrase(random, 2).replace(' ', "_"), random.below(1000));
                }
            }
            19.. => out.resize(out.len().next_multiple_of(4096), 0),
        }
    }
    out.truncate(length);
    out
}

fn log(length: usize, random: &mut Random) -> Vec<u8> {
    let hosts: Vec<String> = (0..4).map(|_| format!("{}-{:02}", random.skewed(WORDS), random.below(99))).collect();
    let (mut out, mut second) = (Vec::with_capacity(length + 256), random.below(86_400));
    while out.len() < length {
        second += random.below(3);
        let _ = writeln!(
            out,
            "2026-01-{:02}T{:02}:{:02}:{:02}.{:06}+00:00 {} {}[{}]: {} id={:016x} from 10.{}.{}.{} {} dur={}us",
            1 + second / 86_400 % 28,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            random.below(1_000_000),
            hosts[(second & 3) as usize],
            random.skewed(WORDS),
            random.between(400, 9000),
            phrase(random, 5),
            random.next_u64(),
            random.below(4),
            random.below(256),
            random.below(256),
            phrase(random, 4),
            random.below(100_000),
        );
    }
    out.truncate(length);
    out
}

fn row(random: &mut Random) -> Vec<u8> {
    let mut row = Vec::with_capacity(128);
    row.extend_from_slice(&(random.below(1 << 24) as u32).to_le_bytes());
    row.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 2, 9, 24, 0]);
    row.extend_from_slice(&random.below(10_000_000).to_le_bytes());
    let _ = write!(
        row,
        "{}|{}@{}.example|{}.{:02}|",
        phrase(random, 3),
        random.skewed(WORDS),
        random.skewed(WORDS),
        random.below(9999),
        random.below(100)
    );
    row.extend_from_slice(&random.bytes(16));
    row.resize(row.len().next_multiple_of(8), 0);
    row
}

/// A heap page: header, line pointers from the front, rows from the back, a gap between them.
fn page(number: u64, random: &mut Random) -> Vec<u8> {
    let fill = PAGE * [65, 80, 90, 97, 97][random.below(5) as usize] / 100;
    let (mut page, mut pointers, mut top) = (vec![0; PAGE], 24, PAGE);
    loop {
        let row = row(random);
        if top - row.len() < pointers + 4 || PAGE - top + row.len() + pointers > fill {
            break;
        }
        top -= row.len();
        page[top..top + row.len()].copy_from_slice(&row);
        let pointer = top as u32 | 1 << 15 | (row.len() as u32) << 17;
        page[pointers..pointers + 4].copy_from_slice(&pointer.to_le_bytes());
        pointers += 4;
    }
    page[..8].copy_from_slice(&(number << 13).to_le_bytes());
    page[8..10].copy_from_slice(&random.bytes(2));
    page[12..14].copy_from_slice(&(pointers as u16).to_le_bytes());
    page[14..16].copy_from_slice(&(top as u16).to_le_bytes());
    page[16..20].copy_from_slice(&[0, 32, 4, 32]);
    page
}

/// Some rows of a page changed in place, as a day of updates does.
pub fn update_page(page: &mut [u8], random: &mut Random) {
    if page.len() < PAGE {
        return;
    }
    page[..10].copy_from_slice(&random.bytes(10));
    for _ in 0..random.log_between(1, 6) {
        let row = row(random);
        let at = random.between(512, (PAGE - row.len()) as u64) as usize;
        page[at..at + row.len()].copy_from_slice(&row);
    }
}

/// A newer build of the same file: a few edits, some of which shift what follows.
pub fn rebuilt(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..(bytes.len() / 24_000).max(2) {
        if bytes.len() < 64 {
            break;
        }
        let at = random.below(bytes.len() as u64 - 40) as usize;
        match random.below(10) {
            0..5 => random.fill(&mut bytes[at..at + 16]),
            5..8 => {
                let more = random.between(1, 200) as usize;
                let end = (at + more).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => drop(bytes.drain(at..at + random.between(1, 32) as usize)),
        }
    }
    bytes
}

/// A page of swap: empty, a piece of a program, or anything.
pub fn swap_page(programs: &[u8], random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0..3 => vec![0; 4096],
        3..8 => {
            let at = random.below(programs.len().saturating_sub(4096) as u64) as usize & !511;
            programs[at..at + 4096].to_vec()
        }
        _ => random.bytes(4096),
    }
}
