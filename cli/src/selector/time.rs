//! Times as they are typed: with an offset, local, or a day.

use jiff::{
    Timestamp, Unit,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

/// Reads a time as milliseconds since 1970. A local time is one of `zone`; one that the clocks showed twice means the
/// later instant, one that they skipped the instant after the gap; a day means its last millisecond.
pub fn parse_time(text: &str, zone: &TimeZone) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time: write 2026-11-20, 2026-11-20T02:00 or 2026-11-20T02:00+01:00");
    if !text.contains('T') {
        let day: Date = text.parse().map_err(|_| wrong())?;
        // Dates of other notations are none of ours.
        if text.len() != "2026-11-20".len() {
            return Err(wrong());
        }
        let next = day.tomorrow().map_err(|_| wrong())?.at(0, 0, 0, 0);
        return milliseconds(instant(next, zone).ok_or_else(wrong)?)
            .map(|next| next.saturating_sub(1))
            .ok_or_else(wrong);
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return milliseconds(instant).ok_or_else(wrong);
    }
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | '.');
    if !text.chars().all(plain) || text.split('T').nth(1).is_none_or(|clock| clock.contains('-')) {
        return Err(wrong());
    }
    let local: DateTime = text.parse().map_err(|_| wrong())?;
    let local = local.round(Unit::Millisecond).map_err(|_| wrong())?;
    milliseconds(instant(local, zone).ok_or_else(wrong)?).ok_or_else(wrong)
}

fn instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.later().ok(),
        AmbiguousOffset::Gap { .. } => ambiguous.compatible().ok(),
    }
}

fn milliseconds(instant: Timestamp) -> Option<u64> {
    u64::try_from(instant.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<String, String> {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        parse_time(text, &zone).map(crate::units::utc)
    }

    #[test]
    fn a_local_time_shown_twice_is_the_later_instant() {
        assert_eq!(at("2026-10-25T02:30").as_deref(), Ok("2026-10-25T01:30:00.000Z"));
        assert_eq!(at("2026-10-25T01:59").as_deref(), Ok("2026-10-24T23:59:00.000Z"));
    }

    #[test]
    fn a_local_time_that_was_skipped_is_after_the_gap() {
        assert_eq!(at("2026-03-29T02:30").as_deref(), Ok("2026-03-29T01:30:00.000Z"));
    }

    #[test]
    fn a_day_lasts_until_its_last_millisecond() {
        assert_eq!(at("2026-10-25").as_deref(), Ok("2026-10-25T22:59:59.999Z"));
        assert_eq!(at("2026-07-01").as_deref(), Ok("2026-07-01T21:59:59.999Z"));
    }

    #[test]
    fn an_offset_wins_over_the_zone() {
        assert_eq!(at("2026-11-20T02:00+05:00").as_deref(), Ok("2026-11-19T21:00:00.000Z"));
        assert_eq!(at("2026-11-20T02:00Z").as_deref(), Ok("2026-11-20T02:00:00.000Z"));
    }

    #[test]
    fn other_notations_are_refused() {
        for text in ["20261120", "2026-11-20 02:00", "yesterday", "2026-W47-5", "1960-01-01", ""] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
