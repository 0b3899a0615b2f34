//! `create_conversation_session`: who comes, to which agent, and what the client understands.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ids::{AgentId, ConversationId};
use crate::protocol::Refusal;
use crate::protocol::fields::Fields;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Longest address that mail can have, in bytes: 64 before the at sign, 255 after it.
const MAX_EMAIL_BYTES: usize = 320;
/// Longest description of a browser, in bytes.
const MAX_FINGERPRINT_BYTES: usize = 1024;
/// Most metadata, in bytes of JSON: it is stored with every session.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Most capabilities a client may declare, known or not.
const MAX_CAPABILITIES: usize = 32;
/// Longest name of a capability, in bytes.
const MAX_CAPABILITY_BYTES: usize = 64;
/// Longest id of a user, in bytes.
const MAX_USER_ID_BYTES: usize = 256;
/// Longest signature, in bytes: an Ed25519 signature has 64, which is 128 in hex.
const MAX_SIGNATURE_BYTES: usize = 256;

/// A session to make.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateConversationSession {
    /// The agent.
    pub agent_id: AgentId,
    /// The person's name.
    #[schemars(default = "visitor", length(max = MAX_NAME_BYTES))]
    pub user_name: String,
    /// The person's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_EMAIL_BYTES))]
    pub user_email: Option<String>,
    /// What the client says of its browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_FINGERPRINT_BYTES))]
    pub browser_fingerprint: Option<String>,
    /// Whatever the client attaches; at most 16 KiB of JSON.
    #[schemars(default)]
    pub metadata: Map<String, Value>,
    /// A signature over who the person is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_context: Option<AuthContext>,
    /// The conversation to go on with; absent, a new one starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The capabilities that the client declares, kept as they are: an unknown one is no mistake.
    #[schemars(default, length(max = MAX_CAPABILITIES), inner(length(max = MAX_CAPABILITY_BYTES)))]
    pub supports: Vec<String>,
}

/// A claim to be a user, signed with one of the agent's keys. Only its shape is checked here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthContext {
    /// The user.
    #[schemars(length(min = 1, max = MAX_USER_ID_BYTES))]
    pub user_id: String,
    /// Ed25519 over `<agentId>:<userId>:<timestamp>`.
    #[schemars(length(min = 1, max = MAX_SIGNATURE_BYTES))]
    pub signature: String,
    /// When it was signed, in seconds since 1970.
    pub timestamp: i64,
}

fn visitor() -> String {
    "Visitor".to_owned()
}

impl CreateConversationSession {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            agent_id: fields.agent_id()?,
            user_name: fields.optional_text("userName", MAX_NAME_BYTES)?.unwrap_or_else(visitor),
            user_email: fields.optional_text("userEmail", MAX_EMAIL_BYTES)?,
            browser_fingerprint: fields.optional_text("browserFingerprint", MAX_FINGERPRINT_BYTES)?,
            metadata: fields.object("metadata", MAX_METADATA_BYTES)?.unwrap_or_default(),
            auth_context: fields.nested("authContext")?.map(|mut fields| AuthContext::read(&mut fields)).transpose()?,
            conversation_id: fields.optional_conversation_id()?,
            supports: fields.names("supports", MAX_CAPABILITIES, MAX_CAPABILITY_BYTES)?,
        })
    }
}

impl AuthContext {
    fn read(fields: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            user_id: fields.text("userId", MAX_USER_ID_BYTES)?,
            signature: fields.text("signature", MAX_SIGNATURE_BYTES)?,
            timestamp: fields.integer("timestamp")?,
        })
    }
}
