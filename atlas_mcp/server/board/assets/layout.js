// Places the steps of a plan in layers, so that every edge leads on: longest path, then a few sweeps that bring each
// step near those it is joined to. An edge over several layers goes through places of its own. Steps that depend on
// nothing that is there, and edges that would close a circle, do not upset it.

function layered(steps) {
  const nodes = new Map(steps.map((step) => [step.id, { id: step.id, step, before: [], after: [], layer: 0, place: 0 }]));
  for (const node of nodes.values()) {
    for (const id of new Set(node.step.after)) {
      const other = nodes.get(id);
      if (other && other !== node && !leads(node, other)) {
        node.before.push(other);
        other.after.push(node);
      }
    }
  }
  const order = [], left = new Map([...nodes.values()].map((node) => [node, node.before.length]));
  const free = [...nodes.values()].filter((node) => node.before.length === 0);
  while (free.length) {
    const node = free.shift();
    order.push(node);
    for (const next of node.after) {
      next.layer = Math.max(next.layer, node.layer + 1);
      left.set(next, left.get(next) - 1);
      if (left.get(next) === 0) free.push(next);
    }
  }
  const layers = [], edges = [];
  const put = (node) => {
    (layers[node.layer] ??= []).push(node);
    node.place = layers[node.layer].length - 1;
  };
  order.forEach(put);
  for (const node of order) {
    for (const next of node.after) edges.push(through(node, next, put));
  }
  for (let sweep = 0; sweep < 6; sweep += 1) sweepOver(layers, edges, sweep % 2 === 0);
  return { layers, edges };
}

function leads(from, to) {
  const seen = new Set(), open = [from];
  while (open.length) {
    const node = open.pop();
    if (node === to) return true;
    if (!seen.has(node)) {
      seen.add(node);
      open.push(...node.after);
    }
  }
  return false;
}

function through(from, to, put) {
  const path = [from];
  for (let layer = from.layer + 1; layer < to.layer; layer += 1) {
    const bend = { id: null, layer, place: 0, before: [], after: [] };
    put(bend);
    path.push(bend);
  }
  return [...path, to];
}

function sweepOver(layers, edges, onwards) {
  const near = new Map();
  for (const path of edges) {
    for (let i = 1; i < path.length; i += 1) {
      const [node, other] = onwards ? [path[i], path[i - 1]] : [path[i - 1], path[i]];
      if (!near.has(node)) near.set(node, []);
      near.get(node).push(other);
    }
  }
  for (const layer of onwards ? layers : [...layers].reverse()) {
    const wanted = new Map(layer.map((node) => {
      const others = near.get(node) ?? [];
      return [node, others.length ? others.reduce((sum, one) => sum + centred(one, layers), 0) / others.length : centred(node, layers)];
    }));
    layer.sort((a, b) => wanted.get(a) - wanted.get(b));
    layer.forEach((node, place) => { node.place = place; });
  }
}

const centred = (node, layers) => node.place - (layers[node.layer].length - 1) / 2;

// The same in points: `across` lays the layers out from left to right, else from the top down.
function placed(steps, across) {
  const { layers, edges } = layered(steps);
  const size = across ? { width: 150, height: 56 } : { width: 210, height: 50 };
  const gap = across ? { layer: 34, place: 18 } : { layer: 24, place: 14 };
  const along = (across ? size.width : size.height) + gap.layer, aside = (across ? size.height : size.width) + gap.place;
  const most = Math.max(...layers.map((layer) => layer.length));
  const at = (node) => {
    const main = node.layer * along, other = (node.place + (most - layers[node.layer].length) / 2) * aside;
    return across ? { x: main, y: other } : { x: other, y: main };
  };
  const boxes = layers.flat().filter((node) => node.step).map((node) => ({ step: node.step, ...at(node), ...size }));
  const lines = edges.map((path) => ({ from: path[0].step, to: path.at(-1).step, d: curve(path.map(at), size, across) }));
  const length = layers.length * along - gap.layer, breadth = most * aside - gap.place;
  return { boxes, lines, width: across ? length : breadth, height: across ? breadth : length };
}

function curve(points, size, across) {
  const ports = points.map((point, i) => {
    const middle = across ? point.y + size.height / 2 : point.x + size.width / 2;
    const start = across ? point.x : point.y, end = start + (across ? size.width : size.height);
    return { in: i === 0 ? end : start, out: i === points.length - 1 ? start : end, middle };
  });
  const at = (main, other) => (across ? `${main} ${other}` : `${other} ${main}`);
  let d = `M${at(ports[0].out, ports[0].middle)}`;
  for (let i = 1; i < ports.length; i += 1) {
    const from = ports[i - 1], to = ports[i], half = (from.out + to.in) / 2;
    d += `C${at(half, from.middle)} ${at(half, to.middle)} ${at(to.in, to.middle)}`;
    if (i < ports.length - 1) d += `L${at(to.out, to.middle)}`;
  }
  return d;
}
