//! Lists of changed areas, in the forms in which they are made: a JSON array of `{"start":…,"length":…}`, VMware's
//! `DiskChangeInfo` (one, or an array of them), or lines `OFFSET LENGTH` or `DISK OFFSET LENGTH`, as `diff --extents` prints
//! them. All numbers are bytes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use engine::{ChangedAreas, ChangedAreasError, JobDisk};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{exit::Exit, failure::Failure, output::WarningLine};

/// A line of a list is no longer than this.
const LINE_BYTES_MAX: u64 = 4096;

/// What a list says of one disk.
#[derive(Debug, PartialEq, Eq)]
struct AreaList {
    /// The areas.
    areas: ChangedAreas,
    /// The file holds nothing at all, not even an empty list.
    is_empty_file: bool,
    /// Lines name the disks they are of.
    names_disks: bool,
}

/// Lists for the disks of one VM.
#[derive(Debug, Default)]
pub struct AreaLists {
    /// The areas, by the names of the disks.
    pub areas: Vec<(String, ChangedAreas)>,
    /// What a person should know.
    pub warnings: Vec<WarningLine>,
}

/// How a dirty bitmap of an NBD export is named in place of a file.
const BITMAP: &str = "qemu:dirty-bitmap:";

/// Asks the sources themselves for the options that name dirty bitmaps (`[DISK=]qemu:dirty-bitmap:NAME`), and gives the
/// options that name files.
pub fn ask_for_bitmaps(
    options: &[String],
    disks: &[JobDisk<'_>],
    lists: &mut AreaLists,
) -> Result<Vec<String>, Failure> {
    let mut files = Vec::new();
    for option in options {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) if value.starts_with(BITMAP) => (Some(name), value),
            _ => (None, option.as_str()),
        };
        let Some(bitmap) = value.strip_prefix(BITMAP) else {
            files.push(option.clone());
            continue;
        };
        let of: Vec<&JobDisk<'_>> = disks.iter().filter(|disk| name.is_none_or(|name| name == disk.name)).collect();
        let [disk] = of.as_slice() else {
            let there: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
            let what = format!("--changed-areas {option}: it is not said which disk's bitmap that is");
            return Err(Failure::invalid(
                what,
                format!("write DISK={BITMAP}{bitmap}; the disks are called {}", there.join(", ")),
            ));
        };
        let failed = |error: &dyn std::fmt::Display, exit| {
            let advice =
                "see what the server offers: nbdinfo --map, or leave the option out: then the disk is read whole";
            Failure::new(exit, format!("--changed-areas: {error}"), &disk.name, advice)
        };
        let ranges = disk.source.dirty_extents(bitmap).map_err(|error| failed(&error, Exit::of(error.kind())))?;
        let areas = ChangedAreas::of(disk.source.bytes(), ranges).map_err(|error| failed(&error, Exit::Unavailable))?;
        lists.areas.push((disk.name.clone(), areas));
    }
    Ok(files)
}

/// Reads what `--changed-areas` names: `DISK=FILE`, or `FILE` for the only disk, or for all if its lines say which.
/// `disks` are names and sizes.
pub fn read_all(options: &[String], disks: &[(&str, u64)]) -> Result<AreaLists, Failure> {
    let mut lists = AreaLists::default();
    read_into(options, disks, &mut lists)?;
    Ok(lists)
}

/// The same, beside what is known already.
pub fn read_into(options: &[String], disks: &[(&str, u64)], lists: &mut AreaLists) -> Result<(), Failure> {
    for option in options {
        let named = option.split_once('=');
        let of = named.and_then(|(name, path)| disks.iter().find(|disk| disk.0 == name).map(|disk| (disk, path)));
        match (of, named) {
            (Some((disk, path)), _) => {
                lists.add(disk, Path::new(path))?;
            }
            (None, Some((name, _))) if !Path::new(option).exists() => {
                let there: Vec<&str> = disks.iter().map(|disk| disk.0).collect();
                let what = format!("--changed-areas {option}: there is no disk {name:?}");
                return Err(Failure::invalid(what, format!("the disks are called {}", there.join(", "))));
            }
            (None, _) => lists.add_for_all(disks, option)?,
        }
    }
    Ok(())
}

impl AreaLists {
    fn add(&mut self, (disk, disk_bytes): &(&str, u64), path: &Path) -> Result<AreaList, Failure> {
        let list = read(path, disk, *disk_bytes)?;
        if self.areas.iter().any(|(name, _)| name == disk) {
            return Err(Failure::invalid(
                format!("--changed-areas: two lists for {disk}"),
                "name one list for each disk: --changed-areas DISK=FILE",
            ));
        }
        if list.is_empty_file {
            let message = format!("{}: an empty file; taken as: nothing has changed on {disk}", path.display());
            self.warnings.push(WarningLine { code: "empty_list".to_owned(), message });
        }
        self.areas.push(((*disk).to_owned(), list.areas.clone()));
        Ok(list)
    }

    fn add_for_all(&mut self, disks: &[(&str, u64)], option: &str) -> Result<(), Failure> {
        for disk in disks {
            let list = self.add(disk, Path::new(option))?;
            if disks.len() > 1 && !list.names_disks && !list.areas.ranges().is_empty() {
                let what =
                    format!("--changed-areas {option}: the list does not say which of {} disks it is of", disks.len());
                return Err(Failure::invalid(what, "name one list for each disk: --changed-areas DISK=FILE"));
            }
        }
        Ok(())
    }
}

/// What is wrong with a list.
#[derive(Debug, thiserror::Error)]
enum AreaListError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line that is neither form, or an area that does not fit.
    #[error("line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

/// Reads the list in `path` for the disk called `disk`, which has `disk_bytes`.
fn read(path: &Path, disk: &str, disk_bytes: u64) -> Result<AreaList, Failure> {
    let list = File::open(path).map_err(AreaListError::Read).and_then(|file| read_list(file, disk, disk_bytes));
    list.map_err(|error| {
        Failure::new(
            Exit::Invalid,
            format!("--changed-areas: {error}"),
            path.display(),
            "mend the list, or leave it out: then the disk is read whole",
        )
    })
}

fn read_list(file: impl Read, disk: &str, disk_bytes: u64) -> Result<AreaList, AreaListError> {
    let mut file = BufReader::new(file);
    let mut list = AreaList { areas: ChangedAreas::none(disk_bytes), is_empty_file: false, names_disks: false };
    let mut line = 1;
    let first = first_byte(&mut file, &mut line)?;
    match first {
        None => list.is_empty_file = true,
        Some(b'[' | b'{') => read_json(file, line, &mut list.areas)?,
        Some(_) => read_lines(file, line, disk, &mut list)?,
    }
    Ok(list)
}

/// Passes over blank space, counting lines, and looks at what follows.
fn first_byte(file: &mut impl BufRead, line: &mut u64) -> io::Result<Option<u8>> {
    loop {
        let buffer = file.fill_buf()?;
        let Some(first) = buffer.first().copied() else { return Ok(None) };
        if !first.is_ascii_whitespace() {
            return Ok(Some(first));
        }
        *line += u64::from(first == b'\n');
        file.consume(1);
    }
}

fn read_lines(mut file: impl BufRead, mut line: u64, disk: &str, list: &mut AreaList) -> Result<(), AreaListError> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        let wrong = |what: String| AreaListError::Line { line, what };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("no text".to_owned()))?.trim();
        if !text.is_empty() && !text.starts_with('#') {
            let (of, start, length) = parse_line(text).map_err(wrong)?;
            list.names_disks |= of.is_some();
            if of.is_none_or(|of| of == disk) {
                list.areas.push(start, length).map_err(|error| wrong(sentence(&error)))?;
            }
        }
        line += 1;
    }
}

/// `OFFSET LENGTH`, or `DISK OFFSET LENGTH`; a disk's name may have blanks in it.
fn parse_line(text: &str) -> Result<(Option<&str>, u64, u64), String> {
    let wrong = || {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        format!("{shown:?} is neither OFFSET LENGTH in bytes nor JSON")
    };
    let number = |word: &str| match word.bytes().all(|digit| digit.is_ascii_digit()) {
        true => word.parse::<u64>().map_err(|_| wrong()),
        false => Err(wrong()),
    };
    let (rest, length) = text.rsplit_once(char::is_whitespace).ok_or_else(wrong)?;
    let rest = rest.trim_end();
    let (disk, start) = match rest.rsplit_once(char::is_whitespace) {
        Some((disk, start)) => (Some(disk.trim_end()), start),
        None => (None, rest),
    };
    Ok((disk, number(start)?, number(length)?))
}

/// Without the number that the area has in the list: the line says where it is.
fn sentence(error: &ChangedAreasError) -> String {
    match error {
        ChangedAreasError::NoArea { start, length, .. } => format!("{length} bytes from byte {start} are no area"),
        ChangedAreasError::Order { start, previous_end, .. } => {
            format!("the area begins at byte {start}, before the one before it ends (byte {previous_end})")
        }
        ChangedAreasError::Beyond { end, disk_bytes, .. } => {
            format!("the area ends at byte {end}, beyond the disk, which has {disk_bytes} bytes")
        }
    }
}

fn read_json(file: impl Read, first_line: u64, areas: &mut ChangedAreas) -> Result<(), AreaListError> {
    let mut json = serde_json::Deserializer::from_reader(file);
    let mut pages = Pages { covered: 0, any: false };
    let read = Document { areas, pages: &mut pages }.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| {
        if error.is_io() {
            return AreaListError::Read(error.into());
        }
        let line = first_line + (error.line() as u64).max(1) - 1;
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what).to_owned();
        AreaListError::Line { line, what }
    })
}

/// How far the pages of a `DiskChangeInfo` reach: it speaks of a part of the disk, and says nothing of the rest.
struct Pages {
    covered: u64,
    any: bool,
}

/// An array of areas or pages, or one page.
struct Document<'a> {
    areas: &'a mut ChangedAreas,
    pages: &'a mut Pages,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of {\"start\", \"length\"}, or a DiskChangeInfo")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array
            .next_element_seed(Item { areas: &mut *self.areas, pages: &mut *self.pages, of_page: false })?
            .is_some()
        {}
        self.check_covered()
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Item { areas: &mut *self.areas, pages: &mut *self.pages, of_page: false }.visit_map(map)?;
        if !self.pages.any {
            return Err(A::Error::custom("an object that is no DiskChangeInfo: it has no changedArea"));
        }
        self.check_covered()
    }
}

impl Document<'_> {
    fn check_covered<E: serde::de::Error>(&self) -> Result<(), E> {
        let (covered, disk_bytes) = (self.pages.covered, self.areas.disk_bytes());
        if self.pages.any && covered != disk_bytes {
            return Err(E::custom(format_args!(
                "the DiskChangeInfo speaks of the first {covered} bytes of a disk of {disk_bytes}: ask for the rest, too"
            )));
        }
        Ok(())
    }
}

/// `{"start", "length"}`, or `{"startOffset", "length", "changedArea": […]}` where that may be.
struct Item<'a> {
    areas: &'a mut ChangedAreas,
    pages: &'a mut Pages,
    of_page: bool,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.of_page {
            "{\"start\", \"length\"}"
        } else {
            "{\"start\", \"length\"} or a DiskChangeInfo"
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut start, mut length, mut offset, mut is_page) = (None, None, None, false);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "start" | "Start" => start = Some(map.next_value::<u64>()?),
                "length" | "Length" => length = Some(map.next_value::<u64>()?),
                "startOffset" | "StartOffset" if !self.of_page => offset = Some(map.next_value::<u64>()?),
                "changedArea" | "ChangedArea" if !self.of_page => {
                    is_page = true;
                    map.next_value_seed(PageAreas { areas: &mut *self.areas, pages: &mut *self.pages })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = |what: &str| A::Error::custom(format_args!("an area without {what}"));
        match (start, length, offset) {
            (None, Some(length), Some(offset)) => {
                // A page without changes has no list.
                self.pages.any = true;
                let end = offset.checked_add(length);
                if offset != self.pages.covered {
                    let covered = self.pages.covered;
                    return Err(A::Error::custom(format_args!(
                        "a DiskChangeInfo begins at byte {offset}, the one before it ends at byte {covered}"
                    )));
                }
                self.pages.covered = end.ok_or_else(|| A::Error::custom("a DiskChangeInfo without an end"))?;
                Ok(())
            }
            (_, _, None) if is_page => Err(A::Error::custom("a DiskChangeInfo without startOffset")),
            (_, None, _) => Err(missing("length")),
            (Some(start), Some(length), None) if !self.pages.any || self.of_page => {
                self.areas.push(start, length).map_err(|error| A::Error::custom(sentence(&error)))
            }
            (None, ..) => Err(missing("start")),
            _ => Err(A::Error::custom("areas and DiskChangeInfo in one list")),
        }
    }
}

/// The list of a page: `null` where nothing has changed.
struct PageAreas<'a> {
    areas: &'a mut ChangedAreas,
    pages: &'a mut Pages,
}

impl<'de> DeserializeSeed<'de> for PageAreas<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PageAreas<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of {\"start\", \"length\"}")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array
            .next_element_seed(Item { areas: &mut *self.areas, pages: &mut *self.pages, of_page: true })?
            .is_some()
        {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK_BYTES: u64 = 1 << 20;

    fn list(text: &str) -> Result<AreaList, AreaListError> {
        read_list(text.as_bytes(), "disk0", DISK_BYTES)
    }

    fn ranges(text: &str) -> Vec<std::ops::Range<u64>> {
        list(text).unwrap_or_else(|error| panic!("{text}: {error}")).areas.ranges().to_vec()
    }

    #[test]
    fn all_forms_are_read() {
        let expected = [0..512, 65536..131_072];
        for text in [
            r#"[{"start":0,"length":512},{"start":65536,"length":65536}]"#,
            "\n [\n{\"length\":512,\"start\":0, \"more\": [1, {}]},\n {\"start\":65536,\"length\":65536}\n]\n",
            r#"{"startOffset":0,"length":1048576,"changedArea":[{"start":0,"length":512},{"start":65536,"length":65536}]}"#,
            r#"{"ChangedArea":[{"Start":0,"Length":512},{"Start":65536,"Length":65536}],"StartOffset":0,"Length":1048576}"#,
            r#"[{"startOffset":0,"length":65536,"changedArea":[{"start":0,"length":512}]},
                {"startOffset":65536,"length":983040,"changedArea":[{"start":65536,"length":65536}]}]"#,
            "0 512\n65536 65536\n",
            "# start length\n\n0\t512\r\n65536   65536",
            "disk0 0 512\ndisk0 65536 65536\nmy disk 0 99\ndisk1 7 7\n",
        ] {
            assert_eq!(ranges(text), expected, "{text}");
        }
    }

    #[test]
    fn a_list_without_areas_says_that_nothing_has_changed() {
        for text in [
            "[]",
            " [ ] ",
            "",
            "\n\n",
            "# nothing\n",
            r#"{"startOffset":0,"length":1048576}"#,
            r#"{"startOffset":0,"length":1048576,"changedArea":null}"#,
        ] {
            assert_eq!(ranges(text), [], "{text}");
        }
        assert!(list("").unwrap().is_empty_file && !list("[]").unwrap().is_empty_file);
    }

    #[test]
    fn whose_lines_they_are_is_noticed() {
        assert!(list("disk1 0 512\n").unwrap().names_disks);
        assert!(!list("0 512\n").unwrap().names_disks);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let table = [
            ("0 512\n100 5\n", 2, "before the one before it ends"),
            ("\n0 512\n511 5\n", 3, "before the one before it ends"),
            ("5 0\n", 1, "no area"),
            ("1048575 2\n", 1, "beyond the disk"),
            ("0 18446744073709551616\n", 1, "neither"),
            ("0 512\nnonsense\n", 2, "neither"),
            ("0 512 K\n", 1, "neither"),
            ("-1 5\n", 1, "neither"),
            ("\u{feff}[]", 1, "neither"),
            ("[{\"start\":0,\"length\":9},\n{\"start\":5,\"length\":9}]", 2, "before the one before it ends"),
            ("[\n{\"start\":0,\"length\":9},\n{\"start\":1048576,\"length\":1}]", 3, "beyond the disk"),
            ("[\n{\"start\":0}]", 2, "without length"),
            ("[{\"length\":5}]", 1, "without start"),
            ("[{\"start\":-1,\"length\":5}]", 1, "u64"),
            ("[{\"start\":1.5,\"length\":5}]", 1, "u64"),
            ("[1, 2]", 1, "expected"),
            ("[", 1, "EOF"),
            ("[]\n[]", 2, "trailing"),
            ("{\"start\":0,\"length\":5}", 1, "no DiskChangeInfo"),
            ("{\"startOffset\":0,\"length\":512,\"changedArea\":[]}", 1, "first 512 bytes"),
            ("{\"startOffset\":512,\"length\":512,\"changedArea\":[]}", 1, "begins at byte 512"),
            ("{\"changedArea\":[]}", 1, "without startOffset"),
        ];
        for (text, line, what) in table {
            match list(text) {
                Err(AreaListError::Line { line: found, what: said }) => {
                    assert!(found == line && said.contains(what), "{text:?}: line {found}: {said}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
