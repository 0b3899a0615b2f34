//! JSON Schemas (2020-12) of every action, event and error code, made from the types themselves.
//!
//! The files in `schemas/` are what [`documents`] returns, byte for byte; nobody edits them. Schemas of events are closed,
//! because a client drops what it does not know; schemas of actions are open, because the server ignores it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value};

use super::action::NEED_REQUEST_ID;
use super::{Action, ErrorCode, Event, MAX_REQUEST_ID_BYTES};

/// The dialect that every document is written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The file of the folder that is written by hand.
const README: &str = "README.md";

/// The frames that a turn's runner numbers for a session that declared `stream_resume`.
const NUMBERED: [&str; 14] = [
    "stream_token",
    "stream_reasoning",
    "stream_chunk",
    "eventual_response",
    "cancelled",
    "error",
    "write_confirmation_required",
    "interaction_required",
    "interaction_invalid",
    "otp_verification_required",
    "otp_sent",
    "otp_verified",
    "otp_invalid",
    "turn_restarted",
];

type Object = Map<String, Value>;

/// Every document: its path below `schemas/`, and its text.
pub fn documents() -> BTreeMap<String, String> {
    let mut documents = Documents::default();
    for (name, mut schema) in variants::<Action>(SchemaSettings::draft2020_12().for_deserialize(), "action") {
        if NEED_REQUEST_ID.contains(&name.as_str()) {
            merge::<Named>(&mut schema);
        } else {
            merge::<MaybeNamed>(&mut schema);
        }
        documents.add("actions", &name, &Document::new(&name, &schema));
    }
    for (name, mut schema) in variants::<Event<'_>>(SchemaSettings::draft2020_12().for_serialize(), "type") {
        documents.add("events", &name, &Document::new(&name, &schema));
        if NUMBERED.contains(&name.as_str()) {
            merge::<Numbered>(&mut schema);
            documents.add("numbered-events", &name, &Document::new(&name, &schema));
        }
    }
    for &code in ErrorCode::ALL {
        documents.add("error-codes", code.as_str(), &CodeDocument::new(code));
    }
    documents.finish()
}

/// Where a folder differs from [`documents`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// A document has no file.
    Missing(String),
    /// A file has another content than its document.
    Changed(String),
    /// A file has no document.
    Superfluous(String),
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{path} is missing"),
            Self::Changed(path) => write!(f, "{path} has changed"),
            Self::Superfluous(path) => write!(f, "{path} is superfluous"),
        }
    }
}

/// Compares a folder with [`documents`]; empty when both are the same.
///
/// # Errors
/// When the folder cannot be read.
pub fn drift(dir: &Path) -> io::Result<Vec<Drift>> {
    let mut found = files(dir)?;
    let mut drift = Vec::new();
    for (path, expected) in documents() {
        match found.remove(&path) {
            None => drift.push(Drift::Missing(path)),
            Some(file) if fs::read(&file)? != expected.as_bytes() => drift.push(Drift::Changed(path)),
            Some(_) => {}
        }
    }
    drift.extend(found.into_keys().map(Drift::Superfluous));
    drift.sort();
    Ok(drift)
}

/// Makes a folder equal to [`documents`]: writes each, removes every other JSON file. Blocks; for the command line.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn write(dir: &Path) -> io::Result<()> {
    let documents = documents();
    for (path, text) in &documents {
        let file = dir.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, text)?;
    }
    for (path, file) in files(dir)? {
        if !documents.contains_key(&path) && path.ends_with(".json") {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Every file below a folder but the README, by its path with forward slashes.
fn files(dir: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), dir.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((format!("{path}/"), entry.path()));
            } else if path != README {
                files.insert(path, entry.path());
            }
        }
    }
    Ok(files)
}

/// The documents made so far, and the index that lists them by their names on the wire.
#[derive(Default)]
struct Documents {
    texts: BTreeMap<String, String>,
    index: BTreeMap<&'static str, BTreeMap<String, String>>,
}

impl Documents {
    fn add(&mut self, folder: &'static str, name: &str, document: &impl Serialize) {
        let path = format!("{folder}/{}.json", name.to_lowercase().replace('_', "-"));
        self.texts.insert(path.clone(), pretty(document));
        self.index.entry(folder).or_default().insert(name.to_owned(), path);
    }

    fn finish(mut self) -> BTreeMap<String, String> {
        self.texts.insert("index.json".to_owned(), pretty(&self.index));
        self.texts
    }
}

fn pretty(document: &impl Serialize) -> String {
    // Only a map with keys that are not strings cannot be written, and no document has one.
    let mut text = serde_json::to_string_pretty(document).expect("a schema is always representable");
    text.push('\n');
    text
}

/// A schema with its head.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    title: &'a str,
    #[serde(flatten)]
    schema: &'a Object,
}

impl<'a> Document<'a> {
    fn new(title: &'a str, schema: &'a Object) -> Self {
        Self { dialect: DIALECT, title, schema }
    }
}

/// A schema that only its own code satisfies, with what else there is to know about it.
#[derive(Serialize)]
struct CodeDocument {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    title: &'static str,
    description: &'static str,
    r#const: ErrorCode,
    #[serde(rename = "x-httpStatus")]
    http_status: u16,
    #[serde(rename = "x-retryable")]
    retryable: bool,
}

impl CodeDocument {
    fn new(code: ErrorCode) -> Self {
        Self {
            dialect: DIALECT,
            title: code.as_str(),
            description: code.description(),
            r#const: code,
            http_status: code.http_status(),
            retryable: code.is_retryable(),
        }
    }
}

/// What an action has that may have a name.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct MaybeNamed {
    /// Repeated in every event about the action.
    #[schemars(length(max = MAX_REQUEST_ID_BYTES))]
    request_id: Option<String>,
}

/// What an action has that must have a name.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct Named {
    /// Repeated in every event about the action.
    #[schemars(length(min = 1, max = MAX_REQUEST_ID_BYTES))]
    request_id: String,
}

/// What [`numbered`](super::numbered) adds to an event.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Numbered {
    /// The frame's place in its turn; of several frames in one, the last one's.
    #[schemars(range(min = 1))]
    seq: u64,
    /// Which run of the turn made the frame.
    #[schemars(range(min = 1))]
    epoch: i64,
}

/// The schemas of a tagged enum's variants by their tags, each complete in itself.
fn variants<T: JsonSchema>(settings: SchemaSettings, tag: &str) -> BTreeMap<String, Object> {
    let root = settings.with(|settings| settings.inline_subschemas = true).into_generator().into_root_schema_for::<T>();
    let alternatives = root.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = alternatives.into_iter().filter_map(|alternative| {
        let Value::Object(schema) = alternative else { return None };
        let name = schema.get("properties")?.get(tag)?.get("const")?.as_str()?.to_owned();
        Some((name, schema))
    });
    named.collect()
}

/// Adds the members of a struct to the schema of a variant, which always has members: its tag at least.
fn merge<T: JsonSchema>(schema: &mut Object) {
    let added = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    if let (Some(Value::Object(all)), Some(Value::Object(new))) =
        (schema.get_mut("properties"), added.get("properties"))
    {
        all.extend(new.clone());
    }
    if let (Some(Value::Array(all)), Some(Value::Array(new))) = (schema.get_mut("required"), added.get("required")) {
        all.retain(|name| !new.contains(name));
        all.extend(new.iter().cloned());
    }
}
