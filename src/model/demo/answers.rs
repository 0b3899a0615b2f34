//! What the demo says. Which text it picks depends on a few words of the person's last message.

use crate::model::ChatMessage;

/// How much of a message is quoted, in characters.
const QUOTED_CHARS: usize = 160;

const POINTER: &str = "To talk to a real one, start the node with `SWITCHBOARD_GATEWAY_URL` set to any OpenAI-compatible \
    server (and `SWITCHBOARD_GATEWAY_KEY` and `SWITCHBOARD_MODEL`, when it wants them).";

const GREETING: &str = "Hello! I am Switchboard's demo model: no key, no cost, and no understanding either. I am here so \
    that you can watch an answer arrive word by word.\n\nTry **long** for an answer that is worth stopping, **order a tea** \
    for a tool that asks you first, or ask me **what you said** before.\n\n";

const LONG: &str = "\
Here is a long answer, so that there is time to press **Stop**, to reload the page or to pull the plug on a node. I am the \
demo model and made none of this up just now.

A conversation in Switchboard does not live in the process that holds your connection. Your message was written to the \
database before you were told that it was accepted, and so will be the answer. The words that you are reading travel as \
numbered frames: whoever misses one can ask for it, and nobody has to guess whether something was lost.

That is why any of several identical nodes can do any part of the work:

- One node holds your connection. It may be another one after a reload.
- One node runs the turn, that is, it talks to the model. It need not be the same one.
- If a node dies in the middle of a turn, its lease runs out and another node takes the turn over.
- If you press Stop, the request travels to the node that runs the turn, wherever that is, and the model stops as well.

A client needs very little to take part. It opens a WebSocket, starts a session and sends a message:

```json
{\"action\": \"send_message\", \"requestId\": \"1\", \"sessionId\": \"...\", \"message\": \"Hello\"}
```

What comes back is one acknowledgement, then as many `stream_token` events as it takes, and exactly one event at the end: \
the whole answer, an error, or the word that it was cancelled. There is no fourth way for it to end.

If you have read this far without stopping me, here is something to try next:

1. Ask for a long answer again, and reload the page while it arrives.
2. Open the page in a second window and look at the list of conversations.
3. Ask once more, and press Stop in the middle of a sentence. What had arrived stays in the history.

";

/// What the person asks to have ordered, if the last thing that happened is that they asked: what follows "order" or
/// "remind me", without the marks around it.
pub(super) fn order(messages: &[ChatMessage]) -> Option<String> {
    let said = by_the_person(messages.last()?)?;
    let lower = said.to_ascii_lowercase();
    let begins_a_word = |at: &usize| !said[..*at].ends_with(char::is_alphanumeric);
    let (at, word) =
        ["order ", "remind me "].into_iter().find_map(|word| Some((lower.find(word).filter(begins_a_word)?, word)))?;
    let item = said[at + word.len()..].trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    let item: String = item.chars().take(QUOTED_CHARS).collect();
    let item = if word.starts_with("remind") { format!("a reminder {item}") } else { item };
    (!item.is_empty()).then_some(item)
}

/// What the demo says before it calls the tool.
pub(super) fn before_order(item: &str) -> String {
    format!(
        "I am the demo model, and I can pretend to order {item}. A tool that does something in the world asks you first, so \
         I will wait for your answer, however long you take, and even if this node is stopped meanwhile.\n\n"
    )
}

/// The answer to a conversation.
pub(super) fn answer(messages: &[ChatMessage]) -> String {
    if let Some(ChatMessage::Tool { content, .. }) = messages.last() {
        return format!("This is what became of it:\n\n> {}\n\n{POINTER}", quote(content));
    }
    let said: Vec<&str> = messages.iter().filter_map(by_the_person).collect();
    let Some((last, before)) = said.split_last() else {
        return format!("{GREETING}{POINTER}");
    };
    let lower = last.to_lowercase();
    let asks_for = |word: &str| lower.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);

    if asks_for("long") {
        return format!("{LONG}{POINTER}");
    }
    if lower.contains("did i say") || lower.contains("i said") || asks_for("remember") {
        return recall(before);
    }
    if before.is_empty() && ["hello", "hi", "hey"].into_iter().any(asks_for) {
        return format!("{GREETING}{POINTER}");
    }
    let count = last.split_whitespace().count();
    let words = if count == 1 { "one word".to_owned() } else { format!("{count} words") };
    format!(
        "You wrote {words}:\n\n> {}\n\nA language model would now have something to say about that. I am only the demo \
         model: I can count, quote and stream. {POINTER}",
        quote(last)
    )
}

fn recall(before: &[&str]) -> String {
    match before {
        [] => format!(
            "This is your first message here, so there is nothing to recall yet. I am the demo model. {POINTER}"
        ),
        [.., newest] => format!(
            "Before this you sent {} to me, the demo model. The newest was:\n\n> {}\n\nIt was read from the database just \
             now, whichever node you are connected to. {POINTER}",
            if before.len() == 1 { "one message".to_owned() } else { format!("{} messages", before.len()) },
            quote(newest)
        ),
    }
}

fn by_the_person(message: &ChatMessage) -> Option<&str> {
    match message {
        ChatMessage::User(text) => Some(text),
        ChatMessage::System(_) | ChatMessage::Assistant { .. } | ChatMessage::Tool { .. } => None,
    }
}

/// The beginning of a text, as lines of a Markdown quotation.
fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED_CHARS).collect::<String>().trim().replace('\n', "\n> ");
    if text.chars().nth(QUOTED_CHARS).is_some() {
        quoted.push('…');
    }
    quoted
}
