//! Both stores do with a turn's row what the pure function says, whatever is asked for and in whichever order.
//!
//! SQLite runs that function; Postgres says the same in SQL. No test sleeps: a lease is long or was over long ago.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use switchboard::ids::{MessageId, NodeId, TurnId};
use switchboard::store::{
    Acceptance, Act, Cancellation, Claim, Finish, Finished, Life, Met, NewSteps, NewTurn, Outcome, Park, Parking,
    Session, StepBody, TurnState,
};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::fixture::{Fixture, LONG, claim, finish, new_turn};

/// Turns that are led through their life, on each store.
const LIVES: u32 = 100;

/// What the pure function is told of the time; leases and patience are long, or over.
const NOW: i64 = 0;

/// Stands for the node that holds the turn.
const HOLDER: usize = 2;

/// What happens to a turn. A node is one of two, or [`HOLDER`]; an epoch is the newest, or so many before it.
#[derive(Clone, Debug)]
enum Event {
    Claim(usize),
    /// The clock goes past the lease of whoever holds the turn.
    RunOut,
    Renew(usize),
    Release(usize),
    Record(usize, i64),
    Finish(usize, i64, Ending),
    Park(usize, i64, Duration),
    Answer,
    Expire,
    Cancel,
}

#[derive(Clone, Debug)]
struct Ending {
    outcome: Outcome,
    says: bool,
    last_seq: i64,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = || prop_oneof![2 => Just(HOLDER), 1 => 0..HOLDER];
    let late = || prop_oneof![2 => Just(0_i64), 1 => Just(1)];
    let outcome =
        prop_oneof![Just(Outcome::Completed), Just(Outcome::Failed("AGENT_ERROR".into())), Just(Outcome::Cancelled)];
    let ending =
        (outcome, any::<bool>(), 1..4_i64).prop_map(|(outcome, says, last_seq)| Ending { outcome, says, last_seq });
    let patience = prop_oneof![2 => Just(LONG), 1 => Just(Duration::ZERO)];
    let event = prop_oneof![
        6 => (0..HOLDER).prop_map(Event::Claim),
        4 => Just(Event::RunOut),
        2 => node().prop_map(Event::Renew),
        1 => node().prop_map(Event::Release),
        2 => (node(), late()).prop_map(|(node, late)| Event::Record(node, late)),
        2 => (node(), late(), ending).prop_map(|(node, late, ending)| Event::Finish(node, late, ending)),
        3 => (node(), late(), patience).prop_map(|(node, late, patience)| Event::Park(node, late, patience)),
        2 => Just(Event::Answer),
        1 => Just(Event::Expire),
        1 => Just(Event::Cancel),
    ];
    proptest::collection::vec(event, 1..40)
}

pub async fn whatever_happens_to_a_turn_its_row_is_what_the_pure_function_says(fixture: Fixture) {
    let eye = fixture.eye().await;
    let nodes = [NodeId::new(), NodeId::new()];
    let config = Config { cases: LIVES, failure_persistence: None, ..Config::default() };
    let handle = Handle::current();
    block_in_place(|| {
        TestRunner::new(config).run(&(any::<bool>(), events()), |(queued, events)| {
            handle.block_on(async {
                let mut twins = Twins::start(&fixture, &eye, nodes, queued).await;
                for event in &events {
                    twins.happen(event).await;
                    assert_eq!(eye.life(twins.new.turn).await, twins.seen(), "after {event:?}");
                }
                twins.end().await;
            });
            Ok(())
        })
    })
    .unwrap();
}

/// A turn of the store, and the same turn by the pure function.
struct Twins<'a> {
    fixture: &'a Fixture,
    eye: &'a Eye,
    nodes: [NodeId; 2],
    session: Session,
    new: NewTurn,
    life: Life,
    /// The message that the turn ends with, whoever ends it: the same ending twice is one ending.
    message: MessageId,
}

impl<'a> Twins<'a> {
    async fn start(fixture: &'a Fixture, eye: &'a Eye, nodes: [NodeId; 2], queued: bool) -> Self {
        eye.run("delete from turn_steps; delete from turns").await;
        let session = fixture.any_session().await;
        let at_once = (!queued).then(|| claim(nodes[0], LONG));
        let new = NewTurn { claim: at_once, ..new_turn(&session, "r1") };
        let life = Life::accepted(at_once.as_ref(), NOW);
        let accepted = fixture.store.accept_turn(&new).await.unwrap();
        assert_eq!(accepted, Acceptance::Accepted { epoch: life.epoch });
        Self { fixture, eye, nodes, session, new, life, message: MessageId::new() }
    }

    async fn happen(&mut self, event: &Event) {
        match event {
            Event::Claim(node) => self.claim(&claim(self.node(*node), LONG)).await,
            Event::RunOut => {
                self.eye.run_out().await;
                self.life.lease_until = self.life.lease_until.map(|_| NOW - 1);
            }
            Event::Renew(node) => self.renew(&claim(self.node(*node), LONG)).await,
            Event::Release(node) => {
                let holder = self.node(*node);
                let released = self.fixture.store.release_turns(holder).await.unwrap();
                let met = self.life.apply(Act::Release(holder), NOW);
                assert_eq!(released, u64::from(met == Met::Done));
            }
            Event::Record(node, late) => self.record(self.node(*node), self.life.epoch - late).await,
            Event::Finish(node, late, ending) => {
                let finish = self.finishing(self.node(*node), self.life.epoch - late, ending);
                self.finish(&finish).await;
            }
            Event::Park(node, late, patience) => {
                self.park(self.node(*node), self.life.epoch - late, *patience).await;
            }
            Event::Answer => {
                let answered = self.fixture.other.answer_turn(self.session.conversation, None, true).await.unwrap();
                let met = self.life.apply(Act::Answer, NOW);
                assert_eq!(answered, (met == Met::Done).then_some(self.new.turn));
            }
            Event::Expire => {
                let expired = self.fixture.store.expire_turns(10).await.unwrap();
                let met = self.life.apply(Act::Expire, NOW);
                let this = (self.new.turn, self.session.conversation);
                assert_eq!(expired, Vec::from_iter((met == Met::Done).then_some(this)));
            }
            Event::Cancel => self.cancel().await,
        }
    }

    fn node(&self, node: usize) -> NodeId {
        self.nodes.get(node).copied().or(self.life.holder).unwrap_or(self.nodes[0])
    }

    async fn claim(&mut self, claim: &Claim) {
        let claimed = self.fixture.other.claim_turn(claim).await.unwrap();
        let told = claimed.map_or(Met::Refused, |turn| {
            assert_eq!(turn.id, self.new.turn);
            Met::Held { epoch: turn.epoch, attempt: turn.attempt, cancel_requested: turn.cancel_requested }
        });
        assert_eq!(told, self.life.apply(Act::Claim(claim), NOW));
    }

    async fn renew(&mut self, claim: &Claim) {
        let renewed = self.fixture.store.renew_leases(claim, &[self.new.turn]).await.unwrap();
        let told = renewed.first().map(|held| (held.epoch, held.cancel_requested));
        let met = match self.life.apply(Act::Renew(claim), NOW) {
            Met::Held { epoch, cancel_requested, .. } => Some((epoch, cancel_requested)),
            Met::Done | Met::CancelRequested | Met::Refused => None,
        };
        assert_eq!(told, met);
    }

    async fn record(&mut self, holder: NodeId, epoch: i64) {
        let step = StepBody { kind: "started".into(), payload: serde_json::json!({}) };
        let steps = NewSteps { turn: self.new.turn, epoch, holder, first: 1, steps: vec![step] };
        let recorded = self.fixture.store.record_steps(&steps).await.unwrap();
        assert_eq!(recorded, finished(self.life.apply(Act::Record { holder, epoch }, NOW)));
    }

    fn finishing(&self, holder: NodeId, epoch: i64, ending: &Ending) -> Finish {
        Finish {
            outcome: ending.outcome.clone(),
            text: if ending.says { "It is done." } else { "" }.into(),
            message: self.message,
            last_seq: ending.last_seq,
            ..finish(self.new.turn, epoch, holder)
        }
    }

    async fn finish(&mut self, finish: &Finish) {
        let told = self.fixture.store.finish_turn(finish).await.unwrap();
        assert_eq!(told, finished(self.life.apply(Act::Finish(finish), NOW)));
    }

    async fn park(&mut self, holder: NodeId, epoch: i64, patience: Duration) {
        let body = StepBody { kind: "asked".into(), payload: serde_json::json!({}) };
        let park = Park { turn: self.new.turn, epoch, holder, step: 1, body, last_seq: 3, patience };
        let told = match self.fixture.other.park_turn(&park).await.unwrap() {
            Parking::Parked => Met::Done,
            Parking::CancelRequested => Met::CancelRequested,
            Parking::Fenced => Met::Refused,
        };
        assert_eq!(told, self.life.apply(Act::Park(&park), NOW));
    }

    async fn cancel(&mut self) {
        let told = match self.fixture.other.cancel_turn(self.session.conversation, None).await.unwrap() {
            Cancellation::NothingRuns => Met::Refused,
            Cancellation::Cancelled { .. } => Met::Done,
            Cancellation::Queued { .. } | Cancellation::Requested { .. } => Met::CancelRequested,
        };
        assert_eq!(told, self.life.apply(Act::Cancel, NOW));
    }

    /// What can be seen of the pure function's turn, when leases and patience are long or over.
    fn seen(&self) -> Life {
        let mut seen = self.life.clone();
        seen.lease_until = seen.lease_until.map(i64::signum);
        seen.parked_until = seen.parked_until.map(i64::signum);
        seen
    }

    /// Ends the turn, if it has not ended; nothing may happen to it any more.
    async fn end(&mut self) {
        self.cancel().await;
        if self.life.state == TurnState::Queued {
            // A run began before, and another one has to end it.
            self.claim(&claim(self.nodes[0], LONG)).await;
        }
        if let Some(holder) = self.life.holder {
            let ending = Ending { outcome: Outcome::Cancelled, says: false, last_seq: 9 };
            self.finish(&self.finishing(holder, self.life.epoch, &ending)).await;
        }
        assert!(self.life.state.is_final());
        let last = self.seen();
        for event in [Event::Claim(1), Event::RunOut, Event::Renew(1), Event::Answer, Event::Expire, Event::Cancel] {
            self.happen(&event).await;
        }
        assert_eq!(self.eye.life(self.new.turn).await, last);
    }
}

fn finished(met: Met) -> Finished {
    if met == Met::Done { Finished::Committed } else { Finished::Fenced }
}

/// Sees a turn's row beside the store.
pub enum Eye {
    Postgres(tokio_postgres::Client),
    Sqlite(rusqlite::Connection),
}

impl Eye {
    /// The row, with 1 for a lease that runs and a patience that lasts, -1 and 0 for those that are over.
    async fn life(&self, turn: TurnId) -> Life {
        let now = match self {
            Self::Postgres(_) => "now()",
            // Whole seconds, so that what is over was over before.
            Self::Sqlite(_) => "(unixepoch() + 1) * 1000000",
        };
        let lease =
            format!("case when lease_until is not null then case when lease_until < {now} then -1 else 1 end end");
        let patience =
            format!("case when parked_until is not null then case when parked_until <= {now} then 0 else 1 end end");
        let columns = [
            "state",
            "epoch",
            "attempt",
            "holder",
            &lease,
            "cast(cancel_requested as integer)",
            &patience,
            "last_seq",
            "answer_message_id",
            "error_code",
        ];
        let columns = columns.map(|column| format!("cast({column} as text)")).join(", ");
        let sql = format!("select {columns} from turns where id = '{turn}'");
        let row = self.row(&sql).await;
        let text = |column: usize| row[column].as_deref();
        let number = |column: usize| text(column).map(|text| text.parse::<i64>().unwrap());
        Life {
            state: text(0).and_then(TurnState::parse).unwrap(),
            epoch: number(1).unwrap(),
            attempt: number(2).unwrap().try_into().unwrap(),
            holder: text(3).map(|id| id.parse().unwrap()),
            lease_until: number(4),
            cancel_requested: number(5) == Some(1),
            parked_until: number(6),
            last_seq: number(7).unwrap(),
            answer: text(8).map(|id| id.parse().unwrap()),
            error_code: text(9).map(str::to_owned),
        }
    }

    /// The clock goes past every lease.
    async fn run_out(&self) {
        let long_ago = match self {
            Self::Postgres(_) => "'epoch'",
            Self::Sqlite(_) => "0",
        };
        self.run(&format!("update turns set lease_until = {long_ago} where state = 'running'")).await;
    }

    async fn run(&self, sql: &str) {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await.unwrap(),
            Self::Sqlite(connection) => connection.execute_batch(sql).unwrap(),
        }
    }

    /// The columns of the one row.
    async fn row(&self, sql: &str) -> Vec<Option<String>> {
        match self {
            Self::Postgres(client) => {
                let row = client.query_one(sql, &[]).await.unwrap();
                (0..row.len()).map(|column| row.get(column)).collect()
            }
            Self::Sqlite(connection) => {
                let read =
                    |row: &rusqlite::Row<'_>| (0..row.as_ref().column_count()).map(|column| row.get(column)).collect();
                connection.query_row(sql, [], read).unwrap()
            }
        }
    }
}
