//! `PUT /imports/{id}`: the bytes of an import, in one go or in parts, as the IETF's resumable uploads have it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use entity::{Id, job, job_chunk::Side};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::{
    app::App,
    base::{Cx, Error, gql},
    import,
    job::{CHUNK_BYTES, size},
    transport::{Backend as _, Refused},
};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const TENANT: HeaderName = HeaderName::from_static("x-growthos-tenant");

/// How long a client may be silent: who trickles bytes holds a connection, and no more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why bytes are not taken.
enum Failed {
    Status(StatusCode, String),
    /// The import has another number of bytes.
    Elsewhere(i64),
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        match self {
            Self::Status(status, why) => (status, format!("{why}\n")).into_response(),
            Self::Elsewhere(there) => (
                StatusCode::CONFLICT,
                [(UPLOAD_OFFSET, there.to_string())],
                format!("the import has {there} bytes: go on there\n"),
            )
                .into_response(),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NotFound => StatusCode::NOT_FOUND,
            Error::Conflict { .. } | Error::Contended => StatusCode::CONFLICT,
            Error::User(_) => StatusCode::PAYLOAD_TOO_LARGE,
            error => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(%error, cause, "an upload was not taken");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::Status(status, error.to_string())
    }
}

/// How many bytes there are.
pub(super) async fn offset(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let there = async {
        let (cx, id) = import_of(&app, &headers, &id).await?;
        Ok::<_, Failed>(size(&cx.db(), id, Side::Input).await?)
    };
    match there.await {
        Ok(there) => (
            StatusCode::NO_CONTENT,
            [
                (UPLOAD_OFFSET, there.to_string()),
                (header::CACHE_CONTROL, "no-store".to_owned()),
            ],
        )
            .into_response(),
        Err(failed) => failed.into_response(),
    }
}

pub(super) async fn upload(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&app, &id, &headers, body).await {
        Ok(there) => (StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, there.to_string())]).into_response(),
        Err(failed) => failed.into_response(),
    }
}

async fn take(app: &App, id: &str, headers: &HeaderMap, body: Body) -> Result<i64, Failed> {
    let (cx, id) = import_of(app, headers, id).await?;
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut position = match text(&UPLOAD_OFFSET).map(str::parse::<i64>) {
        None => 0,
        Some(Ok(position)) => position,
        Some(Err(_)) => {
            let why = "Upload-Offset is a number of bytes".to_owned();
            return Err(Failed::Status(StatusCode::BAD_REQUEST, why));
        }
    };
    let there = size(&cx.db(), id, Side::Input).await?;
    if there != position {
        return Err(Failed::Elsewhere(there));
    }
    let is_whole = text(&UPLOAD_COMPLETE) != Some("?0");
    let mut bytes = body.into_data_stream();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        let next = timeout(SILENCE_MAX, bytes.next()).await;
        let (arrived, is_end) = match next {
            Ok(Some(Ok(arrived))) => (arrived, false),
            Ok(None) => (axum::body::Bytes::new(), true),
            Ok(Some(Err(_))) | Err(_) => {
                let why = format!("the body broke off behind {position} bytes");
                return Err(Failed::Status(StatusCode::REQUEST_TIMEOUT, why));
            }
        };
        chunk.extend_from_slice(&arrived);
        if chunk.len() >= CHUNK_BYTES || (is_end && !chunk.is_empty()) {
            let full = std::mem::take(&mut chunk);
            position = cx
                .write(async |tx| import::append(tx, id, position, &full).await)
                .await?;
        }
        if is_end {
            break;
        }
    }
    if is_whole {
        cx.write(async |tx| import::complete(tx, id).await).await?;
    }
    Ok(position)
}

/// The import that the path names, to whoever may write contacts.
async fn import_of(
    app: &App,
    headers: &HeaderMap,
    id: &str,
) -> Result<(Cx, Id<job::Entity>), Failed> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let caller = app
        .authenticate(
            text(&header::AUTHORIZATION),
            text(&header::ORIGIN),
            text(&TENANT),
        )
        .await
        .map_err(|refused| match refused {
            Refused::Unauthenticated(why) => Failed::Status(StatusCode::UNAUTHORIZED, why),
            Refused::Forbidden(why) => Failed::Status(StatusCode::FORBIDDEN, why),
            Refused::Unavailable(why) => Failed::Status(StatusCode::SERVICE_UNAVAILABLE, why),
        })?;
    let tenant = caller
        .tenant
        .filter(|_| gql::CONTACTS_WRITE.met_by(&caller.actor))
        .ok_or_else(|| {
            let why = "this credential may not import contacts".to_owned();
            Failed::Status(StatusCode::FORBIDDEN, why)
        })?;
    let cx = Cx::new(Arc::clone(&app.env), tenant, caller.actor);
    let id = Id::<import::Named>::parse(id).ok_or(Error::NotFound)?;
    let row = import::find(&cx.db(), Id::from_uuid(id.uuid())).await?;
    let row = row.ok_or(Error::NotFound)?;
    Ok((cx, row.id))
}
