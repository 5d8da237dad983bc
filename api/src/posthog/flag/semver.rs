//! The `semver_*` operators. Pre-release and build parts are dropped and missing parts
//! are zero, as in the clients; leading zeros make a version invalid.

use serde_json::Value;

use super::number::Order;
use super::text::{Given, javascript_text, service_text};
use super::verdict::{MISSING, Readings, UNSUPPORTED, Verdict};

/// More digits than this are not exact in JavaScript.
const DIGITS_MAX: usize = 15;

type Version = [u64; 3];

/// What a version is compared with: `from` is included, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: Version,
    to: Version,
}

/// A comparison of versions, before its value is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Ordered(Order),
    Tilde,
    Caret,
    Wildcard,
}

/// A compiled version filter; `None` where a client cannot read the filter's version.
#[derive(Debug)]
pub(super) struct VersionFilter(Readings<Option<Bound>>);

#[derive(Clone, Copy, Debug)]
enum Bound {
    Equal(Version),
    NotEqual(Version),
    Ordered(Order, Version),
    Within(Range),
}

impl Bound {
    fn admits(self, version: Version) -> bool {
        match self {
            Self::Equal(bound) => version == bound,
            Self::NotEqual(bound) => version != bound,
            Self::Ordered(order, bound) => order.holds(&version, &bound),
            Self::Within(range) => range.from <= version && version < range.to,
        }
    }
}

impl VersionFilter {
    pub(super) fn compile(comparison: Comparison, value: Option<&Value>) -> Self {
        let texts = texts(value.map_or(Given::Null, Given::from));
        Self(Readings {
            python: texts
                .python
                .and_then(|text| bound(comparison, &text, wildcard_python)),
            node: texts
                .node
                .and_then(|text| bound(comparison, &text, wildcard_node)),
        })
    }

    pub(super) const fn is_usable(&self) -> bool {
        self.0.python.is_some()
    }

    pub(super) fn matches(&self, given: Given<'_>) -> Readings<Verdict> {
        if matches!(given, Given::Null) {
            return Readings::same(Ok(false));
        }
        let texts = texts(given);
        let verdict = |bound: Option<Bound>, text: Option<String>| {
            let bound = bound.ok_or(UNSUPPORTED)?;
            let version = text.and_then(|text| version(&text)).ok_or(MISSING)?;
            Ok(bound.admits(version))
        };
        Readings {
            python: verdict(self.0.python, texts.python),
            node: verdict(self.0.node, texts.node),
        }
    }
}

/// The text a client reads a version from: Python's `str` of anything but text and
/// numbers is no version.
fn texts(given: Given<'_>) -> Readings<Option<String>> {
    Readings {
        python: match given {
            Given::Text(_) | Given::Number(_) => service_text(given).map(Into::into),
            _ => None,
        },
        node: javascript_text(given).map(Into::into),
    }
}

fn bound(comparison: Comparison, text: &str, wildcard: fn(&str) -> Option<Range>) -> Option<Bound> {
    if matches!(comparison, Comparison::Wildcard) {
        return wildcard(text).map(Bound::Within);
    }
    let version = version(text)?;
    let [major, minor, patch] = version;
    let up_to = |to| Bound::Within(Range { from: version, to });
    Some(match comparison {
        Comparison::Equal => Bound::Equal(version),
        Comparison::NotEqual => Bound::NotEqual(version),
        Comparison::Ordered(order) => Bound::Ordered(order, version),
        Comparison::Tilde => up_to([major, minor + 1, 0]),
        Comparison::Caret if major > 0 => up_to([major + 1, 0, 0]),
        Comparison::Caret if minor > 0 => up_to([0, minor + 1, 0]),
        Comparison::Caret => up_to([0, 0, patch + 1]),
        Comparison::Wildcard => return None,
    })
}

/// Without surrounding space and one `v`; several are read by one client only.
fn stripped(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix(['v', 'V']).unwrap_or(text)
}

fn version(text: &str) -> Option<Version> {
    let text = stripped(text);
    let base = text.split(['-', '+']).next()?;
    let mut parts = base.split('.');
    let major = identifier(parts.next()?)?;
    let mut optional = || match parts.next() {
        None | Some("") => Some(0),
        Some(part) => identifier(part),
    };
    Some([major, optional()?, optional()?])
}

fn identifier(text: &str) -> Option<u64> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if leading_zero || !digits || text.len() > DIGITS_MAX {
        return None;
    }
    text.parse().ok()
}

fn wildcard_python(text: &str) -> Option<Range> {
    let text = stripped(text).replace('*', "");
    let parts: Vec<_> = text.split('.').filter(|part| !part.is_empty()).collect();
    let part = |index: usize| identifier(parts.get(index)?);
    match parts.len() {
        0 => None,
        1 => Some(major_range(part(0)?)),
        2 => Some(minor_range(part(0)?, part(1)?)),
        _ => {
            let (major, minor, patch) = (part(0)?, part(1)?, part(2)?);
            Some(Range {
                from: [major, minor, patch],
                to: [major, minor, patch + 1],
            })
        }
    }
}

fn wildcard_node(text: &str) -> Option<Range> {
    let text = stripped(text);
    let text = text.strip_suffix(".*").unwrap_or(text);
    let text = text.strip_suffix('*').unwrap_or(text);
    let mut parts = text.split('.');
    let major = identifier(parts.next()?)?;
    match parts.next() {
        None => Some(major_range(major)),
        Some(minor) => Some(minor_range(major, identifier(minor)?)),
    }
}

const fn major_range(major: u64) -> Range {
    Range {
        from: [major, 0, 0],
        to: [major + 1, 0, 0],
    }
}

const fn minor_range(major: u64, minor: u64) -> Range {
    Range {
        from: [major, minor, 0],
        to: [major, minor + 1, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently_but_exactly() {
        assert_eq!(version(" v1.2.3-beta+5 "), Some([1, 2, 3]));
        assert_eq!(version("1.2"), Some([1, 2, 0]));
        assert_eq!(version("1..3.9"), Some([1, 0, 3]));
        for bad in ["", ".1.2", "1.07", "x", "1.2.x", "vv1", "9999999999999999"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_clients_read_three_part_wildcards_differently() {
        assert_eq!(wildcard_python("1.2.*"), wildcard_node("1.2.*"));
        assert_eq!(wildcard_python("1.*"), Some(major_range(1)));
        assert_ne!(wildcard_python("1.2.3"), wildcard_node("1.2.3"));
    }
}
