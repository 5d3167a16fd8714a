use repo_format::{ChunkerKind, Config, FormatError};

use crate::vector::{Outputs, Vector, outputs};

pub fn decode(vector: &Vector) -> Result<Outputs, FormatError> {
    let config = Config::decode(&vector.hex("input"))?.verify(&vector.keyring())?;
    let chunker = match config.chunking.chunker {
        ChunkerKind::Block => "block",
        ChunkerKind::FastCdc => "fastcdc",
    };
    Ok(outputs([
        ("repository", config.repository.to_string()),
        ("chunker", chunker.to_owned()),
        ("min_log2", config.chunking.min_log2.to_string()),
        ("avg_log2", config.chunking.avg_log2.to_string()),
        ("max_log2", config.chunking.max_log2.to_string()),
        ("data_pack_bytes", config.data_pack_bytes.to_string()),
        ("metadata_pack_bytes", config.metadata_pack_bytes.to_string()),
        ("frame_bytes_max", config.frame_bytes_max.to_string()),
        ("shard_log2", config.shard_log2.to_string()),
        ("segment_log2", config.segment_log2.to_string()),
        ("single_writer", config.single_writer.to_string()),
        ("parity_rate", config.parity_rate.to_string()),
        ("created", config.created_ms.to_string()),
        ("optional_features", config.optional_features.to_string()),
    ]))
}
