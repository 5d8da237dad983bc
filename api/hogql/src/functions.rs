//! The closed lists of functions.
//!
//! Chosen from what `PostHog` itself permits (`posthog/hogql/functions` in its repository), without whatever reads something other than its
//! arguments and the tenant's tables, waits, draws random numbers, takes a function by name or makes much out of little
//! (`dictGet`, `sleep`, `rand`, `arrayReduce`, `generateSeries`, `repeat`, …).

use std::ops::RangeInclusive;

/// An aggregate that a metric may use, because there is an exact way to restrict it to some rows.
pub(crate) struct MetricAggregate {
    pub(crate) name: &'static str,
    /// Its form with one more argument, the condition.
    pub(crate) if_name: &'static str,
    /// How many arguments it takes without a condition.
    pub(crate) args: RangeInclusive<usize>,
    /// How many parameters it takes, in the first of two pairs of parentheses.
    pub(crate) params: usize,
}

const fn aggregate(
    name: &'static str,
    if_name: &'static str,
    args: usize,
    args_max: usize,
    params: usize,
) -> MetricAggregate {
    MetricAggregate {
        name,
        if_name,
        args: args..=args_max,
        params,
    }
}

/// How many expressions `uniq` counts combinations of, at most.
const UNIQ_ARGS_MAX: usize = 8;

pub(crate) const METRIC_AGGREGATES: [MetricAggregate; 19] = [
    aggregate("any", "anyIf", 1, 1, 0),
    aggregate("anyLast", "anyLastIf", 1, 1, 0),
    aggregate("argMax", "argMaxIf", 2, 2, 0),
    aggregate("argMin", "argMinIf", 2, 2, 0),
    aggregate("avg", "avgIf", 1, 1, 0),
    aggregate("count", "countIf", 0, 1, 0),
    aggregate("groupArray", "groupArrayIf", 1, 1, 0),
    aggregate("groupUniqArray", "groupUniqArrayIf", 1, 1, 0),
    aggregate("max", "maxIf", 1, 1, 0),
    aggregate("median", "medianIf", 1, 1, 0),
    aggregate("min", "minIf", 1, 1, 0),
    aggregate("quantile", "quantileIf", 1, 1, 1),
    aggregate("stddevPop", "stddevPopIf", 1, 1, 0),
    aggregate("stddevSamp", "stddevSampIf", 1, 1, 0),
    aggregate("sum", "sumIf", 1, 1, 0),
    aggregate("uniq", "uniqIf", 1, UNIQ_ARGS_MAX, 0),
    aggregate("uniqExact", "uniqExactIf", 1, UNIQ_ARGS_MAX, 0),
    aggregate("varPop", "varPopIf", 1, 1, 0),
    aggregate("varSamp", "varSampIf", 1, 1, 0),
];

/// The metric aggregate of this name, and whether the name is that of its `-If` form.
pub(crate) fn metric_aggregate(name: &str) -> Option<(&'static MetricAggregate, bool)> {
    METRIC_AGGREGATES.iter().find_map(|aggregate| {
        let conditional = aggregate.if_name == name;
        (conditional || aggregate.name == name).then_some((aggregate, conditional))
    })
}

/// Aggregates of queries beyond those of metrics.
const OTHER_AGGREGATES: &str = "
    anyHeavy anyHeavyIf avgWeighted avgWeightedIf corr countDistinct countDistinctIf
    covarPop covarPopIf covarSamp covarSampIf deltaSum deltaSumIf groupArraySample
    groupArraySampleIf kurtPop kurtPopIf kurtSamp kurtSampIf maxMap maxMapIf medianExact
    medianExactIf minMap minMapIf quantileExact quantiles quantilesIf simpleLinearRegression
    simpleLinearRegressionIf skewPop skewPopIf skewSamp skewSampIf sumMap sumMapIf topK
    uniqHLL12 uniqHLL12If uniqTheta uniqThetaIf windowFunnel
";

/// Functions that take parameters in a first pair of parentheses.
const PARAMETRIC: &str = "
    groupArraySample groupArraySampleIf quantile quantileExact quantileIf quantiles
    quantilesIf topK windowFunnel
";

/// Functions that exist only with `OVER`.
const WINDOW_ONLY: &str = "
    dense_rank first_value lagInFrame last_value leadInFrame nth_value rank row_number
";

/// Functions that change how many rows or columns there are: for queries, never for a metric, which shares its query with others.
const RESHAPING: &str = "
    arrayJoin untuple
";

/// Pure functions of their arguments and the clock.
const SCALARS: &[&str] = &[
    // arithmetic and comparison
    "
    abs divide equals gcd greater greaterOrEquals greatest intDiv intDivOrZero lcm least
    less lessOrEquals max2 min2 minus modulo moduloOrZero multiply negate notEquals plus
    positiveModulo
    ",
    // logic and null
    "
    and assumeNotNull coalesce if ifNotFinite ifNull isFinite isInfinite isNaN isNotNull
    isNull multiIf not nullIf or toNullable transform xor
    ",
    // conversion
    "
    hex parseDateTime parseDateTimeBestEffort toBool toDate toDateTime toDateTime64
    toDecimal toFloat toFloatOrDefault toFloatOrZero toInt toIntOrZero toJSONString toString
    toTypeName toUUID unhex UUIDv7ToDateTime
    ",
    // date and time
    "
    addDays addHours addMinutes addMonths addQuarters addSeconds addWeeks addYears age
    dateAdd dateDiff dateName dateSub dateTrunc date_add date_diff date_part date_subtract
    date_trunc formatDateTime fromUnixTimestamp fromUnixTimestamp64Milli monthName now
    subtractDays subtractHours subtractMinutes subtractMonths subtractQuarters
    subtractSeconds subtractWeeks subtractYears timeSlot timeZoneOf timeZoneOffset
    toDayOfMonth toDayOfWeek toDayOfYear toHour toISOWeek toISOYear toIntervalDay
    toIntervalHour toIntervalMinute toIntervalMonth toIntervalQuarter toIntervalSecond
    toIntervalWeek toIntervalYear toLastDayOfMonth toLastDayOfWeek toMinute toMonday toMonth
    toQuarter toSecond toStartOfDay toStartOfFifteenMinutes toStartOfFiveMinutes
    toStartOfHour toStartOfISOYear toStartOfInterval toStartOfMinute toStartOfMonth
    toStartOfQuarter toStartOfSecond toStartOfTenMinutes toStartOfWeek toStartOfYear toTime
    toTimeZone toUnixTimestamp toUnixTimestamp64Milli toWeek toYYYYMM toYYYYMMDD
    toYYYYMMDDhhmmss toYear toYearWeek today yesterday
    ",
    // strings
    "
    alphaTokens appendTrailingCharIfAbsent ascii base58Decode base58Encode base64Decode
    base64Encode cityHash64 concat concatWithSeparator countMatches countSubstrings
    countSubstringsCaseInsensitive decodeXMLComponent empty encodeXMLComponent endsWith
    extract extractAll extractAllGroups extractGroups extractTextFromHTML format hasToken
    hasTokenCaseInsensitive ilike isValidUTF8 left leftPad leftPadUTF8 length lengthUTF8
    like locate lower lowerUTF8 ltrim match multiSearchAny multiSearchAnyCaseInsensitive
    multiSearchFirstIndex multiSearchFirstPosition ngramDistance ngramSearch notEmpty
    notILike notLike position positionCaseInsensitive positionCaseInsensitiveUTF8
    positionUTF8 regexpExtract replace replaceAll replaceOne replaceRegexpAll
    replaceRegexpOne reverse reverseUTF8 right rightPad rightPadUTF8 rtrim splitByChar
    splitByRegexp splitByString splitByWhitespace startsWith substring substringUTF8
    toValidUTF8 tokens translate translateUTF8 trim trimLeft trimRight tryBase64Decode upper
    upperUTF8
    ",
    // arrays, tuples and maps
    "
    arrayAll arrayAvg arrayCompact arrayConcat arrayCount arrayCumSum arrayDifference
    arrayDistinct arrayElement arrayEnumerate arrayEnumerateDense arrayEnumerateUniq
    arrayExists arrayFill arrayFilter arrayFirst arrayFirstIndex arrayFlatten arrayFold
    arrayIntersect arrayLast arrayLastIndex arrayMap arrayMax arrayMin arrayPopBack
    arrayPopFront arrayProduct arrayPushBack arrayPushFront arrayReverse arrayReverseSort
    arrayRotateLeft arrayRotateRight arraySlice arraySort arraySplit arrayStringConcat
    arraySum arrayUniq arrayZip countEqual has hasAll hasAny hasSubstr indexOf map
    mapContains mapFromArrays mapKeys mapValues range tupleElement
    ",
    // numbers
    "
    acos acosh asin asinh atan atan2 atanh bitAnd bitCount bitNot bitOr bitShiftLeft
    bitShiftRight bitTest bitXor cbrt ceil cos cosh degrees e erf erfc exp exp10 exp2
    factorial floor formatReadableDecimalSize formatReadableQuantity formatReadableSize
    formatReadableTimeDelta hypot intExp10 intExp2 ln log log10 log1p log2 pi pow power
    radians round roundAge roundBankers roundDown roundDuration roundToExp2 sign sin sinh
    sqrt tan trunc width_bucket
    ",
    // JSON
    "
    JSONArrayLength JSONExtract JSONExtractArrayRaw JSONExtractBool JSONExtractFloat
    JSONExtractInt JSONExtractKeys JSONExtractKeysAndValues JSONExtractKeysAndValuesRaw
    JSONExtractRaw JSONExtractString JSONExtractUInt JSONHas JSONLength JSONType JSON_VALUE
    isValidJSON
    ",
    // addresses, as text
    "
    URLHierarchy URLPathHierarchy cutFragment cutQueryString cutQueryStringAndFragment
    cutToFirstSignificantSubdomain cutURLParameter cutWWW decodeURLComponent
    decodeURLFormComponent domain domainWithoutWWW encodeURLComponent encodeURLFormComponent
    extractURLParameter extractURLParameterNames extractURLParameters
    firstSignificantSubdomain fragment netloc path pathFull port protocol queryString
    queryStringAndFragment topLevelDomain
    ",
];

/// How `PostHog` spells the function that is written so, in whatever case.
pub(crate) fn canonical(written: &str) -> Option<&'static str> {
    all().find(|name| name.eq_ignore_ascii_case(written))
}

/// Whether a metric may call it outside and inside its aggregates.
pub(crate) fn is_scalar(name: &str) -> bool {
    SCALARS.iter().any(|list| has(list, name))
}

/// Whether a query may call it without `OVER`.
pub(crate) fn is_allowed(name: &str) -> bool {
    !has(WINDOW_ONLY, name) && all().any(|known| known == name)
}

/// Whether it may stand before `OVER`.
pub(crate) fn is_window(name: &str) -> bool {
    has(WINDOW_ONLY, name) || is_aggregate(name)
}

pub(crate) fn is_aggregate(name: &str) -> bool {
    metric_aggregate(name).is_some() || has(OTHER_AGGREGATES, name)
}

pub(crate) fn is_parametric(name: &str) -> bool {
    has(PARAMETRIC, name)
}

fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

fn all() -> impl Iterator<Item = &'static str> {
    let metric = METRIC_AGGREGATES
        .iter()
        .flat_map(|aggregate| [aggregate.name, aggregate.if_name]);
    let lists = [OTHER_AGGREGATES, WINDOW_ONLY, RESHAPING].into_iter();
    let listed = lists.chain(SCALARS.iter().copied());
    metric.chain(listed.flat_map(str::split_whitespace))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_functions_differ_by_case_alone() {
        let mut seen = HashSet::new();
        for name in all() {
            assert!(
                seen.insert(name.to_ascii_lowercase()),
                "{name} is there twice"
            );
        }
    }

    #[test]
    fn what_reads_elsewhere_waits_or_multiplies_is_on_no_list() {
        for name in [
            "sleep",
            "sleepEachRow",
            "s3",
            "url",
            "file",
            "remote",
            "mysql",
            "dictGet",
            "dictGetOrNull",
            "hostName",
            "currentUser",
            "version",
            "getSetting",
            "joinGet",
            "rand",
            "arrayReduce",
            "generateSeries",
            "repeat",
            "evalMLMethod",
            "throwIf",
            "input",
            "numbers",
            "in",
            "notIn",
            "cluster",
            "embedText",
            "llmComplete",
        ] {
            assert_eq!(canonical(name), None, "{name}");
        }
    }
}
