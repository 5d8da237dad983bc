//! `gt`, `gte`, `lt`, `lte`.

use serde_json::Value;

use super::text::{Given, javascript_text};
use super::verdict::{MISSING, Readings, UNSUPPORTED, Verdict};

/// A comparison of two ordered things.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Order {
    pub(super) fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Above => left > right,
            Self::AtLeast => left >= right,
            Self::Below => left < right,
            Self::AtMost => left <= right,
        }
    }
}

/// A compiled numeric filter.
#[derive(Debug)]
pub(super) struct NumberFilter {
    order: Order,
    /// The bound, if the whole filter value is a finite number.
    bound: Option<f64>,
    /// The bound as `parseFloat` reads it, from a prefix of the text.
    javascript_bound: Option<f64>,
    javascript_text: String,
}

impl NumberFilter {
    pub(super) fn compile(order: Order, value: Option<&Value>) -> Self {
        let given = value.map(Given::from);
        let javascript_text = given
            .and_then(javascript_text)
            .unwrap_or("undefined".into());
        Self {
            order,
            bound: given.and_then(whole_number),
            javascript_bound: parse_float(&javascript_text),
            javascript_text: javascript_text.into_owned(),
        }
    }

    pub(super) const fn is_usable(&self) -> bool {
        self.bound.is_some()
    }

    pub(super) fn matches(&self, given: Given<'_>) -> Readings<Verdict> {
        // The usual case needs no text: a number against a number both clients read alike.
        if let (Given::Number(number), Some(bound)) = (given, self.bound)
            && self.javascript_bound == Some(bound)
            && let Some(number) = number.as_f64()
        {
            return Readings::same(Ok(self.order.holds(&number, &bound)));
        }
        let python = self.bound.ok_or(UNSUPPORTED).map(|bound| {
            whole_number(given).is_some_and(|number| self.order.holds(&number, &bound))
        });
        Readings {
            python,
            node: self.matches_in_javascript(given),
        }
    }

    fn matches_in_javascript(&self, given: Given<'_>) -> Verdict {
        if matches!(given, Given::Null) {
            return Ok(false);
        }
        let text = javascript_text(given).ok_or(MISSING)?;
        if let (Some(number), Some(bound)) = (parse_float(&text), self.javascript_bound) {
            return Ok(self.order.holds(&number, &bound));
        }
        // JavaScript compares strings by UTF-16 unit.
        let left: Vec<u16> = text.encode_utf16().collect();
        let right: Vec<u16> = self.javascript_text.encode_utf16().collect();
        Ok(self.order.holds(&left, &right))
    }
}

/// A finite number, or text that is one from end to end, without surrounding space.
fn whole_number(given: Given<'_>) -> Option<f64> {
    let number = match given {
        Given::Number(number) => number.as_f64()?,
        Given::Text(text) if decimal_length(text) == Some(text.len()) => text.parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// ECMAScript `parseFloat`: the longest numeric prefix, if it is finite.
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let number: f64 = text[..decimal_length(text)?].parse().ok()?;
    number.is_finite().then_some(number)
}

/// The length of the longest decimal literal `text` starts with:
/// `[+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?`.
fn decimal_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let sign_at = |at: usize| usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let start = sign_at(0);
    let whole = digits_from(start);
    let mut end = start + whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits_from(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let digits_start = end + 1 + sign_at(end + 1);
        let exponent = digits_from(digits_start.min(bytes.len()));
        if exponent > 0 {
            end = digits_start + exponent;
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_read_as_parse_float_does() {
        let cases = [
            ("12", Some(12.0)),
            (" \t-1.5e2x", Some(-150.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e", Some(1.0)),
            ("1.0.0", Some(1.0)),
            ("+", None),
            (".", None),
            ("", None),
            ("1e999", None),
            ("abc", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_float(text), expected, "{text}");
        }
    }
}
