//! Reads a file of declared agents. Every mistake is told with its place; a file with one of them declares nothing.

use std::collections::HashSet;
use std::fmt;

use reqwest::Url;
use reqwest::header::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::ids::AgentId;
use crate::store::{Agent, DeclaredTool};

/// Longest name of an agent, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Most tools of one agent: more than any model chooses well from.
const MAX_TOOLS: usize = 128;

/// Longest name of a tool; model gateways take no longer one, and no other characters than letters, digits, `_` and `-`.
const MAX_TOOL_NAME_BYTES: usize = 64;

/// Most seconds that one call of a tool may take.
const MAX_TIMEOUT_SECONDS: f64 = 600.0;

/// Most rounds of tools in one turn.
const MAX_ITERATIONS: u32 = 100;

/// Headers that the node sets itself.
const OWN_HEADERS: [&str; 5] = ["content-type", "content-length", "host", "idempotency-key", "transfer-encoding"];

/// Everything that is wrong with a file, a line each, naming the place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

/// The file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is there for its schema; the agents in it are read one by one")]
struct File {
    agents: Vec<Declaration>,
}

/// One agent in it.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
struct Declaration {
    id: String,
    name: String,
    instructions: String,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    max_iterations: Option<u32>,
    #[serde(default)]
    tools: Vec<DeclaredTool>,
}

/// The agents that a file declares: `{"agents": [...]}`, JSON.
pub fn read(text: &str) -> Result<Vec<Agent>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return Err(Mistakes(vec![format!("not JSON: {error}")])),
    };
    mistakes.of_shape(&value);
    let mut agents = Vec::new();
    // Those that have the right shape are looked at more closely even when others have not.
    for (index, agent) in value["agents"].as_array().into_iter().flatten().enumerate() {
        if let Ok(declaration) = Declaration::deserialize(agent) {
            agents.extend(declaration.check(&format!("/agents/{index}"), &mut mistakes));
        }
    }
    let mut ids = HashSet::new();
    for agent in agents.iter().filter(|agent| !ids.insert(agent.id)) {
        mistakes.add("/agents", format_args!("{} is declared twice", agent.id));
    }
    if mistakes.0.is_empty() { Ok(agents) } else { Err(mistakes) }
}

impl Declaration {
    fn check(self, place: &str, mistakes: &mut Mistakes) -> Option<Agent> {
        let id: Option<AgentId> = self.id.parse().ok();
        if id.is_none() {
            mistakes.add(&format!("{place}/id"), format_args!("'{}' is not a UUID", self.id));
        }
        if self.name.trim().is_empty() || self.name.chars().count() > MAX_NAME_CHARS {
            mistakes.add(&format!("{place}/name"), format_args!("must have 1 to {MAX_NAME_CHARS} characters"));
        }
        if self.model.as_ref().is_some_and(|model| model.trim().is_empty()) {
            mistakes.add(&format!("{place}/model"), "is empty; leave it out for the node's own");
        }
        if self.max_iterations.is_some_and(|most| !(1..=MAX_ITERATIONS).contains(&most)) {
            mistakes.add(&format!("{place}/maxIterations"), format_args!("must be 1 to {MAX_ITERATIONS}"));
        }
        if self.tools.len() > MAX_TOOLS {
            mistakes.add(&format!("{place}/tools"), format_args!("more than {MAX_TOOLS}"));
        }
        let mut names = HashSet::new();
        for (index, tool) in self.tools.iter().enumerate() {
            let place = format!("{place}/tools/{index}");
            check_tool(tool, &place, mistakes);
            if !names.insert(&tool.name) {
                mistakes.add(&format!("{place}/name"), format_args!("another tool is named '{}' too", tool.name));
            }
        }
        Some(Agent {
            id: id?,
            name: self.name,
            instructions: self.instructions,
            model: self.model,
            max_iterations: self.max_iterations,
            tools: self.tools,
        })
    }
}

fn check_tool(tool: &DeclaredTool, place: &str, mistakes: &mut Mistakes) {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if tool.name.is_empty() || tool.name.len() > MAX_TOOL_NAME_BYTES || !tool.name.bytes().all(is_named) {
        let rule = format!("must have 1 to {MAX_TOOL_NAME_BYTES} letters, digits, '_' or '-'");
        mistakes.add(&format!("{place}/name"), rule);
    }
    if tool.description.trim().is_empty() {
        mistakes.add(&format!("{place}/description"), "is empty; the model chooses by it");
    }
    if let Err(error) = address(&tool.url) {
        mistakes.add(&format!("{place}/url"), error);
    }
    if tool.timeout_seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS)) {
        mistakes
            .add(&format!("{place}/timeoutSeconds"), format_args!("must be above 0, at most {MAX_TIMEOUT_SECONDS}"));
    }
    if tool.parameters["type"] != "object" {
        mistakes.add(&format!("{place}/parameters"), "must be a JSON Schema of \"type\": \"object\"");
    } else if let Err(error) = crate::agent::Schema::new(&tool.parameters) {
        mistakes.add(&format!("{place}/parameters"), error);
    }
    for (name, header) in &tool.headers {
        let place = format!("{place}/headers/{name}");
        match name.parse::<HeaderName>() {
            Ok(name) if OWN_HEADERS.contains(&name.as_str()) => mistakes.add(&place, "is set by the node itself"),
            Ok(_) => {}
            Err(_) => mistakes.add(&place, "is no name of a header"),
        }
        if header.env.is_empty() || header.env.contains(['=', '\0']) {
            mistakes.add(&format!("{place}/env"), "is no name of a variable");
        }
    }
}

/// An address that may be called.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password; send it in a header, from a variable".to_owned());
    }
    Ok(url)
}

impl Mistakes {
    fn add(&mut self, place: &str, what: impl fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    /// What is missing, misspelt or of the wrong type.
    fn of_shape(&mut self, value: &Value) {
        let schema = schemars::schema_for!(File);
        match jsonschema::validator_for(schema.as_value()) {
            Ok(validator) => {
                for error in validator.iter_errors(value) {
                    let place = error.instance_path().to_string();
                    let place = if place.is_empty() { "/" } else { &place };
                    // Masked: what stands in the wrong place may be a secret.
                    self.add(place, error.masked());
                }
            }
            Err(error) => self.add("/", error),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing was changed; the file has {} mistake(s):", self.0.len())?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn file(tool: Value) -> Value {
        json!({"agents": [{"id": ID, "name": "Ann", "instructions": "Be kind.", "maxIterations": 3, "tools": [tool]}]})
    }

    fn tool() -> Value {
        json!({
            "name": "look", "description": "Looks", "url": "https://tools.example/look", "timeoutSeconds": 1.5,
            "parameters": {"type": "object"}, "headers": {"Authorization": {"env": "LOOK_KEY"}}, "confirm": true,
        })
    }

    #[test]
    fn a_good_file_gives_its_agents() {
        let agents = read(&file(tool()).to_string()).unwrap();
        let [agent] = agents.as_slice() else { panic!("{agents:?}") };
        assert_eq!((agent.id.to_string().as_str(), agent.name.as_str(), agent.max_iterations), (ID, "Ann", Some(3)));
        let tool = &agent.tools[0];
        assert!(tool.confirm && !tool.idempotent && tool.timeout_seconds == Some(1.5));
        assert_eq!(tool.headers["Authorization"].env, "LOOK_KEY");
        assert_eq!(read("{\"agents\": []}").unwrap(), []);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let bad = json!({"agents": [
            {"id": "one", "name": " ", "instructions": "", "maxIterations": 0, "tools": [
                {"name": "a b", "description": "", "url": "ftp://x", "parameters": {"type": "string"}, "timeoutSeconds": 0},
                {"name": "ok", "description": "d", "url": "http://u:p@x", "parameters": {"type": "object", "required": 7},
                 "headers": {"a b": {"env": ""}, "Host": {"env": "H"}}},
                {"name": "ok", "description": "d", "url": "x", "parameters": {"type": "object"}},
            ]},
            {"id": ID, "name": "n", "instructions": "i", "tools": [{"nmae": "x"}]},
            {"id": ID, "name": "n", "instructions": 7},
        ]});
        let told = read(&bad.to_string()).unwrap_err().to_string();
        for place in [
            "/agents/0/id",
            "/agents/0/name",
            "/agents/0/maxIterations",
            "/agents/0/tools/0/name",
            "/agents/0/tools/0/description",
            "/agents/0/tools/0/url",
            "/agents/0/tools/0/parameters",
            "/agents/0/tools/0/timeoutSeconds",
            "/agents/0/tools/1/url",
            "/agents/0/tools/1/parameters",
            "/agents/0/tools/1/headers/a b",
            "/agents/0/tools/1/headers/a b/env",
            "/agents/0/tools/1/headers/Host",
            "/agents/0/tools/2/name",
            "/agents/0/tools/2/url",
            "/agents/1/tools/0",
            "/agents/2/instructions",
        ] {
            assert!(told.contains(&format!("\n  {place}: ")), "{place} is not in {told}");
        }
        assert!(told.contains("'nmae'") && !told.contains("u:p"), "{told}");
    }

    #[test]
    fn a_value_in_the_place_of_a_variable_is_refused_and_not_repeated() {
        let mut tool = tool();
        tool["headers"]["Authorization"] = json!("Bearer very-secret");
        let told = read(&file(tool).to_string()).unwrap_err().to_string();
        assert!(told.contains("/agents/0/tools/0/headers/Authorization") && !told.contains("very-secret"), "{told}");
    }

    #[test]
    fn what_is_no_json_and_what_is_declared_twice_is_refused() {
        assert!(read("{\"agents\": [").unwrap_err().to_string().contains("line 1"));
        let twice = json!({"agents": [file(tool())["agents"][0], file(tool())["agents"][0]]});
        assert!(read(&twice.to_string()).unwrap_err().to_string().contains("declared twice"));
    }
}
