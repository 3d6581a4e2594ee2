// A result's text: headings, lists, quotations, code and paragraphs are recognised; all else stays as it was written.

function prose(text, sources) {
  const blocks = [], lines = String(text).replaceAll("\r", "").split("\n");
  let i = 0;
  const while_ = (fits) => {
    const taken = [];
    while (i < lines.length && fits(lines[i])) taken.push(lines[i++]);
    return taken;
  };
  while (i < lines.length) {
    const line = lines[i], heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (!line.trim()) i += 1;
    else if (heading) {
      blocks.push(el(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2], sources)));
      i += 1;
    } else if (line.startsWith("```")) {
      i += 1;
      const code = while_((one) => !one.startsWith("```"));
      i += 1;
      blocks.push(el("pre", { tabindex: 0 }, el("code", { text: code.join("\n") })));
    } else if (/^\s*([-*+]|\d+[.)])\s+/.test(line)) {
      const items = while_((one) => /^\s*([-*+]|\d+[.)])\s+/.test(one)).map((one) => one.replace(/^\s*([-*+]|\d+[.)])\s+/, ""));
      blocks.push(el(/^\s*\d/.test(line) ? "ol" : "ul", {}, items.map((item) => el("li", {}, inline(item, sources)))));
    } else if (line.startsWith(">")) {
      blocks.push(el("blockquote", {}, inline(while_((one) => one.startsWith(">")).map((one) => one.replace(/^>\s?/, "")).join("\n"), sources)));
    } else {
      const plain = while_((one) => one.trim() && !/^(#{1,6}\s|```|>|\s*([-*+]|\d+[.)])\s)/.test(one));
      blocks.push(el("p", {}, inline((plain.length ? plain : [lines[i++]]).join("\n"), sources)));
    }
  }
  return el("div", { class: "prose" }, blocks);
}

// Strong words, code, and the names of sources in brackets.
function inline(text, sources) {
  return text.split(/(\*\*[^*\n]+\*\*|`[^`\n]+`|\[[^\]\n]{1,200}\])/).filter(Boolean).map((part) => {
    if (part.startsWith("**") && part.length > 4) return el("strong", { text: part.slice(2, -2) });
    if (part.startsWith("`") && part.length > 2) return el("code", { text: part.slice(1, -1) });
    if (part.startsWith("[") && sources.has(part.slice(1, -1))) return el("cite", { class: "source", text: part.slice(1, -1) });
    return part;
  });
}
