//! Everything a client is told, one variant per `type`.
//!
//! A member added to any struct below breaks a shipped client, which drops an event with a key it does not know.

mod answer;
mod human;
mod listing;
mod outcome;
mod session;
mod stream;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::ids::MessageId;

use super::ErrorCode;

pub use answer::*;
pub use human::*;
pub use listing::*;
pub use outcome::*;
pub use session::*;
pub use stream::*;

/// What the members around a text take, so that most frames are written without growing their buffer.
const FRAME_BYTES: usize = 256;

/// One event on the wire. `timestamp` is in milliseconds since 1970 everywhere; `requestId` is left out when there is none.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The answer to a ping.
    Pong(Pong<'a>),
    /// The answer to an action, complete; with status 202 the beginning of a turn.
    ImmediateResponse(ImmediateResponse<'a>),
    /// Text of the answer, to be appended.
    StreamToken(StreamedText<'a>),
    /// Text of the model's thinking channel, to be appended.
    StreamReasoning(StreamedText<'a>),
    /// A tool started or ended.
    StreamChunk(StreamChunk<'a>),
    /// The turn succeeded; the text here is authoritative.
    EventualResponse(EventualResponse<'a>),
    /// The turn was stopped.
    Cancelled(Cancelled<'a>),
    /// An action or a turn failed; the socket stays open.
    Error(Failure<'a>),
    /// A tool waits for a person to approve it.
    WriteConfirmationRequired(Detailed<'a, WriteConfirmation<'a>>),
    /// A tool waits for a person's input.
    InteractionRequired(Detailed<'a, InteractionRequired<'a>>),
    /// The input did not fit; the tool still waits.
    InteractionInvalid(Detailed<'a, InteractionInvalid<'a>>),
    /// A tool waits for a one-time password.
    OtpVerificationRequired(Detailed<'a, OtpVerificationRequired<'a>>),
    /// A one-time password is on its way.
    OtpSent(Detailed<'a, OtpSent<'a>>),
    /// The one-time password was right.
    OtpVerified(Detailed<'a, OtpVerified<'a>>),
    /// The one-time password was wrong.
    OtpInvalid(Detailed<'a, OtpInvalid<'a>>),
    /// Another node took the turn over: its text begins anew. Only for `stream_resume`.
    TurnRestarted(TurnRestarted<'a>),
    /// The server is about to close the socket. Only for `going_away`.
    GoingAway(GoingAway),
}

impl<'a> Event<'a> {
    /// The event as it is sent, made once and shared by every socket it goes to.
    pub fn encode(&self) -> Utf8Bytes {
        let mut bytes = Vec::with_capacity(self.expected_bytes());
        // Serialising fails only on a failing writer or on map keys that are not strings; a Vec does not fail, and the
        // only maps in an event are JSON objects. The serializer writes nothing but UTF-8.
        serde_json::to_writer(&mut bytes, self).expect("an event is always representable");
        String::from_utf8(bytes).expect("JSON is UTF-8").into()
    }

    fn expected_bytes(&self) -> usize {
        if let Self::StreamToken(event) | Self::StreamReasoning(event) = self {
            FRAME_BYTES + 2 * event.token.len()
        } else {
            2 * FRAME_BYTES
        }
    }

    /// The answer to a ping.
    pub fn pong(request_id: Option<&'a str>, timestamp: i64) -> Self {
        Self::Pong(Pong { request_id, timestamp, data: PongData { timestamp } })
    }

    /// The answer to an action. `status` is 200 for everything but [`Event::accepted`].
    pub fn response(
        request_id: Option<&'a str>,
        timestamp: i64,
        status: u16,
        message: &'a str,
        data: ResponseData,
    ) -> Self {
        Self::ImmediateResponse(ImmediateResponse { request_id, timestamp, status, message, data })
    }

    /// The 202 that opens a turn. Only for a message that is committed.
    pub fn accepted(request_id: &'a str, timestamp: i64) -> Self {
        Self::response(Some(request_id), timestamp, 202, "Processing your request...", ResponseData::Empty(Empty {}))
    }

    /// Text of the answer.
    pub fn stream_token(request_id: &'a str, timestamp: i64, token: &'a str) -> Self {
        Self::StreamToken(StreamedText::new(request_id, timestamp, token))
    }

    /// Text of the thinking channel.
    pub fn stream_reasoning(request_id: &'a str, timestamp: i64, token: &'a str) -> Self {
        Self::StreamReasoning(StreamedText::new(request_id, timestamp, token))
    }

    /// A tool starts. `arguments` is JSON as text, as the model wrote it.
    pub fn tool_call(request_id: &'a str, timestamp: i64, name: &'a str, arguments: &'a str) -> Self {
        let call = RawResponse::ToolCall(ToolCallChunk { name, arguments });
        Self::StreamChunk(StreamChunk::new(request_id, timestamp, name, call))
    }

    /// A tool ended.
    pub fn tool_result(request_id: &'a str, timestamp: i64, name: &'a str, is_error: bool, result: &'a str) -> Self {
        let result = RawResponse::ToolResult(ToolResultChunk { name, is_error, result });
        Self::StreamChunk(StreamChunk::new(request_id, timestamp, name, result))
    }

    /// The end of a turn that succeeded: the whole text, what it cost if that is known, and its sources.
    pub fn eventual_response(
        request_id: &'a str,
        timestamp: i64,
        message_id: MessageId,
        text: &'a str,
        usage: Option<Usage>,
        citations: &'a [Citation],
    ) -> Self {
        Self::EventualResponse(EventualResponse::new(request_id, timestamp, message_id, text, usage, citations))
    }

    /// The end of a turn that was stopped.
    pub fn cancelled(request_id: &'a str, timestamp: i64) -> Self {
        Self::Cancelled(Cancelled {
            request_id,
            timestamp,
            status: 499,
            data: CancelledData { request_id, status: 499 },
        })
    }

    /// What went wrong. With a turn's request id it ends that turn for the client.
    pub fn error(request_id: Option<&'a str>, timestamp: i64, code: ErrorCode, message: &'a str) -> Self {
        let error = ErrorBody { code, message };
        Self::Error(Failure { request_id, timestamp, error, data: FailureData { error, request_id } })
    }

    /// A tool asks to be approved; goes out before the tool's [`Event::tool_call`].
    pub fn write_confirmation_required(
        request_id: &'a str,
        timestamp: i64,
        tool: &'a str,
        action_description: &'a str,
    ) -> Self {
        let detail = WriteConfirmation { tool_id: tool, action_description };
        Self::WriteConfirmationRequired(Detailed::new(request_id, timestamp, detail))
    }

    /// A tool asks for input, described by `spec`.
    pub fn interaction_required(
        request_id: &'a str,
        timestamp: i64,
        interaction_id: &'a str,
        kind: &'a str,
        spec: &'a Value,
        reason: &'a str,
    ) -> Self {
        let detail = InteractionRequired { interaction_id, kind, spec, reason };
        Self::InteractionRequired(Detailed::new(request_id, timestamp, detail))
    }

    /// The input was refused, field by field.
    pub fn interaction_invalid(
        request_id: &'a str,
        timestamp: i64,
        interaction_id: &'a str,
        kind: &'a str,
        errors: &'a [FieldError],
        message: &'a str,
    ) -> Self {
        let detail = InteractionInvalid { interaction_id, kind, errors, message };
        Self::InteractionInvalid(Detailed::new(request_id, timestamp, detail))
    }

    /// A tool asks for a one-time password.
    pub fn otp_verification_required(
        request_id: &'a str,
        timestamp: i64,
        tool: &'a str,
        action_description: &'a str,
        available_channels: &'a [String],
        auth_level: &'a str,
    ) -> Self {
        let detail = OtpVerificationRequired { tool_id: tool, action_description, available_channels, auth_level };
        Self::OtpVerificationRequired(Detailed::new(request_id, timestamp, detail))
    }

    /// A one-time password was sent to a destination that is shown in part.
    pub fn otp_sent(request_id: &'a str, timestamp: i64, channel: &'a str, masked_destination: &'a str) -> Self {
        Self::OtpSent(Detailed::new(request_id, timestamp, OtpSent { channel, masked_destination }))
    }

    /// The one-time password was right.
    pub fn otp_verified(request_id: &'a str, timestamp: i64, message: &'a str) -> Self {
        Self::OtpVerified(Detailed::new(request_id, timestamp, OtpVerified { message }))
    }

    /// The one-time password was wrong; so many attempts are left.
    pub fn otp_invalid(
        request_id: &'a str,
        timestamp: i64,
        error: Option<&'a str>,
        attempts_remaining: u32,
        message: &'a str,
    ) -> Self {
        let detail = OtpInvalid { error, attempts_remaining, message };
        Self::OtpInvalid(Detailed::new(request_id, timestamp, detail))
    }

    /// The turn was taken over: what follows begins anew under this epoch.
    pub fn turn_restarted(request_id: &'a str, timestamp: i64, epoch: i64) -> Self {
        Self::TurnRestarted(TurnRestarted { request_id, timestamp, epoch })
    }

    /// The server will close the socket; the client should connect again after so many milliseconds.
    pub fn going_away(timestamp: i64, reconnect_in_ms: u64) -> Self {
        Self::GoingAway(GoingAway { timestamp, reconnect_in_ms })
    }
}
