//! `GET /downloads/{token}`: what a job made, to whoever holds a link that is still good.

use std::{pin::Pin, sync::Arc};

use async_stream::try_stream;
use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use entity::job_chunk::Side;
use futures_util::Stream;

use crate::{
    app::App,
    base::{Actor, Cx, Error, Result},
    import,
    job::{self, Artifact, Link},
};

const NOSNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

pub(super) async fn download(State(app): State<App>, Path(token): Path<String>) -> Response {
    match answer(&app, &token).await {
        Ok(Some(response)) => response,
        Ok(None) => (
            StatusCode::NOT_FOUND,
            "there is nothing to download here, or the link has expired: ask for the job's download again\n",
        )
            .into_response(),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "a download was not answered");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn answer(app: &App, token: &str) -> Result<Option<Response>> {
    let Some(link) = Link::read(&app.env, token) else {
        return Ok(None);
    };
    let cx = Cx::new(Arc::clone(&app.env), link.tenant, Actor::System);
    let scope = cx.db();
    let Some(row) = job::find(&scope, link.job).await? else {
        return Ok(None);
    };
    if row.kind == import::KIND {
        return rejects(cx, link).await.map(Some);
    }
    let Some(Artifact {
        name,
        content_type,
        size_bytes,
    }) = job::artifact(&scope, &row).await?
    else {
        return Ok(None);
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_LENGTH, size_bytes.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let body = Body::from_stream(chunks(cx, link));
    Ok(Some((headers, [NOSNIFF], body).into_response()))
}

/// The lines of an import that were not taken, as CSV.
async fn rejects(cx: Cx, link: Link) -> Result<Response> {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"rejects.csv\"",
        ),
        (header::CACHE_CONTROL, "no-store"),
        NOSNIFF,
    ];
    let body = try_stream! {
        let mut after = None;
        while let Some((bytes, last)) = import::rejects_csv(&cx.db(), link.job, after).await? {
            after = Some(last);
            yield Bytes::from(bytes);
        }
    };
    let body: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>> = Box::pin(body);
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The artifact, a chunk in memory at a time. Where one cannot be read the answer breaks off, and the client sees that it is too
/// short.
fn chunks(cx: Cx, link: Link) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    try_stream! {
        let mut position = 0;
        while let Some(bytes) = job::read(&cx.db(), link.job, Side::Output, position).await? {
            position += i64::try_from(bytes.len()).unwrap_or_default();
            yield Bytes::from(bytes);
        }
    }
}
