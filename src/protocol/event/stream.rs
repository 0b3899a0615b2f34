//! What a turn sends while it runs. Made once per token: every text is borrowed and written in one pass.

use schemars::JsonSchema;
use serde::Serialize;

/// Text to append.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct StreamedText<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The text: one or more tokens.
    pub token: &'a str,
    /// The same, for clients that look here.
    pub data: StreamedTextData<'a>,
}

impl<'a> StreamedText<'a> {
    pub(super) fn new(request_id: &'a str, timestamp: i64, token: &'a str) -> Self {
        Self { request_id, timestamp, token, data: StreamedTextData { request_id, token } }
    }
}

/// The nested copy of [`StreamedText`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct StreamedTextData<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// The text.
    pub token: &'a str,
}

/// A tool's start or end.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct StreamChunk<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The tool's name.
    pub node: &'a str,
    /// What happened.
    pub data: StreamChunkData<'a>,
}

impl<'a> StreamChunk<'a> {
    pub(super) fn new(request_id: &'a str, timestamp: i64, node: &'a str, raw_response: RawResponse<'a>) -> Self {
        let data = StreamChunkData { request_id, node, state: ChunkState { raw_response } };
        Self { request_id, timestamp, node, data }
    }
}

/// What a tool did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct StreamChunkData<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// The tool's name.
    pub node: &'a str,
    /// The state it is in.
    pub state: ChunkState<'a>,
}

/// The state of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ChunkState<'a> {
    /// The call or its result.
    pub raw_response: RawResponse<'a>,
}

/// The call first, its result later.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RawResponse<'a> {
    /// The tool starts.
    ToolCall(ToolCallChunk<'a>),
    /// The tool ended.
    ToolResult(ToolResultChunk<'a>),
}

/// A tool's call.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ToolCallChunk<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// JSON as text.
    pub arguments: &'a str,
}

/// A tool's result.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ToolResultChunk<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// The tool failed.
    pub is_error: bool,
    /// What it answered, as text.
    pub result: &'a str,
}

/// A turn begins anew on another node.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct TurnRestarted<'a> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The epoch of the frames that follow.
    pub epoch: i64,
}

/// The socket is about to close.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct GoingAway {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// When to connect again, in milliseconds from now.
    pub reconnect_in_ms: u64,
}
