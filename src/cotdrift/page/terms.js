const AT_FIRST = 40;
const terms = document.getElementById('terms');
let sortedBy = 'z';
let direction = 'descending';
let most = AT_FIRST;

function choice(name) {
  return terms.querySelector(`[name="${name}"]`).value;
}

/* The run, step and reference that the figure and the table are both about. */
function shownTerms() {
  const [run, step, against] = [choice('run'), Number(choice('step')), choice('against')];
  return rowsOf('terms').filter(row => row.run === run && row.step === step && row.against === against);
}

function clear(row) {
  return row.p_adjusted !== null && row.p_adjusted < 0.05;
}

function filteredTerms() {
  const sought = choice('sought').trim().toLowerCase();
  const [family, change] = [choice('family'), choice('change')];
  const keeps = row => (!sought || row.term.toLowerCase().includes(sought))
    && (family === 'all' || row.family === family)
    && (change === 'all' || (change === 'clear' && clear(row)) || (change === 'more' && clear(row) && farther(row) > 0)
      || (change === 'less' && clear(row) && farther(row) < 0) || (change === 'held' && clear(row) && row.confirmed === true));
  return shownTerms().filter(keeps).sort(order);
}

function farther(row) {
  return row.ratio === null ? 1 : row.ratio - 1;
}

function key(row) {
  const value = sortedBy === 'z' ? (row.z === null ? null : Math.abs(row.z)) : row[sortedBy];
  return sortedBy === 'ratio' && value === null ? Infinity : value;
}

function order(one, other) {
  if (sortedBy === 'z' && clear(one) !== clear(other)) return clear(one) ? -1 : 1;
  const [a, b] = [key(one), key(other)];
  if (a === null || b === null) return (a === null) - (b === null);
  const compared = typeof a === 'string' ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0;
  return direction === 'ascending' ? compared : -compared;
}

/* The ratio's interval on a log axis from 1/32 to 32. */
function whisker(row) {
  const at = ratio => 50 + 50 * Math.max(-1, Math.min(1, Math.log2(ratio) / 5));
  const low = at(row.low > 0 ? row.low : 1 / 64);
  const high = at(row.high ?? 64);
  const middle = at(row.ratio === null ? row.low || 64 : row.ratio || 1 / 64);
  const made = element('span', { class: `whisker ${clear(row) ? (farther(row) > 0 ? 'more' : 'less') : ''}`, 'aria-hidden': 'true' });
  const bar = element('i');
  const dot = element('b');
  bar.style.left = `${low}%`;
  bar.style.width = `${Math.max(1, high - low)}%`;
  dot.style.left = `${middle}%`;
  made.append(bar, dot);
  return made;
}

function ratioOf(row) {
  const bounds = row.low === null && row.high === null ? '' : `[${row.low === null ? '0' : readable(row.low)}, ${row.high === null ? '∞' : readable(row.high)}]`;
  return [element('span', {}, row.ratio === null ? 'new' : readable(row.ratio)), ' ', element('span', { class: 'interval' }, bounds)];
}

/* Said where the number hangs on how it was counted: by loops, or by the mix of environments. */
function doubts(row) {
  const apart = (other, why) => other !== null && other !== undefined && row.ratio && other > 0
    && (Math.abs(Math.log2(other / row.ratio)) > 0.5 || (other - 1) * (row.ratio - 1) < 0) ? [why] : [];
  const found = [...apart(row.ratio_without_loops, 'differs without loops'), ...apart(row.ratio_poststratified, 'differs by environment mix')];
  return [...found, ...(row.warnings ? [row.warnings] : [])];
}

function termRow(row) {
  const link = passagesOf(row.run, row.term);
  const name = element('bdi', {}, row.term);
  const said = doubts(row);
  const confirmed = row.confirmed === null ? '' : row.confirmed ? 'yes' : 'no';
  return element('tr', { class: clear(row) ? 'clear' : null },
    element('th', { scope: 'row' }, link ? element('a', { href: `#${link}` }, name) : name,
      row.family === 'watch' ? element('span', { class: 'tag' }, 'watched') : null,
      said.length ? element('span', { class: 'doubt' }, said.join('; ')) : null),
    element('td', { class: 'number ratio' }, ...ratioOf(row)),
    element('td', { class: 'drawn' }, whisker(row)),
    element('td', { class: 'number' }, readable(row.rate)),
    element('td', { class: 'number' }, readable(row.reference)),
    element('td', { class: 'number' }, row.p_adjusted === null ? '' : row.p_adjusted < 0.0001 ? '<0.0001' : readable(row.p_adjusted)),
    element('td', { class: 'number' }, readable(row.spread)),
    element('td', { class: 'number' }, readable(row.count)),
    element('td', { class: 'number' }, readable(row.prompts)),
    element('td', {}, confirmed));
}

function showTerms() {
  const rows = filteredTerms();
  terms.querySelector('tbody').replaceChildren(...rows.slice(0, most).map(termRow));
  const left = rows.length - Math.min(most, rows.length);
  terms.querySelector('[role="status"]').textContent = rows.length
    ? `${Math.min(most, rows.length).toLocaleString('en-GB')} of ${rows.length.toLocaleString('en-GB')} terms shown`
    : 'No term is left. Loosen a filter.';
  const more = terms.querySelector('[data-more]');
  more.hidden = left === 0;
  more.textContent = `Show ${Math.min(left, 200)} more`;
  for (const button of terms.querySelectorAll('th button')) {
    const sorted = button.dataset.by === sortedBy;
    button.parentElement.setAttribute('aria-sort', sorted ? direction : 'none');
  }
}

function offerSteps() {
  const steps = [...new Set(rowsOf('terms').filter(row => row.run === choice('run') && row.against === choice('against')).map(row => row.step))];
  steps.sort((a, b) => b - a);
  const select = terms.querySelector('[name="step"]');
  const before = select.value;
  select.replaceChildren(...steps.map(step => element('option', { value: step }, String(step))));
  if (steps.map(String).includes(before)) select.value = before;
}

function startTerms() {
  if (!terms) return;
  offerSteps();
  terms.addEventListener('input', event => {
    most = AT_FIRST;
    if (['run', 'against'].includes(event.target.name)) offerSteps();
    const volcano = terms.querySelector('[data-figure="volcano"]');
    if (['run', 'against', 'step'].includes(event.target.name) && volcano.dataset.drawn) draw(volcano);
    showTerms();
  });
  terms.addEventListener('submit', event => event.preventDefault());
  terms.addEventListener('click', event => {
    const by = event.target.closest('th button')?.dataset.by;
    if (by) {
      direction = sortedBy === by && direction === 'descending' ? 'ascending' : by === 'term' && sortedBy !== by ? 'ascending' : 'descending';
      sortedBy = by;
      showTerms();
    }
    if (event.target.closest('[data-more]')) {
      most += 200;
      showTerms();
    }
    if (event.target.closest('[data-terms-csv]')) download('cotdrift-terms.csv', csv(filteredTerms()), 'text/csv;charset=utf-8');
  });
  showTerms();
}
