// The treemap: the children of one node, each with what is in it; goes into one and out again, by pointer and keys.

// An area that can be pointed at, in square pixels; and one that can be seen.
const LEAST_AREA = 320;
const LEAST_AREA_INSIDE = 24;
const HEAD_PIXELS = 17;

function makeMap({ data, showFile }) {
  const stage = byId('stage'), crumbs = byId('crumbs'), table = byId('map-table'), tip = byId('tip');
  const shownKinds = new Set(Object.keys(KINDS));
  const packages = data.packages;
  let grouping = packages ? 'package' : 'folder';
  let root, current;
  let nodes = []; // what is drawn, by the number that its element has
  let cells = []; // the elements of the first level

  function rebuild() {
    const files = data.files.filter(file => file.bytes > 0 && shownKinds.has(kindOf(file)));
    root = buildTree(files, grouping === 'package' ? groupOf : () => null);
    go(root);
  }

  function groupOf(file) {
    const at = file.accounted_by;
    if (at !== null) {
      const { name, arch } = packages[at];
      return { name: printable(arch ? `${name}.${arch}` : name), row: packages[at] };
    }
    return { name: file.volatile ? 'volatile files' : 'files that no package accounts for' };
  }

  function go(node, focused) {
    current = node;
    draw();
    drawCrumbs();
    drawTable();
    if (focused !== undefined) {
      const isWanted = one => one === focused || (one.isTogether && focused?.isTogether && one.path === focused.path);
      const at = cells.findIndex(cell => isWanted(nodes[cell.dataset.node]));
      focus(Math.max(0, at));
    }
  }

  // What has a single folder in it shows nothing by itself, and is passed, in as well as out.
  function enter(node, hasFocus) {
    if (node.file) return showFile(node.file);
    let inner = node;
    while (inner.children.length === 1 && !inner.children[0].file) [inner] = inner.children;
    return go(inner, hasFocus ? null : undefined);
  }

  function leave() {
    if (current.parent === null) return;
    let left = current;
    while (left.parent.parent !== null && left.parent.children.length === 1) left = left.parent;
    go(left.parent, left);
  }

  // ---- Drawing

  function draw() {
    hideTip();
    nodes = [];
    const { clientWidth: w, clientHeight: h } = stage;
    const children = withSmallTogether(current.children, w * h, LEAST_AREA, current);
    cells = squarify(children, { x: 0, y: 0, w, h }).map(([node, box]) => cellOf(node, box, 0));
    cells.forEach((cell, at) => cell.setAttribute('tabindex', at === 0 ? '0' : '-1'));
    stage.replaceChildren(...cells);
    if (cells.length === 0) stage.append(element('p', { class: 'empty' }, 'No bytes differ.'));
  }

  function cellOf(node, box, depth) {
    const cell = element('div', { 'data-node': nodes.push(node) - 1, class: `cell ${mainKind(node)}` });
    const style = { left: box.x, top: box.y, width: box.w, height: box.h };
    for (const [name, pixels] of Object.entries(style)) cell.style[name] = `${pixels.toFixed(2)}px`;
    if (depth === 0) {
      cell.setAttribute('role', 'button');
      cell.setAttribute('aria-label', `${node.name}, ${size(node.bytes)}${node.file ? '' : `, ${counted(node.files, 'file', 'files')}`}`);
    }
    const isNamed = (node.file || depth < 2) && box.w > 34 && box.h > HEAD_PIXELS;
    const edge = depth < 2 ? 2 : 0;
    const top = isNamed ? HEAD_PIXELS : edge;
    const inside = { x: edge, y: top, w: box.w - 2 * edge - 1, h: box.h - top - edge - 1 };
    const isFolder = !node.file && !node.isTogether && inside.w > 10 && inside.h > 8;
    if (isNamed) cell.append(labelOf(node, box));
    if (isFolder) {
      cell.classList.add('folder');
      const children = withSmallTogether(node.children, inside.w * inside.h, LEAST_AREA_INSIDE, node);
      cell.append(...squarify(children, inside).map(([one, place]) => cellOf(one, place, depth + 1)));
    }
    return cell;
  }

  function labelOf(node, box) {
    const label = element('span', { class: 'label', 'aria-hidden': 'true' }, node.name);
    if (box.w > 130) label.append(' ', element('span', { class: 'label-size' }, size(node.bytes)));
    return label;
  }

  function drawCrumbs() {
    const line = [];
    for (let node = current; node !== null; node = node.parent) line.unshift(node);
    crumbs.replaceChildren(...line.map((node, at) => {
      const isLast = at === line.length - 1;
      const text = isLast ? element('span', { 'aria-current': 'true' }, node.name)
        : element('button', { type: 'button', class: 'plain', onclick: () => go(node, line[at + 1]) }, node.name);
      return element('li', {}, text);
    }));
    const sum = element('span', { class: 'crumb-sum' }, `${size(current.bytes)} in ${counted(current.files, 'file', 'files')}`);
    crumbs.lastElementChild.append(' ', sum);
  }

  // ---- The same as a table

  const listed = makeTable({
    label: 'Bytes that differ',
    kind: 'nodes',
    sorting: { name: 'bytes', isDown: true },
    columns: [
      { name: 'path', title: 'Name', key: node => node.name, cell: nameCell },
      { name: 'files', title: 'Files', isNumber: true, key: node => node.files, cell: node => number(node.files) },
      { name: 'bytes', title: 'Bytes', isNumber: true, key: node => node.bytes, cell: node => size(node.bytes) },
      { name: 'share', title: 'Share', isNumber: true, key: node => node.bytes, cell: node => `${((node.bytes / current.bytes) * 100).toFixed(1)} %` },
    ],
  });
  table.append(listed.element);
  table.addEventListener('toggle', drawTable);

  function nameCell(node) {
    return element('button', { type: 'button', class: 'plain', onclick: () => enter(node, false) }, node.name);
  }

  function drawTable() {
    if (table.open) listed.show(current.children);
  }

  // ---- Pointer and keys

  const nodeAt = target => {
    const cell = target.closest?.('[data-node]');
    return cell ? nodes[cell.dataset.node] : null;
  };

  stage.addEventListener('click', event => {
    const cell = event.target.closest('.stage > [data-node]');
    if (cell) enter(nodes[cell.dataset.node], true);
  });
  stage.addEventListener('pointermove', event => {
    const node = nodeAt(event.target);
    if (node) showTip(node, event.clientX, event.clientY);
    else hideTip();
  });
  stage.addEventListener('pointerleave', hideTip);
  stage.addEventListener('focusout', hideTip);
  stage.addEventListener('keydown', event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const at = cells.indexOf(event.target);
    const act = {
      Enter: () => at >= 0 && enter(nodes[cells[at].dataset.node], true),
      ' ': () => at >= 0 && enter(nodes[cells[at].dataset.node], true),
      Escape: leave,
      Backspace: leave,
      Home: () => focus(0),
      End: () => focus(cells.length - 1),
      ArrowLeft: () => focus(nearest(at, -1, 0)),
      ArrowRight: () => focus(nearest(at, 1, 0)),
      ArrowUp: () => focus(nearest(at, 0, -1)),
      ArrowDown: () => focus(nearest(at, 0, 1)),
    }[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  });

  // The cell next to another in a direction: the one that begins where it ends, and lies most level with it.
  function nearest(from, dx, dy) {
    const box = cells[from]?.getBoundingClientRect();
    if (!box) return 0;
    const middle = rect => [(rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2];
    const [x, y] = middle(box);
    let best = from, least = Infinity;
    cells.forEach((cell, at) => {
      const rect = cell.getBoundingClientRect();
      const ahead = dx > 0 ? rect.left - box.right : dx < 0 ? box.left - rect.right : dy > 0 ? rect.top - box.bottom : box.top - rect.bottom;
      if (at === from || ahead < -1) return;
      const aside = dx !== 0 ? Math.max(rect.top - y, y - rect.bottom, 0) : Math.max(rect.left - x, x - rect.right, 0);
      const [mx, my] = middle(rect);
      const distance = ahead * 4 + aside * 4 + Math.hypot(mx - x, my - y) / 1000;
      if (distance < least) [best, least] = [at, distance];
    });
    return best;
  }

  function focus(at) {
    if (!cells[at]) {
      stage.setAttribute('tabindex', '-1');
      stage.focus();
      return;
    }
    cells.forEach((cell, other) => cell.setAttribute('tabindex', other === at ? '0' : '-1'));
    cells[at].focus();
    const box = cells[at].getBoundingClientRect();
    showTip(nodes[cells[at].dataset.node], box.left + Math.min(box.width / 2, 40), box.top + Math.min(box.height / 2, 40));
  }

  // ---- What a node is, beside the pointer

  function showTip(node, x, y) {
    const lines = [element('strong', {}, node.path || node.name), element('div', { class: 'tip-bytes' }, tipBytes(node))];
    if (node.row) lines.push(element('div', {}, tipPackage(node.row)));
    if (node.file) lines.push(...tipFile(node.file));
    else lines.push(...tipKinds(node));
    tip.replaceChildren(...lines);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
    const top = y + 14 + height > innerHeight ? y - 14 - height : y + 14;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  }

  function hideTip() {
    tip.hidden = true;
  }

  const tipBytes = node => `${size(node.bytes)}${node.file ? '' : ` in ${counted(node.files, 'file', 'files')}`}`;

  const tipPackage = row => [row.change, [evr(row.old), evr(row.new)].filter(Boolean).join(' → ')].join(' ');

  function tipFile(file) {
    const what = [file.change === 'changed' ? file.what.join(', ') : file.change, detailsOf(file)].filter(Boolean).join(': ');
    const owner = ownerOf(file).text;
    return [element('div', {}, what), ...(owner ? [element('div', {}, owner)] : [])];
  }

  function tipKinds(node) {
    return Object.entries(node.kinds).filter(([, bytes]) => bytes > 0)
      .map(([kind, bytes]) => element('div', { class: 'tip-kind' }, element('span', { class: `swatch ${kind}` }), `${size(bytes)} ${KINDS[kind]}`));
  }

  // ---- What is shown

  function choices() {
    const drawn = data.files.filter(file => file.bytes > 0);
    const sums = Object.fromEntries(Object.keys(KINDS).map(kind => [kind, { bytes: 0, files: 0 }]));
    for (const file of drawn) {
      const sum = sums[kindOf(file)];
      sum.bytes += file.bytes;
      sum.files += 1;
    }
    for (const [kind, title] of Object.entries(KINDS)) {
      const { bytes, files } = sums[kind];
      if (files === 0) continue;
      const onchange = event => {
        shownKinds[event.target.checked ? 'add' : 'delete'](kind);
        rebuild();
      };
      byId('kinds').append(element('label', { class: 'kind' },
        element('input', { type: 'checkbox', checked: true, 'data-kind': kind, onchange }), element('span', { class: `swatch ${kind}` }),
        title, element('span', { class: 'dim' }, ` ${size(bytes)} in ${counted(files, 'file', 'files')}`)));
    }
    const rest = data.files.length - drawn.length;
    if (rest > 0) byId('map-rest').textContent = `Not on the map: ${counted(rest, 'path', 'paths')} without bytes, such as directories, links and empty files.`;
    byId('map-rest').hidden = rest === 0;
    if (!packages) return byId('map-grouping').remove();
    return radios(byId('map-grouping'), 'grouping', [['package', 'package'], ['folder', 'folder']], grouping, value => {
      grouping = value;
      rebuild();
    });
  }

  choices();
  rebuild();
  let width = stage.clientWidth;
  new ResizeObserver(() => {
    if (stage.clientWidth === width) return;
    width = stage.clientWidth;
    draw();
  }).observe(stage);
}
