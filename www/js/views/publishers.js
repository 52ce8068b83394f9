// The panel of publishers that make traffic by themselves.

import { checkbox, field, h, icon, icons, iconButton, keyed, later, select, setAttr, setText } from '../dom.js';
import { count } from '../format.js';
import { DEFAULTS, MAXIMUM_RATE, SHAPES } from '../publishers.js';
import { openDialog } from './dialog.js';

export function create(world) {
  const list = h('div.cards');
  const empty = h('p.side-empty', null, 'Publishers make traffic by themselves, up to 10,000 messages a second each.');
  const add = h('button.small', { type: 'button', onclick: () => openPublisherDialog(world), data: { action: 'add-publisher' } }, icon(icons.plus), 'Add');
  const element = h('section.side-section', { 'aria-labelledby': 'publishers-title' },
    h('div.side-head', null, h('h2', { id: 'publishers-title' }, 'Publishers'), add), empty, list);
  const byKey = (key) => world.publishers.list.find((publisher) => publisher.key === key);

  const draw = () => {
    empty.hidden = world.publishers.list.length > 0;
    keyed(list, world.publishers.list, (publisher) => publisher.key, ({ key }) => makeCard(world, () => byKey(key)), drawCard);
  };
  const soon = later(draw, 400);

  return {
    element,
    show() {
      world.on('publishers', draw);
      world.on('clients', soon);
      world.on('published', soon);
      draw();
    },
    hide() {},
  };
}

function makeCard(world, publisher) {
  const toggle = iconButton('play', '', () => (publisher().running ? publisher().stop() : publisher().start()), { data: { action: 'toggle-publisher' } });
  return h('article.card.publisher', null,
    toggle,
    h('div.publisher-text', null, h('span.publisher-topic.mono'), h('span.publisher-line')),
    iconButton('edit', '', () => openPublisherDialog(world, publisher()), { class: 'small' }));
}

function drawCard(card, publisher) {
  const [toggle, text, edit] = card.children;
  const { spec, running } = publisher;
  const label = `${running ? 'Stop' : 'Start'} publisher of ${spec.topic}`;
  if (toggle.getAttribute('aria-label') !== label) {
    toggle.replaceChildren(icon(running ? icons.pause : icons.play));
    setAttr(toggle, 'aria-label', label);
    setAttr(toggle, 'title', label);
  }
  setAttr(edit, 'aria-label', `Edit publisher of ${spec.topic}`);
  setAttr(card, 'data-running', running);
  setText(text.children[0], spec.topic);
  setText(text.children[1], [
    spec.client || 'broker',
    spec.shape,
    `${spec.rate}/s`,
    `${count(publisher.count)} sent`,
    publisher.held ? `${count(publisher.held)} held back` : '',
  ].filter(Boolean).join(' · '));
}

function openPublisherDialog(world, publisher = null) {
  const spec = publisher?.spec ?? { ...DEFAULTS, client: world.clients[0]?.name ?? '' };
  const names = world.clients.map(({ name }) => [name, name]);
  if (spec.client && !world.client(spec.client)) names.push([spec.client, `${spec.client} (gone)`]);
  const number = (value, attributes) => h('input', { type: 'number', step: 'any', value, required: true, ...attributes });

  const client = select([...names, ...(world.broker ? [['', 'the broker itself']] : [])], { value: spec.client });
  const topic = h('input.mono', { value: spec.topic, required: true, spellcheck: 'false', name: 'topic' });
  const shape = select(SHAPES.map((name) => [name, name[0].toUpperCase() + name.slice(1)]), { value: spec.shape, name: 'shape' });
  const rate = number(spec.rate, { min: '0.001', max: String(MAXIMUM_RATE), name: 'rate' });
  const qos = select([['0', 'QoS 0'], ['1', 'QoS 1'], ['2', 'QoS 2']], { value: spec.qos });
  const format = select([['number', 'A number'], ['json', 'JSON with value, n, t']], { value: spec.format });
  const text = h('input.mono', { value: spec.text });
  const minimum = number(spec.minimum);
  const maximum = number(spec.maximum);
  const step = number(spec.step);
  const period = number(spec.period, { min: '0.1' });
  const retain = checkbox('Retain', { checked: spec.retain });

  const fields = {
    format: field('Payload', format),
    text: field('Payload', text),
    minimum: field('From', minimum),
    maximum: field('To', maximum),
    step: field('Step', step),
    period: field('Period (s)', period),
  };
  const uses = {
    interval: ['text'],
    'random walk': ['format', 'minimum', 'maximum', 'step'],
    sine: ['format', 'minimum', 'maximum', 'period'],
    counter: ['format', 'minimum', 'step'],
  };
  const adapt = () => {
    for (const [name, element] of Object.entries(fields)) element.hidden = !uses[shape.value].includes(name);
  };
  shape.addEventListener('change', adapt);
  adapt();

  openDialog({
    title: publisher ? `Publisher of ${spec.topic}` : 'New publisher',
    submit: publisher ? 'Save' : 'Add publisher',
    danger: publisher && { label: 'Remove publisher', run: () => world.publishers.remove(publisher) },
    body: [
      h('fieldset', null, h('legend', null, 'What and where'),
        h('div.fields', null, field('Topic', topic, { wide: true }), field('Published by', client), field('QoS', qos),
          field('Messages a second', rate), h('div.field', null, h('span.legend', null, 'Message'), retain.element))),
      h('fieldset', null, h('legend', null, 'Values'), h('div.fields', null, field('Shape', shape), Object.values(fields))),
    ],
    onsubmit() {
      const next = {
        client: client.value,
        topic: topic.value,
        shape: shape.value,
        rate: Number(rate.value),
        qos: Number(qos.value),
        retain: retain.input.checked,
        format: format.value,
        text: text.value,
        minimum: Number(minimum.value),
        maximum: Number(maximum.value),
        step: Number(step.value),
        period: Number(period.value),
      };
      if (publisher) world.publishers.edit(publisher, next);
      else world.publishers.add({ ...next, running: true });
    },
  });
}
