//! How a turn begins and ends, and what it refuses.

use switchboard::ids::{ConversationId, MessageId, NodeId, TurnId};
use switchboard::store::{
    Acceptance, Answer, Cancellation, Direction, Finish, Finished, HeldTurn, NewSession, NewTurn, Operation, Outcome,
    TurnState, TurnUsage,
};

use super::fixture::{Fixture, LONG, claim, finish, new_session, new_turn};

pub async fn a_message_is_accepted_with_its_turn_in_one_transaction(fixture: Fixture) {
    let session = fixture.any_session().await;
    let before = fixture.metrics.operations_total();
    let new = fixture.queue(&session, "r1").await;
    assert_eq!(fixture.metrics.operations_total() - before, 1);

    let turn = fixture.other.turn(new.turn).await.unwrap().unwrap();
    assert_eq!((turn.state, turn.epoch, turn.attempt, turn.holder), (TurnState::Queued, 0, 0, None));
    assert_eq!((turn.session, turn.conversation), (session.id, session.conversation));
    assert_eq!(turn.request_id, "r1");
    assert_eq!(fixture.other.active_turn(session.conversation).await.unwrap(), Some(turn));
    let message = fixture.other.history(session.conversation, 10).await.unwrap().remove(0);
    assert_eq!((message.id, message.seq, message.direction), (new.message, 1, Direction::Inbound));
    assert_eq!(message.text, new.text);
}

pub async fn a_turn_claimed_at_once_runs_from_epoch_one(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    let turn = fixture.store.turn(new.turn).await.unwrap().unwrap();
    assert_eq!((turn.state, turn.epoch, turn.attempt, turn.holder), (TurnState::Running, 1, 1, Some(holder)));
    assert_eq!(fixture.store.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap(), None);
}

pub async fn the_same_request_twice_gives_the_first_turn(fixture: Fixture) {
    let session = fixture.any_session().await;
    let first = fixture.start(&session, "r1", NodeId::new()).await;
    let again = fixture.other.accept_turn(&new_turn(&session, "r1")).await.unwrap();
    let Acceptance::Duplicate(turn) = again else { panic!("{again:?}") };
    assert_eq!(turn.id, first.turn);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);

    // Another session of the same conversation has names of its own.
    let resume = NewSession { resume: Some(session.conversation), ..new_session(&session.owner) };
    let second = fixture.store.create_session(&resume).await.unwrap().unwrap();
    assert_eq!(fixture.store.accept_turn(&new_turn(&second, "r1")).await.unwrap(), Acceptance::Busy);
}

pub async fn the_same_request_raced_from_many_tasks_is_accepted_exactly_once(fixture: Fixture) {
    let session = fixture.any_session().await;
    let tasks: Vec<_> = (0..16)
        .map(|task: usize| {
            let store = if task.is_multiple_of(2) { fixture.store.clone() } else { fixture.other.clone() };
            let new = new_turn(&session, "r1");
            tokio::spawn(async move { (new.turn, store.accept_turn(&new).await.unwrap()) })
        })
        .collect();
    let (mut accepted, mut duplicates) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            (turn, Acceptance::Accepted { epoch: 0 }) => accepted.push(turn),
            (_, Acceptance::Duplicate(turn)) => duplicates.push(turn.id),
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted.len(), 1);
    assert_eq!(duplicates, vec![accepted[0]; 15]);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);
}

pub async fn a_second_message_while_a_turn_is_active_is_busy_and_leaves_nothing(fixture: Fixture) {
    let session = fixture.any_session().await;
    fixture.queue(&session, "r1").await;
    let second = new_turn(&session, "r2");
    assert_eq!(fixture.other.accept_turn(&second).await.unwrap(), Acceptance::Busy);
    fixture.claim(NodeId::new(), LONG).await;
    assert_eq!(fixture.other.accept_turn(&second).await.unwrap(), Acceptance::Busy);
    fixture
        .sql("update turns set state = 'parked', holder = null, lease_until = null, parked_until = created_at")
        .await
        .unwrap();
    assert_eq!(fixture.other.accept_turn(&second).await.unwrap(), Acceptance::Busy);
    assert_eq!(fixture.store.turn(second.turn).await.unwrap(), None);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);
}

pub async fn two_nodes_racing_for_one_conversation_start_one_turn(fixture: Fixture) {
    for _ in 0..10 {
        let session = fixture.any_session().await;
        let (one, two) = (new_turn(&session, "r1"), new_turn(&session, "r2"));
        let (one, two) = tokio::join!(fixture.store.accept_turn(&one), fixture.other.accept_turn(&two));
        let outcomes = [one.unwrap(), two.unwrap()];
        assert!(outcomes.contains(&Acceptance::Accepted { epoch: 0 }), "{outcomes:?}");
        assert!(outcomes.contains(&Acceptance::Busy), "{outcomes:?}");
    }
}

pub async fn a_refused_message_may_be_sent_again_when_the_turn_has_ended(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let first = fixture.start(&session, "r1", holder).await;
    let second = new_turn(&session, "r2");
    assert_eq!(fixture.store.accept_turn(&second).await.unwrap(), Acceptance::Busy);
    fixture.store.finish_turn(&finish(first.turn, 1, holder)).await.unwrap();
    assert_eq!(fixture.store.accept_turn(&second).await.unwrap(), Acceptance::Accepted { epoch: 0 });
    let again = fixture.store.accept_turn(&new_turn(&session, "r1")).await.unwrap();
    let Acceptance::Duplicate(turn) = again else { panic!("{again:?}") };
    assert_eq!((turn.id, turn.state), (first.turn, TurnState::Completed));
}

pub async fn an_answer_becomes_a_message_in_the_commit_that_ends_the_turn(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    let finish = finish(new.turn, 1, holder);
    let before = fixture.metrics.operations_total();
    assert_eq!(fixture.store.finish_turn(&finish).await.unwrap(), Finished::Committed);
    assert_eq!(fixture.metrics.operations_total() - before, 1);

    let turn = fixture.other.turn(new.turn).await.unwrap().unwrap();
    assert_eq!((turn.state, turn.holder, turn.last_seq), (TurnState::Completed, None, 7));
    assert_eq!(turn.answer, Some(Answer { message: finish.message, text: finish.text.clone() }));
    assert_eq!(turn.usage, finish.usage);
    assert_eq!(turn.error_code, None);
    assert_eq!(fixture.other.active_turn(session.conversation).await.unwrap(), None);
    let answer = fixture.other.history(session.conversation, 1).await.unwrap().remove(0);
    assert_eq!((answer.id, answer.seq, answer.direction), (finish.message, 2, Direction::Outbound));
    assert_eq!(answer.participant, session.agent_participant);
}

pub async fn an_ending_without_text_writes_no_message(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    let failure = Finish {
        outcome: Outcome::Failed("AGENT_ERROR".into()),
        text: String::new(),
        usage: TurnUsage::default(),
        ..finish(new.turn, 1, holder)
    };
    assert_eq!(fixture.store.finish_turn(&failure).await.unwrap(), Finished::Committed);
    let turn = fixture.store.turn(new.turn).await.unwrap().unwrap();
    assert_eq!((turn.state, turn.error_code.as_deref()), (TurnState::Failed, Some("AGENT_ERROR")));
    assert_eq!((turn.answer, turn.usage), (None, TurnUsage::default()));
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);

    // What there was of an answer is kept, and numbered without a gap.
    let new = fixture.start(&session, "r2", holder).await;
    let cancelled = Finish { outcome: Outcome::Cancelled, text: "Noth".into(), ..finish(new.turn, 1, holder) };
    assert_eq!(fixture.store.finish_turn(&cancelled).await.unwrap(), Finished::Committed);
    assert_eq!(fixture.store.turn(new.turn).await.unwrap().unwrap().state, TurnState::Cancelled);
    assert_eq!(fixture.store.history(session.conversation, 1).await.unwrap()[0].seq, 3);
}

pub async fn a_stale_epoch_ends_nothing_and_writes_nothing(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    let before = fixture.store.turn(new.turn).await.unwrap();
    for stale in [
        finish(new.turn, 0, holder),
        finish(new.turn, 2, holder),
        finish(new.turn, 1, NodeId::new()),
        finish(TurnId::new(), 1, holder),
    ] {
        assert_eq!(fixture.store.finish_turn(&stale).await.unwrap(), Finished::Fenced);
    }
    assert_eq!(fixture.store.turn(new.turn).await.unwrap(), before);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);
}

pub async fn the_same_ending_twice_is_committed_once(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    let finish = finish(new.turn, 1, holder);
    assert_eq!(fixture.store.finish_turn(&finish).await.unwrap(), Finished::Committed);
    assert_eq!(fixture.other.finish_turn(&finish).await.unwrap(), Finished::Committed);
    let different = Finish { message: MessageId::new(), ..finish };
    assert_eq!(fixture.other.finish_turn(&different).await.unwrap(), Finished::Fenced);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 2);
}

pub async fn a_queued_turn_is_cancelled_at_once(fixture: Fixture) {
    let session = fixture.any_session().await;
    let new = fixture.queue(&session, "r1").await;
    let cancelled = fixture.other.cancel_turn(session.conversation, Some("r1")).await.unwrap();
    assert_eq!(cancelled, Cancellation::Cancelled { turn: new.turn });
    assert_eq!(fixture.store.turn(new.turn).await.unwrap().unwrap().state, TurnState::Cancelled);
    assert_eq!(fixture.store.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap(), None);
    fixture.queue(&session, "r2").await;
}

pub async fn a_running_turn_is_marked_and_its_holder_told(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    let held = |cancel_requested| [HeldTurn { id: new.turn, epoch: 1, cancel_requested }];
    assert_eq!(fixture.store.renew_leases(&claim(holder, LONG), &[new.turn]).await.unwrap(), held(false));
    let requested = Cancellation::Requested { turn: new.turn };
    assert_eq!(fixture.other.cancel_turn(session.conversation, Some("r1")).await.unwrap(), requested);
    assert_eq!(fixture.other.cancel_turn(session.conversation, Some("r1")).await.unwrap(), requested);
    assert_eq!(fixture.store.renew_leases(&claim(holder, LONG), &[new.turn]).await.unwrap(), held(true));
    assert_eq!(fixture.store.turn(new.turn).await.unwrap().unwrap().state, TurnState::Running);
}

pub async fn cancelling_what_does_not_run_finds_nothing(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let new = fixture.start(&session, "r1", holder).await;
    assert_eq!(fixture.store.cancel_turn(session.conversation, Some("r2")).await.unwrap(), Cancellation::NothingRuns);
    assert_eq!(fixture.store.cancel_turn(ConversationId::new(), Some("r1")).await.unwrap(), Cancellation::NothingRuns);
    fixture.store.finish_turn(&finish(new.turn, 1, holder)).await.unwrap();
    for name in [Some("r1"), None] {
        assert_eq!(fixture.store.cancel_turn(session.conversation, name).await.unwrap(), Cancellation::NothingRuns);
    }
}

pub async fn a_request_to_cancel_without_a_name_meets_whatever_is_active(fixture: Fixture) {
    let session = fixture.any_session().await;
    let new = fixture.queue(&session, "r1").await;
    let other = fixture.queue(&fixture.any_session().await, "r1").await;
    let cancelled = fixture.store.cancel_turn(session.conversation, None).await.unwrap();
    assert_eq!(cancelled, Cancellation::Cancelled { turn: new.turn });
    assert_eq!(fixture.store.turn(other.turn).await.unwrap().unwrap().state, TurnState::Queued);
}

pub async fn the_newest_turn_is_the_one_accepted_last_whatever_its_id(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    assert_eq!(fixture.store.newest_turn(session.conversation, None).await.unwrap(), None);
    // The clock of the node that chose the second id is behind.
    let early = new_turn(&session, "r2");
    let first = fixture.start(&session, "r1", holder).await;
    fixture.store.finish_turn(&finish(first.turn, 1, holder)).await.unwrap();
    fixture.store.accept_turn(&early).await.unwrap();
    let newest = async |name| fixture.other.newest_turn(session.conversation, name).await.unwrap().map(|turn| turn.id);
    assert!(early.turn < first.turn);
    assert_eq!(newest(None).await, Some(early.turn));
    assert_eq!(newest(Some("r1")).await, Some(first.turn));
    assert_eq!(newest(Some("r3")).await, None);
}

pub async fn a_plain_turn_takes_three_transactions_at_most(fixture: Fixture) {
    let session = fixture.any_session().await;
    let before = fixture.metrics.operations_total();
    let holder = NodeId::new();
    let new = NewTurn { claim: Some(claim(holder, LONG)), ..new_turn(&session, "r1") };
    fixture.store.accept_turn(&new).await.unwrap();
    fixture.store.history(session.conversation, 50).await.unwrap();
    fixture.store.finish_turn(&finish(new.turn, 1, holder)).await.unwrap();
    assert_eq!(fixture.metrics.operations_total() - before, 3);
    for operation in [Operation::TurnAccept, Operation::MessageHistory, Operation::TurnFinish] {
        assert_eq!(fixture.metrics.operations(operation), 1, "{operation:?}");
    }
}
