//! Metadata chunks that are records.

use repo_format::{MetadataChunk, MetadataKind, RestorePoint, VmHome, VmIdentity};

use super::KEYS;
use crate::{Outcome, seal::working_key};

/// Any chunk, under each kind that could be expected of it.
pub fn metadata_chunk(bytes: &[u8]) -> Outcome {
    let chunk = MetadataChunk::from_bytes(bytes.to_vec());
    if let Ok(chunk) = &chunk {
        assert_eq!(chunk.bytes(), bytes);
        assert!(chunk.payload_of(chunk.kind()).is_ok());
        assert_eq!(RestorePoint::decode(chunk).is_ok(), RestorePoint::decode(chunk).is_ok());
        assert!(chunk.kind() == MetadataKind::RestorePoint || RestorePoint::decode(chunk).is_err());
        assert!(chunk.kind() == MetadataKind::VmHome || VmHome::decode(chunk, &KEYS).is_err());
    }
    Outcome::of(&chunk)
}

/// A restore point; what is accepted survives another round.
pub fn restore_point(bytes: &[u8]) -> Outcome {
    let payload = bytes.get(1..).unwrap_or_default();
    let decoded = RestorePoint::decode(&MetadataChunk::new(MetadataKind::RestorePoint, payload));
    if let Ok(point) = &decoded {
        assert_eq!(RestorePoint::decode(&point.encode()).as_ref(), Ok(point));
    }
    Outcome::of(&decoded)
}

/// A VM home as it is, and with a right binding.
pub fn vm_home(bytes: &[u8]) -> Outcome {
    let payload = bytes.get(1..).unwrap_or_default();
    let as_it_is = decode_home(payload);
    let bound = bind(payload).map(|payload| decode_home(&payload));
    bound.unwrap_or(as_it_is)
}

fn decode_home(payload: &[u8]) -> Outcome {
    let decoded = VmHome::decode(&MetadataChunk::new(MetadataKind::VmHome, payload), &KEYS);
    if let Ok(home) = &decoded {
        let again = home.encode(&KEYS);
        let reread = VmHome::decode(&again, &KEYS);
        assert!(reread.is_ok_and(|reread| reread.encode(&KEYS) == again));
    }
    Outcome::of(&decoded)
}

/// `payload` with the binding its parts have; none if it is no record.
fn bind(payload: &[u8]) -> Option<Vec<u8>> {
    let mut fields: Vec<(u64, &[u8])> = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let (value, after) = rest.split_at_checked(length)?;
        fields.push((tag, value));
        rest = after;
    }
    let field = |tag: u64| fields.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value);
    let mut bound = Vec::new();
    // A text or bytes in a field has its own length in front: what `option text` demands.
    for tag in [4, 6, 8] {
        put_option(&mut bound, field(tag));
    }
    put_option(&mut bound, field(18).and_then(nvram_digest));
    let binding = blake3::keyed_hash(&working_key("vm home binding"), &bound);
    let mut out = Vec::new();
    for (tag, value) in &fields {
        let value = if *tag == 20 { binding.as_bytes() } else { *value };
        put_varint(&mut out, *tag);
        put_varint(&mut out, value.len() as u64);
        out.extend_from_slice(value);
    }
    Some(out)
}

fn nvram_digest(mut value: &[u8]) -> Option<&[u8]> {
    let name = usize::try_from(varint(&mut value)?).ok()?;
    let mut stream = value.get(name..)?;
    varint(&mut stream)?;
    stream.get(..32)
}

fn put_option(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.push(value.is_some().into());
    out.extend_from_slice(value.unwrap_or_default());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A name of a VM: accepted in one form only, and that form is its own.
pub fn vm_identity(bytes: &[u8]) -> Outcome {
    let named = VmIdentity::named(&String::from_utf8_lossy(bytes));
    if let Ok(identity) = &named {
        assert_eq!(VmIdentity::named(&identity.to_string()).as_ref(), Ok(identity));
    }
    Outcome::of(&named)
}
