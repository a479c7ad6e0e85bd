// Sets the chosen theme before the first paint; no choice follows the system's.
'use strict';
{
  const key = 'myriad.theme';
  const apply = (theme) => {
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  let chosen = '';
  // A browser may forbid storage: then the choice lasts as long as the page.
  try { chosen = localStorage.getItem(key) ?? ''; } catch { /* see above */ }
  apply(chosen);
  addEventListener('DOMContentLoaded', () => {
    const select = document.getElementById('theme');
    select.value = chosen;
    select.addEventListener('change', () => {
      apply(select.value);
      try { localStorage.setItem(key, select.value); } catch { /* see above */ }
    });
  });
}
