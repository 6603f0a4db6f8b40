// Reads the data and shows it: both sides, totals, layers, map, packages, files.

const CHANGES = ['added', 'removed', 'upgraded', 'downgraded', 'rebuilt'];
const SIGNS = { added: '+', removed: '−', upgraded: '↑', downgraded: '↓', rebuilt: '↻' };

async function readData() {
  const text = atob(byId('data').textContent);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).json();
}

function radios(fieldset, name, values, chosen, onchoice) {
  for (const [value, title] of values) {
    const onchange = () => onchoice(value);
    fieldset.append(element('label', {}, element('input', { type: 'radio', name, value, checked: value === chosen, onchange }), element('span', {}, title)));
  }
}

function showSides(data) {
  const about = side => {
    const parts = [];
    const { snapshot } = side;
    if (snapshot) parts.push(`snapshot ${snapshot.id}, ${printable(`${snapshot.series}@${snapshot.stage}`)} of ${time(snapshot.time)}`);
    parts.push(side.packages === null ? 'packages unknown' : counted(side.packages, 'package', 'packages'));
    if (snapshot) parts.push(counted(snapshot.entries, 'entry', 'entries'), size(snapshot.content_bytes));
    return parts.join(' · ');
  };
  for (const [title, kind, side] of [['before', 'removed', data.a], ['after', 'added', data.b]]) {
    byId('sides').append(element('dt', { class: kind }, title),
      element('dd', {}, element('span', { class: 'source' }, printable(side.source)), ' ', element('span', { class: 'dim' }, about(side))));
  }
}

function showTotals(data) {
  const total = (title, sum, parts) => byId('totals').append(
    element('div', {}, element('dt', {}, title), element('dd', {}, element('span', { class: 'sum' }, sum), element('span', { class: 'dim' }, parts.join(', ')))));
  const tally = (all, of, names) => names.map(name => [all.filter(one => of(one) === name).length, name])
    .filter(([count]) => count > 0).map(([count, name]) => `${number(count)} ${name}`);
  if (data.packages) total('packages', number(data.packages.length), tally(data.packages, one => one.change, CHANGES));
  const kinds = Object.keys(KINDS);
  total('paths', number(data.files.length), tally(data.files, kindOf, kinds).map((text, at) => text.replace(/(content|other)$/, kind => KINDS[kind])));
  const bytes = data.files.reduce((sum, file) => sum + file.bytes, 0);
  const content = data.files.reduce((sum, file) => sum + (kindOf(file) === 'other' ? 0 : file.bytes), 0);
  total('bytes', size(bytes), bytes === 0 ? [] : [content === bytes ? 'all of them in content' : `${size(content)} in content`]);
}

// ---- Packages

function showPackages(data) {
  if (!data.packages) return byId('packages').remove();
  const filesOf = data.packages.map(() => []);
  for (const file of data.files) if (file.accounted_by !== null) filesOf[file.accounted_by].push(file);
  const rows = data.packages.map((of, at) => ({ ...of, files: filesOf[at], now: of.new ?? of.old }));
  const bytes = row => (row.new ? row.new_bytes : row.old_bytes);
  const versions = row => [evr(row.old), evr(row.new)];
  const table = makeTable({
    label: 'Packages',
    kind: 'packages blocks',
    sorting: { name: 'change', isDown: false },
    opened: packageInside,
    columns: [
      { name: 'change', title: 'Change', key: row => CHANGES.indexOf(row.change), cell: fateCell },
      { name: 'name', title: 'Package', key: row => row.name, cell: row => element('span', { class: 'opener' }, printable(row.name)) },
      { name: 'old', title: 'Old', key: row => versions(row)[0], cell: row => versionCell(versions(row)[0], versions(row)[1]) },
      { name: 'new', title: 'New', key: row => versions(row)[1], cell: row => versionCell(versions(row)[1], versions(row)[0]) },
      { name: 'arch', title: 'Arch', key: row => row.arch, cell: row => printable(row.arch) },
      { name: 'source', title: 'Source', key: row => row.now.source_rpm, cell: row => printable(row.now.source_rpm) },
      { name: 'count', title: 'Files', isNumber: true, key: row => row.files.length, cell: row => (row.files.length ? number(row.files.length) : '') },
      { name: 'bytes', title: 'Bytes', isNumber: true, key: bytes, cell: row => (row.files.length ? size(bytes(row)) : '') },
      { name: 'grown', title: 'Growth', isNumber: true, key: row => row.new_bytes - row.old_bytes, cell: row => (row.files.length ? signedSize(row.new_bytes - row.old_bytes) : '') },
    ],
  });
  byId('package-list').append(table.element);
  const haystack = row => (row.haystack ??= [row.change, row.name, row.arch, ...versions(row), row.now.source_rpm].join(' ').toLowerCase());
  const apply = has => {
    const shown = has ? rows.filter(row => has(haystack(row))) : rows;
    byId('packages-summary').textContent = has ? `${number(shown.length)} of ${counted(rows.length, 'package', 'packages')}`
      : counted(rows.length, 'package differs', 'packages differ');
    table.show(shown);
  };
  onFilter(byId('packages-filter'), apply);
  return apply(null);
}

function fateCell(row) {
  return element('span', { class: `fate ${row.change}` }, element('span', { class: 'sign', 'aria-hidden': 'true' }, SIGNS[row.change]), row.change);
}

// What it has in common with the other version, up to a separator, is less marked.
function versionCell(version, other) {
  if (!version || !other || version === other) return version;
  let same = 0;
  while (same < version.length && version[same] === other[same]) same += 1;
  while (same > 0 && /[0-9a-z]/i.test(version[same - 1])) same -= 1;
  return [element('span', { class: 'dim' }, version.slice(0, same)), element('span', { class: 'differs' }, version.slice(same))];
}

function packageInside(row) {
  if (row.files.length === 0) return element('p', { class: 'lead' }, 'No file of it differs.');
  const table = fileTable(`Files of ${printable(row.name)}`, false);
  table.show(row.files);
  return table.element;
}

// ---- Files

function showFiles(data) {
  const isLeft = file => file.accounted_by === null;
  const scopes = [
    ['left', 'by no package', file => isLeft(file) && !file.volatile],
    ['volatile', 'volatile', file => isLeft(file) && file.volatile],
    ['accounted', 'by packages', file => !isLeft(file)],
    ['all', 'all', () => true],
  ].map(([value, title, is]) => ({ value, title, files: data.files.filter(is) })).filter(({ files }) => files.length > 0);
  if (scopes.length === 0) {
    byId('files').remove();
    return () => {};
  }
  const input = byId('files-filter');
  const table = fileTable('Files', data.files.some(file => file.new_owner || file.old_owner));
  byId('file-list').append(table.element);
  let scope = scopes[0], isWanted = null;
  const apply = () => {
    const shown = isWanted ? scope.files.filter(file => isWanted(haystackOf(file))) : scope.files;
    byId('files-summary').textContent = isWanted ? `${number(shown.length)} of ${counted(scope.files.length, 'path', 'paths')}` : WORDS[scope.value](scope.files.length);
    table.show(shown);
  };
  radios(byId('files-scope'), 'scope', scopes.map(({ value, title, files }) => [value, `${title} ${number(files.length)}`]), scope.value, value => {
    scope = scopes.find(one => one.value === value);
    apply();
  });
  onFilter(input, has => {
    isWanted = has;
    apply();
  });
  apply();
  // Shows one of them alone, opened.
  return file => {
    scope = scopes.find(({ files }) => files.includes(file));
    byId('files-scope').querySelector(`[value=${scope.value}]`).checked = true;
    input.value = pathOf(file);
    const path = haystackOf(file);
    isWanted = text => text === path;
    apply();
    byId('files').scrollIntoView();
    const toggle = byId('file-list').querySelector('.toggle');
    toggle.click();
    toggle.focus({ preventScroll: true });
  };
}

const WORDS = {
  left: count => `${counted(count, 'path that no package accounts for', 'paths that no package accounts for')}; ! marks what is not as its package has it.`,
  volatile: count => `${counted(count, 'volatile path', 'volatile paths')}, which no two installations have alike.`,
  accounted: count => `${counted(count, 'path that a package accounts for', 'paths that packages account for')}.`,
  all: count => `${counted(count, 'path differs', 'paths differ')}.`,
};

// ---- All of it

async function showPage() {
  const data = await readData();
  showSides(data);
  for (const note of data.notes) byId('notes').append(element('li', {}, note));
  byId('notes').hidden = data.notes.length === 0;
  byId('status').hidden = data.different;
  byId('status').textContent = data.different ? '' : 'Nothing differs.';
  byId('main').hidden = false;
  showLayers(data);
  if (data.different) showDifferences(data);
  else for (const id of ['totals', 'map', 'packages', 'files']) byId(id).remove();
  document.documentElement.dataset.ready = 'true';
}

function showDifferences(data) {
  showTotals(data);
  showPackages(data);
  const showFile = showFiles(data);
  if (data.files.length > 0) makeMap({ data, showFile });
  else byId('map').remove();
}

showPage().catch(error => {
  byId('status').textContent = `The data cannot be shown: ${error.message}. A browser of 2023 or newer is needed.`;
});
