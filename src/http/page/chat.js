// The page's state: which conversation is shown, the composer, scrolling, the address, the connection lamp.

import { Client } from "./client.js";
import { el, kept } from "./dom.js";
import { Sidebar, editor } from "./sidebar.js";
import { Thread } from "./thread.js";

const DEFAULT_AGENT = "00000000-0000-4000-8000-000000000001";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const SUGGESTIONS = [
  ["Hello! What can you do?", "A first look around"],
  ["Give me a long answer about how you work", "Long enough to press Stop"],
  ["Write a checklist for a calm release", "A list, to see how it looks"],
];
// Within so many pixels of the end the reader counts as being there.
const NEAR_END = 48;
const THREADS_KEPT = 12;

const $ = (id) => document.getElementById(id);
const session = (key) => kept(() => sessionStorage, key);

const address = new URL(location.href);
const fragment = () => new URLSearchParams(location.hash.slice(1));
const agentId = address.searchParams.get("agent") || DEFAULT_AGENT;
const threads = new Map();
let current = null;
let stuck = true;

const client = new Client({ url: socketUrl(), token: takeToken(), onState: showConnection, onFrame: deliver });
const hub = {
  identified(thread, before) {
    threads.delete(before);
    threads.set(thread.conversationId, thread);
    if (thread !== current) return;
    history.replaceState(null, "", linkTo(thread.conversationId));
    sidebar.select(thread.conversationId);
    showTitle();
  },
  changed(thread) {
    sidebar.mark(thread.conversationId, thread.isBusy);
    if (thread === current) showState();
  },
  started: () => sidebar.refresh(),
  ended: () => client.isOpen && sidebar.refresh(),
  returned(thread, text) {
    if (thread === current && !composer.value) compose(text);
  },
  /** Runs `prepend` and leaves what the reader looks at where it is. */
  prepending(thread, prepend) {
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    prepend();
    if (thread === current) scroller.scrollTop = scroller.scrollHeight - fromEnd;
  },
};
const sidebar = new Sidebar(
  client,
  { list: $("conversations"), search: $("search"), more: $("more") },
  { link: linkTo, opened: go, named: (id) => id === current?.conversationId && showTitle() },
);
const composer = $("composer");
const scroller = $("scroller");

// ---- The address: ?agent= and ?c= or #c=; a #token= is taken out of it at once

function socketUrl() {
  const url = new URL("ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/** The token lives as long as the tab, so that a reload stays signed in, and never in the history or a copied link. */
function takeToken() {
  const parts = fragment();
  const token = parts.get("token");
  if (!token) return session("token").get();
  session("token").set(token);
  parts.delete("token");
  address.hash = parts.toString();
  history.replaceState(null, "", address.href.replace(/#$/, ""));
  return token;
}

function addressed() {
  const id = fragment().get("c") ?? new URL(location.href).searchParams.get("c");
  return UUID.test(id ?? "") ? id.toLowerCase() : null;
}

function linkTo(id) {
  const url = new URL(location.href);
  url.searchParams.delete("c");
  url.hash = id ? `c=${id}` : "";
  return url.href.replace(/#$/, "");
}

function go(id) {
  if (id !== addressed()) history.pushState(null, "", linkTo(id));
  show(id);
  closeDrawer();
}

// ---- Which conversation is shown

function show(id) {
  if (current && current.conversationId === id && (id || current.isEmpty)) {
    composer.focus({ preventScroll: true });
    return;
  }
  if (current) {
    current.scrolled = stuck ? null : scroller.scrollTop;
    current.draft = composer.value;
  }
  const thread = threads.get(id) ?? new Thread(client, agentId, id, hub);
  threads.delete(id);
  threads.set(id, thread);
  for (const [key, old] of threads) {
    if (threads.size <= THREADS_KEPT) break;
    if (!old.isBusy && old !== thread) threads.delete(key);
  }
  current = thread;
  $("threads").replaceChildren(thread.root);
  sidebar.select(id);
  compose(thread.draft ?? session(`draft.${id ?? "new"}`).get() ?? "");
  showTitle();
  showState();
  thread.resume();
  stuck = thread.scrolled == null;
  scroller.scrollTop = stuck ? scroller.scrollHeight : thread.scrolled;
  if (matchMedia("(hover: hover)").matches) composer.focus({ preventScroll: true });
}

function startNew() {
  if (threads.get(null)?.isBusy === false) threads.delete(null);
  go(null);
  composer.focus();
}

function showTitle() {
  const id = current?.conversationId;
  const title = (id && sidebar.title(id)) || (id ? current.title : null) || (id ? "Conversation" : "New chat");
  if (id) current.title = title;
  if (!$("title").querySelector("input")) $("title").textContent = title;
  document.title = id ? `${title} · Switchboard` : "Switchboard";
}

function showState() {
  const busy = current.isBusy;
  $("empty").hidden = !current.isEmpty;
  $("stop").hidden = !busy;
  $("stop").disabled = Boolean(current.turn?.stopping);
  $("send").hidden = busy;
  $("send").disabled = !composer.value.trim();
}

/** Frames of every conversation arrive on the one socket; each goes to the thread whose turn it is of. */
function deliver(frame) {
  for (const thread of threads.values()) if (thread.frame(frame)) return;
}

// ---- Composer

function compose(text) {
  composer.value = text;
  fit();
}

function fit() {
  if (!CSS.supports("field-sizing", "content")) {
    composer.style.height = "auto";
    composer.style.height = `${composer.scrollHeight}px`;
  }
  if (current) showState();
}

function submit(text = composer.value) {
  if (!text.trim() || current.isBusy) return;
  compose("");
  session(`draft.${current.conversationId ?? "new"}`).set(null);
  stuck = true;
  current.send(text.trim());
  toEnd();
}

function start(text) {
  submit(text);
  // On a phone the keyboard would cover the answer.
  if (matchMedia("(hover: hover)").matches) composer.focus({ preventScroll: true });
}

composer.addEventListener("input", () => {
  fit();
  session(`draft.${current.conversationId ?? "new"}`).set(composer.value || null);
});
composer.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word (keyCode 229 is how Safari says so).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
$("stop").addEventListener("click", () => {
  current.stop();
  composer.focus({ preventScroll: true });
});
$("new").addEventListener("click", startNew);
for (const [text, hint] of SUGGESTIONS) {
  const button = el("button", { type: "button", testid: "suggestion", onclick: () => start(text) }, el("span", { text }), el("small", { text: hint }));
  $("suggestions").append(button);
}
addEventListener("keydown", (event) => {
  // In the search field Escape empties the field.
  if (event.key === "Escape" && !event.isComposing && !(event.target instanceof HTMLInputElement && event.target.value)) {
    if ($("app").classList.contains("drawer")) closeDrawer();
    else current.stop();
  }
  if (event.key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey)) {
    event.preventDefault();
    openDrawer();
    $("search").select();
  }
});
$("title").addEventListener("dblclick", () => {
  const id = current.conversationId;
  if (!id) return;
  const field = editor(current.title, (text) => sidebar.rename(id, text), () => {
    field.remove();
    showTitle();
  });
  $("title").replaceChildren(field);
});

// ---- Scrolling: follow the end only while the reader is there

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  $("jump").hidden = true;
}

scroller.addEventListener(
  "scroll",
  () => {
    stuck = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;
    $("jump").hidden = stuck;
  },
  { passive: true },
);
$("jump").addEventListener("click", () => {
  stuck = true;
  toEnd();
});
const follow = new ResizeObserver(() => {
  if (stuck) toEnd();
});
follow.observe($("threads"));
follow.observe(scroller);
new IntersectionObserver(
  (entries) => {
    if (entries.some(({ isIntersecting }) => isIntersecting)) sidebar.more();
  },
  { root: $("more").parentElement },
).observe($("more"));
const earlier = new IntersectionObserver(
  (entries) => {
    if (!stuck && entries.some(({ isIntersecting }) => isIntersecting)) current.loadEarlier();
  },
  { root: scroller, rootMargin: "200px 0px 0px" },
);
new MutationObserver(() => {
  earlier.disconnect();
  if (current) earlier.observe(current.earlier);
}).observe($("threads"), { childList: true });

// ---- The connection lamp

function showConnection({ name, retryAt }) {
  clearInterval(showConnection.ticker);
  const words = () => {
    const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
    return {
      open: "Connected",
      connecting: showConnection.was ? "Reconnecting…" : "Connecting…",
      waiting: `Reconnecting in ${seconds} s`,
      offline: "Offline",
      asleep: "Paused",
      refused: "Not signed in",
    }[name];
  };
  const draw = () => ($("status-text").textContent = words());
  draw();
  $("status").dataset.state = name;
  $("status").title = words();
  $("reconnect").hidden = !["waiting", "offline", "asleep", "refused"].includes(name);
  if (name === "waiting") showConnection.ticker = setInterval(draw, 250);
  // Spoken once per change, not once per second.
  const spoken = { open: showConnection.was ? "Connected again" : "", waiting: "Connection lost", offline: "Offline", refused: "Not signed in" }[name];
  if (spoken !== undefined && $("announce").textContent !== spoken) $("announce").textContent = spoken;
  if (name !== "open") return;
  showConnection.was = true;
  client.attaches = undefined;
  sidebar.refresh();
  for (const thread of threads.values()) if (thread === current || thread.isBusy) thread.resume();
}

$("reconnect").addEventListener("click", () => client.connectNow());

// ---- Drawer (narrow windows) and theme

const narrow = matchMedia("(max-width: 800px)");

function openDrawer() {
  if (!narrow.matches) return;
  $("app").classList.add("drawer");
  drawerState();
  $("drawer-close").focus();
}

function closeDrawer() {
  if (!$("app").classList.contains("drawer")) return;
  $("app").classList.remove("drawer");
  drawerState();
  $("drawer-open").focus();
}

function drawerState() {
  const open = $("app").classList.contains("drawer");
  $("sidebar").inert = narrow.matches && !open;
  document.querySelector("main").inert = open;
  $("shade").hidden = !open;
  $("drawer-open").setAttribute("aria-expanded", String(open));
}

narrow.addEventListener("change", drawerState);
$("drawer-open").addEventListener("click", openDrawer);
$("drawer-close").addEventListener("click", closeDrawer);
$("shade").addEventListener("click", closeDrawer);
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("switchboard.theme", root.dataset.theme);
  } catch {
    // It lasts as long as the page then.
  }
});

addEventListener("popstate", () => show(addressed()));
drawerState();
show(addressed());
client.connectNow();
