//! What a turn asks of a person: approval, input, a one-time password. All of it lies in `data.data`.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The shape these events share.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Detailed<'a, T> {
    /// The turn's request.
    pub request_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The envelope.
    pub data: DetailedData<'a, T>,
}

impl<'a, T> Detailed<'a, T> {
    pub(super) fn new(request_id: &'a str, timestamp: i64, data: T) -> Self {
        Self { request_id, timestamp, data: DetailedData { request_id, data } }
    }
}

/// The envelope around the details.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct DetailedData<'a, T> {
    /// The turn's request.
    pub request_id: &'a str,
    /// The details.
    pub data: T,
}

/// A tool that waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct WriteConfirmation<'a> {
    /// The tool's name.
    pub tool_id: &'a str,
    /// What it is about to do, for a person.
    pub action_description: &'a str,
}

/// A tool that waits for input.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct InteractionRequired<'a> {
    /// The interaction; the answer names it.
    pub interaction_id: &'a str,
    /// What kind of input.
    pub kind: &'a str,
    /// What to ask for; its shape depends on the kind.
    pub spec: &'a Value,
    /// Why it is asked, for a person.
    pub reason: &'a str,
}

/// Input that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct InteractionInvalid<'a> {
    /// The interaction.
    pub interaction_id: &'a str,
    /// What kind of input.
    pub kind: &'a str,
    /// What is wrong with which field.
    pub errors: &'a [FieldError],
    /// All of it in one sentence.
    pub message: &'a str,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FieldError {
    /// The field's name.
    pub field: String,
    /// What is wrong, for a person.
    pub message: String,
}

/// A tool that waits for a one-time password.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct OtpVerificationRequired<'a> {
    /// The tool's name.
    pub tool_id: &'a str,
    /// What it is about to do, for a person.
    pub action_description: &'a str,
    /// The ways a password can be sent.
    pub available_channels: &'a [String],
    /// How sure the tool must be of the person.
    pub auth_level: &'a str,
}

/// A one-time password that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct OtpSent<'a> {
    /// The way it was sent.
    pub channel: &'a str,
    /// Where to, most of it hidden.
    pub masked_destination: &'a str,
}

/// A one-time password that was right.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct OtpVerified<'a> {
    /// For a person.
    pub message: &'a str,
}

/// A one-time password that was wrong.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct OtpInvalid<'a> {
    /// A name for what was wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    pub error: Option<&'a str>,
    /// How often the person may try again.
    pub attempts_remaining: u32,
    /// For a person.
    pub message: &'a str,
}
