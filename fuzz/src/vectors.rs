//! Inputs of the test vectors (SPEC.md section 22).

use std::{fs, io, path::Path};

/// The `input:` of every vector in `folder` whose `object:` is `object`; none if there is no such folder.
pub fn inputs_of_vectors(folder: &Path, object: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?.map(|file| file.map(|file| file.path())).collect::<io::Result<Vec<_>>>()?,
    };
    paths.sort();
    let texts = paths.iter().map(fs::read_to_string).collect::<io::Result<Vec<_>>>()?;
    Ok(texts
        .iter()
        .filter(|text| field(text, "object") == object)
        .map(|text| from_hex(&field(text, "input")))
        .collect())
}

/// A field and the lines that continue it.
fn field(text: &str, name: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.strip_prefix(name).is_none_or(|rest| !rest.starts_with(':')));
    let first = lines.next().and_then(|line| line.split_once(':')).map_or("", |(_, value)| value);
    let more = lines.take_while(|line| line.starts_with(' '));
    std::iter::once(first).chain(more).map(str::trim).collect()
}

fn from_hex(digits: &str) -> Vec<u8> {
    let nibbles: Vec<u8> =
        digits.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|nibble| u8::try_from(nibble).ok()).collect();
    nibbles.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_goes_on_in_lines_that_begin_with_a_space() {
        let text = "object: pack\nexpect: ok\ninput: 00ff\n 10\n 20\nname: 33\n";
        assert_eq!(field(text, "object"), "pack");
        assert_eq!(from_hex(&field(text, "input")), [0, 0xff, 0x10, 0x20]);
        assert_eq!(field(text, "absent"), "");
    }
}
