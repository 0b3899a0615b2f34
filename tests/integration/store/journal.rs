//! The journal of a turn, and its wait for a person.

use std::time::Duration;

use serde_json::json;
use switchboard::ids::{ConversationId, NodeId, TurnId};
use switchboard::store::{ANSWERED, Cancellation, EXPIRED, Finished, NewSteps, Park, Parking, StepBody, TurnState};

use super::fixture::{Fixture, LONG, claim};

/// A turn that a holder runs.
struct Running {
    conversation: ConversationId,
    turn: TurnId,
    holder: NodeId,
}

impl Running {
    async fn start(fixture: &Fixture) -> Self {
        let (session, holder) = (fixture.any_session().await, NodeId::new());
        let new = fixture.start(&session, "r1", holder).await;
        Self { conversation: session.conversation, turn: new.turn, holder }
    }

    fn steps(&self, epoch: i64, first: i32, kinds: &[&str]) -> NewSteps {
        let body = |kind: &&str| StepBody { kind: (*kind).to_owned(), payload: json!({"text": "a\0b"}) };
        NewSteps { turn: self.turn, epoch, holder: self.holder, first, steps: kinds.iter().map(body).collect() }
    }

    fn park(&self, patience: Duration) -> Park {
        let body = StepBody { kind: "asked".to_owned(), payload: json!({}) };
        Park { turn: self.turn, epoch: 1, holder: self.holder, step: 1, body, last_seq: 3, patience }
    }

    async fn kinds(&self, fixture: &Fixture) -> Vec<String> {
        fixture.other.steps(self.turn).await.unwrap().into_iter().map(|step| step.body.kind).collect()
    }

    async fn state(&self, fixture: &Fixture) -> (TurnState, i64) {
        let turn = fixture.other.turn(self.turn).await.unwrap().unwrap();
        (turn.state, turn.last_seq)
    }
}

pub async fn steps_are_kept_in_order_once_and_only_from_the_holder(fixture: Fixture) {
    let (store, running) = (&fixture.store, Running::start(&fixture).await);
    for _ in 0..2 {
        let steps = running.steps(1, 1, &["reply", "started"]);
        assert_eq!(store.record_steps(&steps).await.unwrap(), Finished::Committed, "again is as good as once");
    }
    assert_eq!(store.record_steps(&running.steps(1, 3, &["ended"])).await.unwrap(), Finished::Committed);
    assert_eq!(store.record_steps(&running.steps(0, 4, &["late"])).await.unwrap(), Finished::Fenced);
    let stranger = NewSteps { holder: NodeId::new(), ..running.steps(1, 4, &["foreign"]) };
    assert_eq!(store.record_steps(&stranger).await.unwrap(), Finished::Fenced);
    assert_eq!(running.kinds(&fixture).await, ["reply", "started", "ended"]);
    let step = store.steps(running.turn).await.unwrap().remove(1);
    assert_eq!((step.step, step.epoch, step.body.payload), (2, 1, json!({"text": "a\0b"})));
}

pub async fn a_parked_turn_takes_the_first_answer_and_is_claimed_again(fixture: Fixture) {
    let (store, running) = (&fixture.store, Running::start(&fixture).await);
    let park = running.park(LONG);
    assert_eq!(store.park_turn(&Park { epoch: 0, ..park.clone() }).await.unwrap(), Parking::Fenced);
    for _ in 0..2 {
        assert_eq!(store.park_turn(&park).await.unwrap(), Parking::Parked, "again is as good as once");
    }
    assert_eq!(running.state(&fixture).await, (TurnState::Parked, 3));
    let anybody = claim(NodeId::new(), LONG);
    assert_eq!(store.claim_turn(&anybody).await.unwrap(), None, "nobody runs what waits for a person");
    assert_eq!(store.record_steps(&running.steps(1, 2, &["late"])).await.unwrap(), Finished::Fenced);
    assert_eq!(store.answer_turn(running.conversation, Some("r2"), true).await.unwrap(), None);
    let (one, two) = tokio::join!(
        store.answer_turn(running.conversation, Some("r1"), true),
        fixture.other.answer_turn(running.conversation, None, true)
    );
    let won: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
    assert_eq!(won, [running.turn], "one of two wins");
    assert_eq!(store.answer_turn(running.conversation, None, false).await.unwrap(), None, "the first answer stands");
    assert_eq!(store.park_turn(&park).await.unwrap(), Parking::Fenced);
    assert_eq!(running.kinds(&fixture).await, ["asked", ANSWERED]);
    assert_eq!(store.steps(running.turn).await.unwrap()[1].body.payload, json!({"approved": true}));
    let claimed = store.claim_turn(&anybody).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.epoch, claimed.attempt), (running.turn, 2, 1), "waiting consumes no attempt");
    assert!(store.expire_turns(10).await.unwrap().is_empty());
}

pub async fn a_parked_turn_that_is_cancelled_is_left_to_a_run_that_keeps_what_was_shown(fixture: Fixture) {
    let (store, running) = (&fixture.store, Running::start(&fixture).await);
    store.park_turn(&running.park(LONG)).await.unwrap();
    let cancelled = fixture.other.cancel_turn(running.conversation, Some("r1")).await.unwrap();
    assert_eq!(cancelled, Cancellation::Queued { turn: running.turn });
    assert_eq!(running.state(&fixture).await, (TurnState::Queued, 3));
    assert_eq!(store.answer_turn(running.conversation, None, true).await.unwrap(), None);
    let claimed = store.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.epoch, claimed.cancel_requested), (running.turn, 2, true));
}

pub async fn a_parked_turn_that_nobody_answered_in_time_fails(fixture: Fixture) {
    let (store, running) = (&fixture.store, Running::start(&fixture).await);
    store.park_turn(&running.park(Duration::ZERO)).await.unwrap();
    assert_eq!(store.answer_turn(running.conversation, None, true).await.unwrap(), None, "too late");
    assert_eq!(store.expire_turns(10).await.unwrap(), [(running.turn, running.conversation)]);
    assert!(fixture.other.expire_turns(10).await.unwrap().is_empty());
    assert_eq!(running.state(&fixture).await, (TurnState::Failed, 4));
    let turn = store.turn(running.turn).await.unwrap().unwrap();
    assert_eq!(turn.error_code.as_deref(), Some(EXPIRED));
}

pub async fn a_turn_that_somebody_stopped_is_not_parked(fixture: Fixture) {
    let (store, running) = (&fixture.store, Running::start(&fixture).await);
    let marked = fixture.other.cancel_turn(running.conversation, None).await.unwrap();
    assert_eq!(marked, Cancellation::Requested { turn: running.turn });
    assert_eq!(store.park_turn(&running.park(LONG)).await.unwrap(), Parking::CancelRequested);
    assert_eq!(running.state(&fixture).await.0, TurnState::Running);
    assert!(running.kinds(&fixture).await.is_empty());
}
