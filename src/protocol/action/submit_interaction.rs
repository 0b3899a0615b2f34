//! `submit_interaction`: what a person filled in, or that the person would not.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::ids::SessionId;
use crate::protocol::Refusal;
use crate::protocol::fields::Fields;

/// Longest id of an interaction, in bytes.
const MAX_INTERACTION_ID_BYTES: usize = 256;
/// Longest name of a kind, in bytes.
const MAX_KIND_BYTES: usize = 64;
/// Most input, in bytes of JSON.
const MAX_VALUES_BYTES: usize = 64 * 1024;

/// Input for a turn that waits for it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubmitInteraction {
    /// The session.
    pub session_id: SessionId,
    /// The interaction that the turn named.
    #[schemars(length(min = 1, max = MAX_INTERACTION_ID_BYTES))]
    pub interaction_id: String,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_KIND_BYTES))]
    pub kind: Option<String>,
    /// What the person did.
    #[serde(flatten)]
    pub answer: InteractionAnswer,
}

/// What the person did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InteractionAnswer {
    /// Filled it in; at most 64 KiB of JSON.
    Values(Map<String, Value>),
    /// Would not; wins over values that are sent beside it.
    #[serde(serialize_with = "yes")]
    #[schemars(with = "bool", extend("properties" = { "declined": { "const": true } }))]
    Declined,
}

fn yes<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(true)
}

impl SubmitInteraction {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            session_id: fields.session_id()?,
            interaction_id: fields.text("interactionId", MAX_INTERACTION_ID_BYTES)?,
            kind: fields.optional_text("kind", MAX_KIND_BYTES)?,
            answer: if fields.optional_flag("declined")? == Some(true) {
                InteractionAnswer::Declined
            } else {
                let values = fields.object("values", MAX_VALUES_BYTES)?;
                InteractionAnswer::Values(values.ok_or_else(|| Refusal::missing("values"))?)
            },
        })
    }
}
