//! Every constructor of an event writes exactly what was recorded.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::{Value, json};
use switchboard::ids::{AgentId, ConversationId, MessageId, ParticipantId, SessionId};
use switchboard::protocol::*;
use uuid::Uuid;

use super::recorded::{Schemas, frames};

/// The id that has one hexadecimal digit almost everywhere.
fn id(digit: char) -> Uuid {
    let text = "dddddddd-dddd-4ddd-8ddd-dddddddddddd".replace('d', &digit.to_string());
    text.parse().expect("a UUID")
}

fn six() -> SessionCreated {
    SessionCreated {
        session_id: SessionId(id('2')),
        conversation_id: ConversationId(id('3')),
        agent_id: AgentId(id('1')),
        agent_name: "Iris".to_owned(),
        user_participant_id: ParticipantId(id('4')),
        agent_participant_id: ParticipantId(id('5')),
    }
}

fn session_events() -> Vec<(&'static str, Event<'static>)> {
    let snapshot = SessionSnapshot::new(six(), SessionStatus::Active);
    vec![
        ("session/pong", Event::pong(Some("p-1"), 1_765_432_100_123)),
        ("session/pong without a name", Event::pong(None, 1_765_432_100_123)),
        (
            "session/created",
            Event::response(
                Some("c-1"),
                1_765_432_100_456,
                200,
                "Session created",
                ResponseData::SessionCreated(six()),
            ),
        ),
        (
            "session/got",
            Event::response(Some("g-1"), 1_765_432_100_789, 200, "Session", ResponseData::Session(snapshot)),
        ),
        ("session/going away", Event::going_away(1_765_432_100_999, 1500)),
    ]
}

fn turn_events(citations: &[Citation]) -> Vec<(&'static str, Event<'_>)> {
    let text = "12 \u{20ac} \"a month\"\n";
    let usage = Usage { cost_usd: 0.0125, prompt_tokens: 210, completion_tokens: 12 };
    let message = MessageId(id('6'));
    vec![
        ("turn/accepted", Event::accepted("t-1", 1_765_432_101_000)),
        ("turn/reasoning", Event::stream_reasoning("t-1", 1_765_432_101_001, "Look it up.")),
        ("turn/tool call", Event::tool_call("t-1", 1_765_432_101_002, "price_list", "{\"year\":2026}")),
        ("turn/tool result", Event::tool_result("t-1", 1_765_432_101_003, "price_list", false, "12 a month")),
        ("turn/token", Event::stream_token("t-1", 1_765_432_101_004, text)),
        ("turn/answer", Event::eventual_response("t-1", 1_765_432_101_005, message, text, Some(usage), citations)),
        ("turn/bare answer", Event::eventual_response("t-2", 1_765_432_102_000, message, "Hello.", None, &[])),
        ("turn/cancelled", Event::cancelled("t-3", 1_765_432_103_000)),
        (
            "turn/failed",
            Event::error(Some("t-4"), 1_765_432_104_000, ErrorCode::AgentError, "the agent could not answer"),
        ),
        (
            "turn/refused without a name",
            Event::error(None, 1_765_432_105_000, ErrorCode::ValidationError, "missing 'action' field"),
        ),
    ]
}

fn citations() -> Vec<Citation> {
    vec![
        Citation {
            id: id('7').to_string(),
            title: "prices.md".to_owned(),
            url: Some("https://example.org/prices".to_owned()),
            snippet: "It costs 12 a month\u{2026}".to_owned(),
            score: 0.75,
        },
        Citation {
            id: id('8').to_string(),
            title: "notes.txt".to_owned(),
            url: None,
            snippet: "Twelve.".to_owned(),
            score: 0.25,
        },
    ]
}

fn listing_events() -> Vec<(&'static str, Event<'static>)> {
    // Finer than a millisecond, so that what is cut off shows.
    let late = DateTime::from_timestamp(1_765_432_106, 7_999_999).expect("a time");
    let early = DateTime::from_timestamp(1_765_432_106, 0).expect("a time");
    let agent =
        Participant { id: ParticipantId(id('5')), kind: ParticipantKind::AiAgent, name: Some("Iris".to_owned()) };
    let person = Participant { id: ParticipantId(id('4')), kind: ParticipantKind::User, name: None };
    let answer = MessageItem {
        id: MessageId(id('6')),
        direction: MessageDirection::Outbound,
        content: MessageContent { text: "Hello.".to_owned() },
        from: Some(agent),
        to: Some(person),
        created_at: late,
    };
    let question = MessageItem {
        id: MessageId(id('9')),
        direction: MessageDirection::Inbound,
        content: MessageContent { text: "Hi".to_owned() },
        from: None,
        to: None,
        created_at: early,
    };
    let messages = Messages { messages: vec![answer, question], next_cursor: Some("1".to_owned()), has_more: true };
    let conversation = ConversationItem {
        conversation_id: ConversationId(id('3')),
        title: "Prices".to_owned(),
        updated_at: late,
        message_count: 2,
    };
    let conversations = Conversations { conversations: vec![conversation], next_cursor: None, has_more: false };
    let renamed = Renamed { conversation_id: ConversationId(id('3')), title: "What it costs".to_owned() };
    let respond =
        |request_id, timestamp, message, data| Event::response(Some(request_id), timestamp, 200, message, data);
    vec![
        ("listing/message page", respond("m-1", 1_765_432_106_000, "Messages", ResponseData::Messages(messages))),
        (
            "listing/conversation page",
            respond("l-1", 1_765_432_107_000, "Conversations", ResponseData::Conversations(conversations)),
        ),
        ("listing/renamed", respond("n-1", 1_765_432_108_000, "Conversation renamed", ResponseData::Renamed(renamed))),
    ]
}

/// What the events that ask a person borrow from.
struct Asked {
    spec: Value,
    errors: Vec<FieldError>,
    channels: Vec<String>,
}

impl Asked {
    fn new() -> Self {
        Self {
            spec: json!({"fields": [{"name": "size", "type": "number"}]}),
            errors: vec![FieldError { field: "size".to_owned(), message: "must be a number".to_owned() }],
            channels: vec!["email".to_owned(), "sms".to_owned()],
        }
    }

    fn events(&self) -> Vec<(&'static str, Event<'_>)> {
        let confirmed = ResponseData::ToolConfirmation(ToolConfirmation { approved: true });
        vec![
            (
                "person/confirmation required",
                Event::write_confirmation_required("t-5", 1_765_432_109_000, "place_order", "Order 2 boxes"),
            ),
            (
                "person/confirmed",
                Event::response(Some("t-5"), 1_765_432_109_001, 200, "Tool action approved", confirmed),
            ),
            (
                "person/interaction required",
                Event::interaction_required(
                    "t-6",
                    1_765_432_110_000,
                    "i-1",
                    "form",
                    &self.spec,
                    "The order needs a size.",
                ),
            ),
            (
                "person/interaction invalid",
                Event::interaction_invalid(
                    "t-6",
                    1_765_432_110_001,
                    "i-1",
                    "form",
                    &self.errors,
                    "One field does not fit.",
                ),
            ),
            (
                "person/otp required",
                Event::otp_verification_required(
                    "t-7",
                    1_765_432_111_000,
                    "close_account",
                    "Close the account",
                    &self.channels,
                    "high",
                ),
            ),
            ("person/otp sent", Event::otp_sent("t-7", 1_765_432_111_001, "email", "a***@example.org")),
            ("person/otp invalid", Event::otp_invalid("t-7", 1_765_432_111_002, Some("wrong_code"), 2, "Try again.")),
            (
                "person/otp invalid without a name",
                Event::otp_invalid("t-7", 1_765_432_111_003, None, 0, "That was the last try."),
            ),
            ("person/otp verified", Event::otp_verified("t-7", 1_765_432_111_004, "Thank you.")),
        ]
    }
}

fn resume_events() -> Vec<(&'static str, Event<'static>)> {
    let attached = |turn, verdict| ResponseData::Attached(Box::new(Attached { session: six(), turn, verdict }));
    let turn = AttachedTurn { request_id: "t-8".to_owned(), state: AttachedState::Running, epoch: 1, seq: 9 };
    vec![
        (
            "resume/attached",
            Event::response(
                Some("a-1"),
                1_765_432_112_000,
                200,
                "Session attached",
                attached(Some(turn), Verdict::Delta),
            ),
        ),
        (
            "resume/attached to nothing",
            Event::response(Some("a-2"), 1_765_432_112_001, 200, "Session attached", attached(None, Verdict::Gone)),
        ),
        ("resume/restarted", Event::turn_restarted("t-8", 1_765_432_113_000, 2)),
    ]
}

#[test]
fn every_constructor_writes_what_was_recorded_and_every_recorded_event_has_a_constructor() {
    let (citations, asked, schemas) = (citations(), Asked::new(), Schemas::new());
    let mut recorded = frames();
    recorded.retain(|_, frame| frame["type"].is_string() && frame["seq"].is_null());
    let made = [session_events(), turn_events(&citations), listing_events(), asked.events(), resume_events()];
    for (name, event) in made.into_iter().flatten() {
        let written: Value = serde_json::from_str(&event.encode()).unwrap();
        assert_eq!(Some(&written), recorded.get(name), "{name}");
        assert_eq!(schemas.check(&written), Ok(()), "{name}");
        recorded.remove(name);
    }
    assert_eq!(recorded.keys().collect::<BTreeSet<_>>(), BTreeSet::new(), "recorded, and made by no constructor");
}

#[test]
fn a_numbered_frame_is_what_was_recorded() {
    let recorded = frames();
    let numbered = [
        ("resume/numbered token", numbered(&Event::stream_token("t-8", 1_765_432_112_002, "}").encode(), 1, 8)),
        ("resume/numbered restart", numbered(&Event::turn_restarted("t-8", 1_765_432_113_000, 2).encode(), 2, 1)),
        ("resume/numbered end", numbered(&Event::cancelled("t-8", 1_765_432_114_000).encode(), 2, 2)),
    ];
    for (name, frame) in numbered {
        assert_eq!(&serde_json::from_str::<Value>(&frame).unwrap(), &recorded[name], "{name}");
    }
}

#[test]
fn every_error_code_makes_a_valid_event() {
    let schemas = Schemas::new();
    for &code in ErrorCode::ALL {
        let event: Value = serde_json::from_str(&Event::error(Some("r"), 5, code, "no").encode()).unwrap();
        assert_eq!(event["error"]["code"], code.as_str());
        assert_eq!(schemas.check(&event), Ok(()), "{code:?}");
    }
}

#[test]
fn an_event_that_lacks_any_member_but_a_request_id_fails() {
    let schemas = Schemas::new();
    let (citations, asked) = (citations(), Asked::new());
    let made = [session_events(), turn_events(&citations), listing_events(), asked.events(), resume_events()];
    for (name, event) in made.into_iter().flatten() {
        let written: Value = serde_json::from_str(&event.encode()).unwrap();
        for member in written.as_object().unwrap().keys().filter(|member| *member != "requestId" && *member != "type") {
            let mut lacking = written.clone();
            lacking.as_object_mut().unwrap().remove(member);
            assert!(schemas.check(&lacking).is_err(), "{name} without {member} passes");
        }
    }
}
