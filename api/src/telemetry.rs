//! Logs, traces and metrics: how a process is watched.

use std::sync::OnceLock;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Config, LogFormat};

/// What histograms of seconds are counted into: from a database statement's tenth of a millisecond to a time-out.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Keeps traces flowing; dropped at the end, it sends what is left.
#[must_use]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces {
            // Nobody is left to tell when the last traces cannot be sent.
            let _ = traces.shutdown();
        }
    }
}

/// Starts logging to stderr, tracing where an endpoint is configured, and metrics. Once a process.
pub fn start(config: &Config) -> anyhow::Result<Telemetry> {
    // The database's remarks on what is there already, at each start, are no news; a level of its own overrules.
    let levels = format!("sqlx::postgres::notice=warn,{}", config.log_level);
    let filter = EnvFilter::try_new(levels).context("log_level cannot be read")?;
    let logs = fmt::layer().with_writer(std::io::stderr);
    let logs = match config.log_format {
        LogFormat::Human => logs.boxed(),
        LogFormat::Json => logs
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    let traces = config.otlp_endpoint.as_ref().map(exporter).transpose()?;
    let tracing = traces
        .as_ref()
        .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("growthos")));
    tracing_subscriber::registry()
        .with(filter)
        .with(logs)
        .with(tracing)
        .try_init()
        .context("logging was started twice")?;
    let _ = recorder();
    Ok(Telemetry { traces })
}

fn exporter(endpoint: &url::Url) -> anyhow::Result<SdkTracerProvider> {
    let traces = endpoint
        .join("v1/traces")
        .context("otlp_endpoint cannot be extended")?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(traces.as_str())
        .build()
        .context("traces cannot be exported")?;
    let resource = Resource::builder().with_service_name("growthos").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// The process's metrics, installed at first use.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new())
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are recorded elsewhere: /metrics stays empty");
        }
        describe();
        handle
    })
}

fn describe() {
    metrics::describe_gauge!("growthos_build", "1, labelled with the version that runs");
    metrics::describe_gauge!(
        "process_resident_memory_bytes",
        "memory that the process holds"
    );
    metrics::describe_histogram!(
        "growthos_database_statement_seconds",
        "how long a database statement took"
    );
    metrics::describe_counter!(
        "growthos_events_dropped_total",
        "events that were not written, by reason"
    );
    metrics::gauge!("growthos_build", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// All metrics as Prometheus text.
pub fn rendered_metrics() -> String {
    let handle = recorder();
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes);
    }
    handle.render()
}

/// Folds what histograms gathered since; to be called every few seconds.
pub fn fold_metrics() {
    recorder().run_upkeep();
}

/// What the kernel says this process holds in memory; `None` where it does not say.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(f64::from(kib) * 1024.0)
}
