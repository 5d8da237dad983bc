//! Cursors of the stream: a place in the log, marked as ours and as this tenant's. No contact is in it, so a
//! cursor outlives a merge.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::base::{Cx, Error, LogPlace, Result};

const MARK: usize = 16;

pub(super) fn give(cx: &Cx, place: LogPlace) -> String {
    let place = [place.xid.to_be_bytes(), place.seq.to_be_bytes()].concat();
    BASE64_URL_SAFE_NO_PAD.encode([&mark(cx, &place)[..], &place].concat())
}

/// A cursor that was altered, or that another tenant's stream gave, is refused.
pub(super) fn read(cx: &Cx, cursor: &str) -> Result<LogPlace> {
    let read = || {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (given, place) = bytes.split_first_chunk::<MARK>()?;
        if *given != mark(cx, place) {
            return None;
        }
        let (xid, seq) = place.split_first_chunk::<8>()?;
        Some(LogPlace {
            xid: i64::from_be_bytes(*xid),
            seq: i64::from_be_bytes(seq.try_into().ok()?),
        })
    };
    read().ok_or(Error::BadCursor)
}

fn mark(cx: &Cx, place: &[u8]) -> [u8; MARK] {
    let bound_to = format!("nudge stream/{}/", cx.tenant().uuid());
    cx.env()
        .secrets
        .mark(&[bound_to.as_bytes(), place].concat())
}
