//! Tables for spreadsheets: CSV as RFC 4180 has it, in UTF-8, in which no cell is taken for a formula.

use std::borrow::Cow;

use super::Result;

/// What a spreadsheet takes for the beginning of a formula, or skips before one; the wide forms are read like the narrow ones.
const FORMULA_BEGINS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// What stands in one place of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsvCell<'a> {
    /// Anything: it is made harmless.
    Text(Cow<'a, str>),
    /// A number in decimal digits: written as it is, with its sign.
    Number(String),
}

impl<'a> CsvCell<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }
    fn written(&self) -> Cow<'_, str> {
        match self {
            Self::Number(digits) => Cow::Borrowed(digits),
            // An apostrophe in front says that what follows is text.
            Self::Text(text) if text.starts_with(FORMULA_BEGINS) => format!("'{text}").into(),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// The records as lines.
pub fn csv_lines(records: &[Vec<CsvCell<'_>>]) -> Result<Vec<u8>> {
    let mut lines = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(vec![]);
    for record in records {
        let cells = record.iter().map(CsvCell::written);
        let cells = cells.map(Cow::into_owned);
        lines.write_record(cells).map_err(anyhow::Error::from)?;
    }
    lines
        .into_inner()
        .map_err(|error| anyhow::anyhow!("CSV was not written: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_a_number_stays_one() {
        let texts = [
            "=1+1", "+49", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "a=b", "", "'x",
            "a,\"b\"",
        ];
        let mut record: Vec<_> = texts.into_iter().map(CsvCell::text).collect();
        record.push(CsvCell::Number("-2.5".into()));
        let lines = String::from_utf8(csv_lines(&[record]).unwrap()).unwrap();
        assert_eq!(
            lines,
            "'=1+1,'+49,'-2,'@SUM(A1),'\t=1,\"'\r=1\",\"'\n=1\",'＝1,a=b,,'x,\"a,\"\"b\"\"\",-2.5\r\n"
        );
    }
}
