const carried = JSON.parse(document.getElementById('carried').textContent);
const tables = new Map();

function rowsOf(name) {
  if (!tables.has(name)) {
    const { names, rows } = carried.data[name];
    tables.set(name, rows.map(row => Object.fromEntries(names.map((column, place) => [column, row[place]]))));
  }
  return tables.get(name);
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
}

function readable(value) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'number') return String(value);
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (size < 1e-4) return value.toExponential(1);
  if (Number.isInteger(value)) return value.toLocaleString('en-GB');
  return size >= 100 ? Math.round(value).toLocaleString('en-GB') : String(Number(value.toPrecision(size >= 10 ? 3 : 2)));
}

/* A cell that begins like a formula would be run by a spreadsheet; the apostrophe makes it text. */
function cell(value) {
  let text = value === null || value === undefined ? '' : String(value);
  if (typeof value === 'string' && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv(rows) {
  const names = rows.length ? Object.keys(rows[0]) : [];
  return [names, ...rows.map(row => names.map(name => row[name]))].map(line => line.map(cell).join(',')).join('\r\n') + '\r\n';
}

function download(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = element('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function tableOf(rows, caption) {
  const names = rows.length ? Object.keys(rows[0]) : [];
  const head = element('tr', {}, ...names.map(name => element('th', { scope: 'col' }, name.replaceAll('_', ' '))));
  const body = rows.map(row => element('tr', {}, ...names.map(name => {
    const value = row[name];
    return element('td', { class: typeof value === 'number' ? 'number' : null, dir: typeof value === 'string' ? 'auto' : null }, readable(value));
  })));
  return element('table', {}, element('caption', {}, caption), element('thead', {}, head), element('tbody', {}, ...body));
}
