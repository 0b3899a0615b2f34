//! What the reader reads is what the schemas describe.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use switchboard::ids::{AgentId, ConversationId, SessionId};
use switchboard::protocol::{
    Action, AuthContext, CreateConversationSession, InteractionAnswer, SendMessage, SubmitInteraction, parse,
};
use uuid::Uuid;

use super::recorded::{Schemas, frames};

#[test]
fn every_recorded_action_is_read_and_keeps_its_request_id() {
    for (name, frame) in frames().into_iter().filter(|(_, frame)| frame["action"].is_string()) {
        let request = parse(&frame.to_string()).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        assert_eq!(request.request_id.as_deref(), frame["requestId"].as_str(), "{name}");
        assert_eq!(serde_json::to_value(&request.action).unwrap()["action"], frame["action"], "{name}");
    }
}

#[test]
fn a_frame_that_lacks_what_its_schema_requires_is_refused() {
    let schemas = Schemas::new();
    for (name, frame) in frames().into_iter().filter(|(_, frame)| frame["action"].is_string()) {
        for member in frame.as_object().unwrap().keys() {
            let mut lacking = frame.clone();
            lacking.as_object_mut().unwrap().remove(member);
            let read = parse(&lacking.to_string()).is_ok();
            let valid = member != "action" && schemas.check(&lacking).is_ok();
            assert_eq!(read, valid, "{name} without {member}");
        }
    }
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

/// A text that the reader keeps as it is: not blank, without the one character that the store cannot hold.
fn text() -> impl Strategy<Value = String> {
    "[^\u{0}]{0,20}[^\u{0}\\s]"
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![text().prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(json!([null, {}]))];
    prop::collection::btree_map(text(), value, 0..4).prop_map(|members| members.into_iter().collect())
}

fn create() -> impl Strategy<Value = Action> {
    let auth = (text(), text(), any::<i64>()).prop_map(|(user_id, signature, timestamp)| AuthContext {
        user_id,
        signature,
        timestamp,
    });
    let person = (text(), prop::option::of(text()), prop::option::of(text()), object());
    let rest = (prop::option::of(auth), prop::option::of(uuid()), prop::collection::vec("[a-z_]{1,20}", 0..4));
    (uuid(), person, rest).prop_map(|(agent, person, (auth_context, conversation, supports))| {
        let (user_name, user_email, browser_fingerprint, metadata) = person;
        Action::CreateConversationSession(CreateConversationSession {
            agent_id: AgentId(agent),
            user_name,
            user_email,
            browser_fingerprint,
            metadata,
            auth_context,
            conversation_id: conversation.map(ConversationId),
            supports,
        })
    })
}

fn submit() -> impl Strategy<Value = Action> {
    let answer = prop_oneof![object().prop_map(InteractionAnswer::Values), Just(InteractionAnswer::Declined)];
    (uuid(), text(), prop::option::of(text()), answer).prop_map(|(session, interaction_id, kind, answer)| {
        Action::SubmitInteraction(SubmitInteraction { session_id: SessionId(session), interaction_id, kind, answer })
    })
}

fn action() -> impl Strategy<Value = Action> {
    let session = || uuid().prop_map(SessionId);
    prop_oneof![
        Just(Action::Ping),
        create(),
        session().prop_map(|session_id| Action::GetSession { session_id }),
        (session(), text(), prop::option::of(text())).prop_map(|(session_id, message, model)| {
            Action::SendMessage(SendMessage { session_id, message, model })
        }),
        (session(), 1..=200_u32, prop::option::of(text()))
            .prop_map(|(session_id, limit, cursor)| Action::GetConversationMessages { session_id, limit, cursor }),
        (1..=200_u32, prop::option::of(text()), prop::option::of(text()))
            .prop_map(|(limit, cursor, query)| Action::ListConversations { limit, cursor, query }),
        (uuid(), text().prop_map(|title| title.trim().to_owned()))
            .prop_map(|(id, title)| { Action::RenameConversation { conversation_id: ConversationId(id), title } }),
        prop::option::of(session()).prop_map(|session_id| Action::Cancel { session_id }),
        (session(), any::<bool>())
            .prop_map(|(session_id, approved)| Action::ConfirmToolAction { session_id, approved }),
        (session(), "[0-9]{1,10}").prop_map(|(session_id, code)| Action::VerifyOtp { session_id, code }),
        submit(),
        (session(), prop::option::of(text()), any::<u64>()).prop_map(|(session_id, turn_request_id, after_seq)| {
            Action::AttachSession { session_id, turn_request_id, after_seq }
        }),
    ]
}

proptest! {
    #[test]
    fn every_action_is_read_back_from_what_it_serialises_to(action in action(), request_id in text()) {
        let mut frame = serde_json::to_value(&action).unwrap();
        frame["requestId"] = json!(request_id);
        let request = parse(&frame.to_string());
        prop_assert_eq!(request.map(|request| (request.request_id, request.action)), Ok((Some(request_id), action)));
    }
}

#[test]
fn every_action_holds_to_its_schema() {
    let schemas = Schemas::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (action(), text());
    runner
        .run(&strategy, |(action, request_id)| {
            let mut frame = serde_json::to_value(&action).unwrap();
            frame["requestId"] = json!(request_id);
            prop_assert_eq!(schemas.check(&frame), Ok(()));
            Ok(())
        })
        .unwrap();
}
