//! The frames in `recorded/`: one file per matter, each frame under a name. No encoder made them, so that they can
//! contradict it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;
use switchboard::protocol::schema;

/// Every recorded frame by `<file>/<name>`.
pub fn frames() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/protocol/recorded");
    let mut frames = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("a file").path();
        let matter = path.file_stem().and_then(OsStr::to_str).expect("a name");
        let text = fs::read_to_string(&path).expect("a text");
        let named: BTreeMap<String, Value> = serde_json::from_str(&text).expect("named frames");
        frames.extend(named.into_iter().map(|(name, frame)| (format!("{matter}/{name}"), frame)));
    }
    assert!(!frames.is_empty());
    frames
}

/// The schemas, compiled, by their paths.
pub struct Schemas(BTreeMap<String, Validator>);

impl Schemas {
    pub fn new() -> Self {
        let compile = |text: &str| {
            let schema = serde_json::from_str(text).expect("a document");
            jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema")
        };
        let documents = schema::documents().into_iter().filter(|(path, _)| path != "index.json");
        Self(documents.map(|(path, text)| (path, compile(&text))).collect())
    }

    /// Checks a frame against the schema that its tag names.
    pub fn check(&self, frame: &Value) -> Result<(), String> {
        let path = schema_of(frame);
        let schema = self.0.get(&path).ok_or_else(|| format!("no schema at {path}"))?;
        schema.validate(frame).map_err(|error| format!("{path}: {error} at {}", error.instance_path()))
    }
}

/// Where the schema of a frame lies.
fn schema_of(frame: &Value) -> String {
    let (folder, tag) = match (&frame["action"], &frame["type"], &frame["seq"]) {
        (Value::String(action), _, _) => ("actions", action),
        (_, Value::String(event), Value::Null) => ("events", event),
        (_, Value::String(event), _) => ("numbered-events", event),
        _ => panic!("neither action nor event: {frame}"),
    };
    format!("{folder}/{}.json", tag.replace('_', "-"))
}
