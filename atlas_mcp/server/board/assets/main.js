// Brings it all together: which view is shown, and the calls that keep it up to date.

const LIST_SECONDS = 5, MOST_WAIT = 30;
const hosted = parent !== window;
const link = hosted ? appLink((method, params) => hostSaid(method, params)) : httpLink();
const teams = new Map();
let may = { answer: true, cancel: true };
let view = null, leaving = new AbortController(), pages = 1, expected = null;

const list = new RunList({ open: (id) => go(id), more: () => { pages += 1; showList(); } });

const pause = (s, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, s * 1000);
  signal.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); });
});

function go(id) {
  if (hosted) id ? showRun(id) : showList();
  else if (location.hash.slice(1) === (id ?? "")) id ? showRun(id) : showList();
  else location.hash = id ?? "";
}

function enter(node, shown) {
  leaving.abort();
  leaving = new AbortController();
  view = shown;
  byId("main").replaceChildren(node);
  return leaving.signal;
}

// Do it over and over until it is done or left; what fails is told, and tried again after a growing while.
async function keep(signal, step) {
  let wait = 2;
  while (!signal.aborted) {
    try {
      if (await step(signal)) return;
      trouble(null);
      wait = 2;
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (error instanceof SignedOut) return trouble(error.message, el("a", { href: "", text: "Sign in again" }));
      trouble(error.message);
      await pause(wait, signal).catch(() => {});
      wait = Math.min(MOST_WAIT, wait * 2);
    }
  }
}

function trouble(text, way) {
  byId("trouble")?.remove();
  if (text) byId("main").prepend(el("div", { id: "trouble", class: "notice bad", role: "alert", dir: "auto" }, text, way && " ", way));
}

function showList() {
  const before = view instanceof RunView;
  const signal = enter(list.node, list);
  document.title = "ATLAS runs";
  if (before) list.focus();
  keep(signal, async () => {
    const runs = [];
    let cursor = null;
    for (let page = 0; page < pages; page += 1) {
      const found = await link.call("list_runs", cursor ? { cursor } : {}, signal);
      runs.push(...found.runs);
      cursor = found.next_cursor;
      if (!cursor) break;
    }
    list.show(runs, cursor);
    await pause(LIST_SECONDS, signal);
    while (document.hidden) await pause(1, signal);
  });
}

function showRun(id) {
  const shown = new RunView({
    back: () => go(null),
    answer: async (answer) => { await link.call("answer_run", { run_id: id, answer }); say("Answered. The run goes on."); },
    cancel: () => link.call("cancel_run", { run_id: id }).catch((error) => trouble(error.message)),
  });
  const signal = enter(shown.node, shown);
  list.at = id;
  follow(shown, id, signal);
  if (!hosted) shown.heading.focus({ preventScroll: true });
}

async function follow(shown, id, signal) {
  const events = [];
  let run = null;
  const ticking = setInterval(() => { if (run && !isEnded(run)) shown.header(); }, 1000);
  signal.addEventListener("abort", () => clearInterval(ticking));
  await keep(signal, async () => {
    const since = events.at(-1)?.seq ?? 0;
    run = await link.call("get_run", { run_id: id, since, wait_seconds: run ? link.waitSeconds : 0 }, signal);
    events.push(...run.events.filter((event) => event.seq > since));
    shown.show(run, events, teams, may);
    document.title = `${STATUS_WORDS[run.status]}: ${shortened(run.goal, 60)}`;
    return isEnded(run);
  });
  clearInterval(ticking);
}

async function learnTeams() {
  try {
    for (const agent of (await link.call("list_agents", {})).agents) teams.set(agent.name, agent.team ?? "");
    if (view?.run) view.show(view.run, view.events, teams, may);
  } catch { /* the picture does without the teams' names */ }
}

// -- in a host that shows this page

function hostSaid(method, params) {
  if (method === "ui/notifications/tool-input") expect(params.arguments ?? {});
  else if (method === "ui/notifications/tool-result") {
    const told = params.structuredContent ?? {};
    if (told.run_id && told.run_id !== view?.run?.run_id) showRun(told.run_id);
  } else if (method === "ui/notifications/host-context-changed") dress(params);
  else if (method === "ui/resource-teardown") leaving.abort();
}

// The call that this page belongs to may take long: its run is looked for while the result is still to come.
function expect(args) {
  if (args.run_id) return showRun(args.run_id);
  if (!args.goal || expected) return undefined;
  expected = args.goal.trim();
  const signal = leaving.signal;
  return keep(signal, async () => {
    const found = (await link.call("list_runs", { limit: 10 }, signal)).runs.find((run) => run.goal === expected && !isEnded(run));
    if (found && !signal.aborted) { showRun(found.run_id); return true; }
    await pause(1.5, signal);
    return false;
  });
}

function dress(context) {
  const root = document.documentElement;
  if (context.theme) root.dataset.theme = context.theme;
  for (const [name, value] of Object.entries(context.styles?.variables ?? {})) {
    if (/^--[a-z0-9-]+$/.test(name) && value) root.style.setProperty(name, value);
  }
  const inset = context.safeAreaInsets;
  if (inset) document.body.style.padding = [inset.top, inset.right, inset.bottom, inset.left].map((n) => `${n}px`).join(" ");
}

async function beginHosted() {
  document.documentElement.classList.add("hosted");
  try {
    dress((await link.begin()).hostContext ?? {});
  } catch (error) {
    return trouble(error.message);
  }
  let told = 0;
  new ResizeObserver(() => {
    const height = Math.ceil(document.body.getBoundingClientRect().height);
    if (height !== told) link.sized(told = height);
  }).observe(document.body);
  learnTeams();
  if (!view) showList();
  return undefined;
}

// -- over HTTP

async function beginServed() {
  byId("actions").append(el("button", { type: "button", class: "quiet", text: "Sign out", onclick: async () => {
    leaving.abort();
    await link.signOut().catch(() => {});
    location.replace(location.pathname);
  } }));
  const route = () => (location.hash.length > 1 ? showRun(decodeURIComponent(location.hash.slice(1))) : showList());
  addEventListener("hashchange", route);
  route();
  try {
    const tools = await link.tools();
    may = { answer: tools.has("answer_run"), cancel: tools.has("cancel_run") };
    if (view?.run) view.show(view.run, view.events, teams, may);
  } catch { /* what is not allowed is refused by the server, in words */ }
  learnTeams();
}

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !(view instanceof RunView)) return;
  if (view.asking) view.ask(false);
  else if (document.activeElement?.tagName === "TEXTAREA") document.activeElement.blur();
  else go(null);
});

byId("brand").append(el("span", { class: "brand-name", text: "ATLAS" }), el("span", { class: "muted", text: " runs" }));
if (hosted) beginHosted();
else beginServed();
