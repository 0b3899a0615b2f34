// Small DOM and text helpers. Nothing here, or anywhere on this page, assigns innerHTML.

/** Makes an element: `on*` are listeners, `text` is text, `null`/`false` leaves an attribute out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "testid") node.dataset.testid = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An icon of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A random UUID. `crypto.randomUUID` exists only in secure contexts, and a node may be opened over plain http. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Copies text; true when it worked. The clipboard API exists only in secure contexts too. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "sr-only", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A button that copies what `text()` gives and says so for a moment. */
export function copyButton(label, text, testid) {
  const word = el("span", { text: label });
  const button = el("button", { type: "button", class: "quiet", testid, "aria-label": label }, icon("copy"), word);
  button.addEventListener("click", async () => {
    word.textContent = (await copy(text())) ? "Copied" : "Not copied";
    setTimeout(() => (word.textContent = label), 1600);
  });
  return button;
}

/** "now", "5 min", "3 h", "Tue", "12 Mar". */
export function ago(time, now = Date.now()) {
  const then = new Date(time);
  const minutes = Math.floor((now - then) / 60_000);
  if (!Number.isFinite(minutes)) return "";
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h`;
  if (minutes < 6 * 24 * 60) return then.toLocaleDateString(undefined, { weekday: "short" });
  const sameYear = then.getFullYear() === new Date(now).getFullYear();
  return then.toLocaleDateString(undefined, { day: "numeric", month: "short", year: sameYear ? undefined : "numeric" });
}

/** A JSON value kept in a Storage; every failure (switched off, full, garbage) reads as absent. */
export function kept(storage, key) {
  const name = `switchboard.${key}`;
  return {
    get() {
      try {
        return JSON.parse(storage().getItem(name));
      } catch {
        return null;
      }
    },
    set(value) {
      try {
        if (value === null) storage().removeItem(name);
        else storage().setItem(name, JSON.stringify(value));
      } catch {
        // Nothing is kept then; the page works without.
      }
    },
  };
}
