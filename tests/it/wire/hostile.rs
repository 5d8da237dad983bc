//! Nothing that is sent, sensible or not, makes the decoder panic or work beyond its limits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::contact::touch;
use api::ingest::wire::{
    BATCH_BODY_BYTES_MAX, SINGLE_BODY_BYTES_MAX, decode_capture, decode_flags,
};

use super::recorded::{gzip, instant, recorded};

#[test]
fn a_zip_bomb_is_refused_quickly() {
    let ten_mebibytes = gzip(&vec![0; 10 * 1024 * 1024]);
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    let now = instant("2026-11-22T12:00:00Z");
    let start = Instant::now();
    let refused =
        |body: &[u8], cap| decode_capture(body, "", cap, now).map_err(|error| error.status);
    assert_eq!(refused(&ten_mebibytes, SINGLE_BODY_BYTES_MAX), Err(413));
    assert_eq!(refused(&bomb, SINGLE_BODY_BYTES_MAX), Err(413));
    assert_eq!(refused(&bomb, BATCH_BODY_BYTES_MAX), Err(413));
    assert_eq!(
        decode_flags(&bomb, "v=2").map_err(|error| error.status),
        Err(413)
    );
    // Unoptimized and on a busy machine; inflating all of it would take several times as long.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

/// A generator good enough to scatter mutations, and the same in every run (Marsaglia's xorshift, 64 bits).
struct Scatter(u64);

impl Scatter {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("less than a usize")
    }

    /// Flips, replaces, inserts, drops and doubles bytes in one to three places.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const HOSTILE: [&[u8]; 12] = [
            b"\"",
            b"{",
            b"[[[[",
            b"\\u0000",
            b"\\ud83c",
            b"NaN",
            b"-",
            b"null",
            b"\xff",
            b"&data=",
            b"1e999",
            b"\x1f\x8b\x08",
        ];
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(12) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.next().to_le_bytes()[0],
                2 => drop(bytes.splice(at..at, HOSTILE[self.below(HOSTILE.len())].iter().copied())),
                3 => bytes.truncate(at),
                4 => {
                    let end = (at + self.below(40)).min(bytes.len());
                    bytes.drain(at..end);
                }
                5..8 if at < bytes.len() => bytes[at] = b"azAZ09 -"[self.below(8)],
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
    }
}

#[test]
fn no_mutation_of_a_real_request_makes_the_decoder_panic() {
    const ROUNDS: usize = 20_000;
    const QUERIES: [&str; 8] = [
        "",
        "v=2",
        "_=-1&v=99999999999",
        "_=1795359952741",
        "compression=gzip-js",
        "compression=lz64",
        "compression=base64&beacon=1",
        "data=%7B%00",
    ];
    let now = instant("2026-11-22T12:00:00Z");
    let mut seeds: Vec<Vec<u8>> = recorded()
        .iter()
        .filter(|request| request.is_capture() || request.is_flags())
        .flat_map(|request| [request.bytes(), request.body.to_string().into_bytes()])
        .filter(|seed| seed.len() < 4_000)
        .collect();
    seeds.push(b"N4IgpgbmB2AuIC4QB/oHuDGB7AJmABIDUEgPBuCR+yAL5A==".to_vec());
    seeds.push(b"data=eyJldmVudCI6ImUiLCJkaXN0aW5jdF9pZCI6ImEiLCJ0b2tlbiI6InQifQ%3D%3D".to_vec());
    let mut scatter = Scatter(0x9e37_79b9_7f4a_7c15);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut body = seeds[scatter.below(seeds.len())].clone();
        scatter.mutate(&mut body);
        if scatter.below(3) == 0 {
            // So that what is broken lies behind an intact compression too.
            body = gzip(&body);
        }
        let query = QUERIES[scatter.below(QUERIES.len())];
        let status = match decode_capture(&body, query, SINGLE_BODY_BYTES_MAX, now) {
            Ok(capture) => {
                for event in &capture.events {
                    assert!(!event.event.is_empty() && !event.distinct_id.is_empty());
                    let _ = touch(&event.properties);
                }
                200
            }
            Err(error) => error.status,
        };
        *statuses.entry(status).or_default() += 1;
        let _ = decode_flags(&body, query);
    }
    // Both ways were taken, often: a loop that only ever fails at the first byte would prove nothing.
    assert!(
        statuses[&200] > 1_000 && statuses[&400] > 1_000,
        "{statuses:?}"
    );
    assert!(
        statuses
            .keys()
            .all(|status| matches!(status, 200 | 400 | 401)),
        "{statuses:?}"
    );
}
