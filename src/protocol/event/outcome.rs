//! How a turn ends: exactly one of these per turn.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::MessageId;
use crate::protocol::ErrorCode;

/// A turn that succeeded. What clients read lies in `data.data`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EventualResponse<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Always 200.
    #[schemars(extend("const" = 200))]
    pub status: u16,
    /// The envelope.
    pub data: EventualResponseData<'a>,
}

impl<'a> EventualResponse<'a> {
    pub(super) fn new(
        request_id: &'a str,
        timestamp: i64,
        message_id: MessageId,
        text: &'a str,
        usage: Option<Usage>,
        citations: &'a [Citation],
    ) -> Self {
        let answer =
            TurnAnswer { message_id, response: AnswerBody::new(text), needs_escalation: false, citations, usage };
        let data = EventualResponseData { request_id, status: 200, data: answer };
        Self { request_id, timestamp, status: 200, data }
    }
}

/// The envelope around an answer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EventualResponseData<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Always 200.
    #[schemars(extend("const" = 200))]
    pub status: u16,
    /// The answer.
    pub data: TurnAnswer<'a>,
}

/// The answer of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct TurnAnswer<'a> {
    /// The agent's message in the conversation.
    pub message_id: MessageId,
    /// What it says.
    pub response: AnswerBody<'a>,
    /// Always false.
    #[schemars(extend("const" = false))]
    pub needs_escalation: bool,
    /// The documents it leans on; absent when there are none.
    #[serde(skip_serializing_if = "<[Citation]>::is_empty")]
    pub citations: &'a [Citation],
    /// What all model calls of the turn used together; absent when it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Usage")]
    pub usage: Option<Usage>,
}

/// The text with the scores that clients expect beside it. Nothing here computes them: they are constants of the protocol.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct AnswerBody<'a> {
    /// The whole text, in one part.
    pub response_parts: [&'a str; 1],
    /// Always 0.5.
    #[schemars(extend("const" = 0.5))]
    pub customer_happiness_score: f64,
    /// Always 0.5.
    #[schemars(extend("const" = 0.5))]
    pub needs_satisfaction_score: f64,
    /// Always empty.
    #[schemars(extend("const" = ""))]
    pub request_summary: &'static str,
    /// Always `in_progress`.
    #[schemars(extend("const" = "in_progress"))]
    pub resolution_status: &'static str,
    /// Always empty.
    pub suggested_next_actions: [&'static str; 0],
}

impl<'a> AnswerBody<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            response_parts: [text],
            customer_happiness_score: 0.5,
            needs_satisfaction_score: 0.5,
            request_summary: "",
            resolution_status: "in_progress",
            suggested_next_actions: [],
        }
    }
}

/// What model calls used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Usage {
    /// US dollars.
    pub cost_usd: f64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

/// A document that an answer leans on.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Citation {
    /// The document.
    pub id: String,
    /// Its source.
    pub title: String,
    /// Where it can be read; only for `http` and `https` sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub url: Option<String>,
    /// The passage: at most 280 characters, then an ellipsis.
    pub snippet: String,
    /// How well it fits, more is better.
    pub score: f64,
}

/// A turn that was stopped.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Cancelled<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Always 499.
    #[schemars(extend("const" = 499))]
    pub status: u16,
    /// The same, nested.
    pub data: CancelledData<'a>,
}

/// The nested copy of [`Cancelled`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct CancelledData<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Always 499.
    #[schemars(extend("const" = 499))]
    pub status: u16,
}

/// A failure of an action or a turn. Has no `status`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Failure<'a> {
    /// The request that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    pub request_id: Option<&'a str>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// What went wrong.
    pub error: ErrorBody<'a>,
    /// The same, nested.
    pub data: FailureData<'a>,
}

/// The nested copy of [`Failure`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FailureData<'a> {
    /// What went wrong.
    pub error: ErrorBody<'a>,
    /// The request that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    pub request_id: Option<&'a str>,
}

/// A code for programs, a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ErrorBody<'a> {
    /// The stable name.
    pub code: ErrorCode,
    /// The sentence; never what a gateway or a store said.
    pub message: &'a str,
}
