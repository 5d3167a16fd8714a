use repo_format::{Chunker, ChunkerKind, Chunking, RunEnd};

use crate::vector::{Outputs, Vector, from_hex, outputs};

pub fn decode(vector: &Vector) -> Outputs {
    let chunker = match vector.text("chunker") {
        "block" => ChunkerKind::Block,
        "fastcdc" => ChunkerKind::FastCdc,
        other => panic!("{}: chunker {other}", vector.name()),
    };
    let chunking = Chunking {
        chunker,
        min_log2: vector.number("min_log2"),
        avg_log2: vector.number("avg_log2"),
        max_log2: vector.number("max_log2"),
    };
    chunking.check().unwrap();
    let chunker = Chunker::new(&chunking, &vector.keyring());
    let run = run(vector.text("input"));
    assert_eq!(blake3::hash(&run).to_string(), vector.text("input_blake3"), "{}: another run", vector.name());

    let mut address: u64 = vector.number("address");
    let mut rest = &run[..];
    let mut cuts = vec![];
    while !rest.is_empty() {
        let length = chunker.cut(rest, address, RunEnd::Here).unwrap();
        cuts.push(length.to_string());
        rest = &rest[length..];
        address += u64::try_from(length).unwrap();
    }
    outputs([("lengths", cuts.join(" "))])
}

/// `random SEED LENGTH` is so many bytes of the extended BLAKE3 of the seed; `fill BYTE LENGTH` so many times that byte;
/// `+` puts one behind the other.
fn run(text: &str) -> Vec<u8> {
    let mut run = vec![];
    for part in text.split('+') {
        let [how, what, length] = part.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let mut bytes = vec![0; length.parse().unwrap()];
        match how {
            "random" => blake3::Hasher::new().update(&from_hex(what)).finalize_xof().fill(&mut bytes),
            "fill" => bytes.fill(from_hex(what)[0]),
            other => panic!("{other}?"),
        }
        run.extend(bytes);
    }
    run
}
