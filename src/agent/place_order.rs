//! The demo's own tool: asks for approval like a real one, so that a newcomer can see it, and only pretends.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Schema, Tool, ToolOutcome};
use crate::ids::TurnId;
use crate::model::{ToolCall, ToolSpec};

/// Pretends to order something, after a person has approved it.
pub struct PlaceOrder {
    spec: ToolSpec,
    schema: Schema,
}

impl PlaceOrder {
    /// What the demo model calls.
    pub const NAME: &str = crate::model::Demo::TOOL;

    /// The tool. `None` cannot happen but by a defect: its schema is a constant.
    pub fn new() -> Option<Self> {
        let parameters = json!({
            "type": "object",
            "properties": {"item": {"type": "string", "minLength": 1, "maxLength": 200}},
            "required": ["item"],
            "additionalProperties": false,
        });
        let schema = Schema::new(&parameters).ok()?;
        let spec = ToolSpec {
            name: Self::NAME.to_owned(),
            description: "Places an order. This is the demo: it only pretends.".to_owned(),
            parameters,
        };
        Some(Self { spec, schema })
    }
}

#[async_trait]
impl Tool for PlaceOrder {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, call: &ToolCall, _turn: TurnId) -> ToolOutcome {
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        let item = arguments["item"].as_str().unwrap_or_default();
        ToolOutcome::ok(format!("Pretended to order {item}: nothing was bought, and nothing will arrive."))
    }

    fn check(&self, arguments: &Value) -> Result<(), String> {
        self.schema.check(arguments)
    }

    fn approval(&self, arguments: &Value) -> Option<String> {
        let item = arguments["item"].as_str().unwrap_or_default();
        Some(format!("Place an order for {item} (the demo only pretends)"))
    }

    /// It has no effect at all.
    fn is_idempotent(&self) -> bool {
        true
    }
}
