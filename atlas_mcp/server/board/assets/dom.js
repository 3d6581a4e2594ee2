// Elements are made here and nowhere else: text only ever becomes text.

const SVG = "http://www.w3.org/2000/svg";

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return node;
}

function el(tag, attributes = {}, ...children) {
  const node = set(document.createElement(tag), attributes);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = set(document.createElementNS(SVG, tag), attributes);
  node.append(...children);
  return node;
}

const byId = (id) => document.getElementById(id);

// A part of the page that is drawn anew only when what it shows has changed: focus and selection stay where they are.
function region(node) {
  let shown;
  return (what, draw) => {
    const now = JSON.stringify(what);
    if (now === shown) return;
    shown = now;
    const held = document.activeElement?.dataset?.key;
    const within = node.contains(document.activeElement);
    node.replaceChildren(...[draw()].flat().filter(Boolean));
    if (within && held) node.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  };
}

let lastSaid = "";
function say(text) {
  if (text === lastSaid) return;
  lastSaid = text;
  byId("said").textContent = text;
}

// Arrow keys among some elements of which one takes part in the order of Tab.
function roving(container, selector, { next, before, on }) {
  const all = () => [...container.querySelectorAll(selector)];
  container.addEventListener("keydown", (event) => {
    const items = all(), at = items.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = { [next]: at + 1, [before]: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const chosen = items[Math.min(items.length - 1, Math.max(0, to))];
    for (const item of items) item.tabIndex = item === chosen ? 0 : -1;
    chosen.focus();
    on?.(chosen);
  });
}

function pill(status) {
  return el("span", { class: `pill ${status}` }, el("span", { class: "dot", "aria-hidden": "true" }), STATUS_WORDS[status] ?? status);
}

function meter(label, value, most, shown, tone = "") {
  const share = most > 0 ? Math.min(1, value / most) : value > 0 ? 1 : 0;
  const fill = el("span", { class: `fill ${tone}` });
  fill.style.width = `${(share * 100).toFixed(1)}%`;
  return el("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": most,
    "aria-valuenow": Math.min(value, most), "aria-valuetext": shown }, fill);
}
