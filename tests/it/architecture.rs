//! Who may import whom. A new edge is a decision: change this table in the same commit.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each room of the crate, and the rooms that it may name. From the ground up; a room never names one above it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // ground
    ("base", &[]),
    // core
    ("tenant", &["base"]),
    ("operation", &["base"]),
    ("suppression", &["base"]),
    ("contact", &["base", "suppression"]),
    ("posthog", &["base", "contact"]),
    // commons
    ("job", &["base"]),
    (
        "privacy",
        &["base", "contact", "job", "posthog", "suppression"],
    ),
    ("import", &["base", "contact", "job", "suppression"]),
    ("segment", &["base", "contact"]),
    // growth: these never name each other
    ("nudge", &["base", "contact"]),
    // roof
    ("config", &[]),
    ("telemetry", &["config"]),
    ("transport", &[]),
    (
        "schema",
        &[
            "base",
            "contact",
            "import",
            "job",
            "nudge",
            "operation",
            "posthog",
            "privacy",
            "segment",
            "tenant",
            "worker",
        ],
    ),
    (
        "ingest",
        &["base", "contact", "posthog", "tenant", "transport"],
    ),
    ("worker", &["base", "posthog"]),
    (
        "app",
        &[
            "base",
            "config",
            "contact",
            "import",
            "job",
            "nudge",
            "operation",
            "posthog",
            "privacy",
            "schema",
            "segment",
            "tenant",
            "worker",
        ],
    ),
    ("backend", &["app", "base", "schema", "tenant", "transport"]),
    ("transfer", &["app", "base", "import", "job", "transport"]),
    (
        "serve",
        &["app", "ingest", "telemetry", "transfer", "transport"],
    ),
    ("doctor", &["base", "config", "posthog"]),
    (
        "demo",
        &[
            "app",
            "base",
            "config",
            "contact",
            "serve",
            "telemetry",
            "tenant",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "base",
            "config",
            "demo",
            "doctor",
            "operation",
            "posthog",
            "schema",
            "serve",
            "telemetry",
            "tenant",
        ],
    ),
];

/// Names that say nothing of what a file holds.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "service", "services", "data", "info",
    "handle", "common", "misc",
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src")
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = BTreeSet::new();
    for (room, may) in MAY_IMPORT {
        let mut unused: BTreeSet<&str> = may.iter().copied().collect();
        for (file, text) in sources(room) {
            for other in named_rooms(&text) {
                unused.remove(other.as_str());
                if other != *room && !may.contains(&other.as_str()) {
                    wrong.insert(format!("{file} imports {other}"));
                }
            }
        }
        wrong.extend(
            unused
                .iter()
                .map(|other| format!("{room} need not import {other}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_in_the_table() {
    let lib = fs::read_to_string(src().join("lib.rs")).unwrap();
    let rooms: BTreeSet<_> = lib
        .lines()
        .filter_map(|line| {
            line.strip_prefix("pub ")
                .unwrap_or(line)
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .collect();
    let known: BTreeSet<_> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    assert_eq!(rooms, known);
}

#[test]
fn the_table_has_no_circle() {
    // Taking away, again and again, the rooms that name none of those left must take away all.
    let mut left: BTreeSet<_> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    while !left.is_empty() {
        let free: Vec<_> = MAY_IMPORT
            .iter()
            .filter(|(room, may)| {
                left.contains(room) && may.iter().all(|other| !left.contains(other))
            })
            .map(|(room, _)| *room)
            .collect();
        assert!(!free.is_empty(), "a circle among {left:?}");
        left.retain(|room| !free.contains(room));
    }
}

#[test]
fn every_file_is_named_after_what_it_holds() {
    let named_emptily: Vec<_> = files(&src())
        .into_iter()
        .filter(|file| {
            file.file_stem()
                .is_some_and(|stem| EMPTY_NAMES.contains(&stem.to_string_lossy().as_ref()))
        })
        .collect();
    assert!(named_emptily.is_empty(), "{named_emptily:?}");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// A room's files with their texts.
fn sources(room: &str) -> Vec<(String, String)> {
    let mut paths = vec![src().join(format!("{room}.rs"))];
    paths.extend(files(&src().join(room)));
    paths
        .into_iter()
        .filter_map(|path| Some((path.display().to_string(), fs::read_to_string(&path).ok()?)))
        .collect()
}

/// The first segment of every `crate::…` path, also inside `use crate::{a::…, b::…}`. Links of doc comments are no
/// imports, but name rooms too, and are held to the same.
fn named_rooms(text: &str) -> Vec<String> {
    let mut named = vec![];
    for (at, found) in text.match_indices("crate::") {
        let rest = &text[at + found.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut item) = (0, String::new());
            for letter in list.chars() {
                match letter {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => named.push(std::mem::take(&mut item)),
                    letter if depth == 0 => item.push(letter),
                    _ => {}
                }
            }
            named.push(item);
        } else {
            named.push(
                rest.chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect(),
            );
        }
    }
    named
        .iter()
        .map(|name| {
            name.trim()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect::<String>()
        })
        .filter(|name| name.starts_with(char::is_lowercase))
        .collect()
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::base::Cx;\nuse crate::{\n    contact::{self, Kind},\n    tenant,\n};\nfn f() -> crate::nudge::X {}";
    assert_eq!(named_rooms(text), ["base", "contact", "tenant", "nudge"]);
}
