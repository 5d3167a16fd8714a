//! When a base counts, and when an answer does. Pure: values in, verdicts out.

use std::{fmt, str::FromStr};

use engine::{ChangedAreas, ChangedAreasError};

use crate::soap::{Element, Fault};

/// Answers for one disk. More is no answer but an endless one.
const ANSWERS_MAX: u32 = 1 << 20;

/// Where a disk was in the history of its changes: `UUID/sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeId {
    /// The history. Another one begins when tracking is reset.
    pub history: String,
    /// How far.
    pub sequence: u64,
}

/// No change id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no change id")]
pub struct ChangeIdError {
    found: String,
}

impl FromStr for ChangeId {
    type Err = ChangeIdError;

    fn from_str(found: &str) -> Result<Self, ChangeIdError> {
        let wrong = || ChangeIdError { found: found.to_owned() };
        let (history, sequence) = found.rsplit_once('/').ok_or_else(wrong)?;
        if history.is_empty() || history == "*" || !sequence.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { history: history.to_owned(), sequence: sequence.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.history, self.sequence)
    }
}

/// What a committed point says of a disk, for the next backup to begin at. A point with bad extents, and one that failed its
/// verification, is no base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBase {
    /// Its change id.
    pub change_id: String,
    /// Its size.
    pub capacity_bytes: u64,
    /// Its identity.
    pub disk_uuid: Option<String>,
    /// The identity of its VM.
    pub instance_uuid: Option<String>,
}

/// The same of the disk in the snapshot that is backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskNow<'d> {
    /// Its change id.
    pub change_id: Option<&'d str>,
    /// Its size.
    pub capacity_bytes: u64,
    /// Its identity.
    pub disk_uuid: Option<&'d str>,
    /// The identity of its VM.
    pub instance_uuid: Option<&'d str>,
}

/// Why all of a disk is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullReadReason {
    /// No committed point to begin at.
    #[error("no earlier point to begin at")]
    NoBase,
    /// Changes are not tracked, in the base or now.
    #[error("changes of the disk are not tracked")]
    NoChangeId,
    /// A change id that cannot be read.
    #[error("{0}")]
    ChangeId(ChangeIdError),
    /// Tracking began anew.
    #[error("change tracking was reset ({base} -> {now})")]
    Reset {
        /// In the base.
        base: ChangeId,
        /// Now.
        now: ChangeId,
    },
    /// The disk is older than its base: the VM was reverted.
    #[error("change tracking went back ({base} -> {now}): the VM was reverted")]
    WentBack {
        /// In the base.
        base: ChangeId,
        /// Now.
        now: ChangeId,
    },
    /// Growth may lose changes.
    #[error("the disk had {base} bytes and has {now}")]
    Capacity {
        /// In the base.
        base: u64,
        /// Now.
        now: u64,
    },
    /// Another disk in the same place.
    #[error("it is another disk than in the base ({base} -> {now})")]
    OtherDisk {
        /// In the base.
        base: String,
        /// Now.
        now: String,
    },
    /// Another VM under the same name.
    #[error("it is another VM than in the base ({base} -> {now})")]
    OtherVm {
        /// In the base.
        base: String,
        /// Now.
        now: String,
    },
    /// The server refuses.
    #[error("the server cannot say what has changed ({0})")]
    Fault(Box<Fault>),
    /// The server answers, and the answer cannot be right.
    #[error("the server answered wrongly about what has changed: {0}")]
    WrongAnswer(String),
}

/// The change id to ask from, if the base may be built upon.
pub fn base_for(base: Option<&ChangeBase>, now: &DiskNow<'_>) -> Result<ChangeId, FullReadReason> {
    let base = base.ok_or(FullReadReason::NoBase)?;
    let change_id = now.change_id.filter(|id| !id.is_empty()).ok_or(FullReadReason::NoChangeId)?;
    if base.change_id.is_empty() {
        return Err(FullReadReason::NoChangeId);
    }
    let since: ChangeId = base.change_id.parse().map_err(FullReadReason::ChangeId)?;
    let until: ChangeId = change_id.parse().map_err(FullReadReason::ChangeId)?;
    if base.capacity_bytes != now.capacity_bytes {
        return Err(FullReadReason::Capacity { base: base.capacity_bytes, now: now.capacity_bytes });
    }
    let differ = |base: &Option<String>, now: Option<&str>| {
        let said = |text: Option<&str>| text.unwrap_or("not said").to_owned();
        let is_same = match (base.as_deref(), now) {
            (Some(base), Some(now)) => base.eq_ignore_ascii_case(now),
            // Not said by a server that never says it; said once and not again is a doubt.
            (None, None) => true,
            _ => false,
        };
        (!is_same).then(|| (said(base.as_deref()), said(now)))
    };
    if let Some((base, now)) = differ(&base.disk_uuid, now.disk_uuid) {
        return Err(FullReadReason::OtherDisk { base, now });
    }
    if let Some((base, now)) = differ(&base.instance_uuid, now.instance_uuid) {
        return Err(FullReadReason::OtherVm { base, now });
    }
    if since.history != until.history {
        return Err(FullReadReason::Reset { base: since, now: until });
    }
    if until.sequence < since.sequence {
        return Err(FullReadReason::WentBack { base: since, now: until });
    }
    Ok(since)
}

/// One answer about changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreasAnswer {
    /// Where what it says begins; negative and absent numbers are wrong answers, so these are as they came.
    pub start: i64,
    /// How far it goes.
    pub length: i64,
    /// Start and length of what has changed there.
    pub areas: Vec<(i64, i64)>,
}

impl AreasAnswer {
    /// Of a `DiskChangeInfo`. A number that is missing is no zero.
    pub fn of(info: Option<&Element>) -> Result<Self, FullReadReason> {
        let number = |element: &Element, name: &'static str| {
            element.number_at::<i64>(name).ok_or_else(|| wrong(format_args!("{name} is not there or no number")))
        };
        let info = info.ok_or_else(|| wrong("it is empty"))?;
        let areas = info.all("changedArea").map(|area| Ok((number(area, "start")?, number(area, "length")?)));
        Ok(Self {
            start: number(info, "startOffset")?,
            length: number(info, "length")?,
            areas: areas.collect::<Result<_, _>>()?,
        })
    }
}

fn wrong(what: impl ToString) -> FullReadReason {
    FullReadReason::WrongAnswer(what.to_string())
}

/// Takes answers for one disk, from its beginning to its end, and believes none that cannot be right.
#[derive(Clone, Debug)]
pub struct AreaCollector {
    areas: ChangedAreas,
    next: u64,
    answers: u32,
}

impl AreaCollector {
    /// For a disk of `disk_bytes`.
    pub fn new(disk_bytes: u64) -> Self {
        Self { areas: ChangedAreas::none(disk_bytes), next: 0, answers: 0 }
    }

    /// Where to ask on; `None` if all has been said.
    pub fn next_start(&self) -> Option<u64> {
        (self.next < self.areas.disk_bytes()).then_some(self.next)
    }

    /// Takes the next answer.
    pub fn add(&mut self, answer: &AreasAnswer) -> Result<(), FullReadReason> {
        self.answers += 1;
        if self.answers > ANSWERS_MAX {
            return Err(wrong(format_args!("more than {ANSWERS_MAX} answers")));
        }
        let (asked, disk_bytes) = (self.next, self.areas.disk_bytes());
        if u64::try_from(answer.start) != Ok(asked) {
            return Err(wrong(format_args!("asked from byte {asked}, it begins at {}", answer.start)));
        }
        let length = u64::try_from(answer.length).ok().filter(|length| *length > 0);
        let length = length.ok_or_else(|| wrong(format_args!("from byte {asked} it says {} bytes", answer.length)))?;
        let end = asked.checked_add(length).filter(|end| *end <= disk_bytes);
        let end = end.ok_or_else(|| {
            wrong(format_args!("from byte {asked} it says {length} bytes, the disk ends at byte {disk_bytes}"))
        })?;
        for (start, length) in &answer.areas {
            let (area, count) = match (u64::try_from(*start), u64::try_from(*length)) {
                (Ok(start), Ok(length)) => (start, length),
                _ => return Err(wrong(format_args!("{length} bytes from byte {start} are no area"))),
            };
            if area < asked || area.checked_add(count).is_none_or(|area_end| area_end > end) {
                return Err(wrong(format_args!("{count} bytes from byte {area} are not in {asked}..{end}")));
            }
            self.areas.push(area, count).map_err(|error: ChangedAreasError| wrong(error))?;
        }
        self.next = end;
        Ok(())
    }

    /// All areas, once the whole disk has been spoken of.
    pub fn finish(self) -> Result<ChangedAreas, FullReadReason> {
        match self.next_start() {
            None => Ok(self.areas),
            Some(at) => Err(wrong(format_args!("nothing is said from byte {at} on"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> ChangeBase {
        ChangeBase {
            change_id: "52 3a-7f/12".to_owned(),
            capacity_bytes: 1000,
            disk_uuid: Some("6000C29B".to_owned()),
            instance_uuid: Some("502a".to_owned()),
        }
    }

    fn now() -> DiskNow<'static> {
        DiskNow {
            change_id: Some("52 3a-7f/15"),
            capacity_bytes: 1000,
            disk_uuid: Some("6000c29b"),
            instance_uuid: Some("502a"),
        }
    }

    fn refused(base: &ChangeBase, now: &DiskNow<'_>) -> String {
        base_for(Some(base), now).unwrap_err().to_string()
    }

    #[test]
    fn c1_without_a_base_all_is_read() {
        assert_eq!(base_for(None, &now()), Err(FullReadReason::NoBase));
        assert_eq!(base_for(Some(&base()), &now()).unwrap().to_string(), "52 3a-7f/12");
    }

    #[test]
    fn c2_without_a_change_id_all_is_read() {
        let untracked = DiskNow { change_id: None, ..now() };
        assert_eq!(base_for(Some(&base()), &untracked), Err(FullReadReason::NoChangeId));
        let no_base = ChangeBase { change_id: String::new(), ..base() };
        assert_eq!(base_for(Some(&no_base), &now()), Err(FullReadReason::NoChangeId));
    }

    #[test]
    fn c3_another_history_or_one_that_went_back_is_no_base() {
        let reset = DiskNow { change_id: Some("52 91-0c/1"), ..now() };
        assert_eq!(refused(&base(), &reset), "change tracking was reset (52 3a-7f/12 -> 52 91-0c/1)");
        let reverted = DiskNow { change_id: Some("52 3a-7f/11"), ..now() };
        assert!(refused(&base(), &reverted).starts_with("change tracking went back"));
        let still = DiskNow { change_id: Some("52 3a-7f/12"), ..now() };
        assert!(base_for(Some(&base()), &still).is_ok());
    }

    #[test]
    fn c4_another_size_disk_or_vm_is_no_base() {
        assert_eq!(
            refused(&base(), &DiskNow { capacity_bytes: 1001, ..now() }),
            "the disk had 1000 bytes and has 1001"
        );
        let other = "it is another disk than in the base (6000C29B -> 6000c29c)";
        assert_eq!(refused(&base(), &DiskNow { disk_uuid: Some("6000c29c"), ..now() }), other);
        assert!(refused(&base(), &DiskNow { disk_uuid: None, ..now() }).ends_with("(6000C29B -> not said)"));
        let other = "it is another VM than in the base (502a -> 502b)";
        assert_eq!(refused(&base(), &DiskNow { instance_uuid: Some("502b"), ..now() }), other);
    }

    #[test]
    fn c9_everything_is_never_a_base() {
        for senseless in ["*", "*/1", "/1", "52 3a", "52/+1", "52/-1", "52/", "52/18446744073709551616"] {
            assert!(senseless.parse::<ChangeId>().is_err(), "{senseless}");
            let everything = ChangeBase { change_id: senseless.to_owned(), ..base() };
            assert!(matches!(base_for(Some(&everything), &now()), Err(FullReadReason::ChangeId(_))), "{senseless}");
        }
    }

    /// Start, length, and start and length of each area.
    type Said = (i64, i64, &'static [(i64, i64)]);

    fn collected(disk_bytes: u64, answers: &[Said]) -> Result<ChangedAreas, FullReadReason> {
        let mut collector = AreaCollector::new(disk_bytes);
        for (start, length, areas) in answers {
            collector.add(&AreasAnswer { start: *start, length: *length, areas: areas.to_vec() })?;
        }
        collector.finish()
    }

    #[test]
    fn c7_an_answer_that_cannot_be_right_is_none() {
        let cases: [&[Said]; 12] = [
            &[(1, 99, &[])],
            &[(0, 50, &[]), (40, 60, &[])],
            &[(0, 0, &[])],
            &[(0, -100, &[])],
            &[(0, 101, &[])],
            &[(0, 100, &[(20, 10), (10, 5)])],
            &[(0, 100, &[(10, 10), (15, 10)])],
            &[(0, 100, &[(10, 0)])],
            &[(0, 100, &[(-1, 10)])],
            &[(0, 50, &[(45, 10)]), (50, 50, &[])],
            &[(0, 50, &[]), (50, 50, &[(40, 20)])],
            &[(0, 100, &[(i64::MAX, i64::MAX)])],
        ];
        for answers in cases {
            assert!(matches!(collected(100, answers), Err(FullReadReason::WrongAnswer(_))), "{answers:?}");
        }
        let areas = collected(100, &[(0, 50, &[(0, 10), (10, 40)]), (50, 50, &[(50, 50)])]).unwrap();
        assert_eq!(areas.bytes(), 100);
    }

    #[test]
    fn c8_less_than_the_whole_disk_is_not_accepted() {
        assert!(matches!(collected(100, &[]), Err(FullReadReason::WrongAnswer(_))));
        let said = collected(100, &[(0, 99, &[(0, 1)])]).unwrap_err().to_string();
        assert!(said.ends_with("nothing is said from byte 99 on"), "{said}");
    }

    #[test]
    fn a_number_that_is_missing_is_no_zero() {
        let info = Element::new("returnval").with_text("startOffset", "0").with_text("length", "100");
        assert!(AreasAnswer::of(Some(&info)).is_ok());
        let area = info.clone().with(Element::new("changedArea").with_text("start", "1"));
        assert!(AreasAnswer::of(Some(&area)).is_err());
        assert!(AreasAnswer::of(Some(&Element::new("returnval").with_text("length", "1"))).is_err());
        assert!(AreasAnswer::of(None).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_answered_what_is_believed_covers_the_disk_in_order(
            answers in prop::collection::vec((0i64..120, -2i64..120, prop::collection::vec((-1i64..120, -1i64..40), 0..4)), 0..4)
        ) {
            let mut collector = AreaCollector::new(100);
            let believed = answers.iter().try_for_each(|(start, length, areas)| {
                collector.add(&AreasAnswer { start: *start, length: *length, areas: areas.clone() })
            });
            if believed.is_ok() && let Ok(areas) = collector.finish() {
                prop_assert_eq!(answers.iter().map(|(_, length, _)| length).sum::<i64>(), 100);
                let said: Vec<_> = answers.iter().flat_map(|(_, _, areas)| areas.clone()).collect();
                let kept: Vec<_> = areas.ranges().iter().map(|range| (range.start as i64, (range.end - range.start) as i64)).collect();
                prop_assert_eq!(said, kept);
            }
        }
    }
}
