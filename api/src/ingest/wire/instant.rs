//! When an event happened, by the clocks of a client that may be wrong and a server that is right.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

/// Further ahead of the server than any time zone mistake explains: PostHog's limit.
const FUTURE_MAX: TimeDelta = TimeDelta::hours(23);

const ZONED: [&str; 3] = [
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M%#z",
];
const NAIVE: [&str; 3] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
];

/// An ISO 8601 instant: an offset is honoured, without one it is UTC. Cut to microseconds, the precision that both databases and
/// PostHog keep, so that what is stored and sent again is what was read.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let zoned = || {
        ZONED
            .iter()
            .find_map(|form| DateTime::parse_from_str(text, form).ok())
    };
    let naive = || {
        NAIVE
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
    };
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let at = DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(zoned)
        .map(|at| at.to_utc())
        .or_else(|| naive().map(|at| at.and_utc()))
        .or_else(|| date().map(|day| day.and_time(NaiveTime::MIN).and_utc()))?;
    in_range(at)
}

/// Years that both databases store and every client can read back; also carries a leap second into the next one.
fn in_range(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let at = DateTime::from_timestamp_micros(at.timestamp_micros())?;
    (1..=9999).contains(&at.year()).then_some(at)
}

/// The instant of an event, corrected by the skew between the client's clock when it sent (`sent_at`) and the server's (`now`):
/// `now + (timestamp − sent_at)`. Without a timestamp it is `offset_ms` before `now`, else `now`; the unreadable and the impossible
/// are `now`, and so is what lies over 23 hours ahead.
pub(super) fn occurred_at(
    timestamp: Option<&str>,
    offset_ms: Option<i64>,
    sent_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let stated = match timestamp {
        Some(text) => parse(text).and_then(|at| match sent_at {
            Some(sent_at) => now.checked_add_signed(at - sent_at),
            None => Some(at),
        }),
        None => offset_ms
            .and_then(TimeDelta::try_milliseconds)
            .and_then(|ago| now.checked_sub_signed(ago)),
    };
    match stated.and_then(in_range) {
        Some(at) if at - now <= FUTURE_MAX => at,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        parse(text).unwrap()
    }

    #[test]
    fn every_spelling_of_an_instant_is_read() {
        let cases = [
            ("2026-11-22T14:45:20.351Z", "2026-11-22T14:45:20.351Z"),
            (
                "2026-11-22T14:44:34.217637+00:00",
                "2026-11-22T14:44:34.217637Z",
            ),
            (
                "2026-11-22T15:08:49.777928807Z",
                "2026-11-22T15:08:49.777928Z",
            ),
            ("2026-11-22T15:45:20+01:00", "2026-11-22T14:45:20Z"),
            ("2026-11-22T15:45:20+0100", "2026-11-22T14:45:20Z"),
            ("2026-11-22 15:45:20.5+01", "2026-11-22T14:45:20.500Z"),
            ("2026-11-22T15:45:20", "2026-11-22T15:45:20Z"),
            ("2026-11-22 15:45:20.25", "2026-11-22T15:45:20.250Z"),
            ("2026-11-22T15:45", "2026-11-22T15:45:00Z"),
            ("2026-11-22T15:45Z", "2026-11-22T15:45:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ];
        for (text, expected) in cases {
            let read =
                parse(text).map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
            assert_eq!(read.as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1795359952741",
            "2026-13-01",
            "+262142-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_clients_clock_is_corrected_by_when_it_sent() {
        let now = at("2026-11-22T12:00:00Z");
        let sent_at = Some(at("2026-11-22T09:00:00Z"));
        let cases = [
            (
                Some("2026-11-22T08:59:50Z"),
                None,
                sent_at,
                "2026-11-22T11:59:50Z",
            ),
            (
                Some("2026-11-22T08:59:50Z"),
                None,
                None,
                "2026-11-22T08:59:50Z",
            ),
            (
                Some("2025-01-02T03:04:05Z"),
                None,
                Some(now),
                "2025-01-02T03:04:05Z",
            ),
            (
                Some("2026-11-23T08:00:00Z"),
                None,
                sent_at,
                "2026-11-23T11:00:00Z",
            ),
            (
                Some("2026-11-23T08:00:01Z"),
                None,
                sent_at,
                "2026-11-22T12:00:00Z",
            ),
            (
                Some("9999-12-31T23:59:59Z"),
                None,
                None,
                "2026-11-22T12:00:00Z",
            ),
            (
                Some("9999-12-31T23:59:59Z"),
                None,
                parse("0001-01-01"),
                "2026-11-22T12:00:00Z",
            ),
            (
                Some("0001-01-01"),
                None,
                parse("9999-12-31"),
                "2026-11-22T12:00:00Z",
            ),
            (Some("soon"), Some(5), None, "2026-11-22T12:00:00Z"),
            (None, Some(90_000), sent_at, "2026-11-22T11:58:30Z"),
            (None, Some(i64::MAX), None, "2026-11-22T12:00:00Z"),
            (None, Some(i64::MIN), None, "2026-11-22T12:00:00Z"),
            (None, None, sent_at, "2026-11-22T12:00:00Z"),
        ];
        for (timestamp, offset_ms, sent_at, expected) in cases {
            assert_eq!(
                occurred_at(timestamp, offset_ms, sent_at, now),
                at(expected),
                "{timestamp:?} {offset_ms:?} {sent_at:?}"
            );
        }
    }
}
