// All runs, newest first: one row each, to be walked through with the arrow keys.

class RunList {
  constructor({ open, more }) {
    this.open = open;
    this.rows = el("ul", { class: "runs", "aria-label": "Runs" });
    this.drawn = region(this.rows);
    this.foot = el("div", { class: "foot" });
    this.footDrawn = region(this.foot);
    this.more = more;
    this.heading = el("h1", { text: "Runs", tabindex: -1 });
    this.note = el("p", { class: "muted", text: "Loading…" });
    this.node = el("section", { class: "page" }, el("div", { class: "title" }, this.heading, this.note), this.rows, this.foot);
    roving(this.rows, "button", { next: "ArrowDown", before: "ArrowUp", on: (row) => { this.at = row.dataset.key; } });
  }

  show(runs, following) {
    const going = runs.filter((run) => !isEnded(run)).length;
    this.note.textContent = runs.length ? (going ? `${going} under way` : "None under way")
      : "No runs yet. Set a team to work from your MCP client with run_team_task; it appears here.";
    if (!runs.some((run) => run.run_id === this.at)) this.at = runs[0]?.run_id;
    const facts = runs.map((run) => [run.run_id, run.status, run.goal, run.kind, run.progress, ago(run.updated_at), run.usage, run.result?.passed]);
    this.drawn(facts, () => runs.map((run) => this.row(run)));
    this.footDrawn(following, () => following && el("button", { class: "quiet", type: "button", "data-key": "more", onclick: this.more, text: "Older runs" }));
  }

  row(run) {
    const means = Object.values(run.result?.compared?.find((one) => one.round === run.result.best_round)?.criteria ?? {});
    const rated = means.length ? `${score(means.reduce((a, b) => a + b, 0) / means.length)} of 5` : "";
    const facts = [KIND_WORDS[run.kind] ?? run.kind, ago(run.updated_at), run.usage.turns ? counted(run.usage.turns, "turn") : "",
      run.usage.cost_usd ? money(run.usage.cost_usd) : "", rated];
    return el("li", {}, el("button", {
      class: "run-row", type: "button", "data-key": run.run_id, tabindex: run.run_id === this.at ? 0 : -1,
      onclick: () => { this.at = run.run_id; this.open(run.run_id); },
    },
    el("span", { class: "run-goal", dir: "auto", text: shortened(run.goal.replaceAll(/\s+/g, " "), 220) }),
    pill(run.status),
    !isEnded(run) && el("span", { class: "run-facts", dir: "auto", text: shortened(run.progress.text, 160) }),
    el("span", { class: "run-facts muted", text: facts.filter(Boolean).join(" · ") })));
  }

  focus() {
    (this.rows.querySelector(`[data-key="${CSS.escape(this.at ?? "")}"]`) ?? this.heading).focus({ preventScroll: false });
  }
}
