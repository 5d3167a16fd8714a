use repo_format::{ChunkId, ChunkRef, Class, Codec, Decompressor, FormatError, FrameEntry, open_frame};

use crate::vector::{Outputs, Vector, outputs, to_hex};

pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let keys = vector.keyring();
    let mut sealed = vector.hex("input");
    let class = match vector.text("class") {
        "data" => Class::Data,
        "metadata" => Class::Metadata,
        other => panic!("{}: class {other}", vector.name()),
    };
    let entry = FrameEntry {
        sealed_bytes: sealed.len().try_into().unwrap(),
        plain_bytes: vector.number("plain_bytes"),
        codec: if vector.number::<u8>("codec") == 0 { Codec::Stored } else { Codec::Zstd },
        chunks: vector.text("chunks").split_whitespace().map(chunk).collect(),
    };
    let mut decompressor = Decompressor::new()?;
    let frame = open_frame(class, vector.number("epoch"), &entry, &mut sealed, &keys, &mut decompressor)?;
    let mut plain = vec![];
    for index in 0..frame.len() {
        plain.extend_from_slice(frame.chunk(index, &keys)?.bytes());
    }
    Ok(outputs([("plain", to_hex(&plain))]))
}

/// `ID:LENGTH`.
fn chunk(text: &str) -> ChunkRef {
    let (id, length) = text.split_once(':').unwrap();
    ChunkRef { id: id.parse::<ChunkId>().unwrap(), length: length.parse().unwrap() }
}
