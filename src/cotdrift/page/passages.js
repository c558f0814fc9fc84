const dialog = document.getElementById('trace');
const passageIds = new Map([...document.querySelectorAll('[data-passages]')].map(found => [found.dataset.passages, found.id]));

function passagesOf(run, term) {
  return passageIds.get(JSON.stringify([run, term]));
}

/* Marks a term where it stands as a word of its own: `disclaim` is not marked in `disclaimer`. */
function marked(text, term) {
  const parts = [];
  const letter = /[\p{L}\p{M}\p{N}]/u;
  let from = 0;
  for (let at = term ? text.indexOf(term) : -1; at >= 0; at = text.indexOf(term, at + term.length)) {
    const end = at + term.length;
    if ((at > 0 && letter.test(text[at - 1])) || (end < text.length && letter.test(text[end]))) continue;
    parts.push(text.slice(from, at), element('mark', {}, term));
    from = end;
  }
  return [...parts, text.slice(from)];
}

function cutNote(count, where) {
  return count ? element('p', { class: 'cut' }, `${count.toLocaleString('en-GB')} characters ${where} are left out of this page.`) : null;
}

function openTrace(id, term) {
  const trace = carried.traces[id];
  if (!trace) return;
  const part = (title, ...body) => element('section', {}, element('h3', {}, title), ...body);
  const text = (...content) => element('div', { class: 'text', dir: 'auto' }, ...content);
  dialog.querySelector('h2').textContent = `Step ${trace.step}`;
  dialog.querySelector('.whence').replaceChildren(element('bdi', {}, trace.run), ' · ', element('bdi', {}, trace.environment), ' · ', element('bdi', {}, trace.prompt_id));
  dialog.querySelector('.body').replaceChildren(
    trace.prompt ? part('Prompt', text(trace.prompt)) : '',
    trace.begun ? part('Given to it, up to here', text(trace.begun)) : '',
    part('Reasoning', cutNote(trace.before, 'before this'), text(...marked(trace.reasoning, term)), cutNote(trace.after, 'after this')),
    trace.answer ? part('Answer', text(trace.answer)) : '',
    element('p', { class: 'cut' }, element('code', {}, id)));
  dialog.showModal();
  dialog.querySelector('.body').scrollTop = 0;
  dialog.querySelector('mark')?.scrollIntoView({ block: 'center' });
}

function startPassages() {
  document.addEventListener('click', event => {
    const line = event.target.closest('[data-trace]');
    if (line) openTrace(line.dataset.trace, line.dataset.hit);
    if (event.target === dialog) dialog.close();
  });
  const followed = () => {
    const target = location.hash.startsWith('#passages-') ? document.getElementById(location.hash.slice(1)) : null;
    if (target) { target.open = true; target.scrollIntoView({ block: 'start' }); }
  };
  addEventListener('hashchange', followed);
  followed();
}
