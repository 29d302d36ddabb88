// What the browser does by itself: times and numbers as their reader writes them, keys, light or dark.
(() => {
  const root = document.documentElement;
  try { const kept = localStorage.getItem('theme'); if (kept) root.dataset.theme = kept; } catch {}
  const moment = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'short'});
  const whole = new Intl.NumberFormat();
  const spell = it => {
    if (it.matches('time[datetime]')) {
      const at = new Date(it.dateTime);
      if (!isNaN(at)) { it.title = it.dateTime; const text = moment.format(at); if (it.textContent !== text) it.textContent = text; }
    } else if (it.matches('data[value]')) { const text = whole.format(it.value); if (it.textContent !== text) it.textContent = text; }
  };
  const all = it => { if (it.nodeType === 1) { spell(it); it.querySelectorAll('time[datetime], data[value]').forEach(spell); } };
  new MutationObserver(seen => seen.forEach(one => one.addedNodes.forEach(all))).observe(root, {childList: true, subtree: true});
  document.addEventListener('click', event => {
    const it = event.target.closest('[data-do]');
    if (it && it.dataset.do === 'theme') {
      const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
      root.dataset.theme = dark ? 'light' : 'dark';
      try { localStorage.setItem('theme', root.dataset.theme); } catch {}
    }
    const menu = document.querySelector('.menu[open]');
    if (menu && (event.target.closest('a') || !menu.contains(event.target))) menu.open = false;
  });
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog')) {
      if (event.key === 'Escape') event.target.blur();
      return;
    }
    const it = [...document.querySelectorAll('[data-key]')].find(it => it.dataset.key === event.key && !it.disabled && it.offsetParent);
    if (it) { event.preventDefault(); if (it.matches('input, textarea, select')) it.focus(); else it.click(); }
  });
  window.trueupTurned = (title) => { document.title = title; const head = document.querySelector('h1'); if (head) head.focus({preventScroll: true}); };
})();
