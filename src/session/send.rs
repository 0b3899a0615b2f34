//! `send_message`: accepts a message and opens the stream of its turn.

use crate::protocol::{Empty, ErrorCode, ResponseData, SendMessage};
use crate::telemetry;
use crate::turn::{AcceptError, Incoming};

use super::{Client, Done, Failure};

impl Client {
    pub(super) async fn send_message(&mut self, request_id: Option<&str>, send: SendMessage) -> Result<Done, Failure> {
        let limit = self.sessions.config.message_bytes;
        if send.message.len() > limit {
            return Err(Failure {
                code: ErrorCode::PayloadTooLarge,
                message: format!("the message has {} bytes; at most {limit} are taken", send.message.len()),
            });
        }
        let (session, view) = self.session(send.session_id).await?;
        let incoming = Incoming {
            request_id: request_id.unwrap_or_default().to_owned(),
            text: send.message,
            model: send.model,
            traceparent: Some(telemetry::traceparent(self.traceparent.as_deref())),
        };
        let reader = self.sessions.turns.accept(session.clone(), incoming, self.inbox.clone(), view).await?;
        self.settle(session.id);
        Ok(Done::Response {
            status: 202,
            message: "Processing your request...",
            data: ResponseData::Empty(Empty {}),
            reader: Some(reader),
        })
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::InProgress => Self {
                code: ErrorCode::TurnInProgress,
                message: "the assistant is still answering; wait for it, or cancel it".to_owned(),
            },
            AcceptError::NoModel => Self {
                code: ErrorCode::LlmUnavailable,
                message: "no model gateway is configured on this server".to_owned(),
            },
            AcceptError::Store(error) => error.into(),
        }
    }
}
