//! Which points of one VM a set of rules keeps, and why: a pure function.
//!
//! The rules are restic's: calendar periods in local time, weeks from Monday, only periods that have points count, the newest
//! point of each is kept, rules are OR-ed, `within` counts back from the VM's newest point, and the oldest point is kept while
//! a rule is not yet filled. Ours in addition: the order is that of the log and not of anybody's clock; held points, young
//! points and points dated in the future stay; an incomplete point never stands in for a whole one.

use std::fmt;

use jiff::{Span, Timestamp, ZonedDateTime, tz::TimeZone};
use repo_format::{ChunkId, Completeness};

/// How many a rule keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None.
    #[default]
    Nothing,
    /// So many.
    Count(u32),
    /// All.
    Unlimited,
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// All of them, shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// `hourly`, `daily` …
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// A number that is the same for all times of one period.
    fn number(self, time: &ZonedDateTime) -> i64 {
        let day = i64::from(time.year()) * 400 + i64::from(time.day_of_year());
        match self {
            // The offset tells apart the hour that a change of the clocks shows twice.
            Self::Hour => (day * 24 + i64::from(time.hour())) * 100_000 + i64::from(time.offset().seconds()),
            Self::Day => day,
            Self::Week => {
                let week = time.date().iso_week_date();
                i64::from(week.year()) * 60 + i64::from(week.week())
            }
            Self::Month => i64::from(time.year()) * 12 + i64::from(time.month()),
            Self::Year => i64::from(time.year()),
        }
    }
}

/// What to keep of each VM.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The newest ones.
    pub last: Keep,
    /// The newest of each of the newest hours, days, weeks, months, years, in the order of [`Period::ALL`].
    pub periods: [Keep; 5],
    /// All that are at most so much older than the newest.
    pub within: Option<Span>,
    /// The newest of each period that is at most so much older than the newest, in the order of [`Period::ALL`].
    pub within_periods: [Option<Span>; 5],
    /// Points younger than this stay, in milliseconds.
    pub min_age_ms: u64,
}

impl Rules {
    /// Whether no rule keeps anything: a mistake, most likely.
    pub fn keep_nothing(&self) -> bool {
        let nothing = |keep: &Keep| matches!(keep, Keep::Nothing | Keep::Count(0));
        nothing(&self.last)
            && self.periods.iter().all(nothing)
            && self.within.is_none()
            && self.within_periods.iter().all(Option::is_none)
    }
}

/// What the rules look at of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The point.
    pub id: ChunkId,
    /// Time of its log entry.
    pub time_ms: u64,
    /// Why it must stay, if somebody holds it.
    pub held: Option<String>,
    /// Whole or incomplete.
    pub completeness: Completeness,
}

/// Why a point stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// One of the last.
    Last,
    /// The newest of a period that counts.
    Period(Period),
    /// Not much older than the newest.
    Within,
    /// The newest of a period not much older than the newest point.
    WithinPeriod(Period),
    /// The oldest, while this rule is not filled.
    Oldest(Period),
    /// Somebody holds it.
    Held(String),
    /// Younger than the least age.
    Young,
    /// Dated in the future: a clock was wrong.
    Future,
    /// Incomplete, and no later point is whole.
    NothingBetter,
    /// Others were named, not this one.
    NotNamed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Period(period) => f.write_str(period.word()),
            Self::Within => f.write_str("within"),
            Self::WithinPeriod(period) => write!(f, "within {}", period.word()),
            Self::Oldest(period) => write!(f, "oldest {}", period.word()),
            Self::Held(reason) => write!(f, "held: {reason}"),
            Self::Young => f.write_str("young"),
            Self::Future => f.write_str("dated in the future"),
            Self::NothingBetter => f.write_str("incomplete, nothing whole after it"),
            Self::NotNamed => f.write_str("not named"),
        }
    }
}

/// Why each of one VM's `points` (in log order) stays; no reason: it may go.
pub fn retain(points: &[Candidate], rules: &Rules, now_ms: u64, zone: &TimeZone) -> Vec<Vec<Reason>> {
    let mut reasons: Vec<Vec<Reason>> = points.iter().map(|point| standing_reasons(point, rules, now_ms)).collect();
    let dated = |point: &Candidate| point.time_ms <= now_ms;
    let has_whole = points.iter().any(|point| point.completeness == Completeness::Whole);
    // Newest first. Where nothing is whole the incomplete ones are all there is.
    let counts = |point: &Candidate| dated(point) && (!has_whole || point.completeness == Completeness::Whole);
    let counted: Vec<usize> =
        points.iter().enumerate().rev().filter(|(_, point)| counts(point)).map(|(place, _)| place).collect();
    let newest_whole = points.iter().rposition(|point| point.completeness == Completeness::Whole);
    for (place, (point, reasons)) in points.iter().zip(&mut reasons).enumerate() {
        let later_than_whole = newest_whole.is_some_and(|whole| place > whole);
        if point.completeness == Completeness::Incomplete && later_than_whole {
            reasons.push(Reason::NothingBetter);
        }
    }
    let times: Vec<ZonedDateTime> = points.iter().map(|point| zoned(point.time_ms, zone)).collect();
    let mut add = |place: usize, reason: Reason| {
        if let Some(reasons) = reasons.get_mut(place) {
            reasons.push(reason);
        }
    };
    let time = |place: &usize| times.get(*place);
    counted.iter().take(limit(rules.last)).for_each(|place| add(*place, Reason::Last));
    for (period, keep) in Period::ALL.into_iter().zip(rules.periods) {
        let mut room = limit(keep);
        let mut before = None;
        for place in &counted {
            let number = time(place).map(|time| period.number(time));
            let is_oldest = counted.last() == Some(place);
            if room == 0 {
                break;
            }
            if number != before {
                add(*place, Reason::Period(period));
                (room, before) = (room - 1, number);
            } else if is_oldest {
                add(*place, Reason::Oldest(period));
            }
        }
    }
    let Some(newest) = counted.first().and_then(time) else { return reasons };
    let since = |span: &Span| newest.checked_sub(*span).ok();
    if let Some(since) = rules.within.as_ref().and_then(since) {
        let near = counted.iter().filter(|place| time(place).is_some_and(|time| *time >= since));
        near.for_each(|place| add(*place, Reason::Within));
    }
    for (period, span) in Period::ALL.into_iter().zip(&rules.within_periods) {
        let Some(since) = span.as_ref().and_then(since) else { continue };
        let mut before = None;
        for place in counted.iter().filter(|place| time(place).is_some_and(|time| *time >= since)) {
            let number = time(place).map(|time| period.number(time));
            if number != before {
                add(*place, Reason::WithinPeriod(period));
                before = number;
            }
        }
    }
    reasons
}

/// What keeps a point whatever the rules say.
fn standing_reasons(point: &Candidate, rules: &Rules, now_ms: u64) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = point.held.iter().cloned().map(Reason::Held).collect();
    if point.time_ms > now_ms {
        reasons.push(Reason::Future);
    } else if now_ms - point.time_ms < rules.min_age_ms {
        reasons.push(Reason::Young);
    }
    reasons
}

fn limit(keep: Keep) -> usize {
    match keep {
        Keep::Nothing => 0,
        Keep::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
        Keep::Unlimited => usize::MAX,
    }
}

fn zoned(time_ms: u64, zone: &TimeZone) -> ZonedDateTime {
    let time = i64::try_from(time_ms).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    time.unwrap_or(Timestamp::MAX).to_zoned_datetime(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    fn point(time_ms: u64) -> Candidate {
        let id = ChunkId::from_bytes([0; 32]);
        Candidate { id, time_ms, held: None, completeness: Completeness::Whole }
    }

    fn nights(count: u64) -> Vec<Candidate> {
        (0..count).map(|night| point(at("2026-01-01T01:30:00Z") + night * DAY)).collect()
    }

    fn kept(points: &[Candidate], rules: &Rules, now: u64) -> Vec<usize> {
        let reasons = retain(points, rules, now, &TimeZone::UTC);
        reasons.iter().enumerate().filter(|(_, reasons)| !reasons.is_empty()).map(|(place, _)| place).collect()
    }

    fn daily(count: u32) -> Rules {
        Rules {
            periods: [Keep::Nothing, Keep::Count(count), Keep::Nothing, Keep::Nothing, Keep::Nothing],
            ..Rules::default()
        }
    }

    const LATE: u64 = u64::MAX / 2;

    #[test]
    fn the_newest_of_each_of_the_newest_days_stays() {
        let mut points = nights(5);
        points.insert(5, point(points[4].time_ms + HOUR));
        assert_eq!(kept(&points, &daily(2), LATE), [3, 5]);
    }

    #[test]
    fn only_periods_that_have_points_count() {
        let points =
            [point(at("2025-03-01T00:00:00Z")), point(at("2026-01-01T00:00:00Z")), point(at("2026-11-01T00:00:00Z"))];
        assert_eq!(kept(&points, &daily(2), LATE), [1, 2]);
    }

    #[test]
    fn the_oldest_stays_while_a_rule_is_not_filled() {
        let day = at("2026-01-01T01:00:00Z");
        let points = [point(day), point(day + HOUR), point(day + 2 * HOUR)];
        let reasons = retain(&points, &daily(7), LATE, &TimeZone::UTC);
        assert_eq!(reasons, [vec![Reason::Oldest(Period::Day)], vec![], vec![Reason::Period(Period::Day)]]);
        assert_eq!(kept(&points, &daily(1), LATE), [2], "filled: the oldest may go");
    }

    #[test]
    fn weeks_begin_on_monday_and_a_year_does_not_split_one() {
        let rules = Rules {
            periods: [Keep::Nothing, Keep::Nothing, Keep::Count(9), Keep::Nothing, Keep::Nothing],
            ..Rules::default()
        };
        // Sunday, Monday; Thursday and Friday of one week in two years.
        let points: Vec<_> = ["2025-12-28", "2025-12-29", "2025-12-31", "2026-01-02"]
            .map(|day| point(at(&format!("{day}T12:00:00Z"))))
            .into();
        assert_eq!(kept(&points, &rules, LATE), [0, 3]);
    }

    #[test]
    fn the_hour_that_the_clocks_show_twice_is_two_hours() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let rules = Rules {
            periods: [Keep::Count(9), Keep::Nothing, Keep::Nothing, Keep::Nothing, Keep::Nothing],
            ..Rules::default()
        };
        let points = [point(at("2026-10-25T00:10:00Z")), point(at("2026-10-25T01:10:00Z"))];
        let reasons = retain(&points, &rules, LATE, &zone);
        assert!(reasons.iter().all(|reasons| *reasons == [Reason::Period(Period::Hour)]));
    }

    #[test]
    fn within_counts_back_from_the_newest_point_and_not_from_now() {
        let rules = Rules { within: Some(2.days()), ..Rules::default() };
        assert_eq!(kept(&nights(6), &rules, LATE), [3, 4, 5]);
        let weekly = Rules { within_periods: [None, None, Some(15.days()), None, None], ..Rules::default() };
        // Nights of 1 … 30 January 2026: the last night, and the Sundays before it.
        assert_eq!(kept(&nights(30), &weekly, LATE), [17, 24, 29]);
    }

    #[test]
    fn held_young_and_future_points_stay_and_future_ones_do_not_count() {
        let mut points = nights(6);
        points[0].held = Some("audit".to_owned());
        let now = points[4].time_ms + HOUR;
        let rules = Rules { last: Keep::Count(1), min_age_ms: 30 * HOUR, ..Rules::default() };
        let reasons = retain(&points, &rules, now, &TimeZone::UTC);
        assert_eq!(reasons[0], [Reason::Held("audit".to_owned())]);
        assert_eq!(reasons[3], [Reason::Young]);
        assert_eq!(reasons[4], [Reason::Young, Reason::Last]);
        assert_eq!(reasons[5], [Reason::Future]);
        assert!(reasons[1].is_empty() && reasons[2].is_empty());
    }

    #[test]
    fn an_incomplete_point_never_stands_in_for_a_whole_one() {
        let mut points = nights(4);
        for place in [1, 3] {
            points[place].completeness = Completeness::Incomplete;
        }
        let rules = Rules { last: Keep::Count(2), ..Rules::default() };
        assert_eq!(kept(&points, &rules, LATE), [0, 2, 3], "both whole ones, and what came after them");
        points.iter_mut().for_each(|point| point.completeness = Completeness::Incomplete);
        assert_eq!(kept(&points, &rules, LATE), [2, 3], "where nothing is whole the rules take what there is");
    }

    #[test]
    fn a_step_back_of_the_clock_does_not_change_the_order() {
        let mut points = nights(3);
        points[2].time_ms = points[0].time_ms - DAY;
        let rules = Rules { last: Keep::Count(1), ..Rules::default() };
        assert_eq!(kept(&points, &rules, LATE), [2]);
    }

    #[test]
    fn rules_that_keep_nothing_are_known_as_such() {
        assert!(Rules::default().keep_nothing());
        assert!(Rules { last: Keep::Count(0), ..Rules::default() }.keep_nothing());
        assert!(!daily(1).keep_nothing());
    }
}
