//! The list of children that nodes and the root have in common.

use crate::{
    codec::{Put, Reader},
    error::FormatError,
    ids::ChunkId,
};

/// Children of one node, at most.
pub const CHILDREN_MAX: usize = 256;

pub(super) fn put(out: &mut Vec<u8>, children: &[Option<ChunkId>]) {
    out.put_count(children.len());
    for child in children {
        match child {
            None => out.push(0),
            Some(id) => {
                out.push(1);
                out.extend_from_slice(id.as_bytes());
            }
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, expected: u64) -> Result<Vec<Option<ChunkId>>, FormatError> {
    let children = reader.list("children", 1, |reader| {
        reader.option("child", |reader| reader.array("child id").map(ChunkId::from_bytes))
    })?;
    if children.len() as u64 != expected {
        return Err(reader.damaged("children", children.len(), expected));
    }
    Ok(children)
}
