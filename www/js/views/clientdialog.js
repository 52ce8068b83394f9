// The dialog that adds a client or changes one.

import { checkbox, field, h, select } from '../dom.js';
import { fromLines, linesOf } from '../format.js';
import { openDialog } from './dialog.js';

const NEW = { version: 5, cleanStart: false, keepAlive: 60, properties: { sessionExpiryInterval: 3600 } };

/** Without a client it adds one. */
export function openClientDialog(world, client = null) {
  const options = client?.spec.options ?? NEW;
  const form = clientForm(world, client, options);
  openDialog({
    title: client ? `Client ${client.name}` : 'New client',
    body: form.elements,
    submit: client ? 'Save' : 'Add client',
    danger: client && { label: 'Remove client', run: () => world.removeClient(client) },
    onsubmit() {
      const spec = form.read();
      if (!client) world.addClient({ ...spec, subscriptions: [], online: true });
      else client.edit(spec).catch(() => {});
    },
  });
}

function clientForm(world, client, options) {
  const properties = options.properties ?? {};
  const number = (value, attributes = {}) => h('input', { type: 'number', min: '0', value: value ?? '', ...attributes });
  const text = (value, attributes = {}) => h('input', { value: value ?? '', spellcheck: 'false', autocomplete: 'off', ...attributes });

  const name = text(client?.name ?? world.uniqueName('client'), { required: true, name: 'name', class: 'mono' });
  const clientId = text(options.clientId, { placeholder: 'as the name', class: 'mono', name: 'clientId' });
  const version = select([['5', 'MQTT 5.0'], ['4', 'MQTT 3.1.1'], ['3', 'MQTT 3.1']], { value: options.version ?? 5, name: 'version' });
  const keepAlive = number(options.keepAlive ?? 60, { max: '65535', name: 'keepAlive' });
  const cleanStart = checkbox('Clean start', { checked: options.cleanStart ?? true, name: 'cleanStart' });
  const expiry = number(properties.sessionExpiryInterval, { max: '4294967295', placeholder: '0', name: 'sessionExpiry' });
  const username = text(options.username, { name: 'username' });
  const password = text(options.password, { type: 'password', autocomplete: 'new-password', name: 'password' });
  const receiveMaximum = number(properties.receiveMaximum, { min: '1', max: '65535', placeholder: '65535' });
  const packetSize = number(properties.maximumPacketSize, { min: '1', placeholder: 'no limit' });
  const aliases = number(properties.topicAliasMaximum, { max: '65535', placeholder: '0' });
  const user = h('textarea', { rows: '2', placeholder: 'name: value', spellcheck: 'false' });
  user.value = linesOf(properties.userProperties);
  const will = willFields(options.will);

  const only5 = h('fieldset', null, h('legend', null, 'Limits and properties of MQTT 5'),
    h('div.fields', null,
      field('Receive maximum', receiveMaximum), field('Maximum packet size', packetSize), field('Topic alias maximum', aliases),
      field('User properties, one a line', user, { wide: true })));
  const expiryField = field('Session expiry (s)', expiry);
  const adapt = () => {
    const five = version.value === '5';
    only5.hidden = !five;
    expiryField.hidden = !five;
    will.delayField.hidden = !five;
    cleanStart.element.lastChild.textContent = five ? 'Clean start' : 'Clean session';
  };
  version.addEventListener('change', adapt);
  adapt();

  const elements = [
    h('fieldset', null, h('legend', null, 'Client'),
      h('div.fields', null, field('Name', name), field('Client id', clientId), field('Version', version))),
    h('fieldset', null, h('legend', null, 'Session'),
      h('div.fields', null, h('div.field', null, h('span.legend', null, 'When it connects'), cleanStart.element), expiryField, field('Keep alive (s)', keepAlive))),
    h('fieldset', null, h('legend', null, 'Sign in'),
      h('div.fields', null, field('Username', username), field('Password', password, { hint: 'Kept in this browser; it is not part of what is shared.' }))),
    will.element,
    only5,
  ];

  function read() {
    const five = version.value === '5';
    const given = (input) => (input.value === '' ? undefined : Number(input.value));
    const connect = five && compact({
      ...properties,
      sessionExpiryInterval: given(expiry),
      receiveMaximum: given(receiveMaximum),
      maximumPacketSize: given(packetSize),
      topicAliasMaximum: given(aliases),
      userProperties: fromLines(user.value),
    });
    const next = compact({
      ...options,
      version: Number(version.value),
      clientId: clientId.value || undefined,
      cleanStart: cleanStart.input.checked,
      keepAlive: given(keepAlive),
      username: username.value || undefined,
      password: password.value || undefined,
      will: will.read(five),
      properties: connect && Object.keys(connect).length ? connect : undefined,
    });
    return { name: world.uniqueName(name.value.trim(), client), options: next };
  }

  return { elements, read };
}

function willFields(will) {
  const on = checkbox('Leave a will', { checked: Boolean(will), name: 'will' });
  const topic = h('input.mono', { value: will?.topic ?? '', spellcheck: 'false', name: 'willTopic' });
  const payload = h('input.mono', { value: typeof will?.payload === 'string' ? will.payload : '', spellcheck: 'false', name: 'willPayload' });
  const qos = select([['0', 'QoS 0'], ['1', 'QoS 1'], ['2', 'QoS 2']], { value: will?.qos ?? 0, name: 'willQos' });
  const retain = checkbox('Retain', { checked: will?.retain ?? false, name: 'willRetain' });
  const delay = h('input', { type: 'number', min: '0', value: will?.delay ?? '', placeholder: '0', name: 'willDelay' });
  const delayField = field('Delay (s)', delay);
  const fields = h('div.fields', null, field('Topic', topic), field('Payload', payload), field('QoS', qos), delayField,
    h('div.field', null, h('span.legend', null, 'Message'), retain.element));
  const adapt = () => {
    fields.hidden = !on.input.checked;
    topic.required = on.input.checked;
  };
  on.input.addEventListener('change', adapt);
  adapt();
  const element = h('fieldset', null, h('legend', null, 'Will'), h('div.stack', null, on.element, fields));

  function read(five) {
    if (!on.input.checked) return undefined;
    return compact({
      ...will,
      topic: topic.value,
      payload: payload.value,
      qos: Number(qos.value),
      retain: retain.input.checked,
      delay: five && delay.value ? Number(delay.value) : undefined,
    });
  }

  return { element, delayField, read };
}

function compact(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
