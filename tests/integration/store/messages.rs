//! Reading messages, and how they are numbered.

use switchboard::ids::NodeId;
use switchboard::store::{Acceptance, Direction, Finished, NewTurn};

use super::fixture::{Fixture, LONG, claim, finish, new_turn};

pub async fn messages_come_newest_first_in_pages_that_neither_repeat_nor_skip(fixture: Fixture) {
    let session = fixture.any_session().await;
    for round in 0..4 {
        fixture.talk(&session, &format!("question {round}"), &format!("answer {round}")).await;
    }
    // Times say nothing about the order.
    fixture.sql("update messages set created_at = (select min(created_at) from messages)").await.unwrap();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = fixture.other.messages(session.conversation, before, 3).await.unwrap();
        before = page.items.last().map(|message| message.seq);
        seen.extend(page.items);
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen.iter().map(|message| message.seq).collect::<Vec<_>>(), [8, 7, 6, 5, 4, 3, 2, 1]);
    let (answer, question) = (&seen[0], &seen[1]);
    assert_eq!((answer.direction, answer.text.as_str()), (Direction::Outbound, "answer 3"));
    assert_eq!((answer.participant, answer.participant_name.as_str()), (session.agent_participant, "Concierge"));
    assert_eq!((question.direction, question.text.as_str()), (Direction::Inbound, "question 3"));
    assert_eq!((question.participant, question.participant_name.as_str()), (session.user_participant, "Ada"));

    let exact = fixture.store.messages(session.conversation, None, 8).await.unwrap();
    assert!(!exact.has_more);
    assert_eq!(exact.items, seen);
    assert!(fixture.store.messages(session.conversation, Some(1), 5).await.unwrap().items.is_empty());
}

pub async fn history_is_the_newest_ones_oldest_first(fixture: Fixture) {
    let session = fixture.any_session().await;
    for round in 0..3 {
        fixture.talk(&session, &format!("question {round}"), &format!("answer {round}")).await;
    }
    let texts = |messages: Vec<switchboard::store::Message>| {
        messages.into_iter().map(|message| message.text).collect::<Vec<_>>()
    };
    let newest = fixture.store.history(session.conversation, 3).await.unwrap();
    assert_eq!(texts(newest), ["answer 1", "question 2", "answer 2"]);
    assert_eq!(fixture.store.history(session.conversation, 100).await.unwrap().len(), 6);
}

pub async fn seq_has_no_gap_under_concurrent_turns(fixture: Fixture) {
    let session = fixture.any_session().await;
    let tasks: Vec<_> = (0..20)
        .map(|task: usize| {
            let store = if task.is_multiple_of(2) { fixture.store.clone() } else { fixture.other.clone() };
            let session = session.clone();
            tokio::spawn(async move {
                let holder = NodeId::new();
                loop {
                    let new = NewTurn { claim: Some(claim(holder, LONG)), ..new_turn(&session, &format!("r{task}")) };
                    match store.accept_turn(&new).await.unwrap() {
                        Acceptance::Accepted { epoch } => {
                            let finish = finish(new.turn, epoch, holder);
                            assert_eq!(store.finish_turn(&finish).await.unwrap(), Finished::Committed);
                            return;
                        }
                        Acceptance::Busy => tokio::task::yield_now().await,
                        Acceptance::Duplicate(turn) => panic!("{turn:?}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let messages = fixture.store.history(session.conversation, 100).await.unwrap();
    assert_eq!(messages.iter().map(|message| message.seq).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    for pair in messages.chunks(2) {
        assert_eq!((pair[0].direction, pair[1].direction), (Direction::Inbound, Direction::Outbound));
    }
}

pub async fn times_grow_with_seq(fixture: Fixture) {
    let session = fixture.any_session().await;
    for _ in 0..5 {
        fixture.talk(&session, "question", "answer").await;
    }
    let messages = fixture.store.history(session.conversation, 100).await.unwrap();
    assert!(messages.is_sorted_by_key(|message| message.created_at));
    let last = messages.last().unwrap().created_at;
    assert_eq!(fixture.store.session(session.id).await.unwrap().unwrap().last_active_at, last);
}
