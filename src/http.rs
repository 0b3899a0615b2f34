//! HTTP: the public port (the page and the WebSocket) and the internal one (metrics and health).

mod health;
mod page;
mod server;
mod ws;

use std::convert::Infallible;

use bytes::Bytes;
use prometheus::{Encoder, Registry, TextEncoder};
use warp::http::{Response, StatusCode, header};
use warp::reply::Response as Body;
use warp::{Filter, Rejection, Reply};

use crate::socket::Sockets;

pub use health::{Config as HealthConfig, Health};
pub use server::{Config as ServerConfig, Server};

/// What the public port serves: `/ws`, and the chat page at `/`. A node that only runs turns (`None`) serves neither.
pub fn public(
    sockets: Option<Sockets>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let sockets = warp::any().and_then(move || {
        let sockets = sockets.clone();
        async move { sockets.ok_or_else(warp::reject::not_found) }
    });
    let page = sockets.clone().map(|_| ()).untuple_one().and(page::routes());
    ws::route(sockets).or(page).recover(refused)
}

/// What the internal port serves: `/metrics`, `/livez`, `/readyz`.
pub fn internal(
    registry: Registry,
    health: Health,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let metrics = warp::path!("metrics").and(warp::get()).map(move || scrape(&registry));
    let live = warp::path!("livez").and(warp::get()).map(|| plain(StatusCode::OK, "ok"));
    let ready = warp::path!("readyz").and(warp::get()).map(move || health.answer());
    metrics.or(live).or(ready).recover(refused)
}

fn scrape(registry: &Registry) -> Body {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => answer(StatusCode::OK, prometheus::TEXT_FORMAT, text.into()),
        Err(error) => {
            tracing::error!(%error, "metrics not encoded");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded; the log says why")
        }
    }
}

/// Answers what no route took, without a word about the inside.
async fn refused(rejection: Rejection) -> Result<Body, Infallible> {
    if rejection.is_not_found() {
        return Ok(plain(StatusCode::NOT_FOUND, "there is nothing here"));
    }
    if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here"));
    }
    Ok(plain(StatusCode::BAD_REQUEST, "this request was not understood"))
}

fn plain(status: StatusCode, text: &'static str) -> Body {
    answer(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Body {
    let mut response = Response::new(body).into_response();
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
