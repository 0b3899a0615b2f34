//! Declared agents and their tools, as they are kept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::AgentId;

/// A declared agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What people call it.
    pub name: String,
    /// Its system prompt.
    pub instructions: String,
    /// Its model; `None` is the configured one.
    pub model: Option<String>,
    /// How often its model may call tools in one turn; `None` is the configured limit.
    pub max_iterations: Option<u32>,
    /// Its tools.
    pub tools: Vec<DeclaredTool>,
}

/// A tool that an agent may call over HTTP. A member that a newer build added is ignored when it is read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct DeclaredTool {
    /// Its name, as the model calls it.
    pub name: String,
    /// What it does, in words for the model and for a person who is asked to approve it.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: serde_json::Value,
    /// Where its arguments are posted to.
    pub url: String,
    /// Seconds that one call may take; the node's limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Headers of every call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, DeclaredHeader>,
    /// A person must approve every call.
    #[serde(default)]
    pub confirm: bool,
    /// A call may be repeated under the same key when its outcome is unknown.
    #[serde(default)]
    pub idempotent: bool,
}

/// Where a header's value comes from. Never the value itself: declarations are not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeclaredHeader {
    /// A variable in the environment of the node that makes the call.
    pub env: String,
}
