// What one message looks like. These classes draw; thread.js decides.

import { copyButton, el, icon } from "./dom.js";
import { StreamRenderer, anchor, webAddress } from "./render.js";

const SENTENCES = {
  RATE_LIMITED: "Too many messages in a short time. Wait a moment, then try again.",
  TURN_IN_PROGRESS: "Another answer is still running in this conversation. Wait for it or stop it, then try again.",
  STORAGE_ERROR: "The message could not be saved just now, so it was not sent. Try again.",
  LLM_UNAVAILABLE: "No model gateway is configured: set SWITCHBOARD_GATEWAY_URL.",
  AGENT_ERROR: "The answer broke off because the model or a tool failed.",
  INTERNAL_ERROR: "Something went wrong on the server.",
  PAYLOAD_TOO_LARGE: "This message is too large for the server. Shorten it and send it again.",
  UNAUTHENTICATED: "You are not signed in. Open this page with a valid token.",
  AGENT_NOT_AUTHORIZED: "This agent is not open to you.",
  ORIGIN_NOT_ALLOWED: "This agent does not accept messages from this address.",
  AUTH_CONTEXT_INVALID: "Your sign-in was not accepted.",
  CONVERSATION_NOT_FOUND: "This conversation does not exist here.",
  SESSION_NOT_FOUND: "This session does not exist any more.",
  TIMEOUT: "The server did not answer in time.",
  DISCONNECTED: "The connection was lost.",
  NO_ANSWER: "No answer arrived.",
};
const RESULT_SHOWN = 4000;

/** A sentence for a person; a validation error's own message says best what was wrong. */
export function sentence({ code, message }) {
  return SENTENCES[code] ?? (message || "Something went wrong.");
}

/** A stored time, for the reader's eyes. */
function clock(time) {
  const date = new Date(time);
  const text = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return el("time", { datetime: date.toISOString(), title: date.toLocaleString(), text });
}

function errorNote(error, onRetry) {
  const retry = onRetry && el("button", { type: "button", class: "retry", testid: "retry", onclick: onRetry }, icon("retry"), "Try again");
  return el(
    "div",
    { class: "note error", role: "alert", testid: "message-error", "data-code": error.code },
    icon("alert"),
    el("span", {}, sentence(error), " ", el("code", { text: error.code })),
    retry,
  );
}

/** What the person said. */
export class UserMessage {
  constructor(text, time) {
    this.meta = el("div", { class: "meta" });
    this.slot = el("div");
    const bubble = el("div", { class: "bubble", dir: "auto", testid: "message-text", text });
    this.node = el("article", { class: "message user", testid: "message-user", "aria-label": "You" }, bubble, this.meta, this.slot);
    if (!time) return;
    this.node.classList.add("stored");
    this.meta.append(clock(time));
  }

  /** `state`: sending, sent or failed. */
  show(state, error, onRetry) {
    this.node.dataset.state = state;
    const text = { sending: "sending…", failed: "not sent" }[state];
    this.meta.replaceChildren(text ? el("span", { testid: "message-state", text }) : clock(Date.now()));
    this.slot.replaceChildren(...(error ? [errorNote(error, onRetry)] : []));
  }
}

/** What the agent answers: thinking, tools, text, sources, and how it ended. */
export class Answer {
  constructor(author) {
    this.thinking = null;
    this.tools = el("div", { class: "tools" });
    this.done = el("div", { class: "prose", dir: "auto", "aria-live": "polite" });
    this.tail = el("div", { class: "prose tail", dir: "auto", "aria-hidden": "true" });
    this.body = el("div", { class: "body", testid: "message-text" }, this.done, this.tail);
    this.wait = el("div", { class: "wait", testid: "typing" }, el("i"), el("i"), el("i"), el("span", { class: "sr-only", text: "Answering" }));
    this.slot = el("div");
    this.foot = el("div", { class: "foot" });
    const mark = el("div", { class: "author" }, icon("mark"), el("span", { text: author }));
    this.node = el("article", { class: "message answer", testid: "message-assistant", "aria-label": author });
    this.node.append(mark, this.tools, this.body, this.wait, this.slot, this.foot);
    this.stream = new StreamRenderer(this.done, this.tail);
    this.calls = [];
    this.#state("running");
  }

  get text() {
    return this.stream.text;
  }

  #state(state) {
    this.node.dataset.state = state;
    this.node.setAttribute("aria-busy", String(state === "running"));
    this.wait.hidden = state !== "running" && state !== "late";
    if (state !== "running" && state !== "late") {
      this.tail.removeAttribute("aria-hidden");
      this.#endThinking();
    }
  }

  append(token) {
    this.#renew();
    this.#endThinking();
    this.stream.append(token);
  }

  /** The model's thinking channel, folded away. */
  reason(token) {
    this.#renew();
    if (!this.thinking) {
      this.thought = document.createTextNode("");
      const summary = el("summary", {}, "Thinking…");
      this.thinking = el("details", { class: "thinking", testid: "thinking" }, summary, el("div", {}, this.thought));
      this.thinkingSince = Date.now();
      this.tools.before(this.thinking);
    }
    this.thought.appendData(token);
  }

  #endThinking() {
    if (!this.thinkingSince) return;
    const seconds = Math.round((Date.now() - this.thinkingSince) / 1000);
    this.thinkingSince = null;
    this.thinking.firstChild.textContent = seconds > 1 ? `Thought for ${seconds} s` : "Thinking";
  }

  /** A tool started, or ended: the oldest open call of that name. */
  tool({ toolCall, toolResult }) {
    this.#renew();
    if (toolCall) {
      const summary = el("summary", {}, icon("tool"), el("span", { text: toolCall.name }));
      const node = el("details", { class: "chip", testid: "tool-chip", "data-state": "running" }, summary);
      if (toolCall.arguments && toolCall.arguments !== "{}") node.append(el("pre", { text: shortened(toolCall.arguments) }));
      this.calls.push({ name: toolCall.name, node });
      this.tools.append(node);
    } else if (toolResult) {
      const call = this.calls.find(({ name, ended }) => name === toolResult.name && !ended);
      if (!call) return;
      call.ended = true;
      call.node.dataset.state = toolResult.isError ? "failed" : "done";
      call.node.append(el("pre", { text: shortened(toolResult.result) }));
    }
  }

  /** A tool wants the person's consent; `answer(approved)` is called once. */
  confirm({ toolId, actionDescription }, answer) {
    this.#renew();
    const decide = (approved) => () => {
      this.slot.replaceChildren();
      answer(approved);
    };
    const allow = el("button", { type: "button", class: "primary", testid: "confirm-allow", text: "Allow", onclick: decide(true) });
    const refuse = el("button", { type: "button", testid: "confirm-refuse", text: "Refuse", onclick: decide(false) });
    const question = el("p", {}, el("strong", { text: toolId }), ` asks for your consent. ${actionDescription ?? ""}`);
    this.slot.replaceChildren(el("div", { class: "note consent", role: "alertdialog", "aria-label": "Consent", testid: "confirm" }, question, el("div", {}, allow, refuse)));
  }

  /** The tool has its answer. */
  unask() {
    this.slot.replaceChildren();
  }

  /** The text will begin again. Until it does, what was there stays, dimmed: a reader is not left with nothing. */
  restart() {
    this.#state("running");
    this.slot.replaceChildren();
    this.node.dataset.outdated = "";
  }

  /** Makes place for what is new. */
  #renew() {
    if (this.node.dataset.outdated === undefined) return;
    delete this.node.dataset.outdated;
    this.stream.clear();
    this.tools.replaceChildren();
    this.calls = [];
    this.thinking?.remove();
    this.thinking = this.thinkingSince = null;
  }

  /** The answer goes on somewhere, but its text does not arrive here for now. */
  late() {
    this.#state("late");
    this.slot.replaceChildren(el("div", { class: "note", testid: "still-answering" }, el("span", { class: "lamp busy" }), "still answering…"));
  }

  finish({ text, time, citations, usage }) {
    this.#renew();
    this.#state("done");
    this.stream.finish(text);
    this.slot.replaceChildren();
    if (citations?.length) this.slot.append(sources(citations));
    this.#footer(time ?? Date.now(), usage);
  }

  stop() {
    this.#renew();
    this.stream.finish();
    this.#state("stopped");
    this.slot.replaceChildren(el("div", { class: "note", testid: "stopped", role: "status", text: "stopped" }));
    this.#footer(Date.now());
  }

  fail(error, onRetry) {
    delete this.node.dataset.outdated;
    this.stream.finish();
    this.#state("failed");
    this.slot.replaceChildren(errorNote(error, onRetry));
    this.#footer(Date.now());
  }

  #footer(time, usage) {
    for (const { node } of this.calls) if (node.dataset.state === "running") node.dataset.state = "done";
    const copying = this.text ? copyButton("Copy", () => this.text, "copy-answer") : "";
    this.foot.replaceChildren(copying, usage ? usageNote(usage) : "", clock(time));
  }
}

/** A stored answer. Its author's name and text are all that history holds. */
export function storedAnswer(author, text, time) {
  const answer = new Answer(author);
  answer.node.classList.add("stored");
  answer.done.setAttribute("aria-live", "off");
  answer.finish({ text, time });
  return answer;
}

function usageNote({ promptTokens = 0, completionTokens = 0, costUsd }) {
  const total = promptTokens + completionTokens;
  const cost = costUsd > 0 ? ` · $${costUsd < 0.01 ? costUsd.toPrecision(2) : costUsd.toFixed(2)}` : "";
  const title = `${promptTokens.toLocaleString()} tokens read, ${completionTokens.toLocaleString()} written`;
  return el("span", { testid: "usage", title, text: `${total.toLocaleString()} tokens${cost}` });
}

function sources(citations) {
  const items = citations.map(({ title, url, snippet }) => {
    const address = url && webAddress(url);
    const name = el("span", { class: "source-title", text: title || "Untitled" });
    if (address) name.replaceChildren(anchor(address));
    if (address) name.firstChild.append(title || address);
    return el("li", { testid: "citation" }, name, snippet ? el("span", { class: "snippet", text: snippet }) : null);
  });
  return el("section", { class: "sources", testid: "citations", "aria-label": "Sources" }, el("h3", { text: "Sources" }), el("ol", {}, ...items));
}

function shortened(text) {
  const whole = typeof text === "string" ? text : JSON.stringify(text);
  return whole?.length > RESULT_SHOWN ? `${whole.slice(0, RESULT_SHOWN)}…` : (whole ?? "");
}

