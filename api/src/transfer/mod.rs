//! Bytes in and out beside GraphQL, whose bodies are small: files of imports are sent here, and what jobs made is
//! downloaded.
//!
//! Nothing is kept in this process, or in its files: several may serve, and any may be killed.

mod download;
mod upload;

use axum::{
    Router,
    routing::{get, put},
};

use crate::app::App;

pub fn router(app: &App) -> Router {
    Router::new()
        .route("/downloads/{token}", get(download::download))
        .route("/imports/{id}", put(upload::upload).head(upload::offset))
        .with_state(app.clone())
}
