//! Sessions, and the conversations and seats that come with them.

use switchboard::ids::{AgentId, ConversationId, SessionId};
use switchboard::store::{Agent, NewSession, NewTurn, Owner};

use super::fixture::{Fixture, new_session, new_turn, owner};

pub async fn a_session_exists_for_another_connection_the_moment_it_is_made(fixture: Fixture) {
    let new = new_session(&owner("ada"));
    let made = fixture.store.create_session(&new).await.unwrap().unwrap();
    let found = fixture.other.session(new.session).await.unwrap().unwrap();
    assert_eq!((found.id, found.conversation, &found.owner), (new.session, new.conversation, &new.owner));
    assert_eq!((found.agent, found.agent_name.as_str()), (new.agent, "Concierge"));
    assert_eq!((found.user_participant, found.agent_participant), (new.user_participant, new.agent_participant));
    assert_eq!(found.supports, ["stream_resume"]);
    assert_eq!(found.last_active_at, made.last_active_at);
    assert!(found.read_at >= made.read_at);
    assert_eq!(fixture.other.session(SessionId::new()).await.unwrap(), None);
}

pub async fn a_session_made_twice_with_the_same_ids_is_one_session(fixture: Fixture) {
    let new = new_session(&owner("ada"));
    let first = fixture.store.create_session(&new).await.unwrap().unwrap();
    let again = fixture.other.create_session(&new).await.unwrap().unwrap();
    assert_eq!(again.id, first.id);
    assert_eq!(again.user_participant, first.user_participant);

    let resumed = NewSession { session: SessionId::new(), resume: Some(first.conversation), ..new_session(&new.owner) };
    let one = fixture.store.create_session(&resumed).await.unwrap().unwrap();
    let two = fixture.other.create_session(&resumed).await.unwrap().unwrap();
    assert_eq!((one.id, one.conversation), (two.id, two.conversation));

    let thief = NewSession { owner: owner("eve"), ..new };
    assert_eq!(fixture.store.create_session(&thief).await.unwrap(), None);
}

pub async fn resuming_keeps_the_conversation_and_its_participants(fixture: Fixture) {
    let first = fixture.session(&owner("ada")).await;
    fixture.talk(&first, "hello", "good day").await;
    let resume =
        NewSession { resume: Some(first.conversation), agent_name: "Other".into(), ..new_session(&first.owner) };
    let second = fixture.other.create_session(&resume).await.unwrap().unwrap();
    assert_eq!(second.id, resume.session);
    assert_eq!(second.conversation, first.conversation);
    assert_eq!(second.user_participant, first.user_participant);
    assert_eq!(second.agent_participant, first.agent_participant);
    assert_eq!((second.agent, second.agent_name.as_str()), (resume.agent, "Other"));
    assert!(second.last_active_at > first.last_active_at);
    assert_eq!(fixture.store.session(second.id).await.unwrap().unwrap().last_active_at, second.last_active_at);

    fixture.talk(&second, "again", "good day again").await;
    assert_eq!(fixture.store.history(first.conversation, 10).await.unwrap().len(), 4);
}

pub async fn resuming_a_foreign_or_unknown_conversation_gives_nothing(fixture: Fixture) {
    let session = fixture.session(&owner("ada")).await;
    let stranger = NewSession { resume: Some(session.conversation), ..new_session(&owner("eve")) };
    assert_eq!(fixture.store.create_session(&stranger).await.unwrap(), None);
    let other_org = Owner { org: "globex".into(), user: "ada".into() };
    let namesake = NewSession { resume: Some(session.conversation), ..new_session(&other_org) };
    assert_eq!(fixture.store.create_session(&namesake).await.unwrap(), None);
    let lost = NewSession { resume: Some(ConversationId::new()), ..new_session(&session.owner) };
    assert_eq!(fixture.store.create_session(&lost).await.unwrap(), None);
    for refused in [stranger, namesake, lost] {
        assert_eq!(fixture.store.session(refused.session).await.unwrap(), None);
    }
}

pub async fn a_session_needs_no_declared_agent_and_a_declared_one_is_found(fixture: Fixture) {
    let session = fixture.any_session().await;
    assert_eq!(fixture.store.agent(session.agent).await.unwrap(), None);
    let tool = serde_json::json!({
        "name": "look", "description": "Looks", "parameters": {"type": "object", "title": "\0"}, "url": "https://x/",
        "timeoutSeconds": 2.5, "headers": {"X-Key": {"env": "KEY"}}, "confirm": true,
    });
    let agent = Agent {
        id: AgentId::new(),
        name: "Concierge".into(),
        instructions: "Be brief.".into(),
        model: None,
        max_iterations: Some(3),
        tools: vec![serde_json::from_value(tool).unwrap()],
    };
    let plain =
        Agent { id: AgentId::new(), model: Some("m".into()), max_iterations: None, tools: vec![], ..agent.clone() };
    let both = [agent, plain];
    assert_eq!(fixture.store.put_agents(&both).await.unwrap(), 2);
    assert_eq!(fixture.store.put_agents(&both).await.unwrap(), 0, "nothing changed");
    let changed = Agent { model: None, ..both[1].clone() };
    assert_eq!(fixture.store.put_agents(&[both[0].clone(), changed.clone()]).await.unwrap(), 1);
    for agent in [&both[0], &changed] {
        assert_eq!(fixture.store.agent(agent.id).await.unwrap().as_ref(), Some(agent));
    }
}

pub async fn any_text_is_kept_and_a_nul_becomes_a_replacement_character(fixture: Fixture) {
    let strange = "e\u{301} \u{1F469}\u{200D}\u{1F680} \u{202E}abc \u{FFFF} 'quote\" \\ %_ \r\n\t \u{7F}";
    let new = NewSession {
        owner: Owner { org: format!("{strange}\0"), user: strange.into() },
        user_name: format!("{strange}\0"),
        metadata: serde_json::json!({ "nul\0": format!("{strange}\0") }),
        supports: vec![format!("x\0{strange}")],
        ..new_session(&owner("unused"))
    };
    let session = fixture.store.create_session(&new).await.unwrap().unwrap();
    assert_eq!(session.owner, Owner { org: format!("{strange}\u{FFFD}"), user: strange.into() });
    assert_eq!(session.supports, [format!("x\u{FFFD}{strange}")]);
    let again = fixture.store.create_session(&new).await.unwrap();
    assert_eq!(again.map(|again| again.id), Some(session.id));

    let request_id = format!("r\0{strange}");
    let turn = NewTurn { text: format!("{strange}\0end"), ..new_turn(&session, &request_id) };
    fixture.store.accept_turn(&turn).await.unwrap();
    let message = fixture.store.history(session.conversation, 1).await.unwrap().remove(0);
    assert_eq!(message.text, format!("{strange}\u{FFFD}end"));
    assert_eq!(message.participant_name, format!("{strange}\u{FFFD}"));
    let cancelled = fixture.store.cancel_turn(session.conversation, Some(&request_id)).await.unwrap();
    assert_ne!(cancelled, switchboard::store::Cancellation::NothingRuns);
}
