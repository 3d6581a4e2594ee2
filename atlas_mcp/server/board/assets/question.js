// A run's question with its answer. No form element: hosts show this page where forms may not be sent.

class QuestionCard {
  constructor({ answer }) {
    this.answer = answer;
    this.node = el("div", {});
    this.drawn = region(this.node);
  }

  show(run, mayAnswer) {
    this.drawn(run.question && [run.run_id, run.question.id, mayAnswer], () => run.question && this.card(run.question, mayAnswer));
  }

  card(question, mayAnswer) {
    const by = question.asked_by === "atlas" ? "ATLAS" : plainName(question.asked_by);
    const title = el("h2", { id: "question-title", text: `${capital(by)} asks` });
    const parts = [title, el("div", { class: "question-text", dir: "auto", tabindex: 0 }, prose(question.text, new Set()))];
    this.problem = el("p", { class: "problem", role: "alert" });
    if (mayAnswer) parts.push(this.controls(question), this.problem);
    else parts.push(el("p", { class: "muted", text: "Your key may look but not answer." }));
    parts.push(el("p", { class: "muted small", text: `If nobody answers until ${moment(question.deadline)}, the answer is: ${question.safe}` }));
    return el("section", { class: "card question", role: "group", "aria-labelledby": "question-title" }, parts);
  }

  controls(question) {
    const buttons = question.options.map((option, i) => el("button", {
      type: "button", class: i === 0 ? "primary" : "", "data-key": `option:${option}`, onclick: () => this.send(option), text: option,
    }));
    const parts = [el("div", { class: "buttons" }, buttons)];
    if (question.words) {
      this.text = el("textarea", { id: "own-words", rows: 3, "data-key": "own-words", dir: "auto" });
      this.text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.send(this.text.value); });
      const label = question.options.length ? `Or in your own words: ${question.words}` : `In your own words: ${question.words}`;
      parts.push(el("label", { for: "own-words", text: label }), this.text,
        el("div", { class: "buttons" }, el("button", { type: "button", class: buttons.length ? "" : "primary", "data-key": "send", onclick: () => this.send(this.text.value), text: "Send" })));
    }
    return el("div", { class: "answer" }, parts);
  }

  async send(text) {
    const buttons = [...this.node.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    this.problem.textContent = "";
    try {
      await this.answer(text);
    } catch (error) {
      this.problem.textContent = error.message;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}
