function startTheme() {
  const button = document.getElementById('theme');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const now = () => document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light');
  const told = () => { button.textContent = now() === 'dark' ? 'Light' : 'Dark'; };
  button.hidden = false;
  button.addEventListener('click', () => {
    document.documentElement.dataset.theme = now() === 'dark' ? 'light' : 'dark';
    told();
  });
  dark.addEventListener('change', told);
  told();
}

startTheme();
startPassages();
startTerms();
startFigures();
document.documentElement.dataset.ready = 'yes';
