use repo_format::{
    Class, Codec, Decompressor, Directory, Footer, FormatError, FrameEntry, Keyring, PackName, mend_pack, open_frame,
};

use crate::vector::{Outputs, Vector, outputs};

const SHARD: usize = 1024;

/// Reads a whole pack as `verify` would: name, either footer, every shard, either directory, every frame and chunk.
pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let keys = vector.keyring();
    let input = vector.hex("input");
    let name: PackName = vector.text("name").parse().unwrap();
    if PackName::of(&input) != name {
        return Err(FormatError::damaged("pack", "name", PackName::of(&input), name));
    }
    let (first, last) = (&input[..SHARD], &input[input.len() - SHARD..]);
    let footer = Footer::decode(first).or_else(|error| Footer::decode(last).map_err(|_| error))?;
    if footer.pack_bytes() != input.len() as u64 {
        return Err(FormatError::damaged("pack", "length", input.len(), footer.pack_bytes()));
    }
    for (index, shard) in (0..).zip(input.chunks(SHARD)).take(input.len() / SHARD - 1).skip(1) {
        footer.check_shard(index, shard)?;
    }
    check_parity(&input, &footer, name);
    let directory = directory(&input, &footer, &keys)?;
    for (index, entry) in directory.frames().iter().enumerate() {
        open(&input, &footer, entry, directory.offset(index).unwrap(), &keys)?;
    }
    let head = footer.head();
    let mut found = outputs([
        ("class", if head.class == Class::Data { "data" } else { "metadata" }.to_owned()),
        ("epoch", head.epoch.to_string()),
        ("session", head.session.to_string()),
        ("salt", head.salt.to_string()),
        ("shards", footer.shards().to_string()),
        ("parity_shards", footer.parity_shards().to_string()),
        ("frames", directory.frames().len().to_string()),
    ]);
    for (index, entry) in directory.frames().iter().enumerate() {
        let FrameEntry { sealed_bytes, plain_bytes, codec, chunks } = entry;
        let codec = if *codec == Codec::Stored { 0 } else { 1 };
        let chunks: Vec<_> = chunks.iter().map(|chunk| format!("{}:{}", chunk.id, chunk.length)).collect();
        let offset = directory.offset(index).unwrap();
        let text = format!("{offset} {sealed_bytes} {plain_bytes} {codec} {}", chunks.join(" "));
        found.insert(format!("frame.{index}"), text);
    }
    Ok(found)
}

/// As many shards as there is parity come back, whichever they are: the parity is the one that the vector's maker has made.
fn check_parity(input: &[u8], footer: &Footer, name: PackName) {
    let parity = usize::try_from(footer.parity_shards()).unwrap();
    for first in 1..input.len() / SHARD - parity {
        let mut damaged = input.to_vec();
        damaged[first * SHARD..(first + parity) * SHARD].fill(0);
        assert!(mend_pack(name, &[&damaged]).unwrap().bytes == input, "shards {first} … of {name}");
    }
}

fn directory(input: &[u8], footer: &Footer, keys: &Keyring) -> Result<Directory, FormatError> {
    let open = |offset: u64| {
        let offset = usize::try_from(offset).unwrap();
        let length = usize::try_from(footer.directory_bytes()).unwrap();
        Directory::open(&mut input[offset..offset + length].to_vec(), footer, keys)
    };
    open(footer.directory_a()).or_else(|error| open(footer.directory_b()).map_err(|_| error))
}

fn open(input: &[u8], footer: &Footer, entry: &FrameEntry, offset: u64, keys: &Keyring) -> Result<(), FormatError> {
    let offset = usize::try_from(offset).unwrap();
    let mut sealed = input[offset..offset + usize::try_from(entry.sealed_bytes).unwrap()].to_vec();
    let head = footer.head();
    let frame = open_frame(head.class, head.epoch, entry, &mut sealed, keys, &mut Decompressor::new()?)?;
    (0..frame.len()).try_for_each(|index| frame.chunk(index, keys).map(|_| ()))
}
