// One run: how it stands, and its tabs.

const TABS = [["work", "At work"], ["result", "Result"], ["ratings", "Ratings"], ["cost", "Cost"], ["events", "Timeline"]];

class RunView {
  constructor({ back, answer, cancel }) {
    this.cancel = cancel;
    this.heading = el("h1", { class: "goal", tabindex: -1, dir: "auto" });
    this.standing = el("div", { class: "standing" });
    this.progress = el("div", { class: "progress" });
    this.actions = el("div", { class: "run-actions" });
    this.question = new QuestionCard({ answer });
    this.graph = new Graph();
    this.panels = new Map(TABS.map(([id]) => [id, el("div", { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, class: "panel", hidden: true })]));
    this.tabs = el("div", { role: "tablist", class: "tabs", "aria-label": "About this run" }, TABS.map(([id, text]) => el("button", {
      role: "tab", type: "button", id: `tab-${id}`, "aria-controls": `panel-${id}`, "data-tab": id, onclick: () => this.choose(id, true), text,
    })));
    roving(this.tabs, "[role=tab]", { next: "ArrowRight", before: "ArrowLeft", on: (tab) => this.choose(tab.dataset.tab, true) });
    this.people = el("div", {});
    this.log = el("ol", { class: "events", reversed: true });
    this.panels.get("work").append(this.graph.node, el("h2", { class: "small-title", text: "Who does what" }), this.people);
    this.panels.get("events").append(this.log);
    this.node = el("section", { class: "page run" },
      el("button", { type: "button", class: "back", "data-key": "back", onclick: back }, el("span", { "aria-hidden": "true", text: "← " }), "All runs"),
      this.heading, this.standing, this.progress, this.question.node, this.tabs, ...this.panels.values());
    this.drawn = Object.fromEntries([["standing", this.standing], ["progress", this.progress], ["people", this.people], ["actions", this.actions],
      ["result", this.panels.get("result")], ["ratings", this.panels.get("ratings")], ["cost", this.panels.get("cost")]].map(([name, node]) => [name, region(node)]));
    this.logged = 0;
    this.touched = false;
  }

  choose(id, byHand = false) {
    this.touched ||= byHand;
    this.tab = id;
    for (const tab of this.tabs.children) {
      const on = tab.dataset.tab === id;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
    }
    for (const [name, panel] of this.panels) panel.hidden = name !== id;
    if (this.run) this.fill();
  }

  show(run, events, teams, may) {
    const first = !this.run, ended = isEnded(run) && !(this.run && isEnded(this.run));
    Object.assign(this, { run, events, may });
    this.story = storyOf(run, events, teams);
    this.heading.textContent = run.goal;
    this.question.show(run, may.answer);
    this.header();
    if ((first || ended) && !this.touched) this.choose(isEnded(run) ? "result" : this.story.steps.length ? "work" : "result");
    else this.fill();
    this.announce(first, ended);
  }

  header() {
    const { run } = this;
    const took = duration(seconds(run.created_at, isEnded(run) ? run.updated_at : new Date().toISOString()));
    const spent = run.usage.input_tokens + run.usage.output_tokens;
    const facts = [KIND_WORDS[run.kind] ?? run.kind, isEnded(run) ? `took ${took}` : `${took} so far`,
      run.usage.turns ? counted(run.usage.turns, "turn") : "", spent ? `${tokens(spent)} tokens` : "", spent ? money(run.usage.cost_usd) : ""];
    this.drawn.standing([run.status, facts], () => [pill(run.status), el("span", { class: "muted", text: facts.filter(Boolean).join(" · ") }), this.actions]);
    const stoppable = !isEnded(run) && this.may.cancel;
    this.drawn.actions([stoppable, this.asking], () => stoppable && (this.asking ? this.confirm() : el("button", {
      type: "button", class: "quiet danger", "data-key": "cancel", onclick: () => this.ask(true), text: "Cancel the run" })));
    // In steps: how many turns there will be is known only when they begin.
    const done = this.story.steps.filter((step) => ["done", "failed"].includes(step.state)).length, all = this.story.steps.length;
    const told = all > 1 ? `${done} of ${all} steps` : "";
    this.drawn.progress([told, run.progress.text, isEnded(run)], () => !isEnded(run) && [
      told && meter("Steps done", done, all, told), el("p", { class: "muted small", dir: "auto", text: [run.progress.text, told].filter(Boolean).join(" · ") })]);
  }

  ask(asking) {
    this.asking = asking;
    this.header();
    this.actions.querySelector(asking ? "[data-key=keep]" : "[data-key=cancel]")?.focus();
  }

  confirm() {
    return el("div", { class: "confirm", role: "alertdialog", "aria-label": "Cancel the run?" },
      el("span", { text: "Cancel it? What was done is kept." }),
      el("button", { type: "button", class: "danger", "data-key": "stop", onclick: () => { this.ask(false); this.cancel(); }, text: "Cancel the run" }),
      el("button", { type: "button", "data-key": "keep", onclick: () => this.ask(false), text: "Let it go on" }));
  }

  fill() {
    const { run, story } = this;
    if (this.tab === "work") {
      this.graph.node.hidden = story.steps.length === 0;
      if (story.steps.length) this.graph.show(story.steps);
      this.drawn.people(story.agents, () => agentsPanel(story));
    } else if (this.tab === "result") this.drawn.result([run.result, run.reply, run.error, run.status, run.note], () => resultPanel(run));
    else if (this.tab === "ratings") this.drawn.ratings([story.rounds, run.result?.ratings, run.result?.checks, run.status], () => ratingsPanel(run, story));
    else if (this.tab === "cost") this.drawn.cost([run.usage, run.budget, story.agents.map((one) => one.turns), run.updated_at], () => costPanel(run, story));
    else if (this.events.length > this.logged) {
      for (const event of this.events.slice(this.logged)) this.log.prepend(eventLine(event, run.created_at));
      this.logged = this.events.length;
    }
  }

  announce(first, ended) {
    if (ended && !first) say(`The run is ${STATUS_WORDS[this.run.status].toLowerCase()}.`);
    else if (this.run.question) say(`The run waits for an answer: ${shortened(this.run.question.text, 160)}`);
    else if (!isEnded(this.run)) say(this.run.progress.text);
  }
}
