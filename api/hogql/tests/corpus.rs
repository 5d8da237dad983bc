//! The two corpora: what must pass unharmed and what must not pass.

use hogql::allow::{Policy, check_aggregate, check_select};
use hogql::{MAX_DEPTH, TEXT_BYTES_MAX, parse_expr, parse_select};

const ACCEPTED: &str = include_str!("corpus/accepted.hogql");
const REFUSED: &str = include_str!("corpus/refused.hogql");

/// The error of the first check that refuses the query.
fn refusal(text: &str) -> Option<String> {
    match parse_select(text) {
        Err(error) => Some(error.to_string()),
        Ok(query) => check_select(&query, &Policy::default())
            .err()
            .map(|refusal| refusal.to_string()),
    }
}

#[test]
fn accepted_queries_survive_printing_and_the_checks() {
    for text in ACCEPTED.split("\n\n") {
        let query = parse_select(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(check_select(&query, &Policy::default()), Ok(()), "{text}");
        let printed = query.to_string();
        let again = parse_select(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert_eq!(again, query, "{printed}");
        assert_eq!(again.to_string(), printed);
    }
}

#[test]
fn refused_queries_are_refused_for_the_reason_given() {
    for block in REFUSED.split("\n\n") {
        let first_line = block.lines().next().unwrap_or_default();
        let expected = first_line
            .strip_prefix("-- expect: ")
            .unwrap_or_else(|| panic!("no reason: {block}"));
        let found = refusal(block).unwrap_or_else(|| panic!("accepted: {block}"));
        assert!(found.contains(expected), "{block}\n{found}");
    }
}

#[test]
fn characters_that_look_like_others_are_refused_outside_quotes() {
    for (text, shown) in [
        ("SELECT\u{a0}1", "\\u{a0}"),
        ("SELECT\u{200b} 1", "\\u{200b}"),
        ("SELECT \u{2018}a\u{2019}", "\u{2018}"),
        ("S\u{415}LECT 1", "\u{415}"),
        ("SELECT 1\u{fe54} DROP", "\u{fe54}"),
        ("SELECT 1 \u{202e}MORF events", "\\u{202e}"),
        ("SELECT \u{ff11}", "\u{ff11}"),
        ("SELECT 1\u{2028}FROM events", "\\u{2028}"),
        ("\u{feff}SELECT 1", "\\u{feff}"),
        ("SELECT 1\0", "\\0"),
        ("SELECT 1\u{b}", "\\u{b}"),
    ] {
        let error = parse_select(text).unwrap_err();
        assert_eq!(error.message, format!("unexpected character `{shown}`"));
    }
    let quoted = parse_select("SELECT '\u{202e}\u{a0}\0', `\u{415}`").unwrap();
    assert_eq!(quoted.to_string(), "SELECT '\u{202e}\u{a0}\\0', `\u{415}`");
}

#[test]
fn errors_say_where() {
    let error = parse_select("SELECT 1,\n  'é', sleep(1) ;").unwrap_err();
    assert_eq!((error.offset, error.line, error.column), (27, 2, 17));
    assert_eq!(
        error.to_string(),
        "expected the end of the query, found `;`, at line 2, column 17"
    );
}

#[test]
fn deep_nesting_is_refused_and_never_overflows_the_stack() {
    let wrapped = |open: &str, middle: &str, close: &str, times: usize| {
        format!(
            "SELECT {}{middle}{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    let too_deep = format!("nested more than {} levels deep", 2 * MAX_DEPTH);
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("(SELECT ", ")"),
        ("f(", ")"),
        ("x[", "]"),
        ("NOT ", ""),
        ("- ", ""),
        ("CASE WHEN ", " THEN 1 END"),
        ("f(x -> ", ")"),
        ("1 ? 1 : ", ""),
        ("1 IN (", ")"),
        ("INTERVAL ", " DAY"),
        ("a OR b AND NOT c ?? d = e + f * -(", ")"),
        ("count() OVER (PARTITION BY ", ")"),
    ] {
        for times in [2 * MAX_DEPTH, 1_000] {
            let text = wrapped(open, "1", close, times);
            let error = parse_select(&text).unwrap_err();
            assert_eq!(error.message, too_deep, "{open}");
        }
        let text = wrapped(open, "1", close, 3);
        let query = parse_select(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(parse_select(&query.to_string()), Ok(query));
    }
    let from = format!(
        "{}SELECT 1{}",
        "SELECT 1 FROM (".repeat(1_000),
        ")".repeat(1_000)
    );
    assert_eq!(parse_select(&from).unwrap_err().message, too_deep);
    let unclosed = "SELECT ".to_owned() + &"(".repeat(60_000);
    assert_eq!(parse_select(&unclosed).unwrap_err().message, too_deep);
}

#[test]
fn tall_chains_are_refused_and_wide_ones_are_not() {
    let sum = vec!["1"; 1_000].join(" + ");
    let too_tall = format!("more than {MAX_DEPTH} operations on top of each other");
    for text in [
        sum.as_str(),
        &format!("x{}", "[1]".repeat(1_000)),
        &format!("f(){}", ".a".repeat(1_000)),
    ] {
        assert_eq!(parse_expr(text).unwrap_err().message, too_tall);
    }
    // A chain of 30 whose left end is again such a chain: never deep in the parser, but tall in the tree.
    let tall = (0..10).fold("1".to_owned(), |inner, _| {
        format!("({inner}){}", " + 1".repeat(30))
    });
    assert_eq!(parse_expr(&tall).unwrap_err().message, too_tall);
    for operator in [" AND ", " OR ", " || "] {
        let wide = parse_expr(&vec!["x"; 1_000].join(operator)).unwrap();
        assert_eq!(parse_expr(&wide.to_string()), Ok(wide));
    }
}

#[test]
fn the_deepest_tree_is_walked_within_a_small_stack() {
    let levels = MAX_DEPTH - 2;
    let text = format!("{}count(){}", "f(".repeat(levels), ")".repeat(levels));
    let walk = move || {
        let expr = parse_expr(&text).unwrap();
        let narrowed = hogql::narrow(expr.clone(), &expr);
        (
            check_aggregate(&narrowed).is_err(),
            narrowed.to_string().len(),
            narrowed == expr,
        )
    };
    let thread = std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(walk)
        .unwrap();
    let printed = 2 * "f()".len() * levels + "countIf(count())".len();
    assert_eq!(thread.join().unwrap(), (true, printed, false));
}

#[test]
fn long_texts_are_refused_before_they_are_read() {
    let text = format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(
        parse_select(&text).unwrap_err().message,
        "the text is longer than 65536 bytes"
    );
    let nested = format!("SELECT {}", "(".repeat(100_000));
    assert_eq!(
        parse_select(&nested).unwrap_err().message,
        "the text is longer than 65536 bytes"
    );
}

#[test]
fn large_queries_are_refused() {
    let selects = vec!["SELECT 1"; 33].join(" UNION ALL ");
    assert_eq!(
        refusal(&selects).as_deref(),
        Some("more than 32 SELECTs in one query")
    );
    let joins = format!("SELECT 1 FROM events{}", " JOIN persons ON 1 = 1".repeat(9));
    assert_eq!(
        refusal(&joins).as_deref(),
        Some("more than 8 joins in one query")
    );
}

#[test]
fn torn_pieces_of_the_corpora_are_answered() {
    let texts = ACCEPTED.split("\n\n").chain(REFUSED.split("\n\n"));
    for text in texts {
        // Every place would take a debug build too long.
        for (at, _) in text.char_indices().step_by(31) {
            for part in [&text[..at], &text[at..]] {
                if let Ok(query) = parse_select(part) {
                    assert!(parse_select(&query.to_string()) == Ok(query), "{part}");
                }
                if let Ok(expr) = parse_expr(part) {
                    assert!(parse_expr(&expr.to_string()) == Ok(expr), "{part}");
                }
            }
        }
    }
}

#[test]
fn metrics_are_aggregates_over_events() {
    for metric in [
        "count()",
        "count(*)",
        "uniq($session_id)",
        "countIf(event = '$pageview')",
        "sumIf(toFloat(properties.amount), event = 'purchase')",
        "quantile(0.95)(toFloat(properties.`load-time`))",
        "round(100 * countIf(event = 'a') / greatest(count(), 1), 1)",
        "max(timestamp) > now() - INTERVAL 7 DAY ? 'active' : 'idle'",
        "dateDiff('day', min(timestamp), now())",
        "length(arrayFilter(x -> x != '$pageview', groupUniqArray(event)))",
        "sum(arraySum(x -> toInt(x), JSONExtractArrayRaw(properties.items)))",
        "argMax(properties['plan'], timestamp)",
        "count(DISTINCT toDate(timestamp))",
    ] {
        let metric = parse_expr(metric).unwrap();
        assert_eq!(check_aggregate(&metric), Ok(()), "{metric}");
    }
}

#[test]
fn what_is_no_metric_is_refused_by_name() {
    for (metric, expected) in [
        ("1", "a metric needs an aggregate such as count()"),
        ("now()", "a metric needs an aggregate such as count()"),
        ("event", "`event` stands outside an aggregate"),
        (
            "count() + toInt(properties.x)",
            "`properties.x` stands outside an aggregate",
        ),
        (
            "arrayMap(x -> event, [count()])",
            "`event` stands outside an aggregate",
        ),
        (
            "arrayMap(x -> count(), [1])",
            "the aggregate `count` stands inside another function's aggregate or lambda",
        ),
        (
            "sum(count())",
            "the aggregate `count` stands inside another function's aggregate or lambda",
        ),
        (
            "sum(arraySum(x -> max(x), [1]))",
            "the aggregate `max` stands inside another function's aggregate or lambda",
        ),
        (
            "count() IN (SELECT 1)",
            "a metric cannot contain a subquery",
        ),
        (
            "countIf(event = (SELECT 'x'))",
            "a metric cannot contain a subquery",
        ),
        (
            "countIf(event = {name})",
            "a metric cannot contain a placeholder",
        ),
        ("count() OVER ()", "a metric cannot contain OVER"),
        (
            "sum(arrayJoin([1, 2]))",
            "the function `arrayJoin` is not allowed",
        ),
        (
            "count() + untuple((1, 2))",
            "the function `untuple` is not allowed",
        ),
        ("topK(3)(event)", "the function `topK` is not allowed"),
        ("countState()", "the function `countState` is not allowed"),
        ("sum(sleep(3))", "the function `sleep` is not allowed"),
        (
            "uniq(person.properties.plan)",
            "unknown name `person.properties.plan`",
        ),
        (
            "uniq(session.$entry_current_url)",
            "unknown name `session.$entry_current_url`",
        ),
        ("uniq(team_id)", "unknown name `team_id`"),
        ("sum(*)", "`*` can only be selected or counted"),
        (
            "sum(DISTINCT 1)",
            "a metric cannot contain DISTINCT outside count()",
        ),
        (
            "count(DISTINCT event, uuid)",
            "a metric cannot contain DISTINCT outside count()",
        ),
        (
            "sum(1, 2)",
            "wrong number of arguments or parameters for `sum`",
        ),
        (
            "countIf(event, 1)",
            "wrong number of arguments or parameters for `countIf`",
        ),
        (
            "sumIf(1)",
            "wrong number of arguments or parameters for `sumIf`",
        ),
        (
            "uniqIf(event)",
            "wrong number of arguments or parameters for `uniqIf`",
        ),
        (
            "countIf()",
            "wrong number of arguments or parameters for `countIf`",
        ),
        (
            "quantile(1)",
            "wrong number of arguments or parameters for `quantile`",
        ),
        (
            "sum(0.5)(1)",
            "wrong number of arguments or parameters for `sum`",
        ),
        (
            "quantile(2)(1)",
            "the parameter of `quantile` must be a number between 0 and 1",
        ),
        (
            "quantile(event)(1)",
            "the parameter of `quantile` must be a number between 0 and 1",
        ),
    ] {
        let found = check_aggregate(&parse_expr(metric).unwrap()).unwrap_err();
        assert_eq!(found.to_string(), expected, "{metric}");
    }
}
