/* What hides or reorders other text; it is written out beside itself, and kept in a box that it cannot reach out of. */
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;
const TITLES = { scenario: 'Scenario', reasoning: 'Reasoning', answer: 'Answer', record: 'What the model thought, said and did' };
const GONE = 'The server does not answer, and this answer is not kept yet; those before it are. Start the same command again and open the address it prints.';

let question = null;
let now = null;
let given = {};
let turn = 0;
let quote = '';
let cursor = null;
let stops = [];
let busy = false;
const clock = { since: null, spent: 0 };

const at = id => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

/* Text as nodes that hold exactly its characters. */
function pieces(text) {
  const made = [];
  let rest = text;
  for (let place = rest.search(UNSEEN); place >= 0; place = rest.search(UNSEEN)) {
    const code = rest.charCodeAt(place).toString(16).toUpperCase().padStart(4, '0');
    made.push(rest.slice(0, place), element('span', { class: 'control', 'data-code': `U+${code}` }, rest[place]));
    rest = rest.slice(place + 1);
  }
  return [...made, rest];
}

/* The text with some stretches marked; where two overlap, both classes hold. */
function fill(holder, text, marks) {
  const edges = [...new Set([0, text.length, ...marks.flatMap(mark => [mark.from, mark.to])])].sort((one, other) => one - other);
  const made = [];
  for (let edge = 0; edge + 1 < edges.length; edge += 1) {
    const [from, to] = [edges[edge], edges[edge + 1]];
    const names = marks.filter(mark => mark.from <= from && to <= mark.to).map(mark => mark.name);
    const inside = pieces(text.slice(from, to));
    made.push(...(names.length ? [element('mark', { class: names.join(' ') }, ...inside)] : inside));
  }
  holder.replaceChildren(...made);
}

/* Stretches by sentence, without the white space around them. */
function sentences(text) {
  const found = [];
  const split = window.Intl?.Segmenter
    ? [...new Intl.Segmenter(undefined, { granularity: 'sentence' }).segment(text)].map(part => [part.index, part.segment])
    : [...text.matchAll(/[^\n]+/g)].map(line => [line.index, line[0]]);
  for (const [index, part] of split) {
    const bare = part.trim();
    if (bare) found.push({ from: index + part.indexOf(bare), to: index + part.indexOf(bare) + bare.length });
  }
  return found;
}

function drawQuestion() {
  document.title = `${question.name}: labels`;
  at('name').textContent = `${question.name} · ${question.annotator}`;
  at('question').textContent = question.question;
  at('told').replaceChildren(...pieces(question.told));
  at('help-keys').textContent = question.groups[0].options.map(option => option.key).filter(Boolean).join(' ');
  const listed = question.groups[0].options.filter(option => option.meaning);
  at('meanings').hidden = !listed.length;
  at('meanings').querySelector('dl').replaceChildren(
    ...listed.flatMap(option => [element('dt', {}, ...pieces(option.label)), element('dd', { dir: 'auto' }, ...pieces(option.meaning))]));
}

function drawGroups() {
  at('groups').replaceChildren(...question.groups.slice(0, turn + 1).map((group, place) => {
    const chosen = place === 0 ? given.label : given.details?.[group.name];
    const heading = `asked-${place}`;
    return element('div', { class: place === turn ? 'group turn' : 'group', role: 'group', 'aria-labelledby': heading },
      element('h2', { id: heading, dir: 'auto' }, ...pieces(group.asked)),
      element('div', { class: 'options' }, ...group.options.map(option => {
        const button = element('button', { type: 'button', class: 'option', 'data-label': option.label, 'aria-pressed': String(option.label === chosen) },
          ...(option.key && option.key !== option.label ? [element('kbd', {}, option.key)] : []),
          element('span', { class: 'label', dir: 'auto' }, ...pieces(option.label)),
          ...(option.meaning ? [element('span', { class: 'meaning', dir: 'auto' }, ...pieces(option.meaning))] : []));
        button.disabled = !now?.case;
        button.addEventListener('click', () => choose(place, option));
        return button;
      })));
  }));
}

function choose(place, option) {
  if (busy || !now?.case) return;
  if (place === 0) given = { label: option.label, details: {} };
  else given = { ...given, details: { ...given.details, [question.groups[place].name]: option.label } };
  if (option.ends && place === 0 || place + 1 === question.groups.length) {
    turn = place;
    drawGroups();
    send('label', { place: now.case.place, ...given, quote, note: at('note').value.toWellFormed?.() ?? at('note').value, seconds: spent() });
    return;
  }
  turn = place + 1;
  drawGroups();
  at('said').textContent = question.groups[turn].asked;
  at('groups').lastElementChild.scrollIntoView({ block: 'nearest' });
}

function back() {
  if (turn === 0) return;
  turn -= 1;
  drawGroups();
}

function drawParts() {
  const holder = at('shown');
  if (!now.case) {
    const { labelled } = now.progress;
    holder.replaceChildren(element('div', { class: 'end' },
      element('h2', {}, labelled ? `All ${labelled} cases are labelled.` : 'There is no case to label.'),
      element('p', {}, 'The labels are in the study. Close this page, and stop the server with Ctrl-C.')));
    return;
  }
  holder.replaceChildren(...now.case.parts.map((part, place) => element('section', {},
    element('h2', {}, TITLES[part.name]),
    part.text ? element('div', { class: 'text', dir: 'auto', 'data-part': place }) : element('p', { class: 'quiet' }, 'There is none.'))));
  drawMarks();
}

function drawMarks() {
  for (const holder of at('shown').querySelectorAll('[data-part]')) {
    const place = Number(holder.dataset.part);
    const { text } = now.case.parts[place];
    const marks = [];
    for (const [name, sought] of [['judged', now.case.quote], ['quoted', quote]]) {
      const from = sought ? text.indexOf(sought) : -1;
      if (from >= 0) marks.push({ name, from, to: from + sought.length });
    }
    if (cursor && stops[cursor.first].part === place) marks.push({ name: 'cursor', from: stops[cursor.first].from, to: stops[cursor.last].to });
    fill(holder, text, marks);
  }
  at('quote').setAttribute('aria-pressed', String(Boolean(cursor)));
  at('quoted').hidden = !quote;
  at('quoted').querySelector('q').replaceChildren(...pieces(quote.length > 200 ? `${quote.slice(0, 200)}…` : quote));
}

function setQuote(text) {
  quote = text;
  cursor = null;
  drawMarks();
  at('said').textContent = text ? 'Quoted.' : 'The quote is removed.';
}

/* What is selected in one part of the case, exactly as it stands there. */
function selected() {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return '';
  const range = selection.getRangeAt(0);
  const inside = node => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest('[data-part]');
  const holder = inside(range.startContainer);
  if (!holder || holder !== inside(range.endContainer)) return '';
  const before = document.createRange();
  before.setStart(holder, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const from = before.toString().length;
  return now.case.parts[Number(holder.dataset.part)].text.slice(from, from + range.toString().length).trim();
}

function startQuote() {
  if (!now?.case) return;
  if (cursor) {
    takeQuote();
    return;
  }
  const text = selected();
  if (text) {
    getSelection().removeAllRanges();
    setQuote(text);
    return;
  }
  stops = now.case.parts.flatMap((part, place) => sentences(part.text).map(found => ({ ...found, part: place })));
  if (!stops.length) return;
  const reasoning = stops.findIndex(stop => ['reasoning', 'record'].includes(now.case.parts[stop.part].name));
  const first = Math.max(0, reasoning);
  moveCursor(first, first);
}

function moveCursor(first, last) {
  cursor = { first, last };
  drawMarks();
  at('shown').querySelector('.cursor')?.scrollIntoView({ block: 'center' });
  const { part, from } = stops[first];
  at('said').textContent = now.case.parts[part].text.slice(from, stops[last].to);
}

function takeQuote() {
  const { part, from } = stops[cursor.first];
  setQuote(now.case.parts[part].text.slice(from, stops[cursor.last].to));
}

function leaveQuote() {
  cursor = null;
  drawMarks();
}

function quoteKey(event) {
  const by = { ArrowDown: 1, ArrowRight: 1, j: 1, ArrowUp: -1, ArrowLeft: -1, k: -1, PageDown: 10, PageUp: -10 }[event.key];
  if (event.key === 'Enter') takeQuote();
  else if (event.key === 'Escape') leaveQuote();
  else if (by && event.shiftKey) {
    const last = Math.max(cursor.first, Math.min(stops.length - 1, cursor.last + by));
    if (stops[last].part === stops[cursor.first].part) moveCursor(cursor.first, last);
  } else if (by) {
    const first = Math.max(0, Math.min(stops.length - 1, (by > 0 ? cursor.last : cursor.first) + by));
    moveCursor(first, first);
  } else return false;
  return true;
}

function spent() {
  return Math.max(0, (clock.spent + (clock.since === null ? 0 : performance.now() - clock.since)) / 1000);
}

function length(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.round(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.round(whole % 3600 / 60)} min`;
}

function drawTime() {
  if (!now) return;
  const { labelled, cases, seconds, seconds_each: each } = now.progress;
  const parts = [];
  if (now.case) parts.push(`${length(spent())} on this`);
  if (labelled) parts.push(`${length(seconds)} so far`);
  if (now.case && each !== null && each !== undefined && labelled) parts.push(`about ${length(each * (cases - labelled))} to go`);
  at('time').textContent = parts.join(' · ');
}

function show(told) {
  now = told;
  given = {};
  turn = 0;
  cursor = null;
  stops = [];
  quote = told.before?.quote ?? '';
  at('note').value = told.before?.note ?? '';
  clock.spent = 1000 * (told.before?.seconds ?? 0);
  clock.since = document.hidden ? null : performance.now();
  const { labelled, cases, skipped, gone } = told.progress;
  at('progress').max = Math.max(1, cases);
  at('progress').value = labelled;
  at('count').textContent = `${labelled} of ${cases} labelled`;
  const notes = [];
  if (skipped) notes.push(`${skipped} skipped`);
  if (gone) notes.push(`${gone} no longer in the study`);
  if (told.case?.is_again) notes.push('this one was skipped before');
  at('skipped').textContent = notes.join(' · ');
  at('fault').hidden = true;
  drawParts();
  drawGroups();
  drawTime();
  for (const name of ['quote', 'skip', 'note']) at(name).disabled = !told.case;
  if (told.before?.label) at('groups').querySelector(`[data-label="${CSS.escape(told.before.label)}"]`)?.classList.add('was');
  at('shown').scrollTop = 0;
  scrollTo(0, 0);
  toCase();
  at('said').textContent = told.case ? `${labelled} of ${cases} labelled. The next case is shown.` : 'All cases are labelled.';
  document.documentElement.dataset.shown = told.case ? told.case.place : 'end';
}

/* Focus rests on the case, so that keys scroll it; a quieter sign than the ring of what Tab reaches says so. */
function toCase() {
  at('shown').classList.add('placed');
  at('shown').focus({ preventScroll: true });
}

function complain(fault) {
  at('fault').textContent = fault;
  at('fault').hidden = false;
}

async function ask(path, body) {
  const how = body === undefined ? {} : { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  const reply = await fetch(path, how);
  const told = await reply.json();
  if (!reply.ok) throw new RangeError(told.fault);
  return told;
}

async function send(path, body = {}) {
  if (busy) return;
  busy = true;
  try {
    show(await ask(path, body));
  } catch (fault) {
    complain(fault instanceof RangeError ? fault.message : GONE);
  } finally {
    busy = false;
  }
}

function skip() {
  if (now?.case) send('skip', { place: now.case.place, seconds: spent() });
}

function help() {
  if (at('help').open) at('help').close();
  else at('help').showModal();
}

/* Where no answer has a digit of its own, 1, 2, 3 … count them. */
function optionOf(key) {
  const { options } = question.groups[turn];
  const counted = /^[1-9]$/.test(key) && options.every(option => !/\d/.test(option.key)) ? options[key - 1] : undefined;
  return options.find(option => option.key === key) ?? counted;
}

const KEYS = { u: () => send('undo'), s: skip, q: startQuote, x: () => setQuote(''), m: () => at('note').focus(), '?': help, Backspace: back };

function pressed(event) {
  if (!question || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (event.target === at('note')) {
    if (event.key === 'Escape' || (event.key === 'Enter' && !event.shiftKey)) {
      event.preventDefault();
      toCase();
    }
    return;
  }
  if (at('help').open) {
    if (event.key === '?') help();
    return;
  }
  if (cursor && quoteKey(event)) {
    event.preventDefault();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const option = event.repeat ? undefined : optionOf(key);
  if (option) {
    event.preventDefault();
    choose(turn, option);
  } else if (Object.hasOwn(KEYS, key) && !event.repeat) {
    event.preventDefault();
    if (key !== 'm' && key !== 'x' || now?.case) KEYS[key]();
  }
}

async function start() {
  document.addEventListener('keydown', pressed);
  at('shown').addEventListener('blur', () => at('shown').classList.remove('placed'));
  document.addEventListener('visibilitychange', () => {
    clock.spent = 1000 * spent();
    clock.since = document.hidden ? null : performance.now();
  });
  at('undo').addEventListener('click', () => send('undo'));
  at('skip').addEventListener('click', skip);
  at('quote').addEventListener('mousedown', event => event.preventDefault());
  at('quote').addEventListener('click', startQuote);
  at('unquote').addEventListener('click', () => setQuote(''));
  at('ask').addEventListener('click', help);
  at('close').addEventListener('click', help);
  at('help').addEventListener('click', event => { if (event.target === at('help')) help(); });
  setInterval(drawTime, 1000);
  try {
    question = await ask('question');
    drawQuestion();
    show(await ask('now'));
  } catch (fault) {
    complain(fault instanceof RangeError ? fault.message : GONE);
  }
  document.documentElement.dataset.ready = 'yes';
}

start();
