// The plan as a picture that can be walked through with the arrow keys; what is chosen is told in words below it.

const STEP_WORDS = {
  waiting: "waiting", working: "at work", asking: "waits for an answer", done: "done",
  failed: "failed", stopped: "stopped", skipped: "left out",
};
const MARKS = {
  done: "M-5 0l3.5 3.5L5 -4", failed: "M-4 -4L4 4M4 -4L-4 4", stopped: "M-4 -4H4V4H-4Z", skipped: "M-4 0H4",
  asking: "M-2.5 -2a2.5 2.5 0 1 1 3.6 2.2Q0 1 0 2.4M0 5v.2", waiting: "", working: "",
};

class Graph {
  constructor() {
    this.chosen = null;
    this.byHand = false;
    this.frame = el("div", { class: "graph-frame", tabindex: -1 });
    this.detail = el("div", { class: "graph-detail", "aria-live": "off" });
    this.node = el("div", { class: "graph" }, this.frame, this.detail);
    this.frame.addEventListener("keydown", (event) => this.walk(event));
    this.narrow = matchMedia("(max-width: 719px)");
    this.narrow.addEventListener("change", () => this.show(this.steps ?? []));
  }

  show(steps) {
    this.steps = steps;
    const across = !this.narrow.matches;
    const shape = JSON.stringify([across, steps.map((step) => [step.id, step.after])]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.draw(steps, across);
    }
    for (const step of steps) this.update(step);
    // Until somebody looks at another step, it is the one where the work is.
    const now = steps.find((step) => step.state === "asking" || step.state === "working") ?? steps.findLast((step) => step.state === "done");
    if (!this.byHand && now && (now.id !== this.chosen || this.fresh)) {
      this.choose(now.id);
      this.bring(now.id);
    }
    this.fresh = false;
    this.tell();
  }

  draw(steps, across) {
    const held = this.frame.contains(document.activeElement) ? this.chosen : null;
    const { boxes, lines, width, height } = placed(steps, across);
    this.boxes = new Map(boxes.map((box) => [box.step.id, box]));
    this.shown = new Map();
    this.wires = lines.map(({ from, to, d }) => ({ from: from.id, to: to.id, line: svg("path", { class: "wire", d }) }));
    const picture = svg("svg", { viewBox: `-4 -4 ${width + 8} ${height + 8}`, role: "group",
      "aria-label": `The plan, ${counted(steps.length, "step")}. Move with the arrow keys.` });
    picture.style.width = `${width + 8}px`; // it shrinks a little before it has to be scrolled
    picture.style.maxWidth = "100%";
    picture.style.minWidth = `${(width + 8) * 0.8}px`;
    picture.append(...this.wires.map((wire) => wire.line), ...boxes.map((box) => this.box(box)));
    this.frame.replaceChildren(picture);
    this.fresh = true;
    if (!this.boxes.has(this.chosen)) this.chosen = null;
    this.choose(this.chosen ?? steps[0]?.id, { focus: held !== null, quiet: true });
  }

  box(box) {
    const group = svg("g", { class: "step", role: "button", tabindex: -1, transform: `translate(${box.x} ${box.y})` });
    const mark = svg("path", { class: "mark" }), label = svg("text", { class: "label", x: 40 }), sub = svg("text", { class: "sub", x: 40 });
    group.append(
      svg("rect", { class: "box", width: box.width, height: box.height, rx: 12 }),
      svg("circle", { class: "badge", cx: 22, cy: box.height / 2, r: 9.5 }),
      svg("g", { transform: `translate(22 ${box.height / 2})` }, mark),
      label, sub,
    );
    group.addEventListener("click", () => this.pick(box.step.id));
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") event.preventDefault(); });
    this.shown.set(box.step.id, { group, mark, label, sub });
    return group;
  }

  update(step) {
    const { group, mark, label, sub } = this.shown.get(step.id);
    group.setAttribute("class", `step ${step.state}${step.id === this.chosen ? " chosen" : ""}`);
    group.setAttribute("aria-label", [step.label, STEP_WORDS[step.state], step.sub].filter(Boolean).join(", "));
    mark.setAttribute("d", MARKS[step.state] ?? "");
    const { width, height } = this.boxes.get(step.id), letters = (width - 48) / 8;
    label.textContent = shortened(step.label, Math.floor(letters));
    label.setAttribute("y", height / 2 + (step.sub ? -3 : 5));
    sub.setAttribute("y", height / 2 + 13);
    sub.textContent = shortened(step.sub, Math.floor(letters * 1.25));
    for (const wire of this.wires) if (wire.to === step.id) wire.line.setAttribute("class", `wire ${step.state}`);
  }

  choose(id, { focus = false, quiet = false } = {}) {
    if (!this.shown.has(id)) return;
    this.chosen = id;
    for (const [other, { group }] of this.shown) {
      group.setAttribute("tabindex", other === id ? 0 : -1);
      group.setAttribute("aria-pressed", other === id);
      group.classList.toggle("chosen", other === id);
    }
    if (focus) this.shown.get(id).group.focus({ preventScroll: quiet });
    if (focus && !quiet) this.shown.get(id).group.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.tell();
  }

  // Scroll the frame, and never the page, to a step.
  bring(id) {
    const step = this.shown.get(id).group.getBoundingClientRect(), frame = this.frame.getBoundingClientRect();
    this.frame.scrollLeft += step.left + step.width / 2 - (frame.left + frame.width / 2);
    this.frame.scrollTop += step.top + step.height / 2 - (frame.top + frame.height / 2);
  }

  // The nearest box in the direction of the arrow.
  walk(event) {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const here = this.boxes?.get(this.chosen);
    if (!way || !here || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const far = (box) => {
      const dx = box.x - here.x, dy = box.y - here.y, on = dx * way[0] + dy * way[1], off = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      return on > 0 ? on + 2 * off : Infinity;
    };
    const next = [...this.boxes.values()].reduce((best, box) => (far(box) < far(best ?? here) ? box : best), null);
    if (next) this.pick(next.step.id);
  }

  pick(id) {
    this.byHand = true;
    this.choose(id, { focus: true });
  }

  tell() {
    const step = (this.steps ?? []).find((one) => one.id === this.chosen);
    this.drawn ??= region(this.detail);
    this.drawn(step && [step, this.steps.filter((one) => step.after.includes(one.id)).map((one) => one.label)], () => step && [
      el("p", { class: "graph-name" }, el("strong", { text: step.label }), el("span", { class: `state ${step.state}`, text: STEP_WORDS[step.state] }),
        step.sub && el("span", { class: "muted", text: step.sub })),
      step.text && el("p", { class: "graph-text", text: step.text }),
      step.outcome && el("p", { class: "graph-text", text: step.outcome }),
      step.after.length > 0 && el("p", { class: "muted small", text: `After ${this.steps.filter((one) => step.after.includes(one.id)).map((one) => one.label).join(", ")}` }),
    ]);
  }
}
