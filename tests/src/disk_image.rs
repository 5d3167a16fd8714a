//! Disk images that are the same each time, and files compared.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

/// xorshift64*: quick, and nothing compresses it.
struct Stream(u64);

impl Stream {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill(&mut self, into: &mut [u8]) {
        for piece in into.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
    }
}

/// Bytes that nothing compresses.
pub fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Stream::new(seed).fill(&mut bytes);
    bytes
}

/// What a disk looks like: random stretches, text, repetitions of earlier stretches, zeros between them, cut at 512 bytes.
pub fn disk(seed: u64, length: usize) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let mut bytes: Vec<u8> = Vec::with_capacity(length);
    while bytes.len() < length {
        let stretch = 512 * (1 + usize::try_from(stream.next() % 800).unwrap());
        match stream.next() % 5 {
            0 => bytes.resize(bytes.len() + stretch * 3, 0),
            1 => {
                let line = format!("line {} of a log that says much the same each time\n", stream.next() % 64);
                bytes.extend(line.bytes().cycle().take(stretch));
            }
            2 if bytes.len() > stretch => {
                let from = usize::try_from(stream.next()).unwrap_or_default() % (bytes.len() - stretch) / 4096 * 4096;
                bytes.extend_from_within(from..from + stretch);
            }
            _ => {
                let at = bytes.len();
                bytes.resize(at + stretch, 0);
                stream.fill(&mut bytes[at..]);
            }
        }
    }
    bytes.truncate(length);
    // A disk that ends in data: its last byte is no hole.
    if let Some(last) = bytes.last_mut() {
        *last |= 1;
    }
    bytes
}

/// Every byte is written: no holes.
pub fn write_full(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Zero blocks of 4 KiB are left out.
pub fn write_sparse(path: &Path, bytes: &[u8]) {
    let file = File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, block) in bytes.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, number as u64 * 4096).unwrap();
        }
    }
}

/// A file of random bytes that does not go through memory whole: `length` of them from `offset` on.
pub fn write_random_file(path: &Path, seed: u64, offset: u64, length: u64) {
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    let (mut stream, mut buffer, mut at) = (Stream::new(seed), vec![0; 1 << 20], 0);
    while at < length {
        let now = usize::try_from(length - at).unwrap().min(buffer.len());
        stream.fill(&mut buffer[..now]);
        file.write_all_at(&buffer[..now], offset + at).unwrap();
        at += now as u64;
    }
}

/// The two files hold the same bytes.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    if one.metadata().unwrap().len() != other.metadata().unwrap().len() {
        return false;
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left).unwrap();
        if count == 0 {
            return true;
        }
        other.read_exact(&mut right[..count]).unwrap();
        if left[..count] != right[..count] {
            return false;
        }
    }
}

/// What the file takes on its file system.
pub fn occupied_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}
