/* Figures keep the colours they have on paper; on the page each is a name, so that light, dark and print need no redrawing. */
const colours = {
  '#0b6399': 'var(--run-1)', '#c2541b': 'var(--run-2)', '#0e8265': 'var(--run-3)', '#a3528c': 'var(--run-4)', '#8a6d00': 'var(--run-5)',
  '#5b5f66': 'var(--run-6)', '#a9a69e': 'var(--neither)', '#1d1c1a': 'var(--ink)', '#6a675f': 'var(--quiet)', '#dedbd3': 'var(--rule)',
  '#ffffff': 'var(--paper)',
};

function onThePage(spec) {
  return JSON.parse(JSON.stringify(spec).replace(/#[0-9a-f]{6}\b/g, colour => colours[colour] ?? colour));
}

function figureOf(holder) {
  const name = holder.dataset.figure;
  const chosen = document.querySelector(`input[name="show-${CSS.escape(name)}"]:checked`);
  return chosen && carried.figures[`${name}_${chosen.value}`] ? `${name}_${chosen.value}` : name;
}

function figureRows(name, panel) {
  if (name === 'volcano') return shownTerms();
  const rows = rowsOf(name.replace(/_change$/, ''));
  return panel === undefined ? rows : rows.filter(row => (row.panel ?? row.measure) === panel);
}

/* The file has the whole figure; on the page each panel of it stands by itself, so that a phone shows one column and a desk three. */
function specOf(name, panel) {
  const whole = structuredClone(carried.figures[name]);
  const spec = panel === undefined ? whole : { $schema: whole.$schema, config: whole.config, ...whole.spec };
  spec.config.background = 'transparent';
  return onThePage({ ...spec, width: 'container', autosize: { type: 'fit-x', contains: 'padding' } });
}

const settings = { mode: 'vega-lite', renderer: 'svg', actions: false, ast: true, defaultStyle: false, logLevel: 1, tooltip: showTooltip };

async function draw(holder) {
  holder.dataset.drawn = 'yes';
  const { panel } = holder.dataset;
  const name = figureOf(holder);
  const spec = specOf(name, panel);
  if (panel !== undefined) for (const { encoding } of spec.layer) for (const channel of Object.values(encoding ?? {})) if (channel.legend) channel.legend = null;
  spec.data = { values: figureRows(name, panel) };
  if (!spec.data.values.some(row => row.onset)) spec.layer = spec.layer.filter(layer => !layer.encoding?.x?.field?.startsWith('onset'));
  holder.view?.finalize();
  try {
    holder.view = (await vegaEmbed(holder, spec, settings)).view;
  } catch (fault) {
    console.error(fault);
    holder.replaceChildren(element('p', { class: 'aside' }, 'This figure could not be drawn. Its data can be downloaded.'));
  }
}

const tooltip = element('div', { id: 'tooltip', role: 'presentation', hidden: true });

function showTooltip(handler, event, item, value) {
  tooltip.hidden = !value;
  if (!value) return;
  const lines = typeof value === 'object' ? Object.entries(value) : [['', value]];
  tooltip.replaceChildren(...lines.map(([name, told]) =>
    element('div', {}, element('span', {}, name.replaceAll('_', ' ')), element('bdi', {}, String(told)))));
  const box = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 8))}px`;
  tooltip.style.top = `${event.clientY + 16 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 16}px`;
}

/* What is in sight is drawn first; the rest when the browser has nothing else to do, so that it is there for printing. */
function drawAsNeeded() {
  const waiting = new Set(document.querySelectorAll('[data-figure]'));
  const take = holder => {
    if (!waiting.delete(holder)) return Promise.resolve();
    return draw(holder);
  };
  const sight = new IntersectionObserver(seen => {
    for (const entry of seen) if (entry.isIntersecting) { sight.unobserve(entry.target); take(entry.target); }
  }, { rootMargin: '300px' });
  for (const holder of waiting) sight.observe(holder);
  const idle = window.requestIdleCallback ?? (task => setTimeout(task, 60));
  const rest = async () => {
    const next = [...waiting].find(holder => holder.offsetParent !== null);
    if (next === undefined) return;
    await take(next);
    idle(rest, { timeout: 400 });
  };
  setTimeout(() => idle(rest), 600);
}

async function exported(name, kind) {
  const spec = structuredClone(carried.figures[name]);
  spec.data = { values: figureRows(name) };
  const shelf = element('div', { hidden: true });
  document.body.append(shelf);
  const { view } = await vegaEmbed(shelf, spec, settings);
  const made = kind === 'svg' ? await view.toSVG() : await (await view.toCanvas(3));
  view.finalize();
  shelf.remove();
  return made;
}

async function give(button) {
  const figure = button.closest('[data-of]');
  const holder = figure.querySelector('[data-figure]');
  const name = holder ? figureOf(holder) : figure.dataset.of;
  const file = `cotdrift-${name.replaceAll('_', '-')}`;
  const { give: kind } = button.dataset;
  if (kind === 'csv') download(`${file}.csv`, csv(figureRows(name)), 'text/csv;charset=utf-8');
  if (kind === 'json') download(`${file}.json`, JSON.stringify(figureRows(name)), 'application/json');
  if (kind === 'svg') download(`${file}.svg`, await exported(name, 'svg'), 'image/svg+xml');
  if (kind === 'png') (await exported(name, 'png')).toBlob(blob => download(`${file}.png`, blob, 'image/png'));
}

function startFigures() {
  document.body.append(tooltip);
  document.addEventListener('click', event => {
    const button = event.target.closest('[data-give]');
    if (button) give(button);
  });
  for (const details of document.querySelectorAll('details[data-table]')) {
    details.addEventListener('toggle', () => {
      const place = details.querySelector('.scroll');
      if (details.open) place.replaceChildren(tableOf(figureRows(details.dataset.table), details.dataset.caption));
    });
  }
  for (const choice of document.querySelectorAll('input[name^="show-"]')) {
    choice.addEventListener('change', () => {
      const name = choice.name.slice('show-'.length);
      for (const holder of document.querySelectorAll(`[data-figure="${CSS.escape(name)}"]`)) if (holder.dataset.drawn) draw(holder);
    });
  }
  drawAsNeeded();
}
