//! What posthog-js asks for before anything else.

use serde_json::{Value, json};

/// The answer to `GET /array/{token}/config`. Names the capture endpoint and switches off what is not taken in here (session
/// replay, surveys, heatmaps, exceptions), so that an unmodified client does not send it. The `config.js` beside it does not exist:
/// answered 404, the client falls back to this.
pub fn remote_config(token: &str) -> Value {
    json!({
        "token": token,
        "supportedCompression": ["gzip", "gzip-js"],
        "analytics": {"endpoint": "/i/v0/e/"},
        "hasFeatureFlags": true,
        "defaultIdentifiedOnly": true,
        "autocapture_opt_out": false,
        "autocaptureExceptions": false,
        "capturePerformance": false,
        "heatmaps": false,
        "sessionRecording": false,
        "siteApps": [],
        "surveys": false,
    })
}
