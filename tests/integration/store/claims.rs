//! Who runs a turn: claims, leases, and the queue.

use std::collections::HashSet;
use std::time::Duration;

use switchboard::ids::{NodeId, TurnId};
use switchboard::store::{Cancellation, Finished, NewTurn, TurnState};

use crate::support::eventually::assert_eventually;

use super::fixture::{Fixture, LONG, TINY, claim, finish, new_turn};

const WITHIN: Duration = Duration::from_secs(10);

pub async fn each_turn_goes_to_exactly_one_of_many_racers(fixture: Fixture) {
    let mut queued = HashSet::new();
    for _ in 0..30 {
        queued.insert(fixture.queue(&fixture.any_session().await, "r1").await.turn);
    }
    let racers: Vec<_> = (0..8)
        .map(|racer: usize| {
            let store = if racer.is_multiple_of(2) { fixture.store.clone() } else { fixture.other.clone() };
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(turn) = store.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap() {
                    assert_eq!((turn.epoch, turn.attempt), (1, 1));
                    mine.push(turn.id);
                }
                mine
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for racer in racers {
        claimed.extend(racer.await.unwrap());
    }
    // Every racer stopped only when it saw none left; a skipped row belongs to a racer that is still busy with it.
    assert_eq!(claimed.len(), 30);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), queued);
}

pub async fn the_oldest_queued_turn_is_claimed_first(fixture: Fixture) {
    let mut queued = Vec::new();
    for _ in 0..3 {
        queued.push(fixture.queue(&fixture.any_session().await, "r1").await);
    }
    let turn = fixture.claim(NodeId::new(), LONG).await;
    let oldest = &queued[0];
    assert_eq!((turn.id, turn.conversation, turn.session), (oldest.turn, oldest.conversation, oldest.session));
    assert_eq!((turn.agent, turn.request_id), (oldest.agent, oldest.request_id.clone()));
    assert_eq!((turn.model, turn.traceparent), (oldest.model.clone(), oldest.traceparent.clone()));
    assert_eq!((turn.epoch, turn.attempt, turn.cancel_requested), (1, 1, false));
    assert_eq!(fixture.claim(NodeId::new(), LONG).await.id, queued[1].turn);
    assert_eq!(fixture.claim(NodeId::new(), LONG).await.id, queued[2].turn);
}

pub async fn an_empty_queue_gives_nothing(fixture: Fixture) {
    assert_eq!(fixture.store.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap(), None);
    assert_eq!(fixture.store.renew_leases(&claim(NodeId::new(), LONG), &[TurnId::new()]).await.unwrap(), []);
    assert_eq!(fixture.store.release_turns(NodeId::new()).await.unwrap(), 0);
}

pub async fn a_turn_whose_lease_ran_out_is_claimed_and_its_old_holder_fenced(fixture: Fixture) {
    let session = fixture.any_session().await;
    let (old, new) = (NodeId::new(), NodeId::new());
    let turn = NewTurn { claim: Some(claim(old, TINY)), ..new_turn(&session, "r1") };
    fixture.store.accept_turn(&turn).await.unwrap();
    fixture.queue(&fixture.any_session().await, "waits").await;
    let taken = assert_eventually("the lease runs out", WITHIN, async || {
        // A queued turn may come first, as long as the lease still runs.
        fixture.other.claim_turn(&claim(new, LONG)).await.unwrap().filter(|claimed| claimed.id == turn.turn)
    })
    .await;
    assert_eq!((taken.epoch, taken.attempt), (2, 2));
    assert_eq!(fixture.store.renew_leases(&claim(old, LONG), &[turn.turn]).await.unwrap(), []);
    assert_eq!(fixture.store.finish_turn(&finish(turn.turn, 1, old)).await.unwrap(), Finished::Fenced);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);
    assert_eq!(fixture.other.finish_turn(&finish(turn.turn, 2, new)).await.unwrap(), Finished::Committed);
}

pub async fn a_renewed_lease_is_not_claimed(fixture: Fixture) {
    let session = fixture.any_session().await;
    let holder = NodeId::new();
    let turn = NewTurn { claim: Some(claim(holder, TINY)), ..new_turn(&session, "r1") };
    fixture.store.accept_turn(&turn).await.unwrap();
    let held = fixture.store.renew_leases(&claim(holder, LONG), &[turn.turn]).await.unwrap();
    assert_eq!(held.iter().map(|held| (held.id, held.epoch)).collect::<Vec<_>>(), [(turn.turn, 1)]);
    assert_eq!(fixture.other.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap(), None);
    assert_eq!(fixture.store.finish_turn(&finish(turn.turn, 1, holder)).await.unwrap(), Finished::Committed);
}

pub async fn only_the_named_leases_are_renewed(fixture: Fixture) {
    let holder = NodeId::new();
    let mut turns = Vec::new();
    for _ in 0..2 {
        let session = fixture.any_session().await;
        let turn = NewTurn { claim: Some(claim(holder, TINY)), ..new_turn(&session, "r1") };
        fixture.store.accept_turn(&turn).await.unwrap();
        turns.push(turn.turn);
    }
    let held = fixture.store.renew_leases(&claim(holder, LONG), &turns[..1]).await.unwrap();
    assert_eq!(held.iter().map(|held| held.id).collect::<Vec<_>>(), turns[..1]);
    assert_eq!(fixture.store.renew_leases(&claim(holder, LONG), &[]).await.unwrap(), []);
    let next = NodeId::new();
    let forgotten = assert_eventually("the other lease runs out", WITHIN, async || {
        fixture.other.claim_turn(&claim(next, LONG)).await.unwrap()
    })
    .await;
    assert_eq!(forgotten.id, turns[1]);
    let both = fixture.store.renew_leases(&claim(holder, LONG), &turns).await.unwrap();
    assert_eq!(both.iter().map(|held| held.id).collect::<Vec<_>>(), turns[..1]);
}

pub async fn a_mark_to_cancel_outlives_its_holder(fixture: Fixture) {
    let session = fixture.any_session().await;
    let turn = NewTurn { claim: Some(claim(NodeId::new(), TINY)), ..new_turn(&session, "r1") };
    fixture.store.accept_turn(&turn).await.unwrap();
    let requested = Cancellation::Requested { turn: turn.turn };
    assert_eq!(fixture.store.cancel_turn(session.conversation, Some("r1")).await.unwrap(), requested);
    let taken = assert_eventually("the lease runs out", WITHIN, async || {
        fixture.other.claim_turn(&claim(NodeId::new(), LONG)).await.unwrap()
    })
    .await;
    assert!(taken.cancel_requested);
    assert_eq!((taken.epoch, taken.attempt), (2, 2));
}

pub async fn a_release_consumes_no_attempt(fixture: Fixture) {
    let (draining, other, next) = (NodeId::new(), NodeId::new(), NodeId::new());
    let one = fixture.start(&fixture.any_session().await, "r1", draining).await;
    let two = fixture.start(&fixture.any_session().await, "r1", draining).await;
    let kept = fixture.start(&fixture.any_session().await, "r1", other).await;
    assert_eq!(fixture.store.release_turns(draining).await.unwrap(), 2);
    assert_eq!(fixture.store.release_turns(draining).await.unwrap(), 0);
    let released = fixture.store.turn(one.turn).await.unwrap().unwrap();
    assert_eq!((released.state, released.epoch, released.attempt), (TurnState::Queued, 1, 0));
    for _ in 0..2 {
        let taken = fixture.claim(next, LONG).await;
        assert!(taken.id == one.turn || taken.id == two.turn);
        assert_eq!((taken.epoch, taken.attempt), (2, 1));
    }
    assert_eq!(fixture.store.turn(kept.turn).await.unwrap().unwrap().holder, Some(other));
}

pub async fn a_released_turn_is_lost_to_the_one_who_released_it(fixture: Fixture) {
    let holder = NodeId::new();
    let session = fixture.any_session().await;
    let turn = fixture.start(&session, "r1", holder).await;
    fixture.store.release_turns(holder).await.unwrap();
    assert_eq!(fixture.store.renew_leases(&claim(holder, LONG), &[turn.turn]).await.unwrap(), []);
    assert_eq!(fixture.store.finish_turn(&finish(turn.turn, 1, holder)).await.unwrap(), Finished::Fenced);
    assert_eq!(fixture.store.history(session.conversation, 10).await.unwrap().len(), 1);
}

pub async fn the_queue_is_counted(fixture: Fixture) {
    assert_eq!(fixture.store.queued_turns().await.unwrap(), 0);
    for _ in 0..3 {
        fixture.queue(&fixture.any_session().await, "r1").await;
    }
    fixture.start(&fixture.any_session().await, "r1", NodeId::new()).await;
    assert_eq!(fixture.other.queued_turns().await.unwrap(), 3);
    fixture.claim(NodeId::new(), LONG).await;
    assert_eq!(fixture.other.queued_turns().await.unwrap(), 2);
}
