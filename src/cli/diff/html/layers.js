// The layers of both sides as bars to one scale; bands join what both have.

// The role, and of a package layer the package.
const roleOf = layer => (layer.label ? `${layer.role} ${layer.label}` : layer.role);
const shortDigest = digest => digest.replace('sha256:', '').slice(0, 12);

function showLayers(data) {
  const sides = [data.a, data.b];
  if (sides.every(side => side.layers.length === 0)) return byId('layers').remove();
  byId('layers-summary').textContent = layerSummary(data);
  const totals = sides.map(side => side.layers.reduce((sum, layer) => sum + layer.size_bytes, 0));
  const scale = 100 / Math.max(...totals, 1);
  const bars = sides.map((side, at) => barOf(side, ['before', 'after'][at], scale));
  const names = ['before', 'after'].map((name, at) => element('div', { class: 'bar-name' }, name, ' ', element('span', { class: 'dim' }, size(totals[at]))));
  byId('bars').append(names[0], bars[0].element, bandsOf(bars), bars[1].element, names[1]);
  const rows = layerRows(sides);
  const table = layerTable();
  table.show(rows);
  byId('layer-list').append(rows.length <= 12 ? table.element : element('details', {}, element('summary', {}, `All ${rows.length} layers`), table.element));
  return undefined;
}

function layerSummary(data) {
  const lists = [data.a, data.b].map(side => (side.layers.length === 0 ? 'none' : number(side.layers.length)));
  const shared = data.shared_layers === 0 ? 'no layer is in both'
    : `${counted(data.shared_layers, 'layer is', 'layers are')} in both (${size(data.shared_bytes)})`;
  return `Compressed: ${lists[0]} before, ${lists[1]} after; ${shared}.`;
}

function barOf(side, name, scale) {
  const bar = element('div', { class: 'bar' });
  const places = new Map();
  let at = 0;
  for (const layer of side.layers) {
    const width = layer.size_bytes * scale;
    const segment = element('div', { class: `segment ${layer.shared ? 'both' : name}`, title: `${roleOf(layer) ?? 'layer'} ${shortDigest(layer.digest)}, ${size(layer.size_bytes)}` });
    segment.style.left = `${at}%`;
    segment.style.width = `max(${width}%, 2px)`;
    if (width > 12) segment.append(`${roleOf(layer) ?? shortDigest(layer.digest)} ${size(layer.size_bytes)}`);
    bar.append(segment);
    places.set(layer.diff_id, { from: at, to: at + width, shared: layer.shared });
    at += width;
  }
  return { element: bar, places };
}

function bandsOf([above, below]) {
  const space = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(space, 'svg');
  picture.setAttribute('viewBox', '0 0 100 10');
  picture.setAttribute('preserveAspectRatio', 'none');
  picture.setAttribute('class', 'bands');
  for (const [id, from] of above.places) {
    const to = below.places.get(id);
    if (!to) continue;
    const band = document.createElementNS(space, 'polygon');
    band.setAttribute('points', `${from.from},0 ${from.to},0 ${to.to},10 ${to.from},10`);
    picture.append(band);
  }
  return picture;
}

// A layer of both sides once: they have the same tar, but may have compressed it in different ways.
function layerRows(sides) {
  const rows = new Map();
  sides.forEach((side, at) => side.layers.forEach(layer => {
    const row = rows.get(layer.diff_id) ?? [null, null];
    row[at] = layer;
    rows.set(layer.diff_id, row);
  }));
  return [...rows.values()];
}

function layerTable() {
  const where = ([before, after]) => (before && after ? 'both' : before ? 'before' : 'after');
  const first = ([before, after], name) => (before ?? after)[name];
  // What both call it, or what each does.
  const both = (row, name, show) => [...new Set(row.filter(Boolean).map(layer => (layer[name] === null ? '–' : show(layer[name]))))].join(' → ');
  const counts = (name, title, show) => (
    { name: name.replace('_bytes', ''), title, isNumber: true, key: row => first(row, name) ?? -1, cell: row => both(row, name, show) });
  return makeTable({
    label: 'Layers',
    kind: 'layers',
    columns: [
      { name: 'where', title: 'In', key: where, cell: row => element('span', { class: `where ${where(row)}` }, where(row)) },
      { name: 'role', title: 'Role', key: row => roleOf(row[0] ?? row[1]) ?? '', cell: roles },
      { name: 'digest', title: 'Digest', key: row => first(row, 'digest'), cell: digestCell },
      counts('size_bytes', 'Bytes', size),
      counts('content_bytes', 'Unpacked', size),
      counts('entries', 'Entries', number),
    ],
  });

  function roles(row) {
    return [...new Set(row.filter(Boolean).map(layer => roleOf(layer) ?? '–'))].join(' → ');
  }

  function digestCell(row) {
    return element('span', { class: 'mono', title: both(row, 'digest', String) }, both(row, 'digest', shortDigest));
  }
}
