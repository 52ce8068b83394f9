// The tabs of the views: one tab stop, arrows between them, the chosen one in the address as ?view=.

import { h } from './dom.js';

const narrow = matchMedia('(max-width: 860px)');

export function createTabs({ world, views, tabs, panels, side }) {
  const entries = new Map();
  const all = [['clients', 'Clients', null], ...views];
  for (const [name, label, create] of all) {
    const panel = create ? h('div.panel', { id: `panel-${name}`, data: { view: name }, hidden: true }) : side;
    const tab = h('button', {
      type: 'button',
      role: 'tab',
      id: `tab-${name}`,
      'aria-controls': panel.id,
      class: create ? null : 'only-narrow',
      data: { tab: name },
      onclick: () => select(name),
      onkeydown: (event) => move(event, name),
    }, label);
    if (create) {
      panel.setAttribute('role', 'tabpanel');
      panel.setAttribute('aria-labelledby', tab.id);
      panel.tabIndex = -1;
      panels.append(panel);
    }
    tabs.append(tab);
    entries.set(name, { tab, panel, create, view: null });
  }

  let current = null;
  /** What is shown when the page is wide again. */
  let lastView = views[0][0];

  function select(name, { focus = false } = {}) {
    const entry = entries.get(name);
    if (current !== name) {
      const old = current && entries.get(current);
      if (old?.create) {
        old.view.hide();
        old.panel.hidden = true;
      }
      current = name;
      document.body.dataset.pane = entry.create ? 'view' : 'side';
      if (entry.create) {
        lastView = name;
        if (!entry.view) {
          entry.view = entry.create(world);
          entry.panel.append(entry.view.element);
        }
        entry.panel.hidden = false;
        entry.view.show();
      }
      remember(name);
    }
    for (const [other, { tab }] of entries) {
      tab.setAttribute('aria-selected', String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
    }
    entry.tab.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    if (focus) entry.tab.focus();
  }

  function move(event, name) {
    const names = [...entries.keys()].filter((other) => narrow.matches || entries.get(other).create);
    const at = names.indexOf(name);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(names[(to + names.length) % names.length], { focus: true });
  }

  /** A side panel that is a tab's panel in a narrow page, and a landmark of its own in a wide one. */
  function adapt() {
    if (narrow.matches) {
      side.setAttribute('role', 'tabpanel');
      side.setAttribute('aria-labelledby', 'tab-clients');
    } else {
      side.removeAttribute('role');
      side.removeAttribute('aria-labelledby');
      if (current === 'clients') select(lastView);
    }
  }

  const wanted = new URLSearchParams(location.search).get('view');
  const known = entries.has(wanted) && (narrow.matches || entries.get(wanted).create);
  select(known ? wanted : lastView);
  adapt();
  narrow.addEventListener('change', adapt);
  window.addEventListener('popstate', () => {
    const view = new URLSearchParams(location.search).get('view');
    if (entries.has(view)) select(view);
  });
  // Views and lessons ask for one another by name.
  world.on('view', (name) => entries.has(name) && select(name));
}

function remember(name) {
  const url = new URL(location.href);
  if (url.searchParams.get('view') === name) return;
  url.searchParams.set('view', name);
  history.replaceState(history.state, '', url);
}
