// One conversation: its session, its history, and the one turn that may run in it. It lives on while another is shown.
// The server is the truth: what was guessed while a connection was down is reconciled with history, never added to it.

import { RequestError } from "./client.js";
import { el, kept, uuid } from "./dom.js";
import { reconcile } from "./history.js";
import { Answer, UserMessage, sentence, storedAnswer } from "./message.js";

const SUPPORTS = ["stream_resume", "going_away"];
const PAGE = 50;
const SEND_TRIES = 3;
const RETRY_LOAD_MS = 4_000;
// Without a frame for so long an accepted turn is looked up in history; sooner when its stream is known to be lost.
const SILENCE_MS = 30_000;
const LATE_POLL_MS = 5_000;
const SILENT_LOOKS = 60;

export class Thread {
  /**
   * `hub` is told: identified (the conversation's id changed), changed (what is shown), started, ended, returned (a text
   * taken back), prepending (calls back while it holds the reader's place).
   */
  constructor(client, agentId, conversationId, hub) {
    this.client = client;
    this.agentId = agentId;
    this.conversationId = conversationId;
    this.hub = hub;
    this.agentName = "Assistant";
    this.sessionId = null;
    this.entries = [];
    this.turn = null;
    this.cursor = null;
    this.connection = null;
    this.earlier = el("button", { type: "button", class: "quiet earlier", testid: "load-earlier", text: "Load earlier messages", hidden: true, onclick: () => this.loadEarlier() });
    this.notice = el("div", { class: "note", role: "status", testid: "notice", hidden: true });
    this.list = el("div", { class: "list" });
    this.root = el("div", { class: "thread", testid: "thread" }, this.earlier, this.notice, this.list);
    this.root.classList.toggle("loading", conversationId !== null);
    this.#recall();
  }

  get isEmpty() {
    return this.entries.length === 0 && !this.conversationId;
  }

  get isBusy() {
    return this.turn !== null;
  }

  // ---- What the person does

  /** Takes a message; it is kept until a connection carries it. */
  send(text) {
    if (this.turn) return;
    this.#say(null);
    this.#begin({ kind: "user", requestId: uuid(), text, view: new UserMessage(text) });
  }

  /** Stops the running answer, or takes a message back that was never sent. */
  stop() {
    const turn = this.turn;
    if (!turn) return;
    if (!turn.accepted && !turn.tries) {
      this.#remove(turn.user);
      this.#end();
      this.hub.returned(this, turn.text);
      return;
    }
    turn.stopping = true;
    if (turn.accepted) this.#cancel(turn);
    this.hub.changed(this);
  }

  /** Loads the page of history before the oldest message shown. */
  async loadEarlier() {
    if (!this.hasMore || this.loadingEarlier || !this.client.isOpen) return;
    this.loadingEarlier = true;
    try {
      const { data } = await this.#ask("get_conversation_messages", { limit: PAGE, cursor: this.cursor });
      const known = new Set(this.entries.map(({ id }) => id));
      const older = data.messages.filter(({ id }) => !known.has(id)).reverse().map((message) => this.#stored(message));
      this.entries.unshift(...older);
      this.hub.prepending(this, () => {
        this.#page(data);
        this.#place();
      });
    } catch {
      // The button stays and may be pressed again.
    } finally {
      this.loadingEarlier = false;
    }
  }

  // ---- Coming back after a connection, or for the first time

  /** Picks the conversation up on the present connection; does nothing when it was already. */
  resume() {
    if (!this.client.isOpen || this.connection === this.client.socket) return;
    const connection = (this.connection = this.client.socket);
    clearTimeout(this.reload);
    this.picking = connection;
    this.#pickUp()
      .catch((error) => {
        if (error.code === "DISCONNECTED" || connection !== this.client.socket) return;
        this.connection = null;
        this.#say(`${sentence(error)} Trying again…`);
        this.reload = setTimeout(() => this.resume(), RETRY_LOAD_MS);
      })
      .finally(() => {
        if (this.picking === connection) this.picking = null;
      });
  }

  async #pickUp() {
    if (this.sessionId) {
      try {
        await this.#attach();
      } catch (error) {
        if (error.code !== "SESSION_NOT_FOUND") throw error;
        this.sessionId = null;
      }
    }
    if (!this.sessionId && this.conversationId && (await this.#open())) await this.#attach();
    if (this.sessionId) await this.#refresh();
    this.root.classList.remove("loading");
    if (this.reload) this.#say(null);
    this.reload = null;
    if (this.turn && !this.turn.accepted) await this.#push(this.turn);
    else if (this.turn?.stopping) this.#cancel(this.turn);
  }

  /** Makes a session, of the known conversation or of a new one. False: the conversation is gone, and none is needed yet. */
  async #open() {
    const fields = { agentId: this.agentId, supports: SUPPORTS };
    if (this.conversationId) fields.conversationId = this.conversationId;
    try {
      const { data } = await this.#enter("create_conversation_session", fields);
      this.#adopt(data);
      return true;
    } catch (error) {
      if (error.code !== "CONVERSATION_NOT_FOUND" || !this.conversationId) throw error;
    }
    this.#remember(null);
    const lost = this.conversationId;
    this.conversationId = null;
    this.entries = this.entries.filter((entry) => entry === this.turn?.user);
    if (this.turn) Object.assign(this.turn, { accepted: false, tries: 0, seq: 0, answer: null });
    this.hasMore = false;
    this.#place();
    this.#say("The conversation does not exist here any more. This is a new one.");
    this.hub.identified(this, lost);
    return this.turn ? this.#open() : false;
  }

  #adopt(session) {
    this.sessionId = session.sessionId;
    this.agentName = session.agentName || this.agentName;
    const before = this.conversationId;
    this.conversationId = session.conversationId;
    if (before !== this.conversationId) {
      kept(() => sessionStorage, "thread.new").set(null);
      this.hub.identified(this, before);
    }
    this.#remember();
  }

  /** Joins the running turn's stream where it broke off; with a server that cannot, asks for its end only. */
  async #attach() {
    const turn = this.turn?.accepted || this.turn?.tries ? this.turn : null;
    if (this.client.attaches !== false) {
      const fields = turn ? { turnRequestId: turn.requestId, afterSeq: turn.seq } : {};
      try {
        const { data } = await this.#enter("attach_session", fields);
        this.client.attaches = true;
        this.#attached(data, turn);
        return;
      } catch (error) {
        if (error.code === "VALIDATION_ERROR" && turn?.seq) {
          // The position means nothing to this server: the text is fetched again from its beginning.
          turn.seq = 0;
          return this.#attach();
        }
        if (error.code !== "UNSUPPORTED_ACTION") throw error;
        this.client.attaches = false;
      }
    }
    const { data } = await this.#enter("get_session");
    this.agentName = data.agentName || this.agentName;
    if (turn?.accepted) this.#lose(turn);
  }

  /** The frames that the verdict announces follow this answer, so nothing is awaited before it is applied. */
  #attached({ verdict, turn: remote, agentName }, turn) {
    this.agentName = agentName || this.agentName;
    if (!turn && !this.turn && ["queued", "running", "parked"].includes(remote?.state)) {
      // Another device, or this page in an earlier life, started it.
      turn = this.turn = { requestId: remote.requestId, accepted: true, seq: 0 };
      this.#answer(turn);
    }
    if (!turn) return;
    if (verdict === "gone") {
      // The server knows no such turn: the message never reached it and is sent again, under the same name.
      turn.accepted = !turn.text;
      turn.seq = 0;
      turn.answer?.view.restart();
      if (!turn.text) this.#lose(turn);
      return;
    }
    this.#accept(turn);
    turn.lost = false;
    if (verdict !== "snapshot") return;
    turn.asks = false;
    turn.seq = 0;
    turn.epoch = remote?.epoch;
    turn.answer.view.restart();
  }

  // ---- A turn

  #begin(user) {
    this.turn = { requestId: user.requestId, text: user.text, user, accepted: false, tries: 0, seq: 0 };
    if (!this.entries.includes(user)) this.entries.push(user);
    user.view.show("sending");
    this.#place();
    this.#remember();
    this.hub.changed(this);
    // While the conversation is being picked up, the message follows at the end of that.
    if (!this.client.isOpen || this.connection !== this.client.socket) this.resume();
    else if (!this.picking) this.#push(this.turn);
  }

  /** Sends the message. Repeating it is safe: the server knows a (session, requestId) that it has accepted. */
  async #push(turn) {
    if (turn.pushing || turn !== this.turn) return;
    turn.pushing = true;
    try {
      if (!this.sessionId) await this.#open();
      turn.tries += 1;
      this.#remember();
      const frame = await this.#ask("send_message", { message: turn.text }, turn.requestId);
      this.#accept(turn, frame.seq);
    } catch (error) {
      turn.pushing = false;
      this.#refused(turn, error);
    } finally {
      turn.pushing = false;
    }
  }

  #accept(turn, seq = 0) {
    if (turn.accepted || turn !== this.turn) return;
    turn.accepted = true;
    turn.seq = Math.max(turn.seq, seq);
    turn.user.view.show("sent");
    this.#answer(turn);
    this.#remember();
    if (turn.stopping) this.#cancel(turn);
    this.hub.started(this);
  }

  #answer(turn) {
    if (turn.answer) return;
    turn.answer = { kind: "answer", view: new Answer(this.agentName) };
    this.entries.push(turn.answer);
    this.#place();
    this.#watch(turn);
    this.hub.changed(this);
  }

  #refused(turn, error) {
    if (turn !== this.turn || turn.accepted || error.code === "DISCONNECTED") return;
    if (error.code === "TIMEOUT" && turn.tries < SEND_TRIES) {
      this.#push(turn);
    } else if (error.code === "SESSION_NOT_FOUND" && !turn.renewed) {
      turn.renewed = true;
      this.sessionId = null;
      this.connection = null;
      this.resume();
    } else {
      const { user } = turn;
      this.#end();
      user.view.show("failed", error, () => this.turn || this.#begin(this.#last(user)));
    }
  }

  #cancel(turn) {
    this.client.send({ action: "cancel", requestId: turn.requestId, sessionId: this.sessionId });
    this.#watch(turn, LATE_POLL_MS);
  }

  /** Takes a frame that nobody asked for; true when it is of this conversation's turn. */
  frame(frame) {
    const turn = this.turn;
    if (!turn || frame.requestId !== turn.requestId) return false;
    this.#accept(turn);
    if (this.#isOld(turn, frame)) return true;
    turn.looks = 0;
    this.#watch(turn);
    const { view } = turn.answer;
    switch (frame.type) {
      case "stream_token":
        if (!turn.lost) view.append(frame.token ?? frame.data?.token ?? "");
        break;
      case "stream_reasoning":
        if (!turn.lost) view.reason(frame.token ?? frame.data?.token ?? "");
        break;
      case "stream_chunk":
        if (frame.data?.state?.rawResponse?.toolResult) this.#answered(turn);
        if (!turn.lost) view.tool(frame.data?.state?.rawResponse ?? {});
        break;
      case "turn_restarted":
        turn.lost = turn.asks = false;
        view.restart();
        break;
      case "write_confirmation_required":
        turn.asks = true;
        view.confirm(frame.data?.data ?? {}, (approved) => this.#confirm(turn, approved));
        break;
      case "eventual_response":
        this.#complete(turn, frame.data?.data ?? {});
        break;
      case "cancelled":
        this.#end();
        view.stop();
        break;
      case "error": {
        this.#end();
        view.fail(frame.error ?? frame.data?.error ?? {}, turn.text && (() => this.send(turn.text)));
        break;
      }
      default:
    }
    return true;
  }

  /**
   * Frames of an older epoch, and those already seen, are dropped. A newer epoch begins the text again only when it says so: a
   * turn that waited for consent goes on under a newer one, and its numbers go on too.
   */
  #isOld(turn, { seq, epoch, type }) {
    if (Number.isInteger(epoch)) {
      if (epoch < turn.epoch) return true;
      if (type === "turn_restarted") turn.seq = 0;
      turn.epoch = epoch;
    }
    if (!Number.isInteger(seq)) return false;
    if (seq <= turn.seq) return true;
    turn.seq = seq;
    return false;
  }

  /** Nobody is asked any more, whoever answered. */
  #answered(turn) {
    if (turn.asks) turn.answer.view.unask();
    turn.asks = false;
  }

  async #confirm(turn, approved) {
    try {
      await this.#ask("confirm_tool_action", { approved }, turn.requestId);
    } catch (error) {
      if (turn === this.turn) this.#say(sentence(error));
    }
  }

  #complete(turn, { messageId, response, citations, usage }) {
    const { answer } = turn;
    const text = response?.responseParts?.join("\n\n") ?? answer.view.text;
    const twin = this.entries.find(({ id }) => id && id === messageId);
    if (twin && twin !== answer) this.#remove(twin);
    answer.id = messageId;
    this.#end();
    answer.view.finish({ text, citations, usage });
  }

  /** The stream broke off: nothing is appended any more, the whole text comes at the end. */
  #lose(turn) {
    turn.lost = true;
    turn.answer.view.late();
    this.#watch(turn);
  }

  #end() {
    clearTimeout(this.watch);
    this.turn = null;
    this.#remember();
    this.hub.changed(this);
    this.hub.ended(this);
  }

  /** Looks into history when an accepted turn is silent for too long: its end may have been lost on the way. */
  #watch(turn, after = turn.lost ? LATE_POLL_MS : SILENCE_MS) {
    clearTimeout(this.watch);
    this.watch = setTimeout(async () => {
      if (turn !== this.turn) return;
      if (this.client.isOpen) {
        // A person may take their time.
        turn.looks = turn.asks ? 0 : (turn.looks ?? 0) + 1;
        await this.#refresh().catch(() => {});
      }
      if (turn !== this.turn) return;
      if (turn.looks < SILENT_LOOKS || !this.client.isOpen) return this.#watch(turn);
      this.#end();
      turn.answer.view.fail({ code: "NO_ANSWER" }, turn.text && (() => this.send(turn.text)));
    }, after);
  }

  // ---- History

  async #refresh() {
    const first = this.cursor === null;
    const { data } = await this.#ask("get_conversation_messages", { limit: PAGE });
    this.#merge(data.messages.toReversed());
    if (first) this.#page(data);
  }

  #page({ nextCursor, hasMore }) {
    this.cursor = nextCursor ?? null;
    this.hasMore = Boolean(hasMore && nextCursor);
    this.earlier.hidden = !this.hasMore;
  }

  #stored({ id, direction, content, createdAt }) {
    const text = content?.text ?? "";
    const kind = direction === "outbound" ? "answer" : "user";
    const view = kind === "user" ? new UserMessage(text, createdAt) : storedAnswer(this.agentName, text, createdAt);
    return { kind, id, text, at: Number(new Date(createdAt)), view };
  }

  /** Reconciles the newest messages of history, oldest first, with what is shown. */
  #merge(messages) {
    const turn = this.turn;
    const taken = turn ? this.#recognise(turn, messages) : new Set();
    const local = this.entries.filter((entry) => entry !== turn?.user && entry !== turn?.answer);
    const rest = messages.filter(({ id }) => !taken.has(id));
    const merged = reconcile(local, rest, (message) => this.#stored(message));
    this.entries = [...merged, ...[turn?.user, turn?.answer].filter(Boolean)];
    this.#place();
  }

  /** Finds a running turn's own messages in history; an answer that is there ends the turn. */
  #recognise(turn, messages) {
    const taken = new Set();
    const known = new Set(this.entries.map(({ id }) => id));
    const { user } = turn;
    const last = messages.findLast(({ direction }) => direction === "inbound");
    if (turn.accepted && user && !user.id && last && !known.has(last.id) && last.content?.text === turn.text) user.id = last.id;
    if (!user?.id) return taken;
    taken.add(user.id);
    const at = messages.findIndex(({ id }) => id === user.id);
    const reply = at >= 0 && messages.slice(at + 1).find(({ direction }) => direction === "outbound");
    if (reply) {
      taken.add(reply.id);
      this.#complete(turn, { messageId: reply.id, response: { responseParts: [reply.content?.text ?? ""] } });
    }
    return taken;
  }

  #last(entry) {
    this.entries = [...this.entries.filter((other) => other !== entry), entry];
    return entry;
  }

  #remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    this.#place();
  }

  /** Brings the DOM into the order of the entries, moving only what is out of place. */
  #place() {
    let at = this.list.firstChild;
    for (const { view } of this.entries) {
      if (view.node === at) at = at.nextSibling;
      else this.list.insertBefore(view.node, at);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
    this.hub.changed(this);
  }

  #say(text) {
    this.notice.hidden = !text;
    this.notice.textContent = text ?? "";
  }

  /** An action that makes this connection watch one more session. A server limits those, and a new connection has none. */
  async #enter(action, fields) {
    try {
      const frame = await this.#ask(action, fields);
      this.client.watched += 1;
      return frame;
    } catch (error) {
      if (error.code === "RATE_LIMITED" && this.client.renew()) throw new RequestError("DISCONNECTED");
      throw error;
    }
  }

  #ask(action, fields, requestId) {
    const session = this.sessionId ? { sessionId: this.sessionId } : {};
    return this.client.request(action, { ...session, ...fields }, requestId);
  }

  // ---- A reload of the page loses neither the session nor a message on its way

  get #store() {
    return kept(() => sessionStorage, `thread.${this.conversationId ?? "new"}`);
  }

  #remember(sessionId = this.sessionId) {
    const { requestId, text, accepted, tries } = this.turn ?? {};
    const turn = text ? { requestId, text, accepted, tries } : null;
    this.#store.set(sessionId || turn ? { sessionId, turn } : null);
  }

  #recall() {
    const { sessionId = null, turn = null } = this.#store.get() ?? {};
    this.sessionId = sessionId;
    if (!turn) return;
    const user = { kind: "user", requestId: turn.requestId, text: turn.text, view: new UserMessage(turn.text) };
    this.turn = { ...turn, user, seq: 0 };
    this.entries.push(user);
    user.view.show(turn.accepted ? "sent" : "sending");
    if (turn.accepted) this.#answer(this.turn);
    else this.#place();
  }
}
