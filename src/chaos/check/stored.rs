//! What the store holds in the end, against what readers were told.

use std::collections::HashMap;

use super::{Rule, Turn, Verdict};
use crate::chaos::history::{End, Stored, StoredTurn};

/// Compares every conversation with its turns.
pub(super) fn check(
    verdict: &mut Verdict,
    turns: &HashMap<String, Turn>,
    by_message: &HashMap<String, String>,
    stored: &HashMap<String, Vec<Stored>>,
) {
    let mut found: HashMap<&str, Found<'_>> = HashMap::new();
    let mut conversations: Vec<_> = stored.iter().collect();
    conversations.sort_by_key(|(conversation, _)| conversation.as_str());
    for (conversation, messages) in conversations {
        let mut said: Option<&str> = None;
        for message in messages {
            if message.inbound {
                said = by_message.get(&message.text).map(String::as_str);
                match said.and_then(|request| turns.get(request)) {
                    Some(turn) if turn.seat.conversation == *conversation => {}
                    Some(_) | None => verdict.violated(Rule::Foreign, || {
                        format!("conversation {conversation} holds a message of somebody else")
                    }),
                }
                if let Some(request) = said {
                    found.entry(request).or_default().inbound += 1;
                }
            } else if let Some(request) = said {
                found.entry(request).or_default().answers.push(&message.text);
            } else {
                verdict.violated(Rule::Stored, || format!("conversation {conversation} begins with an answer"));
            }
        }
    }
    let mut turns: Vec<_> = turns.iter().collect();
    turns.sort_by_key(|(request, _)| request.as_str());
    for (request, turn) in turns {
        let found = found.remove(request.as_str()).unwrap_or_default();
        if let Err(what) = compare(turn, &found, stored.contains_key(&turn.seat.conversation)) {
            verdict.violated(Rule::Stored, || format!("{request}: {what}"));
        }
    }
}

/// Compares the rows of turns with what readers were told. `costs_attempts`: something happened that may cost a turn one.
pub(super) fn check_turns(
    verdict: &mut Verdict,
    turns: &HashMap<String, Turn>,
    stored: &[StoredTurn],
    costs_attempts: bool,
) {
    let mut rows: HashMap<&str, Vec<&StoredTurn>> = HashMap::new();
    for row in stored {
        rows.entry(&row.request).or_default().push(row);
        let consumed = u64::from(row.attempt.unsigned_abs()).saturating_sub(1);
        verdict.counts.attempts_consumed += consumed;
        if consumed > 0 && !costs_attempts {
            verdict.violated(Rule::AttemptConsumed, || format!("{} is at attempt {}", row.request, row.attempt));
        }
    }
    let mut turns: Vec<_> = turns.iter().filter(|(_, turn)| turn.accepted).collect();
    turns.sort_by_key(|(request, _)| request.as_str());
    for (request, turn) in turns {
        let states: Vec<&str> =
            rows.get(request.as_str()).into_iter().flatten().map(|row| row.state.as_str()).collect();
        let expected = match &turn.end {
            None => continue,
            Some(End::Completed { .. }) => "completed",
            Some(End::Cancelled) => "cancelled",
            Some(End::Failed { .. }) => "failed",
        };
        if states != [expected] {
            verdict.violated(Rule::Stored, || format!("{request}: its turn is {expected}, the rows say {states:?}"));
        }
    }
}

/// What the store holds of a turn.
#[derive(Default)]
struct Found<'a> {
    inbound: usize,
    answers: Vec<&'a str>,
}

fn compare(turn: &Turn, found: &Found<'_>, was_read: bool) -> Result<(), String> {
    if !turn.accepted {
        // One whose answer never came may have been committed; one that was refused may not.
        return if turn.refused && found.inbound > 0 { Err("was refused, and is stored".to_owned()) } else { Ok(()) };
    }
    if !was_read {
        return Err("its conversation was not read at the end".to_owned());
    }
    if found.inbound != 1 {
        return Err(format!("its message is stored {} times", found.inbound));
    }
    let shown = turn.views.values().find(|view| view.ended).map_or("", |view| view.text.as_str());
    let expected = match &turn.end {
        None => return Ok(()),
        Some(End::Completed { text }) => text.as_str(),
        Some(End::Cancelled) => shown,
        Some(End::Failed { .. }) => "",
    };
    match (expected, &found.answers[..]) {
        ("", []) => Ok(()),
        (expected, [answer]) if expected == *answer => Ok(()),
        (expected, [answer]) => Err(format!("{} bytes were shown, {} others are stored", expected.len(), answer.len())),
        (expected, answers) => {
            Err(format!("{} bytes were shown, {} answers are stored", expected.len(), answers.len()))
        }
    }
}
