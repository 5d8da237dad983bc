//! `GraphiQL` at `/graphiql`, from files inside the binary: it works without a network, and no other host learns who uses it.
//!
//! The files are built from `api/graphiql` and kept compressed.

use std::io::Read as _;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

/// Only what came with the page runs. Styles may stand in the page, because the editor sets them on its elements; fonts and
/// pictures are data URLs in the style sheet. Nothing is evaluated, sent, framed or submitted elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file: where it is served, what it is, its bytes as gzip.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    media_type: &'static str,
    gzip: &'static [u8],
}

const ASSETS: [Asset; 4] = [
    Asset {
        path: "/graphiql",
        media_type: "text/html; charset=utf-8",
        gzip: include_bytes!("../../assets/graphiql/index.html.gz"),
    },
    Asset {
        path: "/graphiql/main.css",
        media_type: "text/css; charset=utf-8",
        gzip: include_bytes!("../../assets/graphiql/main.css.gz"),
    },
    Asset {
        path: "/graphiql/main.js",
        media_type: "text/javascript; charset=utf-8",
        gzip: include_bytes!("../../assets/graphiql/main.js.gz"),
    },
    Asset {
        path: "/graphiql/worker.js",
        media_type: "text/javascript; charset=utf-8",
        gzip: include_bytes!("../../assets/graphiql/worker.js.gz"),
    },
];

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.into_iter().fold(Router::new(), |routes, asset| {
        let tag = entity_tag(asset.gzip);
        routes.route(
            asset.path,
            get(move |headers: HeaderMap| async move { serve(asset, &tag, &headers) }),
        )
    })
}

/// A weak tag: the same page, whether compressed on the way or not.
fn entity_tag(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes)
        .iter()
        .take(8)
        .fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    format!("W/\"{hash:016x}\"")
}

fn serve(asset: Asset, tag: &str, asked: &HeaderMap) -> Response {
    let names = |name: HeaderName, wanted: &str| {
        asked
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|part| part.trim() == wanted)
    };
    let mut response = if names(header::IF_NONE_MATCH, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if names(header::ACCEPT_ENCODING, "gzip") {
        (
            [(header::CONTENT_ENCODING, "gzip")],
            Body::from(Bytes::from_static(asset.gzip)),
        )
            .into_response()
    } else {
        let mut plain = Vec::new();
        match GzDecoder::new(asset.gzip).read_to_end(&mut plain) {
            Ok(_) => plain.into_response(),
            Err(error) => {
                tracing::error!(%error, path = asset.path, "an asset cannot be decompressed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    for (name, value) in [
        (header::CONTENT_TYPE, asset.media_type),
        // kept, and asked for again: a new binary has new files under the same names
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
