//! Holds every event that a test client receives against the published schemas.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;
use switchboard::protocol::schema;

/// What `stream_resume` adds to the frames of a turn, and to no others.
const NUMBERS: [&str; 2] = ["seq", "epoch"];

/// Fails the test when an event is not exactly as its schema says.
pub fn assert_event(event: &Value) {
    let kind = event["type"].as_str().unwrap_or_else(|| panic!("an event without a type: {event}"));
    let validators = validators();
    let validator = validators.get(kind).unwrap_or_else(|| panic!("no schema for {event}"));
    let mut plain = event.clone();
    if let Some(members) = plain.as_object_mut()
        && kind != "turn_restarted"
    {
        members.retain(|key, _| !NUMBERS.contains(&key.as_str()));
    }
    if let Err(error) = validator.validate(&plain) {
        panic!("{error}: {event}");
    }
}

fn validators() -> &'static HashMap<String, jsonschema::Validator> {
    static VALIDATORS: OnceLock<HashMap<String, jsonschema::Validator>> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        schema::documents()
            .into_iter()
            .filter_map(|(path, text)| {
                let name = path.strip_prefix("events/")?.strip_suffix(".json")?.replace('-', "_");
                let document = serde_json::from_str(&text).expect("JSON");
                Some((name, jsonschema::validator_for(&document).expect("a schema")))
            })
            .collect()
    })
}
