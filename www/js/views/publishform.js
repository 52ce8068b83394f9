// The form by which a client publishes.

import { checkbox, field, h, select } from '../dom.js';
import { reasonText } from '../describe.js';
import { fromLines, parsePayload } from '../format.js';

const encoder = new TextEncoder();

export function publishForm(client) {
  const topic = h('input.mono', { required: true, placeholder: 'home/kitchen/temperature', spellcheck: 'false', autocomplete: 'off', 'aria-label': 'Topic', name: 'topic' });
  const payload = h('textarea', { rows: '2', placeholder: 'Payload', spellcheck: 'false', 'aria-label': 'Payload', name: 'payload' });
  const kind = select([['text', 'Text'], ['json', 'JSON'], ['hex', 'Hex'], ['base64', 'Base64']], { 'aria-label': 'Payload written as', name: 'kind' });
  const qos = select([['0', 'QoS 0'], ['1', 'QoS 1'], ['2', 'QoS 2']], { 'aria-label': 'QoS', name: 'qos' });
  const retain = checkbox('Retain', { name: 'retain' });
  const properties = messageProperties();
  const result = h('p.result', { role: 'status' });
  const form = h('form.stack', { onsubmit: publish, data: { form: 'publish' } },
    topic, payload,
    h('div.inline', null, kind, qos, retain.element, h('button.primary.last', { type: 'submit', data: { action: 'publish' } }, 'Publish')),
    properties.element, result);

  async function publish(event) {
    event.preventDefault();
    const say = (text, bad = false) => {
      result.textContent = text;
      result.classList.toggle('bad', bad);
    };
    try {
      const bytes = parsePayload(kind.value, payload.value);
      const options = { qos: Number(qos.value), retain: retain.input.checked };
      if (client.version === 5) options.properties = properties.read();
      say(options.qos && client.state === 'online' ? 'On its way…' : '');
      const code = await client.publish(topic.value, bytes, options);
      say(options.qos ? `Acknowledged: ${reasonText(code)}` : 'Sent', code >= 0x80);
    } catch (error) {
      say(error.message, true);
    }
  }

  return h('section', null, h('h3', null, 'Publish'), form);
}

/** The properties of a PUBLISH, or of a will, as a disclosure. */
export function messageProperties({ summary = 'Properties of MQTT 5', values = {} } = {}) {
  const contentType = h('input', { placeholder: 'application/json', value: values.contentType ?? '' });
  const responseTopic = h('input.mono', { value: values.responseTopic ?? '' });
  const correlation = h('input.mono', { value: values.correlationData ? new TextDecoder().decode(values.correlationData) : '' });
  const expiry = h('input', { type: 'number', min: '0', placeholder: 'none', value: values.messageExpiryInterval ?? '' });
  const alias = h('input', { type: 'number', min: '1', max: '65535', placeholder: 'none', value: values.topicAlias ?? '' });
  const utf8 = checkbox('Payload is UTF-8', { checked: values.payloadFormatIndicator ?? false });
  const user = h('textarea', { rows: '2', placeholder: 'name: value', spellcheck: 'false' });
  const element = h('details', null, h('summary', null, summary),
    h('div.fields', null,
      field('Content type', contentType), field('Message expiry (s)', expiry), field('Response topic', responseTopic),
      field('Correlation data', correlation), field('Topic alias', alias), h('div.field', null, h('span.legend', null, 'Format'), utf8.element),
      field('User properties, one a line', user, { wide: true })));

  function read() {
    const properties = {};
    if (contentType.value) properties.contentType = contentType.value;
    if (responseTopic.value) properties.responseTopic = responseTopic.value;
    if (correlation.value) properties.correlationData = encoder.encode(correlation.value);
    if (expiry.value) properties.messageExpiryInterval = Number(expiry.value);
    if (alias.value) properties.topicAlias = Number(alias.value);
    if (utf8.input.checked) properties.payloadFormatIndicator = true;
    const userProperties = fromLines(user.value);
    if (userProperties) properties.userProperties = userProperties;
    return Object.keys(properties).length ? properties : undefined;
  }

  return { element, read };
}
