// Brings what is shown and what the server has stored into one order. What is only guessed here (a text that was sent, an
// answer that was stopped) has no id yet: it takes the stored one's when it is recognised, and is never shown beside it.

/** Merges stored messages, oldest first, into entries that are shown; `make` makes the entry of one that is not. */
export function reconcile(local, messages, make) {
  const merged = [];
  let next = 0;
  const nameless = () => local[next]?.kind === "answer" && !local[next].id;
  for (const message of messages) {
    // An answer that has no stored message of its own (stopped, failed) stays below its question.
    while (message.direction === "inbound" && nameless()) merged.push(local[next++]);
    const at = match(local, next, message);
    while (next < at) merged.push(local[next++]);
    if (at >= 0) {
      merged.push(named(local[next++], message));
      continue;
    }
    const entry = make(message);
    while (nameless() || (local[next]?.id && local[next].at <= entry.at)) merged.push(local[next++]);
    merged.push(entry);
  }
  return [...merged, ...local.slice(next)];
}

/** The place of a message among the entries from `from` on, or -1. */
function match(local, from, { id, direction, content }) {
  const same = local.findIndex((entry, at) => at >= from && entry.id === id);
  if (same >= 0) return same;
  if (direction === "outbound") return local[from]?.kind === "answer" && !local[from].id ? from : -1;
  return local.findIndex((entry, at) => at >= from && !entry.id && entry.kind === "user" && entry.text === content?.text);
}

function named(entry, { id, content, createdAt }) {
  entry.id = id;
  entry.at ??= Number(new Date(createdAt));
  const text = content?.text ?? "";
  if (entry.kind === "answer" && entry.view.text !== text) entry.view.finish({ text, time: createdAt });
  return entry;
}
