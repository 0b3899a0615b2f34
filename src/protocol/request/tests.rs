use proptest::prelude::*;
use serde_json::{Map, json};
use uuid::Uuid;

use super::*;
use crate::ids::{AgentId, ConversationId, SessionId};
use crate::protocol::{AuthContext, CreateConversationSession, InteractionAnswer, SendMessage, SubmitInteraction};

const ID: &str = "0198c1f0-7a5b-7c3d-8e9f-0a1b2c3d4e5f";

fn session() -> SessionId {
    SessionId(Uuid::parse_str(ID).unwrap())
}

fn action(frame: Value) -> Action {
    parse(&frame.to_string()).unwrap().action
}

/// The code and the message that a frame is refused with.
fn refusal(frame: Value) -> (&'static str, String) {
    let refusal = parse(&frame.to_string()).unwrap_err();
    (refusal.code.as_str(), refusal.message)
}

fn invalid(frame: Value) -> String {
    let (code, message) = refusal(frame);
    assert_eq!(code, "VALIDATION_ERROR", "{message}");
    message
}

#[test]
fn what_is_no_json_is_refused_without_a_request_id() {
    for text in ["", "{", "hello", r#"{"action":"ping","requestId":"r""#, &"[".repeat(10_000)] {
        let refusal = parse(text).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::ValidationError);
        assert!(refusal.message.starts_with("invalid JSON frame: "), "{}", refusal.message);
        assert_eq!(refusal.request_id, None);
    }
}

#[test]
fn json_that_is_no_object_is_refused_and_not_repeated() {
    for frame in [json!([1]), json!("x".repeat(500)), json!(1), Value::Null] {
        assert_eq!(invalid(frame), "invalid JSON frame: expected an object");
    }
}

#[test]
fn an_action_that_is_absent_or_no_text_is_missing() {
    for frame in [json!({}), json!({"action": null}), json!({"action": 7}), json!({"action": {"x": 1}})] {
        assert_eq!(invalid(frame), "missing 'action' field");
    }
}

#[test]
fn an_unknown_action_is_named_but_not_at_length() {
    assert_eq!(
        refusal(json!({"action": "fly"})),
        ("UNSUPPORTED_ACTION", "action 'fly' is not supported by this server".to_owned())
    );
    let (_, message) = refusal(json!({"action": "\u{e9}".repeat(5000)}));
    assert_eq!(message, format!("action '{}\u{2026}' is not supported by this server", "\u{e9}".repeat(64)));
    assert_eq!(refusal(json!({"action": "Ping"})).0, "UNSUPPORTED_ACTION");
}

#[test]
fn a_request_id_is_repeated_only_when_it_is_a_text() {
    assert_eq!(parse(r#"{"action":"ping","requestId":"r1"}"#).unwrap().request_id.as_deref(), Some("r1"));
    assert_eq!(parse(r#"{"action":"ping"}"#).unwrap().request_id, None);
    assert_eq!(parse(r#"{"action":"ping","requestId":7}"#).unwrap().request_id, None);
    assert_eq!(parse(r#"{"action":"ping","requestId":null}"#).unwrap().request_id, None);
    assert_eq!(parse(r#"{"action":"fly","requestId":"r1"}"#).unwrap_err().request_id.as_deref(), Some("r1"));
    assert_eq!(parse(r#"{"requestId":"r1"}"#).unwrap_err().request_id.as_deref(), Some("r1"));
    assert_eq!(parse(r#"{"action":"get_session","requestId":"r1"}"#).unwrap_err().request_id.as_deref(), Some("r1"));
}

#[test]
fn a_request_id_has_at_most_256_bytes() {
    assert!(parse(&json!({"action": "ping", "requestId": "r".repeat(256)}).to_string()).is_ok());
    let refusal = parse(&json!({"action": "ping", "requestId": "r".repeat(257)}).to_string()).unwrap_err();
    assert_eq!(refusal.message, "'requestId' is longer than 256 bytes");
    assert_eq!(refusal.request_id, None);
}

#[test]
fn send_message_is_checked_in_the_order_of_the_protocol() {
    let steps = [
        (json!({"action": "send_message"}), "send_message requires a 'requestId'"),
        (json!({"action": "send_message", "requestId": 7}), "send_message requires a 'requestId'"),
        (json!({"action": "send_message", "requestId": ""}), "send_message requires a 'requestId'"),
        (json!({"action": "send_message", "requestId": "r"}), "missing 'sessionId'"),
        (json!({"action": "send_message", "requestId": "r", "sessionId": 7}), "missing 'sessionId'"),
        (json!({"action": "send_message", "requestId": "r", "sessionId": ID}), "missing or empty 'message'"),
        (
            json!({"action": "send_message", "requestId": "r", "sessionId": ID, "message": ""}),
            "missing or empty 'message'",
        ),
        (
            json!({"action": "send_message", "requestId": "r", "sessionId": ID, "message": " \n"}),
            "missing or empty 'message'",
        ),
        (
            json!({"action": "send_message", "requestId": "r", "sessionId": ID, "message": ["hi"]}),
            "missing or empty 'message'",
        ),
        (
            json!({"action": "send_message", "requestId": "r", "sessionId": ID, "message": "hi", "model": 7}),
            "'model' must be a string",
        ),
    ];
    for (frame, message) in steps {
        assert_eq!(invalid(frame.clone()), message, "{frame}");
    }
    // A session that cannot exist is told before the message is looked at.
    let frame = json!({"action": "send_message", "requestId": "r", "sessionId": "nope"});
    assert_eq!(refusal(frame), ("SESSION_NOT_FOUND", "session 'nope' not found".to_owned()));
}

#[test]
fn a_message_is_kept_as_it_was_written() {
    let frame = json!({"action": "send_message", "requestId": "r", "sessionId": ID, "message": " hi\u{7}\n", "model": "m",
        "stream": true, "unheardOf": {"x": [1]}});
    assert_eq!(
        action(frame),
        Action::SendMessage(SendMessage {
            session_id: session(),
            message: " hi\u{7}\n".to_owned(),
            model: Some("m".to_owned())
        })
    );
}

#[test]
fn a_character_that_postgres_cannot_store_is_refused_wherever_it_stands() {
    let message = json!({"action": "send_message", "requestId": "r", "sessionId": ID, "message": "a\0b"});
    assert_eq!(invalid(message), "'message' holds a NUL character");
    assert_eq!(invalid(json!({"action": "ping", "requestId": "\0"})), "'requestId' holds a NUL character");
    for metadata in [json!({"a": ["\0"]}), json!({"a": {"\0": 1}})] {
        let frame = json!({"action": "create_conversation_session", "agentId": ID, "metadata": metadata});
        assert_eq!(invalid(frame), "'metadata' holds a NUL character");
    }
}

#[test]
fn an_id_that_is_no_uuid_cannot_exist() {
    for name in ["get_session", "get_conversation_messages", "attach_session"] {
        assert_eq!(invalid(json!({"action": name})), "missing 'sessionId'");
        assert_eq!(
            refusal(json!({"action": name, "sessionId": "x"})),
            ("SESSION_NOT_FOUND", "session 'x' not found".to_owned())
        );
        assert_eq!(
            refusal(json!({"action": name, "sessionId": ""})),
            ("SESSION_NOT_FOUND", "session '' not found".to_owned())
        );
    }
    let (_, message) = refusal(json!({"action": "get_session", "sessionId": "x".repeat(100)}));
    assert_eq!(message, format!("session '{}\u{2026}' not found", "x".repeat(64)));
    for name in ["rename_conversation", "create_conversation_session"] {
        let frame = json!({"action": name, "agentId": ID, "conversationId": "x"});
        assert_eq!(refusal(frame), ("CONVERSATION_NOT_FOUND", "conversation 'x' not found".to_owned()));
    }
}

#[test]
fn a_session_needs_an_agent_and_defaults_the_rest() {
    let name = "create_conversation_session";
    assert_eq!(invalid(json!({"action": name})), "missing 'agentId'");
    assert_eq!(invalid(json!({"action": name, "agentId": 7})), "missing 'agentId'");
    assert_eq!(invalid(json!({"action": name, "agentId": "x"})), "'agentId' must be a UUID");
    let expected = CreateConversationSession {
        agent_id: AgentId(Uuid::parse_str(ID).unwrap()),
        user_name: "Visitor".to_owned(),
        user_email: None,
        browser_fingerprint: None,
        metadata: Map::new(),
        auth_context: None,
        conversation_id: None,
        supports: Vec::new(),
    };
    for frame in [
        json!({"action": name, "agentId": ID}),
        json!({"action": name, "agentId": ID, "userName": "", "userEmail": null, "metadata": null, "supports": null,
            "conversationId": null, "authContext": null}),
    ] {
        assert_eq!(action(frame), Action::CreateConversationSession(expected.clone()));
    }
}

#[test]
fn a_session_keeps_all_that_the_client_says_of_itself() {
    let frame = json!({"action": "create_conversation_session", "agentId": ID, "userName": "Ada", "userEmail": "a@b.c",
        "browserFingerprint": "f", "metadata": {"page": "/"}, "conversationId": ID, "supports": ["follow", "telepathy"],
        "authContext": {"userId": "u", "signature": "s", "timestamp": 1_700_000_000}});
    assert_eq!(
        action(frame),
        Action::CreateConversationSession(CreateConversationSession {
            agent_id: AgentId(Uuid::parse_str(ID).unwrap()),
            user_name: "Ada".to_owned(),
            user_email: Some("a@b.c".to_owned()),
            browser_fingerprint: Some("f".to_owned()),
            metadata: Map::from_iter([("page".to_owned(), json!("/"))]),
            auth_context: Some(AuthContext {
                user_id: "u".to_owned(),
                signature: "s".to_owned(),
                timestamp: 1_700_000_000
            }),
            conversation_id: Some(ConversationId(Uuid::parse_str(ID).unwrap())),
            supports: vec!["follow".to_owned(), "telepathy".to_owned()],
        })
    );
}

#[test]
fn what_a_client_says_of_itself_is_bounded() {
    let cases = [
        ("userName", json!("n".repeat(257)), "'userName' is longer than 256 bytes"),
        ("userName", json!(7), "'userName' must be a string"),
        ("userEmail", json!("e".repeat(321)), "'userEmail' is longer than 320 bytes"),
        ("browserFingerprint", json!("f".repeat(1025)), "'browserFingerprint' is longer than 1024 bytes"),
        ("metadata", json!({"a": "m".repeat(16 * 1024)}), "'metadata' is longer than 16384 bytes"),
        ("metadata", json!([1]), "'metadata' must be an object"),
        ("supports", json!("follow"), "'supports' must be a list of strings"),
        ("supports", json!(["follow", 7]), "'supports' must be a list of strings"),
        ("supports", json!(vec!["x"; 33]), "'supports' has more than 32 entries"),
        ("supports", json!(["x".repeat(65)]), "'supports' is longer than 64 bytes"),
        ("authContext", json!("u"), "'authContext' must be an object"),
        ("authContext", json!({}), "missing or empty 'userId'"),
        ("authContext", json!({"userId": "u"}), "missing or empty 'signature'"),
        ("authContext", json!({"userId": "u", "signature": "s"}), "missing 'timestamp'"),
        (
            "authContext",
            json!({"userId": "u", "signature": "s", "timestamp": "now"}),
            "'timestamp' must be a whole number",
        ),
    ];
    for (field, value, message) in cases {
        let mut frame = json!({"action": "create_conversation_session", "agentId": ID});
        frame[field] = value;
        assert_eq!(invalid(frame), message, "{field}");
    }
}

#[test]
fn a_limit_is_brought_into_its_range() {
    let limits = [
        (json!(null), 50),
        (json!(1), 1),
        (json!(200), 200),
        (json!(0), 1),
        (json!(-5), 1),
        (json!(201), 200),
        (json!(u64::MAX), 200),
        (json!(1e300), 200),
        (json!(7.9), 7),
    ];
    for (limit, expected) in limits {
        let frame = json!({"action": "list_conversations", "limit": limit});
        assert_eq!(action(frame), Action::ListConversations { limit: expected, cursor: None, query: None });
        let frame = json!({"action": "get_conversation_messages", "sessionId": ID, "limit": limit});
        let expected = Action::GetConversationMessages { session_id: session(), limit: expected, cursor: None };
        assert_eq!(action(frame), expected);
    }
    for limit in [json!("50"), json!(true), json!([])] {
        assert_eq!(invalid(json!({"action": "list_conversations", "limit": limit})), "'limit' must be a number");
    }
}

#[test]
fn before_is_another_name_for_cursor_and_an_empty_one_is_none() {
    let cursors = [
        (json!({}), None),
        (json!({"cursor": "c"}), Some("c")),
        (json!({"before": "b"}), Some("b")),
        (json!({"cursor": "c", "before": "b"}), Some("c")),
        (json!({"cursor": "", "before": "b"}), Some("b")),
        (json!({"cursor": ""}), None),
        (json!({"before": ""}), None),
    ];
    for (mut frame, expected) in cursors {
        frame["action"] = json!("get_conversation_messages");
        frame["sessionId"] = json!(ID);
        let cursor = expected.map(str::to_owned);
        assert_eq!(action(frame), Action::GetConversationMessages { session_id: session(), limit: 50, cursor });
    }
    let frame = json!({"action": "list_conversations", "cursor": 7});
    assert_eq!(invalid(frame), "'cursor' must be a string");
}

#[test]
fn a_title_is_trimmed_and_has_one_to_sixty_characters() {
    let rename = |title: Value| json!({"action": "rename_conversation", "conversationId": ID, "title": title});
    assert_eq!(invalid(json!({"action": "rename_conversation", "title": "t"})), "missing 'conversationId'");
    for title in [json!(null), json!(7), json!(""), json!("  \t")] {
        assert_eq!(invalid(rename(title)), "missing or empty 'title'");
    }
    assert_eq!(invalid(rename(json!("\u{e9}".repeat(61)))), "'title' is longer than 60 characters");
    let longest = "\u{e9}".repeat(60);
    assert_eq!(
        action(rename(json!(format!("  {longest} ")))),
        Action::RenameConversation { conversation_id: ConversationId(Uuid::parse_str(ID).unwrap()), title: longest }
    );
}

#[test]
fn a_cancel_is_never_refused() {
    for frame in [
        json!({"action": "cancel"}),
        json!({"action": "cancel", "sessionId": 7}),
        json!({"action": "cancel", "sessionId": "x"}),
        json!({"action": "cancel", "requestId": "r".repeat(5000)}),
        json!({"action": "cancel", "requestId": {}}),
    ] {
        let request = parse(&frame.to_string()).unwrap();
        assert_eq!(request, Request { request_id: None, action: Action::Cancel { session_id: None } }, "{frame}");
    }
    let request = parse(&json!({"action": "cancel", "requestId": "r", "sessionId": ID}).to_string()).unwrap();
    assert_eq!(
        request,
        Request { request_id: Some("r".to_owned()), action: Action::Cancel { session_id: Some(session()) } }
    );
}

#[test]
fn an_answer_to_a_waiting_turn_must_name_it() {
    for name in ["confirm_tool_action", "verify_otp", "submit_interaction"] {
        assert_eq!(invalid(json!({"action": name, "sessionId": ID})), format!("{name} requires a 'requestId'"));
        assert_eq!(invalid(json!({"action": name, "requestId": "r"})), "missing 'sessionId'");
    }
}

#[test]
fn an_approval_is_true_or_false() {
    let confirm = |approved: Value| json!({"action": "confirm_tool_action", "requestId": "r", "sessionId": ID, "approved": approved});
    assert_eq!(action(confirm(json!(true))), Action::ConfirmToolAction { session_id: session(), approved: true });
    assert_eq!(action(confirm(json!(false))), Action::ConfirmToolAction { session_id: session(), approved: false });
    assert_eq!(invalid(confirm(json!(null))), "missing 'approved'");
    assert_eq!(invalid(confirm(json!("yes"))), "'approved' must be true or false");
}

#[test]
fn a_one_time_password_is_a_text() {
    let verify = |code: Value| json!({"action": "verify_otp", "requestId": "r", "sessionId": ID, "code": code});
    assert_eq!(action(verify(json!("012345"))), Action::VerifyOtp { session_id: session(), code: "012345".to_owned() });
    assert_eq!(invalid(verify(json!(12345))), "missing or empty 'code'");
    assert_eq!(invalid(verify(json!("1".repeat(65)))), "'code' is longer than 64 bytes");
}

#[test]
fn an_interaction_is_filled_in_or_declined() {
    let submit = |mut fields: Value| {
        fields["action"] = json!("submit_interaction");
        fields["requestId"] = json!("r");
        fields["sessionId"] = json!(ID);
        fields
    };
    let expected = |kind: Option<&str>, answer| {
        Action::SubmitInteraction(SubmitInteraction {
            session_id: session(),
            interaction_id: "i".to_owned(),
            kind: kind.map(str::to_owned),
            answer,
        })
    };
    assert_eq!(
        action(submit(json!({"interactionId": "i", "kind": "form", "values": {"a": 1}}))),
        expected(Some("form"), InteractionAnswer::Values(Map::from_iter([("a".to_owned(), json!(1))])))
    );
    assert_eq!(
        action(submit(json!({"interactionId": "i", "declined": true, "values": {"a": 1}}))),
        expected(None, InteractionAnswer::Declined)
    );
    assert_eq!(invalid(submit(json!({}))), "missing or empty 'interactionId'");
    assert_eq!(invalid(submit(json!({"interactionId": "i"}))), "missing 'values'");
    assert_eq!(invalid(submit(json!({"interactionId": "i", "declined": false}))), "missing 'values'");
    assert_eq!(invalid(submit(json!({"interactionId": "i", "declined": "no"}))), "'declined' must be true or false");
    assert_eq!(invalid(submit(json!({"interactionId": "i", "values": [1]}))), "'values' must be an object");
    let values = json!({"a": "v".repeat(64 * 1024)});
    assert_eq!(invalid(submit(json!({"interactionId": "i", "values": values}))), "'values' is longer than 65536 bytes");
}

#[test]
fn attaching_starts_at_the_beginning_unless_it_says_where() {
    let attach = |after: Value| json!({"action": "attach_session", "sessionId": ID, "afterSeq": after});
    assert_eq!(
        action(json!({"action": "attach_session", "sessionId": ID})),
        Action::AttachSession { session_id: session(), turn_request_id: None, after_seq: 0 }
    );
    assert_eq!(
        action(json!({"action": "attach_session", "sessionId": ID, "turnRequestId": "t", "afterSeq": 7})),
        Action::AttachSession { session_id: session(), turn_request_id: Some("t".to_owned()), after_seq: 7 }
    );
    for after in [json!(-1), json!(1.5), json!("7"), json!([])] {
        assert_eq!(invalid(attach(after)), "'afterSeq' must be a whole number, 0 or more");
    }
}

#[test]
fn a_refusal_becomes_an_error_event() {
    let refusal = parse(r#"{"requestId":"r"}"#).unwrap_err();
    assert_eq!(refusal.event(5), Event::error(Some("r"), 5, ErrorCode::ValidationError, "missing 'action' field"));
}

#[rustfmt::skip]
const ACTIONS: &[&str] = &[
    "ping", "create_conversation_session", "get_session", "send_message", "get_conversation_messages",
    "list_conversations", "rename_conversation", "cancel", "confirm_tool_action", "verify_otp", "submit_interaction",
    "attach_session",
];

#[rustfmt::skip]
const FIELDS: &[&str] = &[
    "requestId", "sessionId", "agentId", "conversationId", "message", "model", "limit", "cursor", "before", "query",
    "title", "approved", "code", "interactionId", "kind", "values", "declined", "turnRequestId", "afterSeq", "userName",
    "userEmail", "metadata", "authContext", "supports",
];

/// Frames that get past the first checks more often than chance would have it.
fn nearly_a_frame() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!(ID)),
        Just(json!({"userId": "u", "signature": "s"})),
        Just(json!([["deep"]])),
    ];
    let members = prop::collection::btree_map(prop::sample::select(FIELDS), value, 0..12);
    (prop::sample::select(ACTIONS), members).prop_map(|(action, members)| {
        let mut frame = Map::from_iter(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        frame.insert("action".to_owned(), json!(action));
        Value::Object(frame)
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_frame_makes_it_panic_and_a_refusal_stays_short(frame in nearly_a_frame()) {
        match parse(&frame.to_string()) {
            Ok(_) => {}
            Err(refusal) => {
                prop_assert!(refusal.message.chars().count() < 200);
                prop_assert!(frame["action"] != "cancel");
            }
        }
    }
}
