//! Histories written by hand: one in which all is well, and one for each way in which it can be wrong.

mod tools;

use super::*;
use crate::chaos::answer;
use crate::chaos::plan::Fault;

const R: &str = "r1";

fn message() -> String {
    answer::message("m1", 6, 1, &[])
}

fn token(attempt: u32, place: usize) -> String {
    answer::tokens(&message(), attempt, 0).nth(place).unwrap()
}

fn whole(attempt: u32) -> String {
    answer::tokens(&message(), attempt, 0).collect()
}

fn saw_by(reader: u64, seen: Seen) -> What {
    What::Saw { reader, request: Some(R.to_owned()), seen }
}

fn saw(seen: Seen) -> What {
    saw_by(1, seen)
}

fn text(epoch: i64, seq: u64, text: &str) -> What {
    saw(Seen::Text { epoch, seq, text: text.to_owned() })
}

fn end(epoch: i64, seq: u64, end: End) -> What {
    saw(Seen::Ended { epoch, seq, end })
}

fn answered(attempt: u32) -> End {
    End::Completed { text: whole(attempt) }
}

fn call(attempt: u32) -> What {
    What::ModelCall { node: 0, message: message(), attempt, round: 0, faulty: false }
}

fn session(reader: u64, session: &str) -> What {
    What::Session { reader, session: session.to_owned(), conversation: format!("of-{session}") }
}

fn ask(ask: Ask) -> What {
    What::Asked { reader: 1, request: R.to_owned(), ask }
}

fn stored(messages: &[(bool, String)]) -> What {
    let messages = messages.iter().map(|(inbound, text)| Stored { inbound: *inbound, text: text.clone() }).collect();
    What::Stored { conversation: "of-s1".to_owned(), messages }
}

/// A message, its 202, and the first call of the model.
fn opened() -> Vec<What> {
    vec![session(1, "s1"), ask(Ask::Send { message: message() }), saw(Seen::Accepted), call(1)]
}

fn kept(attempt: u32) -> What {
    stored(&[(true, message()), (false, whole(attempt))])
}

fn verdict(history: Vec<What>) -> Verdict {
    let mut checker = Checker::default();
    for (at_us, what) in (0..).step_by(1000).zip(history) {
        checker.take(&Record { at_us, what });
    }
    checker.finish()
}

fn broken(more: Vec<What>) -> Vec<Rule> {
    verdict([opened(), more].concat()).by_rule.into_keys().collect()
}

/// Frames 1 to 6 of the first attempt.
fn frames(range: std::ops::Range<usize>) -> Vec<What> {
    range.map(|place| text(1, place as u64 + 1, &token(1, place))).collect()
}

#[test]
fn a_turn_that_went_well_breaks_nothing() {
    let history = [frames(0..6), vec![end(1, 7, answered(1)), kept(1)]].concat();
    assert_eq!(broken(history), []);
}

#[test]
fn a_resume_by_delta_by_snapshot_and_over_a_takeover_breaks_nothing() {
    let attached = |verdict: &str, epoch| saw(Seen::Attached { verdict: verdict.to_owned(), epoch });
    let collapsed = text(1, 4, &[token(1, 2), token(1, 3)].concat());
    let again = text(2, 6, &whole(2));
    let history = [
        frames(0..2),
        vec![ask(Ask::Attach { after: 2 }), attached("delta", 1), collapsed],
        vec![ask(Ask::Attach { after: 4 }), attached("snapshot", 1), text(1, 1, &token(1, 0))],
        vec![call(2), saw(Seen::Restarted { epoch: 2 }), again, end(2, 7, answered(2)), kept(2)],
    ];
    assert_eq!(broken(history.concat()), []);
}

#[test]
fn an_accepted_message_that_never_ends_is_lost() {
    assert_eq!(broken([frames(0..6), vec![kept(1)]].concat()), [Rule::Lost]);
}

#[test]
fn an_accepted_message_that_a_node_does_not_know_is_lost() {
    let gone = saw(Seen::Attached { verdict: "gone".to_owned(), epoch: 0 });
    assert!(broken(vec![gone, kept(1)]).contains(&Rule::Lost));
}

#[test]
fn a_reader_that_is_never_told_of_the_end_is_seen() {
    let second = vec![
        session(2, "s1"),
        What::Asked { reader: 2, request: R.to_owned(), ask: Ask::Send { message: message() } },
        saw_by(2, Seen::Accepted),
    ];
    let ended = [second, frames(0..6), vec![end(1, 7, answered(1)), kept(1)]].concat();
    assert_eq!(broken(ended.clone()), [Rule::NeverTold]);
    assert_eq!(broken([ended, vec![What::Left { reader: 2 }]].concat()), []);
}

#[test]
fn a_second_end_and_a_frame_after_the_end_are_seen() {
    let done = [frames(0..6), vec![end(1, 7, answered(1)), kept(1)]].concat();
    assert_eq!(broken([done.clone(), vec![end(1, 8, answered(1))]].concat()), [Rule::TwoEnds]);
    assert_eq!(broken([done, vec![text(1, 8, "more")]].concat()), [Rule::AfterEnd]);
}

#[test]
fn two_readers_with_different_ends_are_seen() {
    let history = [
        vec![session(2, "s1"), What::Asked { reader: 2, request: R.to_owned(), ask: Ask::Attach { after: 0 } }],
        frames(0..6),
        vec![end(1, 7, answered(1)), saw_by(2, Seen::Ended { epoch: 1, seq: 7, end: End::Cancelled }), kept(1)],
    ];
    assert_eq!(broken(history.concat()), [Rule::EndsDiffer]);
}

#[test]
fn a_lost_frame_is_seen_although_the_numbers_rise() {
    let history = [frames(0..2), frames(3..6), vec![end(1, 7, answered(1)), kept(1)]].concat();
    assert!(broken(history).contains(&Rule::Text));
}

#[test]
fn a_lost_last_frame_is_seen() {
    assert_eq!(broken([frames(0..5), vec![end(1, 7, answered(1)), kept(1)]].concat()), [Rule::Text]);
}

#[test]
fn a_doubled_frame_is_seen() {
    let doubled = frames(2..3);
    let history = [frames(0..3), doubled, frames(3..6), vec![end(1, 7, answered(1)), kept(1)]].concat();
    assert!(broken(history).contains(&Rule::Repeated));
}

#[test]
fn doubled_text_under_a_new_number_is_seen() {
    let history = vec![text(1, 1, &token(1, 0)), text(1, 2, &token(1, 0))];
    assert!(broken(history).contains(&Rule::Text));
}

#[test]
fn text_of_another_message_is_seen() {
    let foreign: String = answer::tokens(&answer::message("m2", 6, 1, &[]), 1, 0).collect();
    assert!(broken(vec![text(1, 1, &foreign)]).contains(&Rule::Text));
}

#[test]
fn the_text_of_two_attempts_in_one_is_seen() {
    let history = [vec![call(2)], frames(0..3), vec![text(1, 4, &token(2, 3))]].concat();
    assert!(broken(history).contains(&Rule::Text));
}

#[test]
fn an_answer_that_the_model_never_gave_is_seen() {
    let half: String = answer::tokens(&message(), 1, 0).take(3).collect();
    let history =
        vec![end(1, 4, End::Completed { text: half.clone() }), stored(&[(true, message()), (false, half.clone())])];
    assert_eq!(broken([frames(0..3), history].concat()), [Rule::Answer]);
}

#[test]
fn an_older_epoch_after_a_newer_one_is_seen() {
    let newer = vec![call(2), saw(Seen::Restarted { epoch: 2 }), text(2, 1, &token(2, 0))];
    assert!(broken([newer.clone(), frames(0..1)].concat()).contains(&Rule::OlderEpoch));
    assert!(broken([newer, vec![saw(Seen::Restarted { epoch: 1 })]].concat()).contains(&Rule::OlderEpoch));
    let rest = saw(Seen::Attached { verdict: "delta".to_owned(), epoch: 2 });
    assert!(broken([frames(0..1), vec![rest]].concat()).contains(&Rule::OlderEpoch));
}

#[test]
fn a_new_epoch_that_nobody_announced_is_seen() {
    let history = [frames(0..1), vec![call(2), text(2, 1, &token(2, 0))]].concat();
    assert!(broken(history).contains(&Rule::Unannounced));
}

#[test]
fn a_frame_of_another_session_or_of_no_request_is_seen() {
    let stranger = vec![session(2, "s2"), saw_by(2, Seen::Text { epoch: 1, seq: 1, text: token(1, 0) })];
    assert!(broken(stranger).contains(&Rule::Foreign));
    let unknown = What::Saw { reader: 1, request: Some("r9".to_owned()), seen: Seen::Accepted };
    assert!(broken(vec![unknown]).contains(&Rule::Foreign));
}

#[test]
fn a_store_that_holds_something_else_is_seen() {
    let done = || [frames(0..6), vec![end(1, 7, answered(1))]].concat();
    let wrong = [
        vec![(true, message())],
        vec![(false, whole(1))],
        vec![(true, message()), (false, "other".to_owned())],
        vec![(true, message()), (false, whole(1)), (false, whole(1))],
        vec![(true, message()), (false, whole(1)), (true, message())],
    ];
    for messages in wrong {
        assert!(broken([done(), vec![stored(&messages)]].concat()).contains(&Rule::Stored), "{messages:?}");
    }
    assert_eq!(broken(done()), [Rule::Stored], "the conversation was not read");
    let more = stored(&[(true, message()), (false, whole(1)), (true, "a stranger's".to_owned())]);
    assert_eq!(broken([done(), vec![more]].concat()), [Rule::Foreign]);
}

#[test]
fn a_stopped_turn_keeps_what_was_shown_and_a_failed_one_nothing() {
    let half: String = answer::tokens(&message(), 1, 0).take(3).collect();
    let stopped = [frames(0..3), vec![end(1, 4, End::Cancelled)]].concat();
    let keeps = stored(&[(true, message()), (false, half)]);
    assert_eq!(broken([stopped.clone(), vec![keeps]].concat()), []);
    assert_eq!(broken([stopped, vec![kept(1)]].concat()), [Rule::Stored]);
    let faulty = What::ModelCall { node: 0, message: message(), attempt: 2, round: 0, faulty: true };
    let failed = vec![faulty, end(1, 4, End::Failed { code: "AGENT_ERROR".to_owned() })];
    assert_eq!(broken([failed.clone(), vec![stored(&[(true, message())])]].concat()), []);
    assert_eq!(broken([failed, vec![kept(1)]].concat()), [Rule::Stored]);
}

#[test]
fn a_failure_out_of_the_blue_is_seen() {
    let failed = end(1, 4, End::Failed { code: "AGENT_ERROR".to_owned() });
    let history = vec![failed, stored(&[(true, message())])];
    assert_eq!(broken(history.clone()), [Rule::UnexplainedFailure]);
    let faults = (0..3).map(|id| What::FaultBegan { id, fault: Fault::KillHolder, node: Some(0) }).collect();
    assert_eq!(broken([faults, history].concat()), []);
}

#[test]
fn a_refused_message_that_is_stored_is_seen() {
    let busy = Seen::Refused { code: BUSY.to_owned() };
    let history = vec![session(1, "s1"), ask(Ask::Send { message: message() }), saw(busy)];
    assert!(verdict(history.clone()).holds());
    let stored = stored(&[(true, message())]);
    assert_eq!(verdict([history, vec![stored]].concat()).by_rule.into_keys().collect::<Vec<_>>(), [Rule::Stored]);
}

#[test]
fn a_refusal_that_the_protocol_does_not_foresee_is_seen() {
    let refused = |code: &str| saw(Seen::Refused { code: code.to_owned() });
    assert!(broken(vec![refused("VALIDATION_ERROR")]).contains(&Rule::Unexpected));
    assert!(broken(vec![refused(BUSY)]).contains(&Rule::Unexpected), "it was accepted before");
    assert!(!broken(vec![refused("STORAGE_ERROR")]).contains(&Rule::Unexpected));
}

#[test]
fn a_node_that_does_not_exit_cleanly_is_seen() {
    let exited = |code| vec![What::Exited { node: 1, code }];
    assert_eq!(verdict(exited(Some(0))).violations, 0);
    assert_eq!(verdict(exited(None)).violations, 1);
    assert_eq!(verdict(exited(Some(1))).violations, 1);
}

#[test]
fn a_takeover_and_a_resume_are_measured() {
    let connected = |node| What::Connected { reader: 1, node };
    let attached = saw(Seen::Attached { verdict: "delta".to_owned(), epoch: 1 });
    let history = [
        vec![connected(0)],
        opened(),
        frames(0..1),
        vec![connected(1), ask(Ask::Attach { after: 1 }), attached],
        vec![What::Killed { node: 0 }, call(2), saw(Seen::Restarted { epoch: 2 }), text(2, 1, &token(2, 0))],
    ];
    let figures = verdict(history.concat()).figures;
    assert_eq!((figures.resume.count, figures.resume.p99_ms), (1, 1.0));
    assert_eq!((figures.takeover.count, figures.takeover.p99_ms), (1, 3.0));
}
