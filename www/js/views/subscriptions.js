// The subscriptions of one client: a list and a form to add to it.

import { checkbox, field, h, iconButton, keyed, select, setAttr, setText } from '../dom.js';
import { reasonText } from '../describe.js';

const HANDLING = [['0', 'Send retained'], ['1', 'Only if new'], ['2', 'None']];

export function subscriptionsEditor(client) {
  const list = h('ul.subscriptions');
  const filter = h('input.mono', { placeholder: 'home/#', spellcheck: 'false', autocomplete: 'off', 'aria-label': 'Topic filter', class: 'grow' });
  const qos = select([['0', 'QoS 0'], ['1', 'QoS 1'], ['2', 'QoS 2']], { value: '1', 'aria-label': 'Highest QoS' });
  const noLocal = checkbox('No local');
  const asPublished = checkbox('Retain as published');
  const handling = select(HANDLING, {});
  const identifier = h('input', { type: 'number', min: '1', max: '268435455', placeholder: 'none' });
  const options = h('details', null, h('summary', null, 'Options of MQTT 5'),
    h('div.fields', null, h('div.row.wide', null, noLocal.element, asPublished.element), field('Retained messages', handling), field('Subscription id', identifier)));
  const error = h('p.error-text', { role: 'alert' });
  const submit = h('button', { type: 'submit', data: { action: 'subscribe' } }, 'Subscribe');
  const form = h('form.stack', { onsubmit: subscribe, data: { form: 'subscribe' } },
    h('div.inline', null, filter, qos, submit), options, error);
  const element = h('section', null, h('h3', null, 'Subscriptions'), list, form);

  async function subscribe(event) {
    event.preventDefault();
    error.textContent = '';
    if (!filter.value) return filter.focus();
    const id = Number(identifier.value) || undefined;
    const entry = { filter: filter.value, qos: Number(qos.value) };
    if (client.version === 5) {
      if (noLocal.input.checked) entry.noLocal = true;
      if (asPublished.input.checked) entry.retainAsPublished = true;
      if (handling.value !== '0') entry.retainHandling = Number(handling.value);
      if (id) entry.subscriptionIdentifier = id;
    }
    try {
      const [code] = await client.subscribe(entry, id && client.version === 5 ? { subscriptionIdentifier: id } : undefined);
      if (code >= 0x80) error.textContent = reasonText(code);
      else filter.value = '';
    } catch (failure) {
      error.textContent = failure.message;
    }
  }

  function draw() {
    options.hidden = client.version < 5;
    submit.disabled = client.state !== 'online';
    keyed(list, client.subscriptions, (entry) => entry.filter, (entry) => makeRow(client, entry.filter, error), drawRow);
  }

  return { element, draw };
}

function makeRow(client, filter, error) {
  return h('li', { data: { filter } },
    h('span.mono.grow.breaks', null, filter),
    h('span.chip'),
    iconButton('close', `Unsubscribe from ${filter}`, () => client.unsubscribe(filter).catch((failure) => (error.textContent = failure.message)), { class: 'small', data: { action: 'unsubscribe' } }));
}

function drawRow(row, entry) {
  const chip = row.children[1];
  const { granted } = entry;
  const refused = granted >= 0x80;
  const words = [
    refused ? 'refused' : `QoS ${granted ?? entry.qos}`,
    granted < entry.qos && `of ${entry.qos}`,
    entry.noLocal && 'no local',
    entry.retainAsPublished && 'as published',
    entry.retainHandling === 1 && 'retained if new',
    entry.retainHandling === 2 && 'no retained',
    entry.subscriptionIdentifier && `id ${entry.subscriptionIdentifier}`,
  ];
  setText(chip, words.filter(Boolean).join(' · '));
  setAttr(chip, 'title', refused ? reasonText(granted) : null);
  chip.classList.toggle('bad', refused);
}
