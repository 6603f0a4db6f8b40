// A table that is sorted by any column, filtered, and filled as far as it is looked at; a row opens to show more.
//
// A column has `name`, `title`, `cell` (row → content), and `key` (row → what it is sorted by); `isNumber` aligns it to
// the right and sorts it from the largest down first. `opened` (row → content), where there is one, is what a row
// opens to; it is made when the row is opened. Roles are written out: the style lays rows out as grids, so that the ones
// out of sight cost nothing, and that would take from a table what it is to a screen reader.

const ROWS_AT_ONCE = 200;

// About how high a row is, for those out of sight.
const ROW_PIXELS = 31;

const compareText = new Intl.Collator('en', { numeric: true }).compare;

function makeTable({ label, kind, columns, opened, sorting }) {
  let rows = [], sorted = [], filled = 0;
  let bodies = [];
  let order = sorting ?? { name: null, isDown: false };
  const heads = columns.map(column => headOf(column));
  const more = element('p', { class: 'more', hidden: true });
  const table = element('table', { role: 'table', 'aria-label': label, class: `list ${kind}` },
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...heads)));
  const whole = element('div', {}, table, more);

  function headOf(column) {
    const button = element('button', { type: 'button', onclick: () => sortBy(column) }, column.title);
    return element('th', { role: 'columnheader', scope: 'col', 'data-column': column.name, class: classOf(column) }, button);
  }

  function classOf(column) {
    return `col-${column.name}${column.isNumber ? ' number' : ''}`;
  }

  function sortBy(column) {
    const isAgain = order.name === column.name;
    order = { name: column.name, isDown: isAgain ? !order.isDown : Boolean(column.isNumber) };
    sort();
  }

  function sort() {
    const column = columns.find(one => one.name === order.name);
    sorted = rows.slice();
    if (column) {
      const keyed = sorted.map(row => [column.key(row), row]);
      const compare = typeof keyed[0]?.[0] === 'number' ? (a, b) => a[0] - b[0] : (a, b) => compareText(a[0], b[0]);
      keyed.sort(order.isDown ? (a, b) => compare(b, a) : compare);
      sorted = keyed.map(([, row]) => row);
    }
    heads.forEach((head, at) => {
      const isThis = columns[at].name === order.name;
      if (isThis) head.setAttribute('aria-sort', order.isDown ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    bodies.forEach(body => body.remove());
    bodies = [];
    filled = 0;
    fill(ROWS_AT_ONCE);
  }

  function fill(count) {
    const body = element('tbody', { role: 'rowgroup' }, ...sorted.slice(filled, filled + count).map(rowOf));
    body.style.containIntrinsicHeight = `auto ${body.children.length * ROW_PIXELS}px`;
    filled += body.children.length;
    bodies.push(body);
    table.append(body);
    const left = sorted.length - filled;
    more.hidden = left === 0;
    more.replaceChildren(`${number(filled)} of ${number(sorted.length)} are shown. `);
    if (left > ROWS_AT_ONCE) more.append(button(`Show ${number(ROWS_AT_ONCE)} more`, ROWS_AT_ONCE), ' ');
    if (left > 0) more.append(button('Show all', left));
  }

  // The focus goes on to the button that takes this one's place, or to the first row that it brought. Many rows come in
  // parts, between which the page can be used.
  function button(text, count) {
    const onclick = () => {
      const place = bodies.length;
      fillInParts(sorted, filled + count);
      (more.querySelector('button') ?? bodies[place].querySelector('button'))?.focus({ preventScroll: true });
    };
    return element('button', { type: 'button', class: 'plain', onclick }, text);
  }

  function fillInParts(of, end) {
    if (of !== sorted) return; // others are shown by now
    fill(Math.min(ROWS_AT_ONCE, end - filled));
    if (filled < end) setTimeout(fillInParts, 0, of, end);
  }

  function rowOf(row) {
    const cells = columns.map((column, at) => {
      const cell = element('td', { role: 'cell', class: classOf(column) });
      const content = column.cell(row);
      cell.append(...(Array.isArray(content) ? content : [content]));
      return cell;
    });
    const line = element('tr', { role: 'row' }, ...cells);
    if (opened) makeOpen(line, row);
    return line;
  }

  // The cell that `opener` is in holds the button; a click anywhere in the row does the same.
  function makeOpen(line, row) {
    const cell = line.querySelector('.opener');
    const toggle = element('button', { type: 'button', class: 'toggle', 'aria-expanded': 'false' }, ...cell.childNodes);
    cell.append(toggle);
    line.classList.add('opens');
    line.addEventListener('click', event => {
      const isSelecting = !getSelection().isCollapsed && !event.target.closest('button');
      if (!isSelecting) flip();
    });
    function flip() {
      const isOpen = toggle.getAttribute('aria-expanded') === 'true';
      toggle.setAttribute('aria-expanded', String(!isOpen));
      if (isOpen) line.nextElementSibling.remove();
      else {
        const inside = element('td', { role: 'cell', colspan: columns.length }, opened(row));
        line.after(element('tr', { role: 'row', class: 'inside' }, inside));
      }
    }
  }

  function show(these) {
    rows = these;
    sort();
  }

  return { element: whole, show };
}

// Calls `apply` with a function that tells whether a text has all words of the input, when these have changed.
function onFilter(input, apply) {
  const changed = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    apply(words.length === 0 ? null : text => words.every(word => text.includes(word)));
  };
  input.addEventListener('input', changed);
  input.addEventListener('keydown', event => {
    if (event.key !== 'Escape' || input.value === '') return;
    input.value = '';
    changed();
    event.preventDefault();
  });
}
