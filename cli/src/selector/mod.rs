//! How a person names a restore point.
//!
//! ```text
//! SELECTOR = ["vm:"] VM ["@" WHEN] ["/" DISK]   |   ["id:"] HEX(4..64) ["/" DISK]
//! WHEN     = "latest" ["~" N]  |  TIME                    @ / % in a VM name are written %40 %2F %25
//! TIME     = 2026-11-20T02:00+01:00 | 2026-11-20T02:00[:SS] (local) | 2026-11-20 (until the end of that day)
//! ```

mod resolve;
mod time;

use std::fmt;

pub use resolve::{Candidate, ResolveError, Skipped, points_of_vms, resolve};
pub use time::parse_time;

/// What was typed, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Which point.
    pub what: What,
    /// Only this disk of it.
    pub disk: Option<String>,
}

/// Which point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A bare word: the newest point of a VM of this name, or else an id prefix.
    Bare(String),
    /// A point of a VM.
    Vm {
        /// Its name.
        name: String,
        /// Which of its points.
        when: When,
    },
    /// The point whose id begins so.
    Id(String),
}

/// Which point of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The newest, or the one that many before it.
    Latest(u64),
    /// The newest at or before this time, in milliseconds since 1970.
    AtOrBefore(u64),
}

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {text:?}: {why}")]
pub struct SelectorError {
    text: String,
    why: String,
}

impl Selector {
    /// Reads a selector; local times are those of `zone`.
    pub fn parse(text: &str, zone: &jiff::tz::TimeZone) -> Result<Self, SelectorError> {
        let wrong = |why: String| SelectorError { text: text.to_owned(), why };
        let (point, disk) = match text.split_once('/') {
            Some((_, "")) => return Err(wrong("a disk name belongs after the slash".to_owned())),
            Some((point, disk)) => (point, Some(unescape(disk).map_err(wrong)?)),
            None => (text, None),
        };
        let what = if let Some(hex) = point.strip_prefix("id:") {
            if !is_id_prefix(hex) {
                return Err(wrong("an id is 4 to 64 hex digits".to_owned()));
            }
            What::Id(hex.to_ascii_lowercase())
        } else {
            let (vm, rest) = match point.strip_prefix("vm:") {
                Some(vm) => (vm, true),
                None => (point, false),
            };
            match vm.split_once('@') {
                Some((name, when)) => {
                    What::Vm { name: vm_name(name).map_err(wrong)?, when: parse_when(when, zone).map_err(wrong)? }
                }
                None if rest => What::Vm { name: vm_name(vm).map_err(wrong)?, when: When::Latest(0) },
                None => What::Bare(vm_name(vm).map_err(wrong)?),
            }
        };
        Ok(Self { what, disk })
    }
}

/// Could this be the beginning of an id?
pub fn is_id_prefix(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn vm_name(text: &str) -> Result<String, String> {
    match unescape(text)? {
        name if name.is_empty() => Err("a VM name belongs before the @".to_owned()),
        name => Ok(name),
    }
}

fn parse_when(text: &str, zone: &jiff::tz::TimeZone) -> Result<When, String> {
    match text.strip_prefix("latest") {
        Some("") => Ok(When::Latest(0)),
        Some(rest) => match rest.strip_prefix('~').map(str::parse) {
            Some(Ok(back)) => Ok(When::Latest(back)),
            _ => Err("write latest, or latest~N for the point N before the newest".to_owned()),
        },
        None => parse_time(text, zone).map(When::AtOrBefore),
    }
}

/// Reads `%40`, `%2F` and `%25`; nothing else is escaped.
fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let (code, tail) = after.split_at_checked(2).unwrap_or((after, ""));
        plain.push(match code.to_ascii_uppercase().as_str() {
            "40" => '@',
            "2F" => '/',
            "25" => '%',
            _ => return Err("after % belongs 40 (for @), 2F (for /) or 25 (for %)".to_owned()),
        });
        rest = tail;
    }
    plain.push_str(rest);
    Ok(plain)
}

/// A VM name as it is typed in a selector.
pub fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('@', "%40").replace('/', "%2F")
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest(0) => f.write_str("latest"),
            Self::Latest(back) => write!(f, "latest~{back}"),
            Self::AtOrBefore(time_ms) => write!(f, "{}", crate::units::utc(*time_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse(text, &jiff::tz::TimeZone::UTC)
    }

    fn vm(name: &str, when: When) -> What {
        What::Vm { name: name.to_owned(), when }
    }

    #[test]
    fn selectors_of_the_grammar_are_read() {
        let at = When::AtOrBefore(1_795_140_000_000);
        let table: [(&str, What, Option<&str>); 14] = [
            ("web01", What::Bare("web01".into()), None),
            ("web01/disk0", What::Bare("web01".into()), Some("disk0")),
            ("5be1c2a9", What::Bare("5be1c2a9".into()), None),
            ("vm:5be1c2a9", vm("5be1c2a9", When::Latest(0)), None),
            ("id:5BE1c2a9", What::Id("5be1c2a9".into()), None),
            ("id:5be1/disk1", What::Id("5be1".into()), Some("disk1")),
            ("web01@latest", vm("web01", When::Latest(0)), None),
            ("web01@latest~3", vm("web01", When::Latest(3)), None),
            ("vm:web01@latest/scsi0:0", vm("web01", When::Latest(0)), Some("scsi0:0")),
            ("web01@2026-11-20T02:00", vm("web01", at), None),
            ("web01@2026-11-20T02:00:00", vm("web01", at), None),
            ("web01@2026-11-20T03:00+01:00", vm("web01", at), None),
            ("a%40b%2Fc%25d@latest", vm("a@b/c%d", When::Latest(0)), None),
            ("web01@2026-11-20", vm("web01", When::AtOrBefore(1_795_219_199_999)), None),
        ];
        for (text, what, disk) in table {
            assert_eq!(parse(text), Ok(Selector { what, disk: disk.map(str::to_owned) }), "{text}");
        }
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused() {
        for text in [
            "",
            "@latest",
            "vm:",
            "web01@",
            "web01@newest",
            "web01@latest~",
            "web01@latest~-1",
            "web01@latest1",
            "web01@2026-13-01",
            "web01@2026-11-20T25:00",
            "web01/",
            "web%4001%",
            "web%zz",
            "id:5be",
            "id:xyz1",
            "web01@latest@latest",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_escaped_name_reads_back() {
        let name = "a@b/c%40d";
        assert_eq!(parse(&escape(name)).unwrap().what, What::Bare(name.to_owned()));
    }
}
