//! From a selector to a point: a pure function of the list of points.

use super::{Selector, What, When, escape, is_id_prefix};
use crate::units;

/// Names offered for an unknown one.
const NEAREST_MAX: usize = 3;
/// Points listed for an ambiguous prefix.
const LISTED_MAX: usize = 10;

/// A point that can be chosen. Lists of them are in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Full id in hex.
    pub id: String,
    /// Its VM's name.
    pub vm: String,
    /// Time of its log entry.
    pub time_ms: u64,
    /// Why `latest` and times pass it over; `None`: they do not.
    pub passed_over: Option<String>,
}

/// The choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked<'c> {
    /// The point.
    pub point: &'c Candidate,
    /// Points that would have been chosen if they were whole.
    pub skipped: Vec<Skipped>,
}

/// A point passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

impl Skipped {
    /// As a person is told.
    pub fn message(&self) -> String {
        format!("skipped {} ({}); name it by id to use it", short(&self.id), self.why)
    }
}

/// Why nothing was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No VM of this name.
    #[error("no VM {name:?} in this repository")]
    UnknownVm {
        /// What was typed.
        name: String,
        /// Names that are close.
        nearest: Vec<String>,
    },
    /// The VM has no point that fits.
    #[error("{vm} has no restore point {wanted}; {has}")]
    NoneFits {
        /// The VM.
        vm: String,
        /// What was asked for.
        wanted: String,
        /// Oldest and newest.
        has: String,
        /// Points passed over.
        skipped: Vec<Skipped>,
    },
    /// No id begins so.
    #[error("no restore point whose id begins with {prefix}")]
    UnknownId {
        /// What was typed.
        prefix: String,
    },
    /// More than one thing fits.
    #[error("{typed:?} fits more than one: {}", fitting.join(", "))]
    Ambiguous {
        /// What was typed.
        typed: String,
        /// What fits, each as it can be typed.
        fitting: Vec<String>,
    },
}

/// The point that `selector` names among `points`.
pub fn resolve<'c>(selector: &Selector, points: &'c [Candidate]) -> Result<Picked<'c>, ResolveError> {
    match &selector.what {
        What::Id(prefix) => by_id(prefix, points),
        What::Vm { name, when } => by_vm(name, *when, points),
        What::Bare(word) => {
            let names_vm = points.iter().any(|point| point.vm == *word);
            let names_id = is_id_prefix(word) && points.iter().any(|point| has_prefix(point, word));
            match (names_vm, names_id) {
                (true, true) => {
                    let mut fitting = vec![format!("vm:{}", escape(word))];
                    fitting.extend(ids_with(word, points));
                    Err(ResolveError::Ambiguous { typed: word.clone(), fitting })
                }
                (false, true) => by_id(word, points),
                _ => by_vm(word, When::Latest(0), points),
            }
        }
    }
}

/// Positions of all points of the VMs named; unknown names are errors. For `list`.
pub fn points_of_vms(names: &[String], points: &[Candidate]) -> Result<Vec<usize>, ResolveError> {
    if let Some(unknown) = names.iter().find(|name| points.iter().all(|point| point.vm != **name)) {
        return Err(unknown_vm(unknown, points));
    }
    let wanted = |point: &Candidate| names.is_empty() || names.contains(&point.vm);
    Ok(points.iter().enumerate().filter(|(_, point)| wanted(point)).map(|(at, _)| at).collect())
}

fn by_id<'c>(prefix: &str, points: &'c [Candidate]) -> Result<Picked<'c>, ResolveError> {
    let mut fitting = points.iter().filter(|point| has_prefix(point, prefix));
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(ResolveError::UnknownId { prefix: prefix.to_owned() }),
        (Some(point), None) => Ok(Picked { point, skipped: Vec::new() }),
        (Some(_), Some(_)) => {
            Err(ResolveError::Ambiguous { typed: prefix.to_owned(), fitting: ids_with(prefix, points) })
        }
    }
}

fn by_vm<'c>(name: &str, when: When, points: &'c [Candidate]) -> Result<Picked<'c>, ResolveError> {
    let of_vm: Vec<&Candidate> = points.iter().filter(|point| point.vm == name).collect();
    let (Some(oldest), Some(newest)) = (of_vm.first(), of_vm.last()) else {
        return Err(unknown_vm(name, points));
    };
    let mut skipped = Vec::new();
    let mut back = match when {
        When::Latest(back) => back,
        When::AtOrBefore(_) => 0,
    };
    for &point in of_vm.iter().rev() {
        if matches!(when, When::AtOrBefore(time_ms) if point.time_ms > time_ms) {
            continue;
        }
        match &point.passed_over {
            Some(why) => skipped.push(Skipped { id: point.id.clone(), why: why.clone() }),
            None if back == 0 => return Ok(Picked { point, skipped }),
            None => back -= 1,
        }
    }
    let wanted = match when {
        When::Latest(_) => format!("{when}"),
        When::AtOrBefore(_) => format!("at or before {when}"),
    };
    let described = |point: &Candidate| format!("{} of {}", short(&point.id), units::utc(point.time_ms));
    let has = format!("the oldest is {}, the newest {}", described(oldest), described(newest));
    Err(ResolveError::NoneFits { vm: name.to_owned(), wanted, has, skipped })
}

fn has_prefix(point: &Candidate, prefix: &str) -> bool {
    point.id.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

fn ids_with(prefix: &str, points: &[Candidate]) -> Vec<String> {
    let fitting = points.iter().filter(|point| has_prefix(point, prefix));
    let line = |point: &Candidate| format!("id:{} ({}, {})", point.id, point.vm, units::utc(point.time_ms));
    fitting.take(LISTED_MAX).map(line).collect()
}

fn unknown_vm(name: &str, points: &[Candidate]) -> ResolveError {
    let mut names: Vec<&str> = points.iter().map(|point| point.vm.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut near: Vec<(usize, &str)> =
        names.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known)).collect();
    near.sort();
    let close = |(distance, known): &(usize, &str)| {
        *distance <= 2.max(name.chars().count() / 3) || known.contains(name) || names.len() <= NEAREST_MAX
    };
    let nearest = near.into_iter().filter(close).take(NEAREST_MAX).map(|(_, known)| known.to_owned()).collect();
    ResolveError::UnknownVm { name: name.to_owned(), nearest }
}

/// The first digits of an id: what people read; programs get it whole.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: &str, vm: &str, time_ms: u64) -> Candidate {
        Candidate { id: format!("{id:0<64}"), vm: vm.to_owned(), time_ms, passed_over: None }
    }

    fn points() -> Vec<Candidate> {
        vec![
            point("aaaa1111", "web01", 1_000),
            point("aaaa2222", "web02", 1_500),
            point("bbbb3333", "web01", 2_000),
            Candidate {
                passed_over: Some("incomplete: 3 bad extents".to_owned()),
                ..point("cccc4444", "web01", 3_000)
            },
            point("dddd5555", "cafe", 4_000),
            point("cafe6666", "db01", 5_000),
        ]
    }

    fn picked(text: &str) -> Result<(String, usize), ResolveError> {
        let points = points();
        let selector = Selector::parse(text, &jiff::tz::TimeZone::UTC).unwrap();
        resolve(&selector, &points).map(|picked| (picked.point.id[..8].to_owned(), picked.skipped.len()))
    }

    #[test]
    fn selectors_choose_as_the_contract_says() {
        let table = [
            ("web01", "bbbb3333", 1),
            ("web01@latest", "bbbb3333", 1),
            ("web01@latest~1", "aaaa1111", 1),
            ("vm:web02", "aaaa2222", 0),
            ("web01@1970-01-01T00:00:01.999", "aaaa1111", 0),
            ("web01@1970-01-01T00:00:02", "bbbb3333", 0),
            ("web01@1970-01-01", "bbbb3333", 1),
            ("cccc", "cccc4444", 0),
            ("id:CCCC4444", "cccc4444", 0),
            ("id:cafe", "cafe6666", 0),
            ("vm:cafe", "dddd5555", 0),
            ("aaaa2", "aaaa2222", 0),
        ];
        for (text, id, skipped) in table {
            assert_eq!(picked(text), Ok((id.to_owned(), skipped)), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_both_name_and_id_is_ambiguous() {
        let Err(ResolveError::Ambiguous { fitting, .. }) = picked("cafe") else { panic!("not ambiguous") };
        assert_eq!(fitting[0], "vm:cafe");
        assert!(fitting[1].starts_with("id:cafe6666"));
    }

    #[test]
    fn a_prefix_of_two_ids_lists_them() {
        let Err(ResolveError::Ambiguous { fitting, .. }) = picked("aaaa") else { panic!("not ambiguous") };
        assert_eq!(fitting.len(), 2);
    }

    #[test]
    fn an_unknown_vm_offers_the_nearest_names() {
        let Err(ResolveError::UnknownVm { nearest, .. }) = picked("wbe01") else { panic!("known") };
        assert_eq!(nearest, ["web01", "db01", "web02"]);
    }

    #[test]
    fn nothing_that_fits_names_oldest_and_newest() {
        let error = picked("web01@latest~2").unwrap_err().to_string();
        assert_eq!(
            error,
            "web01 has no restore point latest~2; the oldest is aaaa1111 of 1970-01-01T00:00:01.000Z, \
             the newest cccc4444 of 1970-01-01T00:00:03.000Z"
        );
        assert!(picked("web01@1970-01-01T00:00:00.5").is_err());
    }

    #[test]
    fn a_list_of_vms_keeps_log_order_and_refuses_unknown_ones() {
        assert_eq!(points_of_vms(&["web01".to_owned()], &points()), Ok(vec![0, 2, 3]));
        assert_eq!(points_of_vms(&[], &points()).unwrap().len(), 6);
        assert!(points_of_vms(&["nobody".to_owned()], &points()).is_err());
    }
}
