// The tree of all topics with their last values; a chosen one with its last messages.

import { announce, h, keyed, later, setAttr, setText } from '../dom.js';
import { clockTime, count, numericFields, preview } from '../format.js';
import { payloadView } from './payload.js';
import { topicTree } from './tree.js';

/** Milliseconds between looks at what the broker retains, and how much of it. */
const CHECK = 2000;
const TOPICS = 5000;

export function create(world) {
  const filter = h('input.mono', { type: 'search', placeholder: 'Filter topics', spellcheck: 'false', 'aria-label': 'Filter topics', class: 'grow', oninput: () => tree.setFilter(filter.value) });
  const status = h('span.muted.view-status');
  const tree = topicTree(world.topics, select);
  const empty = h('div.empty', null, h('h2', null, 'No topics yet'), h('p', null, 'Topics appear as messages are published. Publish with a client, or start a publisher.'));
  tree.element.append(empty);
  const detail = topicDetail(world);
  const pane = h('div.detail-pane', null, detail.element, h('p.muted.detail-hint', null, 'Choose a topic to see its last messages.'));
  const element = h('div.split', null,
    h('div.split-main', null,
      h('div.toolbar', null, filter,
        h('button', { type: 'button', 'aria-label': 'Expand all', onclick: () => tree.openAll(true) }, 'Expand'),
        h('button', { type: 'button', 'aria-label': 'Collapse all', onclick: () => tree.openAll(false) }, 'Collapse'),
        status),
      tree.element),
    pane);
  let checkDue = 0;
  let marked = 0;
  const off = [];

  function select(topic) {
    detail.show(topic);
    pane.classList.toggle('filled', topic !== null);
  }

  /** Marks of what is retained follow messages; what expires does so without one. */
  function check() {
    if (!world.broker || performance.now() < checkDue) return;
    checkDue = performance.now() + CHECK;
    const { retained } = world.broker.metrics();
    if (retained === marked) return;
    marked = retained;
    world.topics.setRetained(world.broker.retained('#', TOPICS).map(({ topic }) => topic));
  }

  function draw() {
    check();
    tree.refresh();
    detail.draw();
    const { size, refused } = world.topics;
    empty.hidden = size > 0;
    setText(status, refused ? `${count(size)} topics, no room for more` : `${count(size)} topics`);
  }

  const soon = later(draw, 150);

  return {
    element,
    show() {
      off.push(world.on('published', soon), world.on('retained', soon), world.on('time', soon), world.on('reset', () => {
        select(null);
        draw();
      }));
      draw();
    },
    hide() {
      for (const end of off.splice(0)) end();
    },
  };
}

function topicDetail(world) {
  let topic = null;
  /** The message that is held on to; null: the newest. */
  let held = null;
  const name = h('h2.mono.breaks');
  const facts = h('p.payload-facts');
  const plot = h('button.small', { type: 'button', onclick: addPlot }, 'Plot');
  const forget = h('button.small.danger', { type: 'button', onclick: () => world.deleteRetained(topic).catch((error) => announce(error.message)) }, 'Delete retained');
  const latest = h('button.small', { type: 'button', onclick: () => choose(null) }, 'Follow newest');
  const history = h('ul.history', { 'aria-label': 'Last messages' });
  const message = payloadView({ heading: false });
  const element = h('div', { hidden: true },
    h('div.topic-head', null, name, facts, h('div.row', null, plot, forget, latest)), history, message.element);

  function show(next) {
    topic = next;
    held = null;
    element.hidden = topic === null;
    draw();
  }

  function choose(entry) {
    held = entry;
    draw();
  }

  function addPlot() {
    const [field = ''] = numericFields(world.topics.get(topic).last.payload);
    world.plots.add(topic, field);
    world.emit('view', 'plots');
  }

  function draw() {
    if (topic === null) return;
    const node = world.topics.get(topic);
    setText(name, topic || '(empty level)');
    const entries = node ? [...node.history].reverse() : [];
    history.hidden = !node;
    setText(facts, node ? `${count(node.count)} ${node.count === 1 ? 'message' : 'messages'}${node.retained ? ' · one retained' : ''}` : 'No message on this topic itself.');
    plot.hidden = !node?.last || !numericFields(node.last.payload).length;
    forget.hidden = !node?.retained;
    latest.hidden = !held;
    keyed(history, entries, (entry) => entry, (entry) => h('li', null,
      h('button.message-row', { type: 'button', onclick: () => choose(entry) },
        h('span.time.mono', null, clockTime(entry.time)), h('span.mono', null, preview(entry.payload)))),
    (row, entry) => setAttr(row.firstChild, 'aria-current', entry === held ? 'true' : null));
    const shown = held ?? entries[0] ?? null;
    const at = entries.indexOf(shown);
    message.show(shown, at >= 0 ? entries[at + 1] ?? null : null);
  }

  return { element, show, draw };
}
