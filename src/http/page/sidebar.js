// The list of conversations: search, paging, renaming. It is fetched again when something happened, never polled.

import { ago, el, icon } from "./dom.js";

const PAGE = 30;
const MOST = 200;
const SEARCH_AFTER_MS = 200;
const TITLE_MAX = 60;

export class Sidebar {
  /** `elements`: list, search, more. `link(id)` gives a row's address; `opened(id)` and `named(id, title)` are callbacks. */
  constructor(client, elements, { link, opened, named }) {
    this.client = client;
    this.elements = elements;
    this.link = link;
    this.opened = opened;
    this.named = named;
    this.rows = [];
    this.busy = new Set();
    this.current = null;
    this.round = 0;
    elements.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.refresh(true), SEARCH_AFTER_MS);
    });
    elements.more.addEventListener("click", () => this.more());
    setInterval(() => this.#draw(), 60_000);
  }

  title(id) {
    return this.rows.find(({ conversationId }) => conversationId === id)?.title ?? null;
  }

  select(id) {
    this.current = id;
    this.#draw();
  }

  /** Marks a conversation whose answer is running. */
  mark(id, running) {
    if (running === this.busy.has(id)) return;
    if (running) this.busy.add(id);
    else this.busy.delete(id);
    this.#draw();
  }

  /** Fetches as much of the list as is shown; `anew` begins at the first page, for another search. */
  async refresh(anew = false) {
    const limit = anew ? PAGE : Math.min(MOST, Math.max(PAGE, this.rows.length));
    await this.#fetch({ limit }, []);
  }

  async more() {
    if (this.cursor) await this.#fetch({ limit: PAGE, cursor: this.cursor }, this.rows);
  }

  async #fetch(fields, before) {
    const round = ++this.round;
    const query = this.elements.search.value.trim();
    if (query) fields.query = query;
    try {
      const { data } = await this.client.request("list_conversations", fields);
      if (round !== this.round) return;
      const known = new Set(before.map(({ conversationId }) => conversationId));
      this.rows = [...before, ...data.conversations.filter(({ conversationId }) => !known.has(conversationId))];
      this.cursor = data.hasMore ? data.nextCursor : null;
      this.failed = null;
    } catch (error) {
      if (round !== this.round || error.code === "DISCONNECTED") return;
      this.failed = error.code;
    }
    this.loaded = true;
    this.#draw();
    this.named(this.current, this.title(this.current));
  }

  async rename(id, title) {
    const text = title.trim().slice(0, TITLE_MAX);
    if (!text || text === this.title(id)) return this.#draw();
    try {
      const { data } = await this.client.request("rename_conversation", { conversationId: id, title: text });
      const row = this.rows.find(({ conversationId }) => conversationId === id);
      if (row) row.title = data.title;
      this.named(id, data.title);
    } catch {
      // The old title stays, which shows that it failed.
    }
    this.#draw();
  }

  #draw() {
    const { list, more } = this.elements;
    // A row that is being renamed or holds the focus must not be pulled away from under the hands.
    if (list.querySelector("input")) return;
    const focused = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    list.replaceChildren(...this.rows.map((row) => this.#row(row)));
    if (focused) list.querySelector(`[data-id="${CSS.escape(focused)}"] a`)?.focus();
    more.hidden = !this.cursor;
    if (this.rows.length || !this.loaded) return;
    const nothing = this.elements.search.value.trim() ? "Nothing found." : "No conversations yet.";
    list.append(el("li", { class: "hint", testid: "conversation-none", text: this.failed ? "The list is not available now." : nothing }));
  }

  #row({ conversationId: id, title, updatedAt }) {
    const name = el("span", { class: "title", dir: "auto", text: title || "New chat" });
    const here = id === this.current;
    const anchor = el("a", { href: this.link(id), testid: "conversation", "aria-current": here ? "page" : null }, name);
    if (this.busy.has(id)) anchor.append(el("span", { class: "lamp busy", role: "img", "aria-label": "answering" }));
    else anchor.append(el("time", { text: ago(updatedAt), title: new Date(updatedAt).toLocaleString() }));
    const pencil = el("button", { type: "button", class: "icon-button", testid: "rename", "aria-label": `Rename ${title || "chat"}` }, icon("pencil"));
    const row = el("li", { "data-id": id }, anchor, pencil);
    const edit = () => row.replaceChildren(editor(title, (text) => this.rename(id, text), () => this.#redraw()));
    pencil.addEventListener("click", edit);
    anchor.addEventListener("dblclick", edit);
    anchor.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.opened(id);
    });
    return row;
  }

  #redraw() {
    this.elements.list.querySelector("input")?.remove();
    this.#draw();
  }
}

/** A field for a title: Enter and leaving it save, Escape gives up. */
export function editor(title, save, done) {
  const input = el("input", { class: "rename", testid: "rename-input", "aria-label": "Title", maxlength: String(TITLE_MAX) });
  input.value = title ?? "";
  let over = false;
  const end = (keep) => {
    if (over) return;
    over = true;
    const text = input.value;
    done();
    if (keep) save(text);
  };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") {
      event.stopPropagation();
      end(false);
    }
  });
  input.addEventListener("blur", () => end(true));
  queueMicrotask(() => {
    input.focus();
    input.select();
  });
  return input;
}
