//! `GET /ws`: the WebSocket handshake.
//!
//! Done here instead of by `warp::ws()`, which gives every connection a read buffer of 128 KiB that cannot be set.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use crate::session;
use crate::socket::{Handshake, HandshakeResult, Sockets};

use super::plain;

/// The subprotocol of a client that puts its token into the handshake.
const BEARER: &str = "bearer";

/// The longest `traceparent` that is taken over, in bytes (version 00 has 55).
const MAX_TRACEPARENT_BYTES: usize = 64;

/// The route, with how it gets the connections' part.
pub(super) fn route(
    sockets: impl Filter<Extract = (Sockets,), Error = Rejection> + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path!("ws")
        .and(warp::get())
        .and(sockets)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .map(|sockets: Sockets, headers: HeaderMap, upgrade: Option<OnUpgrade>| {
            upgrade_to_websocket(&sockets, &headers, upgrade)
        })
}

fn upgrade_to_websocket(sockets: &Sockets, headers: &HeaderMap, upgrade: Option<OnUpgrade>) -> Response {
    let (Some(key), Some(upgrade)) = (websocket_key(headers), upgrade) else {
        sockets.metrics().handshake(HandshakeResult::Malformed);
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket (RFC 6455, version 13)");
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    let handshake = Handshake { owner: session::everyone(), traceparent: traceparent(headers) };
    sockets.spawn(serve(sockets.clone(), upgrade, handshake));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if offers_bearer(headers) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
    }
    response
}

async fn serve(sockets: Sockets, upgrade: OnUpgrade, handshake: Handshake) {
    let metrics = sockets.metrics().clone();
    let (stream, first) = match upgrade.await.map(|upgraded| upgraded.downcast::<TokioIo<TcpStream>>()) {
        // Copied, because what was read is mostly nothing, and would keep the whole buffer of the handshake alive.
        Ok(Ok(parts)) => (parts.io.into_inner(), parts.read_buf.to_vec()),
        Ok(Err(_)) | Err(_) => return metrics.handshake(HandshakeResult::Aborted),
    };
    sockets.serve(stream, first, handshake).await;
}

/// The client's key, when this is a handshake that this server speaks.
fn websocket_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let connection = lists(headers, &header::CONNECTION, "upgrade");
    let upgrade = lists(headers, &header::UPGRADE, "websocket");
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| connection && upgrade && version)
}

fn offers_bearer(headers: &HeaderMap) -> bool {
    lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, BEARER)
}

/// A header that is a comma-separated list has this item, whatever its case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(wanted))
}

fn traceparent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let plausible = value.len() <= MAX_TRACEPARENT_BYTES && value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    plausible.then(|| value.to_owned())
}
