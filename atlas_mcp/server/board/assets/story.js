// What a run's journal tells: which steps there are and how each stands, who is at work, how each round was rated.

// The events that say what an agent does; others sum up.
const TELLING = new Set(["turn_started", "turn_finished", "tool_called", "worker_failed", "turn_retried"]);

function storyOf(run, events, teams) {
  const story = { run, events, agents: agentsOf(run, events, teams), rounds: roundsOf(run, events) };
  story.steps = stepsOf(run, events, story);
  return story;
}

function agentsOf(run, events, teams) {
  const agents = new Map(), open = new Map();
  const agent = (name) => {
    if (!agents.has(name)) {
      const team = teams.get(name) ?? "";
      agents.set(name, { name, team, turns: 0, failed: 0, lookups: 0, doing: "", open: 0, since: null });
    }
    return agents.get(name);
  };
  for (const event of events) {
    if (event.actor === "atlas" || event.actor === "caller") continue;
    const one = agent(event.actor);
    if (event.type === "turn_started") {
      open.set(event.turn_id, one);
      one.open += 1;
      one.since = event.at;
    } else if (event.type === "turn_finished" && open.delete(event.turn_id)) {
      one.open -= 1;
      one.turns += 1;
    } else if (event.type === "tool_called") one.lookups += 1;
    else if (event.type === "worker_failed") {
      one.failed += 1;
      one.open = 0;
    }
    if (TELLING.has(event.type)) one.doing = event.text;
  }
  for (const one of agents.values()) one.atWork = one.open > 0 && run.status === "working";
  return [...agents.values()];
}

// Of each round the mean of every criterion: the result's own account, or what the journal says while it goes on.
function roundsOf(run, events) {
  const compared = (run.result?.compared ?? []).filter((one) => Object.keys(one.criteria ?? {}).length);
  if (isEnded(run) && compared.length) return compared.map((one) => ({ round: one.round, means: one.criteria, changed: one.changed }));
  const told = events.filter((event) => event.type === "rated" && event.data?.means);
  return told.map((event) => ({ round: event.data.round, means: event.data.means, changed: "" }));
}

function stepsOf(run, events, story) {
  if (!run.plan && run.kind !== "team_task") return [];
  const going = !isEnded(run), asking = run.status === "awaiting_answer";
  const left = { failed: "failed", completed: "skipped" }[run.status] ?? "stopped";
  const steps = [];
  const add = (id, label, state, after, more = {}) => steps.push({ id, label, state, after, sub: "", text: "", team: "", ...more });
  const planState = run.plan ? (asking && !events.some((e) => e.type === "part_started") ? "asking" : "done")
    : going ? (run.status === "queued" ? "waiting" : "working") : left;
  add("plan", "Plan", planState, [], { sub: run.plan ? complexity(run.plan) : "", text: run.plan?.summary ?? "" });
  if (!run.plan) return steps;

  let last = ["part:"];
  if (run.plan.parts?.length) {
    partSteps(run, events, story, add, going, left);
    const needed = new Set(run.plan.parts.flatMap((part) => part.depends_on ?? []));
    last = run.plan.parts.filter((part) => !needed.has(part.id)).map((part) => `part:${part.id}`);
  } else last = debateSteps(run, events, story, add, going, left);
  textSteps(run, events, story, add, last, going, left);
  return steps;
}

const complexity = (plan) => [plan.mode === "hierarchy" ? "" : plan.mode, plan.complexity].filter(Boolean).join(", ");

function partSteps(run, events, story, add, going, left) {
  const began = new Set(), ended = new Map();
  for (const event of events) {
    if (event.type === "part_started") began.add(event.data?.part);
    else if (event.type === "part_finished") ended.set(event.data?.part, event);
  }
  for (const part of run.plan.parts) {
    const end = ended.get(part.id);
    const state = end ? (end.data?.delivered === false ? "failed" : "done")
      : began.has(part.id) ? (going ? "working" : left) : going ? "waiting" : "skipped";
    const after = part.depends_on?.length ? part.depends_on.map((id) => `part:${id}`) : ["plan"];
    const busy = story.agents.filter((one) => one.atWork && one.team === part.team).length;
    add(`part:${part.id}`, capital(plainName(part.id)), state, after, {
      sub: state === "working" && busy ? `${counted(busy, "agent")} at work` : part.id === part.team ? "" : `${plainName(part.team)} team`,
      text: part.task, team: part.team, outcome: end?.text ?? "",
    });
  }
}

function debateSteps(run, events, story, add, going, left) {
  const over = events.find((event) => event.type === "part_finished");
  for (const side of run.plan.debaters) {
    const one = story.agents.find((agent) => agent.name === side.name);
    const state = over ? "done" : one?.atWork ? "working" : one?.turns ? (going ? "working" : left) : going ? "waiting" : "skipped";
    add(`side:${side.name}`, capital(plainName(side.name)), state, ["plan"], { sub: one?.turns ? counted(one.turns, "statement") : "", text: side.persona });
  }
  const sides = run.plan.debaters.map((side) => `side:${side.name}`);
  add("close", "Conclusion", over ? (over.data?.delivered === false ? "failed" : "done") : going ? "waiting" : left, sides, { sub: "the moderator" });
  return ["close"];
}

// Writing and rating, as often as it came to it, and the end.
function textSteps(run, events, story, add, after, going, left) {
  const ready = events.filter((event) => event.type === "part_finished").length >= Math.max(1, run.plan.parts?.length ?? 1);
  let write = { id: "write:1", label: "Write", state: ready ? (going ? "working" : left) : going ? "waiting" : "skipped" };
  let rate = null, round = 1, again = false;
  const flush = (step, from) => { add(step.id, step.label, step.state, from, { sub: step.sub ?? "", outcome: step.outcome ?? "" }); return [step.id]; };
  for (const event of events) {
    if (event.type === "drafted" || event.type === "revised") {
      write = { id: `write:${round}`, label: round > 1 ? "Revise" : "Write", state: "done", outcome: event.text };
      rate = { id: `rate:${round}`, label: round > 1 ? `Rate again` : "Rate", state: going ? "working" : left };
    } else if (event.type === "rated") {
      const means = Object.values(event.data?.means ?? {});
      if (write) after = flush({ ...write, state: "done" }, after);
      const mean = means.length ? means.reduce((a, b) => a + b, 0) / means.length : null;
      after = flush({ id: `rate:${round}`, label: round > 1 ? "Rate again" : "Rate", state: "done", outcome: event.text,
        sub: mean === null ? "" : `${score(mean)} of 5` }, after);
      again = event.data?.again === true;
      round += 1;
      write = again ? { id: `write:${round}`, label: "Revise", state: going ? "working" : left } : null;
      rate = null;
    }
  }
  if (write) {
    after = flush(write, after);
    if (rate) after = flush(rate, after);
    else if (going) after = flush({ id: `rate:${round}`, label: round > 1 ? "Rate again" : "Rate", state: "waiting" }, after);
  }
  const passed = run.result?.passed;
  const state = run.status === "completed" ? "done" : going ? (write ? "waiting" : "working") : left;
  const sub = run.status === "completed" && story.rounds.length ? (passed ? "passed" : "did not pass") : going ? "" : STATUS_WORDS[run.status].toLowerCase();
  add("end", "Result", state, after, { sub, text: run.error ?? "" });
}
