//! What is in `schemas/` is what the types say, and holds for what is on the wire.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use switchboard::ids::NodeId;
use switchboard::protocol::{ErrorCode, schema};

use super::recorded::{Schemas, frames};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// A folder of its own for one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemas-{}", NodeId::new()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let drift = schema::drift(&committed()).unwrap();
    assert!(drift.is_empty(), "write them anew with `cargo run -- schema`: {drift:#?}");
}

#[test]
fn drift_is_seen_in_both_directions() {
    let folder = Folder::new();
    schema::write(&folder.0).unwrap();
    fs::write(folder.0.join("README.md"), "by hand").unwrap();
    assert_eq!(schema::drift(&folder.0).unwrap(), []);

    fs::remove_file(folder.0.join("actions/ping.json")).unwrap();
    fs::write(folder.0.join("events/pong.json"), "{}\n").unwrap();
    fs::write(folder.0.join("events/boo.json"), "{}\n").unwrap();
    fs::create_dir(folder.0.join("ghosts")).unwrap();
    fs::write(folder.0.join("ghosts/README.md"), "not the one at the top").unwrap();
    assert_eq!(
        schema::drift(&folder.0).unwrap(),
        [
            schema::Drift::Missing("actions/ping.json".to_owned()),
            schema::Drift::Changed("events/pong.json".to_owned()),
            schema::Drift::Superfluous("events/boo.json".to_owned()),
            schema::Drift::Superfluous("ghosts/README.md".to_owned()),
        ]
    );

    fs::remove_dir_all(folder.0.join("ghosts")).unwrap();
    schema::write(&folder.0).unwrap();
    assert_eq!(schema::drift(&folder.0).unwrap(), []);
}

#[test]
fn every_schema_is_a_schema_of_its_dialect() {
    for (path, text) in schema::documents() {
        if path == "index.json" {
            continue;
        }
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema", "{path}");
        assert!(jsonschema::meta::is_valid(&document), "{path}");
    }
}

#[test]
fn the_index_lists_every_action_event_and_code_of_the_protocol() {
    let index: Value = serde_json::from_str(&schema::documents()["index.json"]).unwrap();
    let listed = |section: &str| -> BTreeSet<String> { index[section].as_object().unwrap().keys().cloned().collect() };
    let names = |names: &str| -> BTreeSet<String> { names.split_whitespace().map(str::to_owned).collect() };

    assert_eq!(
        listed("actions"),
        names(
            "ping create_conversation_session get_session send_message get_conversation_messages list_conversations
             rename_conversation cancel confirm_tool_action verify_otp submit_interaction attach_session"
        )
    );
    assert_eq!(
        listed("events"),
        names(
            "pong immediate_response stream_token stream_chunk stream_reasoning eventual_response cancelled error
             write_confirmation_required interaction_required interaction_invalid otp_verification_required otp_sent
             otp_verified otp_invalid turn_restarted going_away"
        )
    );
    let unnumbered = names("pong immediate_response going_away");
    assert_eq!(listed("numbered-events"), listed("events").difference(&unnumbered).cloned().collect());
    assert_eq!(
        listed("error-codes"),
        names(
            "VALIDATION_ERROR UNSUPPORTED_ACTION AGENT_NOT_AUTHORIZED ORIGIN_NOT_ALLOWED AUTH_CONTEXT_INVALID
             SESSION_NOT_FOUND CONVERSATION_NOT_FOUND LLM_UNAVAILABLE AGENT_ERROR INTERNAL_ERROR STORAGE_ERROR
             TURN_IN_PROGRESS NO_PENDING_CONFIRMATION NO_PENDING_INTERACTION INTERACTION_MISMATCH OTP_SEND_FAILED
             RATE_LIMITED PAYLOAD_TOO_LARGE UNAUTHENTICATED INVALID_TOKEN FORBIDDEN NOT_FOUND"
        )
    );
    assert_eq!(ErrorCode::ALL.len(), listed("error-codes").len());
}

#[test]
fn every_recorded_frame_holds_to_its_schema() {
    let schemas = Schemas::new();
    for (name, frame) in frames() {
        assert_eq!(schemas.check(&frame), Ok(()), "{name}");
    }
}

#[test]
fn there_is_a_recorded_frame_for_every_action_and_event() {
    let index: Value = serde_json::from_str(&schema::documents()["index.json"]).unwrap();
    let frames = frames();
    for (section, tag) in [("actions", "action"), ("events", "type")] {
        for name in index[section].as_object().unwrap().keys() {
            assert!(frames.values().any(|frame| frame[tag] == name.as_str()), "nothing recorded for {name}");
        }
    }
}

/// Every copy of a value with one more member in one of its objects; what lies under `spec` may have any shape.
fn with_one_more_member(value: &Value) -> Vec<Value> {
    let mut copies = Vec::new();
    if let Value::Object(members) = value {
        let mut copy = members.clone();
        copy.insert("surprise".to_owned(), json!(1));
        copies.push(Value::Object(copy));
    }
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (format!("/{name}"), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(place, value)| (format!("/{place}"), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (pointer, changed) in inner.into_iter().filter(|(pointer, _)| pointer != "/spec") {
        for changed in with_one_more_member(changed) {
            let mut copy = value.clone();
            *copy.pointer_mut(&pointer).expect("it was found there") = changed;
            copies.push(copy);
        }
    }
    copies
}

#[test]
fn an_event_with_an_unknown_key_anywhere_fails_and_an_action_with_one_passes() {
    let schemas = Schemas::new();
    for (name, frame) in frames() {
        let mut changed = with_one_more_member(&frame);
        if frame["action"].is_string() {
            changed.truncate(1);
            assert_eq!(schemas.check(&changed[0]), Ok(()), "{name}");
        } else {
            assert!(changed.iter().all(|frame| schemas.check(frame).is_err()), "{name}: an unknown key passes");
        }
    }
}

#[test]
fn an_event_that_names_no_request_leaves_the_member_out() {
    let schemas = Schemas::new();
    for (name, mut frame) in frames().into_iter().filter(|(_, frame)| frame["type"].is_string()) {
        frame["requestId"] = Value::Null;
        assert!(schemas.check(&frame).is_err(), "{name}: a null requestId passes");
    }
}
