// What is behind each tab of a run.

const nothing = (text) => el("p", { class: "muted empty", text });
const titled = (title, ...children) => el("section", { class: "block" }, el("h3", { text: title }), ...children);
const listed = (items, draw, cls = "plain") => el("ul", { class: cls }, items.map((item) => el("li", { dir: "auto" }, draw(item))));

function agentsPanel(story) {
  if (!story.agents.length) return nothing("Nobody has been asked yet.");
  const order = (one) => (one.atWork ? 0 : 1);
  const agents = [...story.agents].sort((a, b) => order(a) - order(b));
  return el("ul", { class: "agents" }, agents.map((one) => el("li", { class: one.atWork ? "agent busy" : "agent" },
    el("span", { class: "agent-dot", "aria-hidden": "true" }),
    el("strong", { class: "agent-name", text: plainName(one.name) }),
    el("span", { class: "agent-doing", dir: "auto" },
      el("span", { class: "sr", text: one.atWork ? "At work: " : "Last: " }), shortened(withoutName(one.doing, one.name), 160)),
    el("span", { class: "agent-count muted" }, [one.team && plainName(one.team), one.turns && counted(one.turns, "turn"),
      one.lookups && counted(one.lookups, "look-up"), one.failed && `${one.failed} failed`].filter(Boolean).join(" · ")))));
}

function withoutName(text, name) {
  const rest = text.startsWith(`${name} `) ? text.slice(name.length + 1) : text;
  return capital(rest);
}

function resultPanel(run) {
  const result = run.result;
  const parts = [];
  if (run.error) parts.push(el("div", { class: "notice bad", role: "note", dir: "auto", text: run.error }));
  if (run.reply) parts.push(prose(run.reply, new Set()));
  if (!result) return parts.length ? parts : [nothing(isEnded(run) ? "It came to nothing." : "Nothing yet. What the teams come to appears here.")];
  if (!isEnded(run)) parts.push(el("p", { class: "notice", text: "The best so far: the work goes on." }));
  if (result.stopped) parts.push(el("div", { class: "notice warn", role: "note", text: result.stopped }));
  const judged = Object.keys(result.compared?.at(-1)?.criteria ?? {}).length > 0;
  if (judged) parts.push(el("p", { class: `verdict ${result.passed ? "good" : "warn"}` },
    el("strong", { text: result.passed ? "Passed" : "Did not pass" }),
    ` after ${counted(result.rounds, "rating round")}${result.rounds > 1 ? `; the best is round ${result.best_round}` : ""}`));
  parts.push(el("article", { class: "paper", dir: "auto" }, prose(result.output, new Set((result.evidence ?? []).map((one) => one.source)))));
  if (result.unmet?.length) parts.push(titled("Not met", listed(result.unmet, (one) => one)));
  if (result.disagreements?.length) parts.push(titled("Where the agents disagree", listed(result.disagreements, (one) => one)));
  if (result.missing?.length) parts.push(titled("Missing", listed(result.missing, (one) => [el("strong", { text: plainName(one.agent) }), `: ${one.what}. `, el("span", { class: "muted", text: one.why })])));
  if (result.evidence?.length) parts.push(titled(`Evidence (${result.evidence.length})`, listed(result.evidence, (one) => [
    el("p", { text: one.claim }), one.quote && el("blockquote", { text: one.quote }), el("cite", { class: "source", text: one.source })], "evidence")));
  if (result.learned?.length) parts.push(titled("Remembered of it", listed(result.learned, (one) => one.text ?? one.content ?? JSON.stringify(one))));
  const notes = [...(result.notes ?? []), ...(run.note && isEnded(run) ? [run.note] : [])];
  if (notes.length) parts.push(titled("To know when relying on it", listed(notes, (one) => one)));
  return parts;
}

function ratingsPanel(run, story) {
  if (!story.rounds.length) return nothing(isEnded(run) ? "It was not rated." : "Not rated yet.");
  const criteria = [...new Set(story.rounds.flatMap((one) => Object.keys(one.means)))];
  const head = el("tr", {}, el("th", { scope: "col", text: "Criterion" }), story.rounds.map((one) => el("th", { scope: "col", text: `Round ${one.round}` })));
  const rows = criteria.map((criterion) => el("tr", {}, el("th", { scope: "row", dir: "auto", text: criterion }), story.rounds.map((one) => {
    const value = one.means[criterion];
    return el("td", {}, value === undefined ? el("span", { class: "muted", text: "not rated" }) : scoreBar(value));
  })));
  const parts = [el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Ratings by round" }, el("table", { class: "ratings" },
    el("caption", { class: "muted", text: "Means of the raters, 1 to 5. The line marks 4.0, which passes." }), el("thead", {}, head), el("tbody", {}, rows)))];
  const changed = story.rounds.filter((one) => one.changed);
  if (changed.length) parts.push(titled("What changed", el("ol", { class: "plain" }, changed.map((one) => el("li", {}, el("strong", { text: `Round ${one.round}: ` }), one.changed)))));
  const given = run.result?.ratings ?? [];
  if (given.length) parts.push(titled("What the raters say", criteria.map((criterion) => voices(criterion, given.filter((one) => one.criterion === criterion)))));
  const checks = run.result?.checks ?? [];
  if (checks.length) parts.push(titled("Checked without asking anybody", listed(checks, (one) => [
    el("span", { class: one.passed ? "check good" : "check bad", text: one.passed ? "passed" : "failed" }), ` ${one.name}: ${one.text}`])));
  return parts;
}

function scoreBar(value) {
  const tone = value >= 4 ? "good" : value >= 3 ? "warn" : "bad";
  const bar = meter("Score", value - 1, 4, `${score(value)} of 5`, tone);
  bar.classList.add("score");
  return el("div", { class: "scored" }, el("span", { class: `figure ${tone}`, text: score(value) }), bar);
}

function voices(criterion, ratings) {
  if (!ratings.length) return null;
  return el("details", { class: "voices" }, el("summary", {}, el("span", { dir: "auto", text: criterion }),
    el("span", { class: "muted", text: ` ${counted(ratings.length, "rating")}` })),
  listed(ratings, (one) => [
    el("p", {}, el("strong", { text: score(one.score) }), " ", el("span", { text: plainName(one.rater) }), el("span", { class: "muted", text: ` · round ${one.round}${one.section ? ` · section ${one.section}` : ""}` })),
    el("p", { text: one.reason }), one.quote && el("blockquote", { text: one.quote })]));
}

function costPanel(run, story) {
  const { usage, budget } = run, spent = usage.input_tokens + usage.output_tokens;
  const lines = [
    ["Dollars", usage.cost_usd ?? 0, budget?.usd, money(usage.cost_usd), (most) => money(most)],
    ["Tokens", spent, budget?.tokens, tokens(spent), (most) => tokens(most), `${tokens(usage.input_tokens)} in, ${tokens(usage.output_tokens)} out`],
    ["Turns", usage.turns, budget?.turns, String(usage.turns), String],
    ["Time", seconds(run.created_at, isEnded(run) ? run.updated_at : new Date().toISOString()), null, "", duration],
  ];
  lines[3][3] = duration(lines[3][1]);
  const rows = lines.map(([name, value, most, shown, told, more]) => {
    const limited = most !== null && most !== undefined;
    const tone = limited && value >= most ? "bad" : limited && value >= 0.8 * most ? "warn" : "";
    return el("div", { class: "cost" }, el("dt", { text: name }), el("dd", {}, el("span", { class: "figure", text: shown }),
      limited && el("span", { class: "muted", text: ` of ${told(most)}` }), more && el("div", { class: "muted small", text: more }), limited && meter(`${name} against the budget`, value, most, `${shown} of ${told(most)}`, tone)));
  });
  const parts = [el("dl", { class: "costs" }, rows)];
  if (budget?.seconds) parts.push(el("p", { class: "muted small", text: `At most ${duration(budget.seconds)} at work; waiting for an answer does not count.` }));
  if (!budget) parts.push(el("p", { class: "muted small", text: "This run has no budget of its own." }));
  const busiest = story.agents.filter((one) => one.turns).sort((a, b) => b.turns - a.turns);
  const most = busiest[0]?.turns ?? 0;
  if (busiest.length) parts.push(titled("Turns by agent", el("ul", { class: "plain shares" }, busiest.map((one) => el("li", {},
    el("span", { text: plainName(one.name) }), meter(`Turns of ${plainName(one.name)}`, one.turns, most, counted(one.turns, "turn")), el("span", { class: "figure", text: String(one.turns) }))))));
  return parts;
}

const LOUD = new Map([["run_failed", "bad"], ["worker_failed", "bad"], ["run_cancelled", "bad"], ["budget_spent", "warn"], ["turn_retried", "warn"],
  ["rater_replaced", "warn"], ["question_asked", "warn"], ["run_waiting", "warn"], ["run_completed", "good"]]);

function eventLine(event, began) {
  const own = !["atlas", "caller"].includes(event.actor);
  return el("li", { class: `event ${LOUD.get(event.type) ?? ""}` },
    el("time", { datetime: event.at, title: moment(event.at), text: clock(seconds(began, event.at)) }),
    el("span", { class: "event-text", dir: "auto" }, own && event.text.startsWith(`${event.actor} `)
      ? [el("strong", { text: plainName(event.actor) }), event.text.slice(event.actor.length)] : capital(event.text)),
    el("span", { class: "event-type", text: plainName(event.type) }));
}
