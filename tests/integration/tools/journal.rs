//! The journal and the park in both stores, where only their holder may write.

use std::time::Duration;

use prometheus::Registry;
use serde_json::json;
use switchboard::ids::{AgentId, ConversationId, MessageId, NodeId, ParticipantId, SessionId, TurnId};
use switchboard::node::StoreChoice;
use switchboard::store::{
    ANSWERED, Acceptance, Cancellation, Claim, EXPIRED, Finished, NewSession, NewSteps, NewTurn, Owner, Park, Parking,
    SharedStore, StepBody, TurnState, postgres, sqlite,
};

use crate::support::services;

const LEASE: Duration = Duration::from_secs(60);

/// A turn that a holder runs.
struct Running {
    store: SharedStore,
    conversation: ConversationId,
    turn: TurnId,
    holder: NodeId,
}

async fn both() -> [SharedStore; 2] {
    let postgres = StoreChoice::Postgres(postgres::Config::new(services::database().await));
    let sqlite = StoreChoice::Sqlite(sqlite::Config::new(sqlite::Location::Memory));
    let mut stores = Vec::new();
    for choice in [postgres, sqlite] {
        let store = choice.open(&Registry::new()).await.unwrap();
        store.migrate().await.unwrap();
        stores.push(store);
    }
    stores.try_into().unwrap_or_else(|_| unreachable!("two were opened"))
}

impl Running {
    async fn start(store: &SharedStore) -> Self {
        let owner = Owner { org: "o".to_owned(), user: "u".to_owned() };
        let new = NewSession {
            session: SessionId::new(),
            resume: None,
            conversation: ConversationId::new(),
            owner,
            agent: AgentId::new(),
            agent_name: "Ann".to_owned(),
            user_participant: ParticipantId::new(),
            agent_participant: ParticipantId::new(),
            user_name: "Bob".to_owned(),
            user_email: None,
            browser_fingerprint: None,
            metadata: json!({}),
            supports: Vec::new(),
        };
        let session = store.create_session(&new).await.unwrap().unwrap();
        let (turn, holder) = (TurnId::new(), NodeId::new());
        let new = NewTurn {
            turn,
            message: MessageId::new(),
            session: session.id,
            conversation: session.conversation,
            agent: session.agent,
            user_participant: session.user_participant,
            request_id: "r1".to_owned(),
            text: "hi".to_owned(),
            model: None,
            traceparent: None,
            claim: Some(Claim { holder, lease: LEASE }),
        };
        assert_eq!(store.accept_turn(&new).await.unwrap(), Acceptance::Accepted { epoch: 1 });
        Self { store: store.clone(), conversation: session.conversation, turn, holder }
    }

    fn steps(&self, epoch: i64, first: i32, kinds: &[&str]) -> NewSteps {
        let body = |kind: &&str| StepBody { kind: (*kind).to_owned(), payload: json!({"text": "a\0b"}) };
        NewSteps { turn: self.turn, epoch, holder: self.holder, first, steps: kinds.iter().map(body).collect() }
    }

    fn park(&self, patience: Duration) -> Park {
        let body = StepBody { kind: "asked".to_owned(), payload: json!({}) };
        Park { turn: self.turn, epoch: 1, holder: self.holder, step: 1, body, last_seq: 3, patience }
    }

    async fn kinds(&self) -> Vec<String> {
        self.store.steps(self.turn).await.unwrap().into_iter().map(|step| step.body.kind).collect()
    }

    async fn state(&self) -> (TurnState, i64) {
        let turn = self.store.turn(self.turn).await.unwrap().unwrap();
        (turn.state, turn.last_seq)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_kept_in_order_once_and_only_from_the_holder() {
    for store in both().await {
        let running = Running::start(&store).await;
        for _ in 0..2 {
            let steps = running.steps(1, 1, &["reply", "started"]);
            assert_eq!(store.record_steps(&steps).await.unwrap(), Finished::Committed, "again is as good as once");
        }
        assert_eq!(store.record_steps(&running.steps(1, 3, &["ended"])).await.unwrap(), Finished::Committed);
        assert_eq!(store.record_steps(&running.steps(0, 4, &["late"])).await.unwrap(), Finished::Fenced);
        let stranger = NewSteps { holder: NodeId::new(), ..running.steps(1, 4, &["foreign"]) };
        assert_eq!(store.record_steps(&stranger).await.unwrap(), Finished::Fenced);
        assert_eq!(running.kinds().await, ["reply", "started", "ended"]);
        let step = store.steps(running.turn).await.unwrap().remove(1);
        assert_eq!((step.step, step.epoch, step.body.payload), (2, 1, json!({"text": "a\0b"})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_turn_takes_the_first_answer_and_is_claimed_again() {
    for store in both().await {
        let running = Running::start(&store).await;
        let park = running.park(LEASE);
        assert_eq!(store.park_turn(&Park { epoch: 0, ..park.clone() }).await.unwrap(), Parking::Fenced);
        for _ in 0..2 {
            assert_eq!(store.park_turn(&park).await.unwrap(), Parking::Parked, "again is as good as once");
        }
        assert_eq!(running.state().await, (TurnState::Parked, 3));
        let claim = Claim { holder: NodeId::new(), lease: LEASE };
        assert_eq!(store.claim_turn(&claim).await.unwrap(), None, "nobody runs what waits for a person");
        assert_eq!(store.record_steps(&running.steps(1, 2, &["late"])).await.unwrap(), Finished::Fenced);
        let answer = async |name: Option<&'static str>, approved| {
            store.answer_turn(running.conversation, name, approved).await.unwrap()
        };
        assert_eq!(answer(Some("r2"), true).await, None);
        assert_eq!(answer(Some("r1"), true).await, Some(running.turn));
        assert_eq!(answer(None, false).await, None, "the first answer stands");
        assert_eq!(store.park_turn(&park).await.unwrap(), Parking::Fenced);
        assert_eq!(running.kinds().await, ["asked", ANSWERED]);
        assert_eq!(store.steps(running.turn).await.unwrap()[1].body.payload, json!({"approved": true}));
        let claimed = store.claim_turn(&claim).await.unwrap().unwrap();
        assert_eq!((claimed.id, claimed.epoch, claimed.attempt), (running.turn, 2, 1), "waiting consumes no attempt");
        assert!(store.expire_turns(10).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_turn_ends_by_cancel_or_when_its_time_is_up() {
    for store in both().await {
        let running = Running::start(&store).await;
        store.park_turn(&running.park(LEASE)).await.unwrap();
        let cancelled = store.cancel_turn(running.conversation, Some("r1")).await.unwrap();
        assert_eq!(cancelled, Cancellation::Cancelled { turn: running.turn });
        assert_eq!(running.state().await, (TurnState::Cancelled, 4));
        assert_eq!(store.answer_turn(running.conversation, None, true).await.unwrap(), None);

        let running = Running::start(&store).await;
        store.park_turn(&running.park(Duration::ZERO)).await.unwrap();
        assert_eq!(store.answer_turn(running.conversation, None, true).await.unwrap(), None, "too late");
        assert_eq!(store.expire_turns(10).await.unwrap(), [(running.turn, running.conversation)]);
        assert!(store.expire_turns(10).await.unwrap().is_empty());
        assert_eq!(running.state().await, (TurnState::Failed, 4));
        let turn = store.turn(running.turn).await.unwrap().unwrap();
        assert_eq!(turn.error_code.as_deref(), Some(EXPIRED));

        let running = Running::start(&store).await;
        let marked = store.cancel_turn(running.conversation, None).await.unwrap();
        assert_eq!(marked, Cancellation::Requested { turn: running.turn });
        assert_eq!(store.park_turn(&running.park(LEASE)).await.unwrap(), Parking::CancelRequested);
        assert_eq!(running.state().await.0, TurnState::Running);
    }
}
