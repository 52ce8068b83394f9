// Light and dark: as the system has it, until the button says otherwise.

import { icon, icons, h } from './dom.js';

const KEY = 'columba-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : system.matches;
}

export function themeButton() {
  const button = h('button.icon-button', { type: 'button', onclick: toggle, data: { action: 'theme' } });
  const draw = () => {
    const label = isDark() ? 'Light theme' : 'Dark theme';
    button.replaceChildren(icon(isDark() ? icons.sun : icons.moon));
    button.setAttribute('aria-label', label);
    button.title = label;
    // Canvas takes its colours when it is told to.
    window.dispatchEvent(new Event('themechange'));
  };
  function toggle() {
    const next = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // Without storage it lasts as long as the page.
    }
    draw();
  }
  const chosen = stored();
  if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
  system.addEventListener('change', draw);
  draw();
  return button;
}
