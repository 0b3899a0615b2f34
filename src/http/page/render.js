// Markdown to DOM nodes. A model's text is hostile: it becomes text nodes and the elements made here, never markup,
// and every scan below is linear or bounded, so that no text can hang the page.

import { copyButton, el } from "./dom.js";

const MAX_DEPTH = 8;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]{0,8}([^\s`]{0,40})[^`]*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}(?=\S)|[ \t]+|$)/;
const RULE = /^ {0,3}(?:(?:- *){3,}|(?:\* *){3,}|(?:_ *){3,})$/;
const DELIMITER_ROW = /^\|? *:?-+:? *(?:\| *:?-+:? *){0,60}\|?$/;
const LINK = /!?\[([^[\]\n]{1,500})\]\([ ]{0,4}<?([^\s<>()]{1,2000}(?:\([^\s<>()]{0,200}\)[^\s<>()]{0,500})?)>?(?:[ ]{1,4}"[^"\n]{0,200}")?[ ]{0,4}\)/y;
const BARE_URL = /https?:\/\/[^\s<>"`]{1,2000}/iy;
const WORD = /[\p{L}\p{N}_]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;

/** Renders a text; the result is safe whatever the text is. */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  blocks(text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n"), fragment, 0);
  return fragment;
}

/** Draws an answer while it grows: finished blocks once, the unfinished one again per animation frame at most. */
export class StreamRenderer {
  /** `done` takes finished blocks and may be a live region; `tail` holds what still changes. */
  constructor(done, tail) {
    this.done = done;
    this.tail = tail;
    this.text = "";
    this.open = "";
    this.code = null;
    this.drawnAt = 0;
  }

  append(text) {
    this.text += text;
    this.open += text;
    this.frame ??= requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.#stop();
    this.text = this.open = "";
    this.code = null;
    this.done.replaceChildren();
    this.tail.replaceChildren();
  }

  /** Ends the text. What is already drawn stays when it is the same: nothing is announced or laid out twice. */
  finish(text = this.text) {
    this.#stop();
    this.tail.replaceChildren();
    if (text === this.text) this.done.append(markdown(this.open));
    else this.done.replaceChildren(markdown(text));
    this.text = text;
    this.open = "";
    this.code = null;
  }

  #stop() {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = null;
  }

  #draw() {
    this.frame = null;
    for (let cut = boundary(this.open); cut > 0; cut = boundary(this.open)) {
      this.done.append(markdown(this.open.slice(0, cut)));
      this.open = this.open.slice(cut);
      this.code = null;
      this.tail.replaceChildren();
    }
    if (this.#growCode()) return;
    // A very long unfinished block is drawn less often, so that drawing stays a small part of the time.
    const now = performance.now();
    if (this.open.length > 4000 && now - this.drawnAt < 250) {
      this.frame = requestAnimationFrame(() => this.#draw());
      return;
    }
    this.drawnAt = now;
    this.tail.replaceChildren(markdown(this.open));
  }

  #growCode() {
    const newline = this.open.indexOf("\n");
    const fence = newline >= 0 && FENCE.exec(this.open.slice(0, newline));
    if (!fence) return false;
    if (!this.code) {
      const node = document.createTextNode("");
      this.tail.replaceChildren(codeBlock(fence[2], node));
      this.code = { node, from: newline + 1 };
    }
    // The last line may turn out to be the closing fence, so it waits for its end.
    const upTo = this.open.lastIndexOf("\n");
    if (upTo > this.code.from) {
      this.code.node.appendData(this.open.slice(this.code.from, upTo));
      this.code.from = upTo;
    }
    return true;
  }
}

/** Where the first block of `text` certainly ends, or 0 when it may still grow. */
function boundary(text) {
  let fence = null;
  let nested = false;
  let list = false;
  let seen = false;
  for (let at = 0, end = text.indexOf("\n"); end >= 0; at = end + 1, end = text.indexOf("\n", at)) {
    const line = text.slice(at, end);
    const opening = FENCE.exec(list ? line.trimStart() : line);
    if (fence) {
      if (!closes(line, fence)) continue;
      if (!nested) return end + 1;
      fence = null;
    } else if (opening && seen && !list) {
      return at;
    } else if (opening) {
      fence = opening[1];
      nested = seen;
      seen = true;
    } else if (line.trim() !== "") {
      list ||= ITEM.test(line);
      seen = true;
    } else if (seen && !list) {
      return end + 1;
    } else if (seen) {
      // After a blank line a list goes on when an item or an indented line follows.
      const next = text.slice(end + 1, end + 40);
      const first = next.search(/\S/);
      const start = next.slice(next.lastIndexOf("\n", first) + 1);
      if (first < 0 || (start.length < 4 && !start.includes("\n"))) return 0;
      if (!/^\s/.test(start) && !ITEM.test(start)) return end + 1;
    }
  }
  return 0;
}

function closes(line, fence) {
  const mark = line.trim();
  return mark.length >= fence.length && mark === fence[0].repeat(mark.length);
}

function blocks(lines, into, depth) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === "") {
      at += 1;
      continue;
    }
    if (depth >= MAX_DEPTH) {
      into.append(el("p", { text: lines.slice(at).join("\n") }));
      return;
    }
    const block = fenced(lines, at) ?? heading(lines, at) ?? rule(lines, at) ?? quote(lines, at, depth) ?? list(lines, at, depth) ?? table(lines, at) ?? paragraph(lines, at);
    into.append(block.node);
    at = block.next;
  }
}

function fenced(lines, at) {
  const fence = FENCE.exec(lines[at]);
  if (!fence) return null;
  let end = at + 1;
  while (end < lines.length && !closes(lines[end], fence[1])) end += 1;
  const text = lines.slice(at + 1, end).join("\n");
  return { node: codeBlock(fence[2], document.createTextNode(text)), next: end + 1 };
}

function codeBlock(language, text) {
  const button = copyButton("Copy", () => text.data, "copy-code");
  const head = el("div", { class: "code-head" }, el("span", { text: language || "text" }), button);
  return el("div", { class: "code" }, head, el("pre", { tabindex: "0" }, el("code", {}, text)));
}

function heading(lines, at) {
  const marks = /^ {0,3}(#{1,6})(?: |$)/.exec(lines[at]);
  if (!marks) return null;
  const node = el(marks[1].length <= 2 ? "h3" : "h4");
  inline(lines[at].slice(marks[0].length).replace(/ #+ *$/, "").trim(), node);
  return { node, next: at + 1 };
}

function rule(lines, at) {
  return RULE.test(lines[at].trimEnd()) ? { node: el("hr"), next: at + 1 } : null;
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && /^ {0,3}>/.test(lines[end])) end += 1;
  if (end === at) return null;
  const node = el("blockquote");
  blocks(lines.slice(at, end).map((line) => line.replace(/^ {0,3}> ?/, "")), node, depth + 1);
  return { node, next: end };
}

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const ordered = first[2].length > 1;
  const node = el(ordered ? "ol" : "ul", { start: ordered && parseInt(first[2], 10) !== 1 ? parseInt(first[2], 10) : null });
  const items = [];
  let loose = false;
  let indent = 0;
  let next = at;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    const blank = line.trim() === "";
    const inset = line.length - line.trimStart().length;
    const item = ITEM.exec(line);
    const previousBlank = next > at && lines[next - 1].trim() === "";
    if (blank) {
      if (items.length) items.at(-1).push("");
    } else if (items.length && inset >= Math.min(indent, 2)) {
      items.at(-1).push(line.slice(Math.min(inset, indent)));
    } else if (item && item[2].length > 1 === ordered && !RULE.test(line)) {
      loose ||= items.length > 0 && previousBlank;
      indent = item[0].length;
      items.push([line.slice(indent)]);
    } else if (previousBlank || item || startsBlock(line)) {
      break;
    } else {
      items.at(-1).push(line);
    }
  }
  for (const content of items) {
    const li = el("li");
    blocks(content, li, depth + 1);
    // A tight list's items are lines, not paragraphs.
    const only = li.firstElementChild;
    if (!loose && only?.tagName === "P") only.replaceWith(...only.childNodes);
    node.append(li);
  }
  return { node, next };
}

function table(lines, at) {
  const separator = lines[at + 1];
  if (!lines[at].includes("|") || !separator?.includes("|") || !DELIMITER_ROW.test(separator.trim())) return null;
  const row = (line, tag) => {
    const cells = line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").slice(0, 60);
    return el("tr", {}, ...cells.map((cell) => inline(cell.trim(), el(tag))));
  };
  const body = el("tbody");
  let next = at + 2;
  for (; next < lines.length && lines[next].includes("|"); next += 1) body.append(row(lines[next], "td"));
  const node = el("div", { class: "table", tabindex: "0" }, el("table", {}, el("thead", {}, row(lines[at], "th")), body));
  return { node, next };
}

function startsBlock(line) {
  return FENCE.test(line) || /^ {0,3}(?:>|#{1,6} )/.test(line) || RULE.test(line);
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() !== "" && !startsBlock(lines[end]) && !ITEM.test(lines[end])) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return { node: inline(text, el("p")), next: end };
}

/** Renders the inside of a block into `into`, and gives `into` back. */
function inline(text, into, depth = 0, links = true) {
  let plain = "";
  let at = 0;
  // `unclosed`: delimiters without a partner ahead. Remembered, or a text of openers would be scanned again for each.
  const context = { depth, links, unclosed: new Set() };
  const put = (node, next) => {
    if (plain) into.append(plain);
    plain = "";
    into.append(node);
    at = next;
  };
  while (at < text.length) {
    const char = text[at];
    const span = depth < MAX_DEPTH ? spanAt(text, at, context) : null;
    if (span) {
      put(span.node, span.next);
    } else if (char === "\n") {
      put(el("br"), at + 1);
    } else if (char === "\\" && ESCAPABLE.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else {
      // A run of delimiters that opened nothing is text as a whole.
      const run = "`*_~".includes(char) ? runLength(text, at) : 1;
      plain += text.slice(at, at + run);
      at += run;
    }
  }
  if (plain) into.append(plain);
  return into;
}

function spanAt(text, at, context) {
  const char = text[at];
  if (char === "`") return codeSpan(text, at, context);
  if (char === "*" || char === "_" || char === "~") return emphasis(text, at, context);
  if (!context.links) return null;
  if (char === "[" || (char === "!" && text[at + 1] === "[")) return link(text, at, context);
  if ((char === "h" || char === "H") && !WORD.test(text[at - 1] ?? "")) return bareUrl(text, at);
  return null;
}

function runLength(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

function codeSpan(text, at, { unclosed }) {
  const length = runLength(text, at);
  const key = `\`${length}`;
  if (unclosed.has(key)) return null;
  for (let end = text.indexOf("`", at + length); end >= 0; ) {
    const run = runLength(text, end);
    if (run === length) {
      const code = text.slice(at + length, end).replaceAll("\n", " ");
      const padded = code.length > 2 && code.startsWith(" ") && code.endsWith(" ");
      return { node: el("code", { text: padded ? code.slice(1, -1) : code }), next: end + run };
    }
    end = text.indexOf("`", end + run);
  }
  unclosed.add(key);
  return null;
}

function emphasis(text, at, { unclosed, depth, links }) {
  const char = text[at];
  const length = runLength(text, at);
  const key = char + length;
  if (length > 3 || (char === "~" && length !== 2) || unclosed.has(key)) return null;
  if (/\s/.test(text[at + length] ?? " ")) return null;
  if (char === "_" && WORD.test(text[at - 1] ?? "")) return null;
  for (let end = text.indexOf(char, at + length); end >= 0; ) {
    const run = runLength(text, end);
    const after = text[end + run] ?? "";
    const fits = (run === length || (run === 3 && length < 3)) && !/\s/.test(text[end - 1]) && !(char === "_" && WORD.test(after));
    if (fits) {
      const inside = text.slice(at + length, end + run - length);
      const inner = el(char === "~" ? "s" : length === 1 ? "em" : "strong");
      const target = length === 3 ? inner.appendChild(el("em")) : inner;
      inline(inside, target, depth + 1, links);
      return { node: inner, next: end + run };
    }
    end = text.indexOf(char, end + run);
  }
  unclosed.add(key);
  return null;
}

function link(text, at, { depth }) {
  LINK.lastIndex = at;
  const found = LINK.exec(text);
  const url = found && webAddress(found[2]);
  if (!url) return null;
  return { node: inline(found[1], anchor(url), depth + 1, false), next: LINK.lastIndex };
}

function bareUrl(text, at) {
  BARE_URL.lastIndex = at;
  let found = BARE_URL.exec(text)?.[0];
  if (!found) return null;
  for (let last = found.at(-1); ".,;:!?*_~'\"])".includes(last); last = found.at(-1)) {
    if (last === ")" && found.split("(").length >= found.split(")").length) break;
    found = found.slice(0, -1);
  }
  const url = webAddress(found);
  if (!url) return null;
  const node = anchor(url);
  node.append(found);
  return { node, next: at + found.length };
}

/** The address when it is http or https, else null: `javascript:`, `data:` and the like never become links. */
export function webAddress(text) {
  const url = URL.parse ? URL.parse(text) : tryUrl(text);
  return url && (url.protocol === "http:" || url.protocol === "https:") ? url.href : null;
}

function tryUrl(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** A link that opens beside the page and tells the other side nothing about it. */
export function anchor(url) {
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" });
}
