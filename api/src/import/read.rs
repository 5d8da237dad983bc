//! Records out of bytes, from wherever a record begins. Pure.

use serde_json::{Map, Value};

use super::rules::{Fault, ImportFormat};

/// The longest record: what an event may hold.
pub(super) const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Characters of a line that are kept of one that is not taken.
const RAW_CHARS_MAX: usize = 2_000;

/// A line of the file, or several where a quoted cell goes over its end.
#[derive(Debug)]
pub(super) struct Record {
    /// From 1.
    pub(super) line: u64,
    pub(super) raw: String,
    pub(super) cells: Result<Map<String, Value>, Fault>,
}

/// Whole records from the beginning of some bytes, and how far they go.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    /// The line behind them.
    pub(super) line: u64,
}

/// How a file is read.
pub(super) struct Reading<'a> {
    pub(super) format: ImportFormat,
    pub(super) delimiter: char,
    /// The columns' names, of CSV.
    pub(super) header: &'a [String],
}

impl Reading<'_> {
    /// Reads at most `max` records. What is at the end of `bytes` may be half a record, unless nothing comes behind.
    pub(super) fn records(&self, bytes: &[u8], is_end: bool, line: u64, max: usize) -> Parsed {
        match self.format {
            ImportFormat::Csv => self.csv(bytes, is_end, line, max),
            ImportFormat::Jsonl => jsonl(bytes, is_end, line, max),
        }
    }

    fn csv(&self, bytes: &[u8], is_end: bool, line: u64, max: usize) -> Parsed {
        let mut parsed = Parsed {
            line,
            ..Parsed::default()
        };
        rows(bytes, self.delimiter, is_end, line, |row| {
            parsed.bytes = row.end;
            parsed.line = row.line_behind;
            parsed.records.push(Record {
                line: row.line,
                raw: shown(row.raw),
                cells: self.cells(row.cells),
            });
            parsed.records.len() < max
        });
        parsed
    }

    fn cells(&self, cells: &csv::ByteRecord) -> Result<Map<String, Value>, Fault> {
        if cells.len() != self.header.len() {
            return Err(Fault::of_line(format!(
                "it has {} cells, and the heading has {}",
                cells.len(),
                self.header.len()
            )));
        }
        self.header
            .iter()
            .zip(cells)
            .map(|(name, cell)| match std::str::from_utf8(cell) {
                Ok(text) => Ok((name.clone(), Value::String(text.to_owned()))),
                Err(_) => Err(Fault {
                    field: Some(name.clone()),
                    reason: "it is not UTF-8".to_owned(),
                }),
            })
            .collect()
    }
}

/// The heading of a CSV file.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) names: Vec<String>,
    pub(super) bytes: usize,
    /// The line behind it.
    pub(super) line: u64,
}

/// The heading of a CSV file; `None` where it is not whole.
pub(super) fn header(
    bytes: &[u8],
    delimiter: char,
    is_end: bool,
) -> Option<Result<Heading, Fault>> {
    /// What some editors put before a text in UTF-8.
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let skipped = if bytes.starts_with(MARK) {
        MARK.len()
    } else {
        0
    };
    let mut found = None;
    rows(&bytes[skipped..], delimiter, is_end, 1, |row| {
        let names: Result<Vec<String>, _> = row
            .cells
            .iter()
            .map(|cell| std::str::from_utf8(cell).map(|name| name.trim().to_owned()))
            .collect();
        found = Some(
            names
                .map(|names| Heading {
                    names,
                    bytes: skipped + row.end,
                    line: row.line_behind,
                })
                .map_err(|_| Fault::of_line("the heading is not UTF-8")),
        );
        false
    });
    found
}

struct CsvRow<'a> {
    line: u64,
    line_behind: u64,
    end: usize,
    raw: &'a [u8],
    cells: &'a csv::ByteRecord,
}

/// Gives each whole row, until `each` says that it is enough.
fn rows(
    bytes: &[u8],
    delimiter: char,
    is_end: bool,
    line: u64,
    mut each: impl FnMut(CsvRow<'_>) -> bool,
) {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(u8::try_from(delimiter).unwrap_or(b','))
        .from_reader(bytes);
    let mut cells = csv::ByteRecord::new();
    let (mut line, mut counted) = (line, 0);
    loop {
        let from = place(reader.position().byte());
        // Bytes in memory are read without failure.
        if !reader.read_byte_record(&mut cells).unwrap_or_default() {
            return;
        }
        let mut end = place(reader.position().byte());
        // Of what ends with the bytes nobody knows whether it ends there.
        if end >= bytes.len() && !is_end {
            return;
        }
        // The reader stops between the two characters of a line's end.
        if bytes[from..end].ends_with(b"\r") && bytes[end..].starts_with(b"\n") {
            end += 1;
        }
        let blank = bytes[from..end]
            .iter()
            .take_while(|byte| is_line_end(**byte));
        let start = from + blank.count();
        line += lines(&bytes[counted..start]);
        let line_behind = line + lines(&bytes[start..end]);
        let goes_on = each(CsvRow {
            line,
            line_behind,
            end,
            raw: &bytes[start..end],
            cells: &cells,
        });
        if !goes_on {
            return;
        }
        (line, counted) = (line_behind, end);
    }
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').skip(1).count() as u64
}

fn place(byte: u64) -> usize {
    usize::try_from(byte).unwrap_or(usize::MAX)
}

fn jsonl(bytes: &[u8], is_end: bool, line: u64, max: usize) -> Parsed {
    let mut parsed = Parsed {
        line,
        ..Parsed::default()
    };
    while parsed.records.len() < max {
        let rest = &bytes[parsed.bytes..];
        let (raw, taken) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], end + 1),
            None if is_end && !rest.is_empty() => (rest, rest.len()),
            None => break,
        };
        if !raw.trim_ascii().is_empty() {
            parsed.records.push(Record {
                line: parsed.line,
                raw: shown(raw),
                cells: object(raw),
            });
        }
        parsed.bytes += taken;
        parsed.line += 1;
    }
    parsed
}

fn object(raw: &[u8]) -> Result<Map<String, Value>, Fault> {
    match serde_json::from_slice(raw) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Fault::of_line("it is JSON, but not an object")),
        Err(error) => Err(Fault::of_line(format!("it is not JSON: {error}"))),
    }
}

fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let text = text.trim_end_matches(['\r', '\n']);
    crate::base::storable(text.chars().take(RAW_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CSV: &str = "\u{feff}id,name\r\n1,\"Ann\r\nB\"\r\n\r\n2,Bob,x\r\n3,\"C \"\"D\"\"\"";

    fn read(text: &[u8], window: usize, max: usize) -> Vec<(u64, Value)> {
        let heading = header(text, ',', true).unwrap().unwrap();
        let (names, mut from, mut line) = (heading.names, heading.bytes, heading.line);
        assert_eq!(names, ["id", "name"]);
        let reading = Reading {
            format: ImportFormat::Csv,
            delimiter: ',',
            header: &names,
        };
        let mut found = vec![];
        let mut room = window;
        while from < text.len() {
            let end = text.len().min(from + room);
            let parsed = reading.records(&text[from..end], end == text.len(), line, max);
            if parsed.bytes == 0 {
                assert!(room < text.len(), "stuck at {from}");
                room += 1;
                continue;
            }
            room = window;
            found.extend(parsed.records.into_iter().map(|record| {
                let cells = record
                    .cells
                    .map_or_else(|fault| json!(fault.reason), |cells| cells["name"].clone());
                (record.line, cells)
            }));
            (from, line) = (from + parsed.bytes, parsed.line);
        }
        found
    }

    #[test]
    fn records_are_the_same_wherever_the_bytes_are_cut() {
        let whole = vec![
            (2, json!("Ann\r\nB")),
            (5, json!("it has 3 cells, and the heading has 2")),
            (6, json!("C \"D\"")),
        ];
        for window in 1..CSV.len() {
            for max in [1, 2, 100] {
                assert_eq!(read(CSV.as_bytes(), window, max), whole, "{window} {max}");
            }
        }
    }

    #[test]
    fn a_line_of_json_is_an_object_or_a_fault() {
        let text = b"{\"a\": 1}\n\n[1]\r\n{oops\n{\"a\": 2}";
        let whole = jsonl(text, true, 1, 100);
        let lines: Vec<(u64, bool)> = whole
            .records
            .iter()
            .map(|record| (record.line, record.cells.is_ok()))
            .collect();
        assert_eq!(lines, [(1, true), (3, false), (4, false), (5, true)]);
        assert_eq!((whole.bytes, whole.line), (text.len(), 6));
        assert_eq!(whole.records[2].raw, "{oops");
        let half = jsonl(text, false, 1, 100);
        assert_eq!((half.records.len(), half.bytes), (3, text.len() - 8));
    }
}
