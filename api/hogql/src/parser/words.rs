//! Which words have a meaning of their own.

/// Words that must be quoted to serve as a name: those of the grammar, and those that would read differently in `PostHog`'s or
/// `ClickHouse`'s. Lower case.
const RESERVED: &str = "
    all alter and anti any array as asc ascending asof between both by case cast catch
    collate columns create cross cube delete desc descending distinct drop else end except
    exclude explain extract false final finally fn following for format from full fun global
    group grouping having if ilike in inf infinity inner insert intersect interval into is
    join lambda leading left let like limit materialized nan natural not null nulls offset
    on or order outer outfile over partition preceding prewhere qualify return right rollup
    sample select semi settings then throw top trailing true truncate try try_cast unbounded
    union using values when where while window with within
";

/// Reserved words that are also the names of functions, when a parenthesis follows. Lower case.
const CALLABLE: &str = "
    and any array extract format if left not or right
";

pub(crate) fn is_reserved(word: &str) -> bool {
    has(RESERVED, word)
}

pub(crate) fn is_callable(word: &str) -> bool {
    !is_reserved(word) || has(CALLABLE, word)
}

fn has(list: &str, word: &str) -> bool {
    list.split_whitespace()
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// The function that makes an interval of this unit.
pub(crate) fn interval_function(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "second" => "toIntervalSecond",
        "minute" => "toIntervalMinute",
        "hour" => "toIntervalHour",
        "day" => "toIntervalDay",
        "week" => "toIntervalWeek",
        "month" => "toIntervalMonth",
        "quarter" => "toIntervalQuarter",
        "year" => "toIntervalYear",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_reserved_in_any_case_and_names_are_not() {
        assert!(is_reserved("SELECT"));
        assert!(is_reserved("Materialized"));
        assert!(!is_reserved("timestamp"));
        assert!(is_callable("IF"));
        assert!(!is_callable("cast"));
    }
}
