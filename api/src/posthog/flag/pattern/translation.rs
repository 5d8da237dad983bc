//! From a portable pattern to one of the `regex` crate.

use std::fmt::Write as _;

use super::repetition_length;

/// Rewrites a portable pattern for the `regex` crate, every literal escaped, and finds
/// what Python and JavaScript refuse.
pub(super) struct Translation<'a> {
    pattern: &'a [u8],
    index: usize,
    pub(super) out: String,
    pub(super) has_end: bool,
    pub(super) has_space: bool,
    /// Has a repetition or an alternative.
    pub(super) branches: bool,
}

impl<'a> Translation<'a> {
    pub(super) const fn of(pattern: &'a [u8]) -> Self {
        Self {
            pattern,
            index: 0,
            out: String::new(),
            has_end: false,
            has_space: false,
            branches: false,
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.pattern.get(self.index).copied();
        self.index += usize::from(byte.is_some());
        byte
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.index).copied()
    }

    /// `None` if the pattern is invalid.
    pub(super) fn run(&mut self) -> Option<()> {
        let mut depth = 0_u32;
        let mut repeatable = false;
        while let Some(byte) = self.next() {
            let mut now_repeatable = true;
            match byte {
                b'\\' => self.escape()?,
                b'[' => self.class()?,
                b'(' => {
                    self.index += if self.peek() == Some(b'?') { 2 } else { 0 };
                    self.out.push_str("(?:");
                    depth += 1;
                    now_repeatable = false;
                }
                b')' => {
                    depth = depth.checked_sub(1)?;
                    self.out.push(')');
                }
                b'|' => {
                    self.branches = true;
                    self.out.push('|');
                    now_repeatable = false;
                }
                b'^' => self.out.push_str("\\A"),
                b'$' => {
                    self.has_end = true;
                    self.out.push_str("\\z");
                }
                b'.' => self.out.push('.'),
                b'*' | b'+' | b'?' | b'{' if !repeatable => return None,
                b'*' | b'+' | b'?' => {
                    self.repetition(self.index)?;
                    now_repeatable = false;
                }
                b'{' => {
                    let length = repetition_length(&self.pattern[self.index - 1..])?;
                    self.repetition(self.index - 1 + length)?;
                    now_repeatable = false;
                }
                literal => self.literal(literal),
            }
            repeatable = now_repeatable;
        }
        (depth == 0).then_some(())
    }

    /// Copies the repetition that ends before `end`, and a lazy mark.
    fn repetition(&mut self, end: usize) -> Option<()> {
        self.branches = true;
        let text = std::str::from_utf8(&self.pattern[self.index - 1..end]).ok()?;
        let bounds = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        if let Some((least, most)) = bounds.and_then(|body| body.split_once(','))
            && !most.is_empty()
            && most.parse::<u64>().ok()? < least.parse::<u64>().ok()?
        {
            return None;
        }
        self.out.push_str(text);
        self.index = end;
        if self.peek() == Some(b'?') {
            self.index += 1;
            self.out.push('?');
        }
        Some(())
    }

    fn literal(&mut self, byte: u8) {
        write!(self.out, "\\x{byte:02x}").unwrap_or_default();
    }

    fn escape(&mut self) -> Option<()> {
        match self.escaped()? {
            Escaped::Shorthand(name) => {
                self.out.push('\\');
                self.out.push(char::from(name));
            }
            Escaped::Literal(byte) => self.literal(byte),
        }
        Some(())
    }

    fn escaped(&mut self) -> Option<Escaped> {
        Some(match self.next()? {
            b'x' => {
                let digits = self.pattern.get(self.index..self.index + 2)?;
                self.index += 2;
                let digits = std::str::from_utf8(digits).ok()?;
                Escaped::Literal(u8::from_str_radix(digits, 16).ok()?)
            }
            name @ (b'd' | b'D' | b's' | b'S' | b'w' | b'W') => {
                self.has_space |= matches!(name, b's' | b'S');
                Escaped::Shorthand(name)
            }
            b'b' => Escaped::Literal(0x08),
            b'f' => Escaped::Literal(0x0c),
            b'n' => Escaped::Literal(b'\n'),
            b'r' => Escaped::Literal(b'\r'),
            b't' => Escaped::Literal(b'\t'),
            punctuation => Escaped::Literal(punctuation),
        })
    }

    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.peek() == Some(b'^') {
            self.index += 1;
            self.out.push('^');
        }
        loop {
            let low = match self.class_item()? {
                ClassItem::End => break,
                ClassItem::Shorthand(name) => {
                    self.out.push('\\');
                    self.out.push(char::from(name));
                    continue;
                }
                ClassItem::Literal(byte) => byte,
            };
            self.literal(low);
            let opens_range = self.peek() == Some(b'-')
                && !matches!(self.pattern.get(self.index + 1), None | Some(b']'));
            if opens_range {
                self.index += 1;
                let ClassItem::Literal(high) = self.class_item()? else {
                    return None;
                };
                if high < low {
                    return None;
                }
                self.out.push('-');
                self.literal(high);
            }
        }
        self.out.push(']');
        Some(())
    }

    fn class_item(&mut self) -> Option<ClassItem> {
        Some(match self.next()? {
            b']' => ClassItem::End,
            b'\\' => match self.escaped()? {
                Escaped::Shorthand(name) => ClassItem::Shorthand(name),
                Escaped::Literal(byte) => ClassItem::Literal(byte),
            },
            byte => ClassItem::Literal(byte),
        })
    }
}

enum Escaped {
    Shorthand(u8),
    Literal(u8),
}

enum ClassItem {
    End,
    Shorthand(u8),
    Literal(u8),
}
