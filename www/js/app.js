// The start of the page: it loads the broker and the world, mounts the views in tabs and keeps the address, theme and store.

import { init, Broker, Client } from '../columba/columba.js';
import { announce, h, icon, iconButton, icons } from './dom.js';
import { starter } from './starter.js';
import { Store } from './store.js';
import { themeButton } from './theme.js';
import { createTabs } from './tabs.js';
import { World } from './world.js';
import { create as clientsPanel } from './views/clients.js';
import { create as lessonsView } from './views/lessons.js';
import { create as messagesView } from './views/messages.js';
import { create as packetsView } from './views/packets.js';
import { create as plotsView } from './views/plots.js';
import { create as publishersPanel } from './views/publishers.js';
import { create as retainedView } from './views/retained.js';
import { create as sequenceView } from './views/sequence.js';
import { create as sessionsView } from './views/sessions.js';
import { create as shareDialog } from './views/share.js';
import { create as targetControl } from './views/target.js';
import { create as timeBar } from './views/time.js';
import { create as topicsView } from './views/topics.js';
import * as scenario from './scenario.js';

const VIEWS = [
  ['topics', 'Topics', topicsView],
  ['messages', 'Messages', messagesView],
  ['plots', 'Plots', plotsView],
  ['retained', 'Retained', retainedView],
  ['sessions', 'Sessions', sessionsView],
  ['packets', 'Packets', packetsView],
  ['sequence', 'Sequence', sequenceView],
  ['lessons', 'Lessons', lessonsView],
];

/** What to begin with: an address that carries a scenario, a broker to join, what this tab had, or the starter. */
async function begin(world, store) {
  // What is wrong with an address is said by the dialog that shares.
  const shared = await scenario.fromFragment(location.hash).catch(() => null);
  if (shared) {
    if (shared.view) world.emit('view', shared.view);
    return world.load(shared);
  }
  const join = new URLSearchParams(location.search).get('join');
  const stored = await store.read().catch(() => null);
  if (join) {
    // Once: a reload goes on with what has become of it.
    const url = new URL(location.href);
    url.searchParams.delete('join');
    history.replaceState(history.state, '', url);
    const client = { name: `tab-${store.shortId}`, subscriptions: [{ filter: '#', qos: 1 }] };
    return world.load({ target: { kind: 'shared', name: join }, clients: [client] });
  }
  if (!stored) return world.load(starter);
  try {
    await world.load(stored.spec, stored.restore);
  } catch (error) {
    // A snapshot of another version of the broker, say.
    reportError(error);
    await world.load(stored.spec);
  }
}

async function start() {
  await init();
  const world = new World();
  const store = new Store(world);
  await store.open();
  // For tests and the console.
  window.columba = { world, Broker, Client };
  mount(world, store);
  await begin(world, store);
  store.watch();
  document.documentElement.dataset.ready = '';
}

function mount(world, store) {
  const sides = [clientsPanel(world), publishersPanel(world)];
  const side = document.getElementById('side');
  side.append(...sides.map((panel) => panel.element));
  for (const panel of sides) panel.show();
  const target = targetControl(world);
  document.getElementById('target-slot').append(target.element);
  const bar = timeBar(world);
  document.getElementById('bar').append(bar.element);
  bar.show();
  const share = shareDialog(world);
  document.getElementById('actions').append(
    h('button.quiet', { type: 'button', onclick: () => share.show(), data: { action: 'share' }, 'aria-label': 'Share' },
      icon(icons.share), h('span.wide-label', null, 'Share')),
    themeButton(),
    iconButton('reset', 'Reset the playground', () => reset(world, store), { data: { action: 'reset' } }),
  );
  document.getElementById('starting').remove();
  createTabs({
    world,
    views: VIEWS,
    tabs: document.getElementById('tabs'),
    panels: document.getElementById('panels'),
    side,
  });
}

async function reset(world, store) {
  if (!confirm('Start over? Clients, messages and sessions of this tab are forgotten.')) return;
  await store.clear();
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  await world.load(starter);
  announce('The playground starts over.');
}

start().catch((error) => {
  const place = document.getElementById('starting') ?? document.getElementById('panels');
  place.textContent = `The playground cannot start: ${error.message ?? error}`;
  throw error;
});
