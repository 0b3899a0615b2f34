//! Turns that call tools: one of each kind in which all is well, and each way in which it can be wrong.

use super::*;
use crate::chaos::history::{NOTHING_ASKS, StoredTurn};
use crate::chaos::tool::{self, Tool};

fn asking(tools: &[Tool]) -> String {
    answer::message("t1", 6, 1, tools)
}

/// What the model says in a round of the attempt.
fn said(message: &str, attempt: u32, round: u32) -> String {
    answer::tokens(message, attempt, round).collect()
}

fn called(message: &str, attempt: u32, round: u32) -> What {
    What::ModelCall { node: 0, message: message.to_owned(), attempt, round, faulty: false }
}

fn ran(message: &str, tool: Tool, key: &str) -> What {
    What::ToolCall { tool, key: key.to_owned(), message: message.to_owned() }
}

fn shown(message: &str, epoch: i64, seq: u64, tool: Tool) -> What {
    saw(Seen::ToolCalled { epoch, seq, tool: tool.name().to_owned(), arguments: tool::arguments(message) })
}

fn ended(epoch: i64, seq: u64, tool: Tool, result: String) -> What {
    saw(Seen::ToolEnded { epoch, seq, tool: tool.name().to_owned(), is_error: false, result })
}

fn confirm(reader: u64, approved: bool) -> What {
    What::Asked { reader, request: R.to_owned(), ask: Ask::Confirm { approved } }
}

fn confirmed(reader: u64, approved: bool) -> What {
    saw_by(reader, Seen::Confirmed { approved })
}

fn nothing_asks(reader: u64) -> What {
    saw_by(reader, Seen::Refused { code: NOTHING_ASKS.to_owned() })
}

/// A message and the first round of its answer, up to the call as number 2.
fn begun(tool: Tool) -> Vec<What> {
    let message = asking(&[tool]);
    vec![
        session(1, "s1"),
        session(2, "s1"),
        ask(Ask::Send { message: message.clone() }),
        saw(Seen::Accepted),
        called(&message, 1, 0),
        text(1, 1, &said(&message, 1, 0)),
        What::Asked { reader: 2, request: R.to_owned(), ask: Ask::Attach { after: 0 } },
    ]
}

/// The same for the tool that asks, shown to ask as number 2 and 3.
fn parked() -> Vec<What> {
    let asks = saw(Seen::Asks { epoch: 1, seq: 2, tool: Tool::Pay.name().to_owned() });
    [begun(Tool::Pay), vec![asks, shown(&asking(&[Tool::Pay]), 1, 3, Tool::Pay)]].concat()
}

/// The second round, and all that is in the store, from this epoch and after this number.
fn finished(tool: Tool, epoch: i64, seq: u64) -> Vec<What> {
    let message = asking(&[tool]);
    let whole = said(&message, 1, 0) + &said(&message, 2, 1);
    vec![
        called(&message, 2, 1),
        text(epoch, seq + 1, &said(&message, 2, 1)),
        end(epoch, seq + 2, End::Completed { text: whole.clone() }),
        stored(&[(true, message), (false, whole)]),
    ]
}

fn rules(parts: &[Vec<What>]) -> Vec<Rule> {
    verdict(parts.concat()).by_rule.into_keys().collect()
}

#[test]
fn a_tool_that_runs_once_and_one_that_is_repeated_under_its_key_break_nothing() {
    for (tool, times) in [(Tool::Note, 1), (Tool::Look, 3)] {
        let message = asking(&[tool]);
        let runs = vec![ran(&message, tool, "k"); times];
        let frames = vec![shown(&message, 1, 2, tool), ended(1, 3, tool, tool.answer("k"))];
        assert_eq!(rules(&[begun(tool), runs, frames, finished(tool, 1, 3)]), []);
    }
}

#[test]
fn a_turn_that_waits_and_goes_on_in_a_new_epoch_breaks_nothing() {
    let attached = saw(Seen::Attached { verdict: "delta".to_owned(), epoch: 2 });
    let history = [
        parked(),
        vec![confirm(1, true), confirmed(1, true), ran(&asking(&[Tool::Pay]), Tool::Pay, "k")],
        vec![ask(Ask::Attach { after: 3 }), attached, ended(2, 4, Tool::Pay, Tool::Pay.answer("k"))],
        finished(Tool::Pay, 2, 4),
    ];
    let verdict = verdict(history.concat());
    assert_eq!(verdict.violations, 0, "{verdict}");
    assert_eq!((verdict.counts.tool_calls, verdict.counts.approved), (1, 1));
}

#[test]
fn of_two_answers_at_once_one_counts_and_a_second_one_that_counts_is_seen() {
    let both = vec![confirm(1, true), confirm(2, false), confirmed(1, true)];
    let ran = vec![ran(&asking(&[Tool::Pay]), Tool::Pay, "k")];
    let rest = finished(Tool::Pay, 2, 3);
    assert_eq!(rules(&[parked(), both.clone(), vec![nothing_asks(2)], ran, rest.clone()]), []);
    assert_eq!(rules(&[parked(), both, vec![confirmed(2, false)], rest]), [Rule::TwoAnswers]);
}

#[test]
fn an_answer_that_counts_and_was_not_given_is_seen() {
    assert_eq!(
        rules(&[parked(), vec![confirm(1, false), confirmed(1, true)], finished(Tool::Pay, 2, 3)]),
        [Rule::Unexpected]
    );
}

#[test]
fn a_side_effect_that_happens_twice_is_seen() {
    let message = asking(&[Tool::Note]);
    for key in ["k", "another"] {
        let runs = vec![ran(&message, Tool::Note, "k"), ran(&message, Tool::Note, key)];
        assert_eq!(rules(&[begun(Tool::Note), runs, finished(Tool::Note, 1, 2)]), [Rule::ToolTwice]);
    }
}

#[test]
fn an_idempotent_tool_that_is_called_under_two_keys_is_seen() {
    let message = asking(&[Tool::Look]);
    let runs = vec![ran(&message, Tool::Look, "k"), ran(&message, Tool::Look, "another")];
    assert_eq!(rules(&[begun(Tool::Look), runs, finished(Tool::Look, 1, 2)]), [Rule::ToolTwice]);
}

#[test]
fn an_approved_tool_that_runs_twice_is_seen() {
    let runs = vec![ran(&asking(&[Tool::Pay]), Tool::Pay, "k"); 2];
    let yes = vec![confirm(1, true), confirmed(1, true)];
    assert_eq!(rules(&[parked(), yes, runs, finished(Tool::Pay, 2, 3)]), [Rule::ToolTwice]);
}

#[test]
fn a_tool_that_runs_before_anybody_said_yes_is_seen() {
    let runs = vec![ran(&asking(&[Tool::Pay]), Tool::Pay, "k")];
    let yes = vec![confirm(1, true), confirmed(1, true)];
    assert_eq!(rules(&[parked(), runs, yes, finished(Tool::Pay, 2, 3)]), [Rule::ToolUnapproved]);
}

#[test]
fn a_rejected_tool_that_runs_is_seen() {
    let no = vec![confirm(2, true), confirm(1, false), confirmed(1, false), nothing_asks(2)];
    let runs = vec![ran(&asking(&[Tool::Pay]), Tool::Pay, "k")];
    assert_eq!(rules(&[parked(), no.clone(), finished(Tool::Pay, 2, 3)]), []);
    assert_eq!(rules(&[parked(), no, runs, finished(Tool::Pay, 2, 3)]), [Rule::ToolUnapproved]);
}

#[test]
fn a_tool_of_a_cancelled_turn_that_runs_is_seen() {
    let message = asking(&[Tool::Pay]);
    let stopped = vec![
        ask(Ask::Cancel),
        confirm(1, true),
        nothing_asks(1),
        end(1, 4, End::Cancelled),
        stored(&[(true, message.clone()), (false, said(&message, 1, 0))]),
    ];
    assert_eq!(rules(&[parked(), stopped.clone()]), []);
    assert_eq!(rules(&[parked(), stopped, vec![ran(&message, Tool::Pay, "k")]]), [Rule::ToolUnapproved]);
}

#[test]
fn a_yes_that_was_sent_again_because_nobody_heard_of_the_first_may_be_refused() {
    let lost = What::Disconnected { reader: 1, why: "cut".to_owned() };
    let yes = vec![confirm(1, true), lost, confirm(1, true), nothing_asks(1)];
    let runs = vec![ran(&asking(&[Tool::Pay]), Tool::Pay, "k")];
    assert_eq!(rules(&[parked(), yes, runs, finished(Tool::Pay, 2, 3)]), []);
}

#[test]
fn a_parked_turn_that_ends_twice_or_never_is_seen() {
    let yes = vec![confirm(1, true), confirmed(1, true)];
    let again = vec![end(2, 9, End::Cancelled)];
    let seen = rules(&[parked(), yes.clone(), finished(Tool::Pay, 2, 3), again]);
    assert!(seen.contains(&Rule::TwoEnds), "{seen:?}");
    assert!(rules(&[parked(), yes]).contains(&Rule::Lost));
}

#[test]
fn a_tool_that_nobody_asked_for_is_seen() {
    let message = asking(&[Tool::Look]);
    let runs = vec![ran(&message, Tool::Note, "k")];
    assert_eq!(rules(&[begun(Tool::Look), runs, finished(Tool::Look, 1, 2)]), [Rule::ToolUnwanted]);
    let torn = Seen::ToolCalled { epoch: 1, seq: 2, tool: "look".to_owned(), arguments: "{\"message\":".to_owned() };
    assert_eq!(rules(&[begun(Tool::Look), vec![saw(torn)], finished(Tool::Look, 1, 2)]), [Rule::ToolUnwanted]);
}

#[test]
fn a_result_that_the_tool_never_gave_is_seen() {
    let (message, tool) = (asking(&[Tool::Look]), Tool::Look);
    let frames = vec![ran(&message, tool, "k"), ended(1, 2, tool, tool.answer("another"))];
    assert_eq!(rules(&[begun(tool), frames, finished(tool, 1, 2)]), [Rule::ToolResult]);
}

#[test]
fn the_second_round_of_an_answer_without_its_first_is_seen() {
    let message = asking(&[Tool::Note]);
    let half = said(&message, 1, 0);
    let history = vec![
        called(&message, 2, 1),
        end(1, 2, End::Completed { text: half.clone() }),
        stored(&[(true, message.clone()), (false, half)]),
    ];
    assert_eq!(rules(&[begun(Tool::Note), history]), [Rule::Answer]);
    let other = text(1, 2, &said(&message, 3, 1));
    assert!(rules(&[begun(Tool::Note), vec![called(&message, 2, 1), other]]).contains(&Rule::Text));
}

#[test]
fn a_new_epoch_without_notice_is_seen_when_nothing_waited_for_a_person() {
    assert!(rules(&[begun(Tool::Note), finished(Tool::Note, 2, 1)]).contains(&Rule::Unannounced));
}

#[test]
fn a_row_that_says_something_else_and_an_attempt_that_nothing_explains_are_seen() {
    let row = |state: &str, attempt| StoredTurn { request: R.to_owned(), state: state.to_owned(), attempt };
    let rows = |turns| vec![What::Turns { turns }];
    let done = || [opened(), frames(0..6), vec![end(1, 7, answered(1)), kept(1)]].concat();
    let began = |fault| vec![What::FaultBegan { id: 1, fault, node: Some(0) }];
    assert_eq!(rules(&[done(), rows(vec![row("completed", 1)])]), []);
    assert_eq!(rules(&[done(), rows(vec![row("failed", 1)])]), [Rule::Stored]);
    assert_eq!(rules(&[done(), rows(Vec::new())]), [Rule::Stored]);
    assert_eq!(rules(&[done(), rows(vec![row("completed", 1), row("completed", 1)])]), [Rule::Stored]);
    let again = || rows(vec![row("completed", 2)]);
    assert_eq!(rules(&[began(Fault::Rolling), done(), again()]), [Rule::AttemptConsumed]);
    assert_eq!(rules(&[began(Fault::Pause), done(), again()]), []);
    assert_eq!(verdict([done(), again()].concat()).counts.attempts_consumed, 1);
}
