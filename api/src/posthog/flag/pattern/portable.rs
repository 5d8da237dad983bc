//! Which patterns mean the same everywhere.

use super::repetition_length;

/// The token before the current one, where it decides what may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Start,
    Open,
    EmptyGroup,
    Anchor,
    Bar,
    Close,
    Repetition,
    Literal,
}

/// Whether both clients evaluate the pattern themselves, be it valid or not: the union of
/// what posthog-python 7.91 and posthog-node 5.70 leave to the server.
pub(super) fn is_portable(pattern: &[u8]) -> bool {
    if !pattern.is_ascii() {
        return false;
    }
    let at = |index: usize| pattern.get(index).copied().unwrap_or(0);
    let mut class_start: Option<usize> = None;
    let mut previous = Previous::Start;
    // One entry per open group: whether it holds a repetition, which must not be repeated.
    let mut groups: Vec<bool> = Vec::new();
    let mut closed_repeats = false;
    let mut index = 0;
    while index < pattern.len() {
        let byte = pattern[index];
        if byte == b'\\' {
            index += 1;
            if index < pattern.len() {
                match portable_escape(pattern, index, class_start.is_some()) {
                    Some(extra) => index += extra,
                    None => return false,
                }
            }
            previous = Previous::Literal;
            index += 1;
            continue;
        }
        if let Some(start) = class_start {
            match byte {
                b'[' => return false,
                b']' => {
                    let content = start + if at(start + 1) == b'^' { 2 } else { 1 };
                    if index == content {
                        return false;
                    }
                    class_start = None;
                    previous = Previous::Literal;
                }
                b'&' | b'-' | b'~' if at(index + 1) == byte => return false,
                b'-' if !portable_range(pattern, index) => return false,
                _ => {}
            }
            index += 1;
            continue;
        }
        let next_repeats = matches!(at(index + 1), b'+' | b'{');
        match byte {
            b'*' | b'+' | b'?' | b'{' => {
                if previous == Previous::Close && closed_repeats {
                    return false;
                }
                if matches!(previous, Previous::Anchor | Previous::EmptyGroup) {
                    return false;
                }
                if let Some(group) = groups.last_mut() {
                    *group = true;
                }
                if byte == b'{' {
                    let blocked = matches!(
                        previous,
                        Previous::Start | Previous::Bar | Previous::Open | Previous::Repetition
                    );
                    let Some(length) = repetition_length(&pattern[index..]) else {
                        return false;
                    };
                    index += length - 1;
                    if blocked || matches!(at(index + 1), b'+' | b'{') {
                        return false;
                    }
                } else if next_repeats {
                    return false;
                }
                previous = Previous::Repetition;
            }
            b'(' => {
                groups.push(false);
                if at(index + 1) == b'?' {
                    if at(index + 2) != b':' {
                        return false;
                    }
                    index += 2;
                }
                previous = Previous::Open;
            }
            b')' => {
                closed_repeats = groups.pop().unwrap_or(false);
                if let Some(outer) = groups.last_mut() {
                    *outer |= closed_repeats;
                }
                previous = match previous {
                    Previous::Open | Previous::EmptyGroup => Previous::EmptyGroup,
                    _ => Previous::Close,
                };
            }
            b'}' if next_repeats => return false,
            b'[' => class_start = Some(index),
            b'^' | b'$' => previous = Previous::Anchor,
            b'|' => previous = Previous::Bar,
            _ => previous = Previous::Literal,
        }
        index += 1;
    }
    true
}

/// How many bytes follow the escaped one, if both clients know the escape.
fn portable_escape(pattern: &[u8], index: usize, in_class: bool) -> Option<usize> {
    let escaped = pattern[index];
    match escaped {
        b'x' => pattern
            .get(index + 1..index + 3)?
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(2),
        b'd' | b'D' | b's' | b'S' | b'w' | b'W' | b'f' | b'n' | b'r' | b't' => Some(0),
        b'b' if in_class => Some(0),
        _ if in_class => b"\\-[]^.$*+?(){}|".contains(&escaped).then_some(0),
        b'<' | b'>' => None,
        b' ' => Some(0),
        _ => escaped.is_ascii_punctuation().then_some(0),
    }
}

/// Whether the dash at `index` of a class is no range that ends in a shorthand like `\d`.
fn portable_range(pattern: &[u8], index: usize) -> bool {
    let is_shorthand = |bytes: Option<&[u8]>| {
        bytes.is_some_and(|bytes| {
            bytes[0] == b'\\' && matches!(bytes[1], b'd' | b'D' | b's' | b'S' | b'w' | b'W')
        })
    };
    let trailing = matches!(pattern.get(index + 1), None | Some(b']'));
    let before = index
        .checked_sub(2)
        .and_then(|from| pattern.get(from..index));
    trailing || !(is_shorthand(pattern.get(index + 1..index + 3)) || is_shorthand(before))
}
