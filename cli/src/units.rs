//! Sizes, percents, compression levels and chunk sizes as people write them; sizes and times as people read them.

use bytesize::ByteSize;
use jiff::{Span, SpanRelativeTo};
use repo_format::{ChunkerKind, Chunking, Compression};

/// Reads `64K`, `1.5GiB`, `10MB`, `4096`: letters alone and `KiB` count by 1024, `KB` by 1000, a bare number is bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write 4096, 64K, 1.5G, 10MB or 10MiB");
    let clean = text.trim();
    let bare_letter = clean.ends_with(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']);
    let starts_right = clean.starts_with(|first: char| first.is_ascii_digit());
    let spelled = if bare_letter { format!("{clean}iB") } else { clean.to_owned() };
    if !starts_right {
        return Err(wrong());
    }
    spelled.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| wrong())
}

/// Reads `5%` or `5`: more than nothing, at most all.
pub fn parse_percent(text: &str) -> Result<u8, String> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    match digits.parse::<u8>() {
        Ok(percent @ 1..=100) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(percent),
        _ => Err(format!("{text:?} is not a share: write 1% … 100%")),
    }
}

/// Reads `1y6mo14d12h`. A bare `m` is refused: a month in restic, a minute elsewhere.
pub fn parse_span(text: &str) -> Result<Span, String> {
    let wrong = || format!("{text:?} is not a duration: write 24h, 14d, 8w, 1y6mo or 30min");
    let units = text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty());
    for unit in units {
        match unit {
            "m" => return Err(format!("{text:?}: m is a month to some and a minute to others: write mo or min")),
            "y" | "mo" | "w" | "d" | "h" | "min" | "s" => {}
            _ => return Err(wrong()),
        }
    }
    let starts_right = text.starts_with(|first: char| first.is_ascii_digit());
    text.parse::<Span>().ok().filter(|_| starts_right).ok_or_else(wrong)
}

/// Reads a duration that does not depend on a calendar, as milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let span = parse_span(text)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let wrong = || format!("{text:?}: months and years have no fixed length here: write weeks, days or hours");
    duration.ok().and_then(|duration| u64::try_from(duration.as_millis()).ok()).ok_or_else(wrong)
}

/// Reads `none` or a zstd level.
pub fn parse_compression(text: &str) -> Result<Compression, String> {
    if text == "none" {
        return Ok(Compression::Stored);
    }
    match text.parse::<i32>() {
        Ok(level @ (-7..=-1 | 1..=22)) => Ok(Compression::Zstd(level)),
        _ => Err(format!("{text:?} is not a compression: write none or a zstd level, 1 … 22 or -7 … -1")),
    }
}

/// Reads `16K,64K,256K`: smallest, usual and largest chunk.
pub fn parse_chunk_sizes(text: &str, chunker: ChunkerKind) -> Result<Chunking, String> {
    let log2 = |part: &str| {
        let bytes = parse_size(part)?;
        if !bytes.is_power_of_two() {
            return Err(format!("{part:?} is not a power of two"));
        }
        u8::try_from(bytes.trailing_zeros()).map_err(|_| format!("{part:?} is too large"))
    };
    let parts = text.split(',').map(log2).collect::<Result<Vec<u8>, String>>()?;
    let [min_log2, avg_log2, max_log2] = parts.as_slice() else {
        return Err(format!("{text:?} are not three sizes: write MIN,AVG,MAX as in 16K,64K,256K"));
    };
    let chunking = Chunking { chunker, min_log2: *min_log2, avg_log2: *avg_log2, max_log2: *max_log2 };
    match chunking.check() {
        Ok(()) => Ok(chunking),
        Err(_) => Err(format!("{text:?}: wanted 4K ≤ MIN ≤ AVG ≤ MAX ≤ 2M, AVG from 8K to 1M")),
    }
}

/// `120.0 GiB`, `0 B`: IEC, one decimal.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths in integers: no float decides what a person reads.
    let mut unit_bytes: u128 = 1024;
    for (place, unit) in UNITS.iter().enumerate() {
        let tenths = (u128::from(bytes) * 10 + unit_bytes / 2) / unit_bytes;
        if tenths < 10240 || place + 1 == UNITS.len() {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        unit_bytes *= 1024;
    }
    format!("{bytes} B")
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
pub fn utc(time_ms: u64) -> String {
    timestamp(time_ms).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Milliseconds since 1970 as a person's clock shows it, to the second, so that it can be typed back as a selector.
pub fn local(time_ms: u64) -> String {
    jiff::tz::TimeZone::system().to_datetime(timestamp(time_ms)).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A stretch of seconds.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn timestamp(time_ms: u64) -> jiff::Timestamp {
    i64::try_from(time_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_a_bare_m_is_refused() {
        assert_eq!(parse_duration_ms("24h"), Ok(86_400_000));
        assert_eq!(parse_duration_ms("1w2d3h4min5s"), Ok(788_645_000));
        assert_eq!(parse_duration_ms("0"), Ok(0));
        assert!(parse_duration_ms("1y").is_err() && parse_span("1y6mo14d12h").is_ok());
        assert!(parse_span("3m").unwrap_err().contains("write mo or min"));
        for wrong in ["", "d", "5", "-3d", "3 days", "1.5h", "3x", "P3D"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("64KB", 64_000),
            ("1.5G", 1_610_612_736),
            ("2T", 2 << 40),
            ("10 MB", 10_000_000),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "64Q", "1m2", "x64K"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_more_than_nothing_and_at_most_all() {
        assert_eq!(parse_percent("5%"), Ok(5));
        assert_eq!(parse_percent("100"), Ok(100));
        for text in ["0%", "101%", "", "%", "+5%", "5.5%", "-1%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_decimal() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_575, "1.0 MiB"),
            (128_849_018_880, "120.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn chunk_sizes_are_three_ascending_powers_of_two() {
        let chunking = parse_chunk_sizes("16K,64K,256K", ChunkerKind::Block).unwrap();
        assert_eq!(chunking, Chunking::default());
        for text in ["16K,64K", "16K,60K,256K", "64K,16K,256K", "1K,64K,256K", "16K,64K,256K,1M"] {
            assert!(parse_chunk_sizes(text, ChunkerKind::Block).is_err(), "{text}");
        }
    }

    #[test]
    fn compression_is_none_or_a_level() {
        assert_eq!(parse_compression("none"), Ok(Compression::Stored));
        assert_eq!(parse_compression("3"), Ok(Compression::Zstd(3)));
        assert!(
            parse_compression("0").is_err() && parse_compression("23").is_err() && parse_compression("lz4").is_err()
        );
    }

    #[test]
    fn times_leave_in_utc_with_their_milliseconds() {
        assert_eq!(utc(1_763_517_600_123), "2025-11-19T02:00:00.123Z");
    }
}
