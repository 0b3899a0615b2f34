// The protocol client: one socket that reconnects by itself, and requests matched to their answers by requestId.
// Nothing is sent again here: who asks decides whether a request that was cut off may be repeated.

import { uuid } from "./dom.js";

const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 8_000;
const PROBE_WITHIN_MS = 4_000;
const CONNECT_WITHIN_MS = 10_000;
const ANSWER_WITHIN_MS = 15_000;
const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 10_000;
// A socket that lived this long was a good one, and the next attempt starts from the shortest delay.
const STABLE_AFTER_MS = 5_000;
// A connection is replaced no more often than this, however many conversations are read one after another.
const RENEW_AFTER_MS = 1_000;

const CLOSE_IDLE = 1001;
const CLOSE_POLICY = 1008;
const CLOSE_TOO_BIG = 1009;
const CLOSE_RESTART = 1012;

/** A request that failed: the protocol's code, or DISCONNECTED, TIMEOUT or PAYLOAD_TOO_LARGE of our own making. */
export class RequestError extends Error {
  constructor(code, message) {
    super(message ?? code);
    this.code = code;
  }
}

export class Client {
  /** `onState({name, retryAt})` names: connecting, open, waiting, offline, asleep, refused. `onFrame(frame)`: no request's answer. */
  constructor({ url, token, onState, onFrame }) {
    this.url = url;
    this.token = token;
    this.onState = onState;
    this.onFrame = onFrame;
    this.state = { name: "connecting", retryAt: null };
    this.waiting = new Map();
    this.attempt = 0;
    this.hint = null;
    addEventListener("online", () => this.connectNow());
    addEventListener("offline", () => (this.isOpen ? this.#probe() : this.#enter("offline", this.state.retryAt)));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || this.state.name === "refused") return;
      if (this.isOpen) this.#probe();
      else this.connectNow();
    });
  }

  get isOpen() {
    return this.state.name === "open";
  }

  /** Connects at once unless a socket is open or about to be. */
  connectNow() {
    if (this.isOpen || this.socket) return;
    clearTimeout(this.retry);
    this.#connect();
  }

  /** Takes a new connection in place of this one, which watches all that it may; false when it watches nothing yet. */
  renew() {
    if (!this.isOpen || this.watched === 0) return false;
    const { socket } = this;
    this.attempt = 0;
    this.hint = Math.max(0, RENEW_AFTER_MS - (Date.now() - this.openedAt));
    socket.close(1000);
    this.#closed(socket, 1000);
    return true;
  }

  /** Sends an action and gives its answer's frame; rejects with a RequestError. */
  request(action, fields = {}, requestId = uuid()) {
    return new Promise((resolve, reject) => {
      if (!this.send({ action, requestId, ...fields })) {
        reject(new RequestError("DISCONNECTED"));
        return;
      }
      const timer = setTimeout(() => this.#settle(requestId, (entry) => entry.reject(new RequestError("TIMEOUT"))), ANSWER_WITHIN_MS);
      this.waiting.set(requestId, { resolve, reject, timer, action });
    });
  }

  /** Sends an action that has no answer of its own; false when no socket is open. */
  send(action) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify(action));
    return true;
  }

  #settle(requestId, how) {
    const entry = this.waiting.get(requestId);
    if (!entry) return false;
    this.waiting.delete(requestId);
    clearTimeout(entry.timer);
    how(entry);
    return true;
  }

  #enter(name, retryAt = null) {
    this.state = { name, retryAt };
    this.onState(this.state);
  }

  #connect() {
    this.#enter("connecting");
    const socket = this.token ? new WebSocket(this.url, ["bearer", this.token]) : new WebSocket(this.url);
    this.socket = socket;
    this.deadline = setTimeout(() => this.#drop(socket), CONNECT_WITHIN_MS);
    socket.onopen = () => {
      if (socket !== this.socket) return;
      clearTimeout(this.deadline);
      this.openedAt = Date.now();
      this.hint = null;
      this.watched = 0;
      this.pinger = setInterval(() => this.#probe(PONG_WITHIN_MS), PING_EVERY_MS);
      this.#enter("open");
    };
    socket.onmessage = (event) => socket === this.socket && this.#hear(event.data);
    socket.onclose = (event) => this.#closed(socket, event.code);
  }

  #hear(data) {
    // Any frame proves that the connection lives.
    clearTimeout(this.deadline);
    this.deadline = null;
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    const { type, requestId } = frame;
    if (type === "going_away") {
      this.hint = Number(frame.reconnectInMs ?? frame.data?.reconnectInMs) || null;
    } else if (type === "immediate_response" || type === "pong") {
      this.#settle(requestId, (entry) => entry.resolve(frame));
    } else if (type === "error") {
      const error = frame.error ?? frame.data?.error ?? {};
      const asked = this.#settle(requestId, (entry) => entry.reject(new RequestError(error.code, error.message)));
      if (!asked) this.onFrame(frame);
    } else {
      this.onFrame(frame);
    }
  }

  /** Asks for a sign of life; without one in time the socket counts as dead, whatever TCP believes. */
  #probe(within = PROBE_WITHIN_MS) {
    if (this.deadline || !this.send({ action: "ping", requestId: uuid() })) return;
    const socket = this.socket;
    this.deadline = setTimeout(() => this.#drop(socket), within);
  }

  #drop(socket) {
    socket.close();
    this.#closed(socket, 1006);
  }

  #closed(socket, code) {
    if (socket !== this.socket) return;
    this.socket = null;
    clearTimeout(this.deadline);
    this.deadline = null;
    clearInterval(this.pinger);
    if (this.isOpen && Date.now() - this.openedAt > STABLE_AFTER_MS) this.attempt = 0;
    this.state = { name: "closed", retryAt: null };
    for (const [requestId, { action }] of [...this.waiting]) {
      // The close does not name the frame that was too big; only a message can be, and repeating it would loop.
      const tooBig = code === CLOSE_TOO_BIG && action === "send_message";
      this.#settle(requestId, (entry) => entry.reject(new RequestError(tooBig ? "PAYLOAD_TOO_LARGE" : "DISCONNECTED")));
    }
    if (code === CLOSE_POLICY) return this.#enter("refused");
    if (code === CLOSE_IDLE && document.hidden) return this.#enter("asleep");
    this.#schedule(code);
  }

  #schedule(code) {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (this.attempt + 1));
    let delay = BACKOFF_MIN_MS + Math.random() * (ceiling - BACKOFF_MIN_MS);
    if (this.hint !== null || code === CLOSE_RESTART) delay = (this.hint ?? 1000) * (1 + Math.random() * 0.2);
    this.hint = null;
    this.attempt += 1;
    this.retry = setTimeout(() => this.connectNow(), delay);
    this.#enter(navigator.onLine ? "waiting" : "offline", Date.now() + delay);
  }
}
