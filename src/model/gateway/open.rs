//! Gets an answer to begin: sends the request, and sends it again while nothing of an answer has arrived and trying again
//! can help. After the first byte nothing is ever repeated, for the caller may have shown it already.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use tokio::time::{sleep, timeout};

use super::{Gateway, retry};
use crate::model::ModelError;
use crate::model::metrics::RetryReason;

/// An answer that has begun.
pub(super) struct Opened {
    pub(super) response: Response,
    /// The first bytes of it.
    pub(super) first: Bytes,
}

/// Why an attempt gave no answer.
enum Failure {
    /// Trying again can help.
    Passing { reason: RetryReason, error: ModelError, retry_after: Option<Duration>, response: Option<Response> },
    /// Trying again cannot help.
    Final { error: ModelError, response: Option<Response> },
}

/// How long the body of an error may take to arrive, for the log.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(2);
/// How much of it is read; the log shows the first half, so that a key at the edge is seen whole and can be hidden.
const ERROR_BODY_BYTES: usize = 2 * super::LOGGED_BYTES;

impl Gateway {
    /// Sends the request until an answer begins, or until there is no use in going on.
    pub(super) async fn open(&self, body: Bytes, traceparent: Option<HeaderValue>) -> Result<Opened, ModelError> {
        let mut attempt = 0;
        loop {
            let failure = match self.attempt(body.clone(), traceparent.as_ref()).await {
                Ok(opened) => return Ok(opened),
                Err(failure) => failure,
            };
            let (error, response) = match failure {
                Failure::Passing { reason, error, retry_after, response } => {
                    match retry::wait(&self.config, attempt, retry_after, rand::random()) {
                        Some(wait) if attempt < self.config.retries => {
                            // Let go of the failed response first, and with it of its connection.
                            drop(response);
                            tracing::info!(retry.reason = reason.label(), retry.attempt = attempt, retry.wait = ?wait, "model gateway is tried again");
                            self.metrics.retried(reason);
                            sleep(wait).await;
                            attempt += 1;
                            continue;
                        }
                        Some(_) | None => (error, response),
                    }
                }
                Failure::Final { error, response } => (error, response),
            };
            self.log(&error, attempt, response).await;
            return Err(error);
        }
    }

    async fn attempt(&self, body: Bytes, traceparent: Option<&HeaderValue>) -> Result<Opened, Failure> {
        let mut request = self.client.post(self.endpoint.clone()).body(body);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let mut response = match timeout(self.config.idle_timeout, request.send()).await {
            Ok(sent) => sent.map_err(Failure::of_connection)?,
            Err(_) => return Err(Failure::Final { error: ModelError::IdleTimeout, response: None }),
        };
        if !response.status().is_success() {
            return Err(self.failure_of_status(response));
        }
        if is_document(&response) {
            let error = ModelError::Malformed("the answer is not an event stream");
            return Err(Failure::Final { error, response: Some(response) });
        }
        match timeout(self.config.idle_timeout, response.chunk()).await {
            Ok(Ok(Some(first))) => Ok(Opened { response, first }),
            Ok(Ok(None) | Err(_)) => Err(Failure::closed(ModelError::Interrupted)),
            Err(_) => Err(Failure::Final { error: ModelError::IdleTimeout, response: None }),
        }
    }

    fn failure_of_status(&self, response: Response) -> Failure {
        let status = response.status();
        let reason = match status {
            StatusCode::TOO_MANY_REQUESTS => RetryReason::RateLimited,
            _ if status.is_server_error() => RetryReason::ServerError,
            _ => {
                return Failure::Final {
                    error: ModelError::Refused { status: status.as_u16() },
                    response: Some(response),
                };
            }
        };
        Failure::Passing {
            reason,
            error: ModelError::Unavailable(format!("status {}", status.as_u16())),
            retry_after: retry::retry_after(response.headers(), self.clock.now()),
            response: Some(response),
        }
    }

    /// Writes the end of a call to the log, with the beginning of what the gateway said about it. This is the only place
    /// that ever sees it.
    async fn log(&self, error: &ModelError, attempt: u32, response: Option<Response>) {
        let body = match response {
            Some(response) => self.config.excerpt(&error_body(response).await),
            None => String::new(),
        };
        tracing::warn!(error = %error, retry.attempt = attempt, gateway.body = ?body, "model gateway gave no answer");
    }
}

impl Failure {
    fn of_connection(error: reqwest::Error) -> Self {
        let (reason, what) = match (error.is_connect(), error.is_timeout()) {
            (true, true) => (RetryReason::Connect, "no connection in time"),
            (true, false) => (RetryReason::Connect, "no connection"),
            (false, _) => (RetryReason::Closed, "the connection was closed before the answer"),
        };
        // The address may carry a password.
        tracing::debug!(error = ?error.without_url(), "request to the model gateway failed");
        let error = ModelError::Unavailable(what.to_owned());
        Self::Passing { reason, error, retry_after: None, response: None }
    }

    fn closed(error: ModelError) -> Self {
        Self::Passing { reason: RetryReason::Closed, error, retry_after: None, response: None }
    }
}

/// A 200 with a page or a JSON document: some gateways report errors like this.
fn is_document(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    content_type.starts_with(b"application/json") || content_type.starts_with(b"text/html")
}

/// Reads the beginning of an error's body, as far as it comes soon.
async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(part)) = response.chunk().await {
            body.extend_from_slice(&part[..part.len().min(ERROR_BODY_BYTES - body.len())]);
            if body.len() >= ERROR_BODY_BYTES {
                break;
            }
        }
    };
    // What has arrived by then is enough.
    let _ = timeout(ERROR_BODY_WAIT, read).await;
    body
}
