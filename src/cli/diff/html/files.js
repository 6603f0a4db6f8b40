// Files as a table: how each differs, where, in what, and whose it is.

const LETTERS = { added: 'A', removed: 'D', changed: 'M' };

const haystackOf = file => (file.haystack ??=
  [pathOf(file), file.change, file.what.join(' '), ownerOf(file).text].join(' ').toLowerCase());

function fileTable(label, hasOwners) {
  const columns = [
    { name: 'how', title: 'How', key: file => file.change, cell: changeCell },
    { name: 'path', title: 'Path', key: pathOf, cell: pathCell },
    { name: 'what', title: 'What', key: file => file.what.join(', '), cell: file => file.what.join(', ') },
    { name: 'details', title: 'Values', key: detailsOf, cell: detailsOf },
    { name: 'owner', title: 'Package', key: file => ownerOf(file).text, cell: ownerCell },
    { name: 'bytes', title: 'Bytes', isNumber: true, key: file => file.bytes, cell: file => (file.bytes ? size(file.bytes) : '') },
  ];
  const shown = columns.filter(column => hasOwners || column.name !== 'owner');
  return makeTable({ label, kind: hasOwners ? 'paths blocks' : 'paths unowned blocks', columns: shown, opened: fileInside });
}

function changeCell(file) {
  const letter = element('span', { class: `letter ${kindOf(file)}`, 'aria-hidden': 'true' }, LETTERS[file.change]);
  return [letter, element('span', { class: 'unseen' }, file.change)];
}

function pathCell(file) {
  const path = element('span', { class: 'mono' }, ...breakable(pathOf(file)));
  return element('span', { class: 'opener' }, path);
}

// Lines may break after a slash.
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part, at) => (at === 0 ? [part] : [element('wbr'), part]));
}

function ownerCell(file) {
  const { text, deviates } = ownerOf(file);
  return deviates ? element('strong', { class: 'deviates' }, `! ${text}`) : text;
}

// What is recorded of it on both sides, and what differs within where that was compared.
function fileInside(file) {
  const both = [file.old, file.new];
  const line = (title, of) => {
    if (!both.some(entry => entry && of(entry))) return null;
    const [was, is] = both.map(entry => (entry ? of(entry) : '–'));
    const hasChanged = file.change === 'changed' && was !== is;
    const cell = text => element('td', { role: 'cell', class: hasChanged ? 'differs' : '' }, text);
    return element('tr', { role: 'row' }, element('th', { role: 'rowheader', scope: 'row' }, title), cell(was), cell(is));
  };
  const xattrs = entry => Object.entries(entry.xattrs ?? {}).map(([name, hex]) => `${printable(name)} = ${hex}`).join(', ');
  const rows = [
    line('type', entry => entry.type),
    line('size', entry => (entry.type === 'file' ? `${number(entry.size_bytes)} B` : '')),
    line('BLAKE3', entry => entry.blake3 ?? ''),
    line('target', entry => (entry.type === 'symlink' ? printable(entry.target, entry.target_hex) : '')),
    line('device', entry => ('major' in entry ? `${entry.major},${entry.minor}` : '')),
    line('mode', entry => entry.mode),
    line('owner', entry => `${entry.uid}/${entry.gid}`),
    line('mtime', entry => time(entry.mtime)),
    line('xattrs', xattrs),
  ];
  const head = ['', 'before', 'after'].map(text => element(text ? 'th' : 'td', { role: text ? 'columnheader' : 'cell' }, text));
  const facts = element('table', { role: 'table', class: 'facts' },
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...head)),
    element('tbody', { role: 'rowgroup' }, ...rows.filter(row => row !== null)));
  return element('div', { class: 'facts-and-content' }, facts, file.content ? contentOf(file.content) : null);
}

function contentOf(content) {
  if (content.kind === 'large') return element('p', {}, 'Too large to be compared as text.');
  if (content.kind === 'binary') return element('p', {}, `No text; the first difference is at byte ${number(content.first_difference)}.`);
  const range = ([start, lines]) => (lines === 1 ? String(start) : `${start},${lines}`);
  const classes = { '-': 'gone', '+': 'come', ' ': 'kept' };
  const text = content.hunks.flatMap(hunk => [
    element('span', { class: 'hunk' }, `@@ -${range(hunk.old)} +${range(hunk.new)} @@\n`),
    ...hunk.lines.map(line => element('span', { class: classes[line.sign] },
      `${line.sign}${line.text.replace(/\n$/, '').replace(UNSAFE, c => (c === '\t' || c === '\\' ? c : printable(c)))}\n`
      + (line.newline ? '' : '\\ No newline at end of file\n'))),
  ]);
  return element('pre', { class: 'hunks' }, ...text);
}
