//! What was measured, as a table, and against the goals.

use std::time::Duration;

use crate::{
    load::{Measured, count},
    servers::Kind,
    work::Item,
};

/// One server under one item for a while.
pub(crate) struct Sample {
    pub(crate) measured: Measured,
    pub(crate) server_cpu: Duration,
    pub(crate) database_cpu: Duration,
    pub(crate) rss_bytes: u64,
}

impl Sample {
    /// The server's processor time a request, in microseconds.
    pub(crate) fn server_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / count(self.measured.requests)
    }
    /// The database's.
    pub(crate) fn database_us(&self) -> f64 {
        self.database_cpu.as_secs_f64() * 1e6 / count(self.measured.requests)
    }
}

#[derive(Default)]
pub(crate) struct Figures(Vec<(Item, Kind, Sample)>);

/// Medians of the rounds.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    server_us: f64,
    database_us: f64,
    rss_mb: f64,
}

impl Figure {
    const fn cpu_us(&self) -> f64 {
        self.server_us + self.database_us
    }
}

/// At least so many times the requests a second of PostGraphile, and of the limit.
const GOALS: [(Item, f64, f64); 4] = [
    (Item::Q1, 3.0, 0.6),
    (Item::Q2, 2.0, 0.75),
    (Item::Q3, 3.0, 0.55),
    (Item::M1, 2.0, 0.5),
];

/// Of PostGraphile's.
const P99_MAX: f64 = 0.5;
const RSS_MB_MAX: f64 = 60.0;
/// Of PostgreSQL's processor time a request.
const SQLITE_MAX: f64 = 2.0;

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Figures {
    pub(crate) fn add(&mut self, item: Item, kind: Kind, sample: Sample) {
        self.0.push((item, kind, sample));
    }

    fn of(&self, item: Item, kind: Kind) -> Option<Figure> {
        let samples: Vec<&Sample> = self
            .0
            .iter()
            .filter(|(of, by, _)| (*of, *by) == (item, kind))
            .map(|(_, _, sample)| sample)
            .collect();
        if samples.is_empty() {
            return None;
        }
        let of =
            |figure: fn(&Sample) -> f64| median(samples.iter().map(|each| figure(each)).collect());
        Some(Figure {
            per_second: of(|each| each.measured.per_second()),
            p50_ms: of(|each| each.measured.per_mille(500).as_secs_f64() * 1e3),
            p99_ms: of(|each| each.measured.per_mille(990).as_secs_f64() * 1e3),
            server_us: of(Sample::server_us),
            database_us: of(Sample::database_us),
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            rss_mb: of(|each| each.rss_bytes as f64 / 1e6),
        })
    }

    /// PostGraphile's better setting for this item.
    fn postgraphile(&self, item: Item) -> Option<Figure> {
        let settings = [Kind::Postgraphile1, Kind::Postgraphile2];
        let figures = settings.into_iter().filter_map(|kind| self.of(item, kind));
        figures.max_by(|a, b| a.per_second.total_cmp(&b.per_second))
    }

    pub(crate) fn print(&self, items: &[Item]) {
        println!(
            "\n| item | server | req/s | p50 ms | p99 ms | server µs | database µs | both µs | RSS MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for item in items {
            for kind in crate::KINDS {
                let Some(figure) = self.of(*item, kind) else {
                    continue;
                };
                println!(
                    "| {} | {} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |",
                    item.title(),
                    kind.title(),
                    figure.per_second,
                    figure.p50_ms,
                    figure.p99_ms,
                    figure.server_us,
                    figure.database_us,
                    figure.cpu_us(),
                    figure.rss_mb,
                );
            }
        }
        println!("\n| goal | measured | wanted | |");
        println!("|---|---|---|---|");
        let goal = |name: String, measured: f64, wanted: f64, at_least: bool| {
            let met = if at_least {
                measured >= wanted
            } else {
                measured <= wanted
            };
            let sign = if at_least { "≥" } else { "≤" };
            let met = if met { "met" } else { "missed" };
            println!("| {name} | {measured:.2} | {sign} {wanted} | {met} |");
        };
        for (item, of_postgraphile, of_limit) in GOALS {
            let Some(ours) = self.of(item, Kind::Growthos) else {
                continue;
            };
            let title = item.title();
            if let Some(theirs) = self.postgraphile(item) {
                let ratio = ours.per_second / theirs.per_second;
                goal(
                    format!("{title}, req/s of PostGraphile's"),
                    ratio,
                    of_postgraphile,
                    true,
                );
                let ratio = ours.p99_ms / theirs.p99_ms;
                goal(
                    format!("{title}, p99 of PostGraphile's"),
                    ratio,
                    P99_MAX,
                    false,
                );
            }
            if let Some(limit) = self.of(item, Kind::Limit) {
                let ratio = ours.per_second / limit.per_second;
                goal(
                    format!("{title}, req/s of the limit's"),
                    ratio,
                    of_limit,
                    true,
                );
            }
            goal(
                format!("{title}, RSS in MB"),
                ours.rss_mb,
                RSS_MB_MAX,
                false,
            );
            if let Some(sqlite) = self.of(item, Kind::Sqlite)
                && matches!(item, Item::Q1 | Item::Q3)
            {
                let ratio = sqlite.cpu_us() / ours.cpu_us();
                goal(
                    format!("{title}, CPU on SQLite of PostgreSQL's"),
                    ratio,
                    SQLITE_MAX,
                    false,
                );
            }
        }
    }
}
