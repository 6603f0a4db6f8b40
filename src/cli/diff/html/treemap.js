// What differs as a tree of bytes, and a tree's place on a plane. Pure: nothing here is drawn.
//
// A node has `name`, `path` (what leads to it, as text), `bytes`, `kinds` (bytes by kind), `files` (how many), `parent`,
// and either `children` or the `file` that it is; the node of a package has its `row` of the list of packages.

function newNode(name, parent) {
  return { name, parent, bytes: 0, kinds: { added: 0, removed: 0, content: 0, other: 0 }, files: 0, children: new Map() };
}

// Builds the tree of `files`; `topOf` names the node of the first level for a file, null for none.
function buildTree(files, topOf) {
  const root = newNode('All', null);
  root.path = '';
  for (const file of files) {
    const kind = kindOf(file);
    const top = topOf(file);
    const names = pathOf(file).split('/').slice(1);
    let node = root;
    add(node, file, kind);
    if (top) {
      node = child(node, top.name);
      node.row = top.row;
      node.isGroup = true;
      add(node, file, kind);
    }
    for (const name of names) {
      node = child(node, name);
      add(node, file, kind);
    }
    node.file = file;
  }
  finish(root);
  return root;
}

function child(node, name) {
  let found = node.children.get(name);
  if (!found) node.children.set(name, (found = newNode(name, node)));
  return found;
}

function add(node, file, kind) {
  node.bytes += file.bytes;
  node.kinds[kind] += file.bytes;
  node.files += 1;
}

// Gives each node its path and its children in order of size; a folder with nothing but a folder in it becomes one with it.
function finish(node) {
  for (const one of node.children.values()) {
    let only = one;
    while (!only.isGroup && !only.file && only.children.size === 1) {
      const [inner] = only.children.values();
      inner.name = `${only.name}/${inner.name}`;
      only = inner;
    }
    only.parent = node;
    only.path = only.isGroup ? '' : `${node.path}/${only.name}`;
    if (only !== one) node.children.set(one.name, only);
    finish(only);
  }
  node.children = [...node.children.values()].sort((a, b) => b.bytes - a.bytes || compareText(a.name, b.name));
}

// Lays nodes, the largest first, into a box, each with an area that is its share of the bytes, and as square as can be
// (Bruls, Huizing and van Wijk, "Squarified Treemaps"). Returns pairs of a node and its box.
function squarify(nodes, box) {
  let { x, y, w, h } = box;
  const placed = [];
  const total = nodes.reduce((sum, node) => sum + node.bytes, 0);
  if (total === 0 || w <= 0 || h <= 0) return placed;
  const scale = (w * h) / total;
  let at = 0;
  while (at < nodes.length) {
    const side = Math.min(w, h);
    let end = at, area = 0, worst = Infinity;
    while (end < nodes.length) {
      const next = area + nodes[end].bytes * scale;
      const [large, small] = [nodes[at].bytes * scale, nodes[end].bytes * scale];
      const ratio = Math.max((side * side * large) / (next * next), (next * next) / (side * side * small));
      if (ratio > worst) break;
      [worst, area, end] = [ratio, next, end + 1];
    }
    const depth = side > 0 ? area / side : 0;
    let along = 0;
    for (; at < end; at += 1) {
      const length = depth > 0 ? (nodes[at].bytes * scale) / depth : 0;
      placed.push([nodes[at], w >= h ? { x, y: y + along, w: depth, h: length } : { x: x + along, y, w: length, h: depth }]);
      along += length;
    }
    if (w >= h) [x, w] = [x + depth, Math.max(0, w - depth)];
    else [y, h] = [y + depth, Math.max(0, h - depth)];
  }
  return placed;
}

// Puts nodes that would have less than `leastArea` of an area together, into others which can be looked into: one where
// most have more, and as many as can be told apart where none has.
function withSmallTogether(nodes, area, leastArea, parent) {
  const drawn = nodes.filter(node => node.bytes > 0);
  const least = (drawn.reduce((sum, node) => sum + node.bytes, 0) * leastArea) / area;
  const small = drawn.filter(node => node.bytes < least);
  if (small.length < 2) return drawn;
  if (small.length < drawn.length) {
    const rest = together(small, `${number(small.length)} smaller`, parent);
    return [...drawn.filter(node => node.bytes >= least), rest].sort((a, b) => b.bytes - a.bytes);
  }
  const groups = [];
  let group = [], bytes = 0;
  for (const node of small) {
    group.push(node);
    bytes += node.bytes;
    if (bytes < 4 * least && node !== small.at(-1)) continue;
    groups.push(together(group, `${number(group.length)} together`, parent));
    [group, bytes] = [[], 0];
  }
  return groups.sort((a, b) => b.bytes - a.bytes);
}

function together(nodes, name, parent) {
  const made = newNode(name, parent);
  Object.assign(made, { path: `${parent.path || parent.name}: ${name}`, isTogether: true, children: nodes });
  for (const node of nodes) {
    made.bytes += node.bytes;
    made.files += node.files;
    for (const kind of Object.keys(made.kinds)) made.kinds[kind] += node.kinds[kind];
  }
  return made;
}

// The kind that most of a node's bytes are of.
const mainKind = node => Object.entries(node.kinds).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
