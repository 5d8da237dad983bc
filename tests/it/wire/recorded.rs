//! The recorded requests of the real SDKs.

use std::io::Write;

use api::ingest::wire::{
    BATCH_BODY_BYTES_MAX, Capture, FlagsRequest, decode_capture, decode_flags,
};
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// One recorded request.
pub(super) struct Recorded {
    pub(super) file: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) was_gzip: bool,
    pub(super) body: Value,
    pub(super) at: DateTime<Utc>,
    pub(super) response: Value,
}

impl Recorded {
    /// The bytes as the client sent them: the fixtures hold the body decoded.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let text = self.body.to_string().into_bytes();
        if self.was_gzip { gzip(&text) } else { text }
    }

    pub(super) fn is_capture(&self) -> bool {
        self.method == "POST"
            && matches!(self.path.trim_end_matches('/'), "/e" | "/i/v0/e" | "/batch")
    }

    pub(super) fn is_flags(&self) -> bool {
        self.method == "POST" && self.path.trim_end_matches('/') == "/flags"
    }

    pub(super) fn capture(&self) -> Capture {
        decode_capture(&self.bytes(), &self.query, BATCH_BODY_BYTES_MAX, self.at)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.file, self.path))
    }

    pub(super) fn flags(&self) -> FlagsRequest {
        decode_flags(&self.bytes(), &self.query)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.file, self.path))
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes every write");
    encoder.finish().expect("memory takes every write")
}

pub(super) fn instant(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text)
        .expect("an instant")
        .to_utc()
}

pub(super) fn recorded() -> Vec<Recorded> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures");
    let entries = std::fs::read_dir(folder).expect("the recordings are there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let recording = std::fs::read(&file).expect("a readable file");
        let requests: Vec<Value> = serde_json::from_slice(&recording).expect("a list of requests");
        for request in requests {
            let text = |key: &str| request[key].as_str().expect(key).to_owned();
            all.push(Recorded {
                file: file
                    .file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                method: text("method"),
                path: text("path"),
                query: text("target")
                    .split_once('?')
                    .map_or(String::new(), |(_, query)| query.to_owned()),
                was_gzip: request["body_encoding_detected"] == "gzip",
                body: request["body"].clone(),
                at: instant(&text("at")),
                response: request["response"]["body"].clone(),
            });
        }
    }
    all
}
