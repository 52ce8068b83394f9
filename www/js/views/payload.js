// One message in full: where it belongs and its payload as text, JSON, hex or compared with the one before.

import { h, setText, uniqueId } from '../dom.js';
import { diffLines, diffWords } from '../diff.js';
import { asJson, asText, clockTime, hexDump, linesOf, size, toHex } from '../format.js';

/** More than this of a payload is not shown as text. */
const SHOWN = 64 * 1024;
const HEX_SHOWN = 4096;
/** Longer texts are compared by lines. */
const BY_WORDS = 2000;

const MODES = [['auto', 'Text'], ['diff', 'Changes'], ['hex', 'Hex']];

/** `heading`: whether to say the topic. */
export function payloadView({ heading = true } = {}) {
  let mode = 'auto';
  let message = null;
  let previous = null;
  const title = h('p.payload-topic.mono.breaks', { hidden: !heading });
  const facts = h('p.payload-facts');
  const properties = h('dl.properties');
  const body = h('div.payload-body', { tabindex: '0', role: 'region', 'aria-label': 'Payload' });
  const buttons = MODES.map(([name, label]) => h('button.small', { type: 'button', data: { mode: name }, onclick: () => choose(name) }, label));
  const element = h('section.payload', { 'aria-label': 'Message', id: uniqueId('payload') }, title, facts, properties,
    h('div.segments', { role: 'group', 'aria-label': 'Payload as' }, buttons), body);

  function choose(name) {
    mode = name;
    draw();
  }

  function show(next, before = null) {
    if (next === message && before === previous) return;
    message = next;
    previous = before;
    draw();
  }

  function draw() {
    element.hidden = !message;
    if (!message) return;
    for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
    setText(title, message.topic);
    setText(facts, [
      clockTime(message.time),
      message.client && `${message.client}`,
      message.qos !== undefined && `QoS ${message.qos}`,
      message.retain && 'retained',
      message.dup && 'duplicate',
      size(message.size ?? message.payload.length),
    ].filter(Boolean).join(' · '));
    properties.replaceChildren(...propertyRows(message.properties ?? {}));
    body.replaceChildren(...content());
  }

  function content() {
    const { payload } = message;
    if (!payload.length) return [h('p.muted', null, 'Empty payload.')];
    if (mode === 'hex') return [hexTable(payload)];
    if (mode === 'diff') return [difference(previous, message)];
    const text = readable(payload);
    return [text === null ? hexTable(payload) : h('pre', null, text)];
  }

  element.hidden = true;
  return { element, show };
}

function readable(payload) {
  const cut = payload.length > SHOWN ? payload.subarray(0, SHOWN) : payload;
  const json = asJson(payload);
  if (json && cut === payload) return JSON.stringify(json.value, null, 2);
  const text = asText(cut) ?? (cut === payload ? null : new TextDecoder().decode(cut));
  return text === null ? null : text + (cut === payload ? '' : `\n… ${size(payload.length - SHOWN)} more`);
}

function hexTable(payload) {
  const lines = hexDump(payload, HEX_SHOWN).map(({ offset, hex, text }) => h('span', null, h('span.muted', null, offset), `  ${hex}  `, h('span.ascii', null, text), '\n'));
  if (payload.length > HEX_SHOWN) lines.push(h('span.muted', null, `… ${size(payload.length - HEX_SHOWN)} more`));
  return h('pre.hex', null, lines);
}

function difference(before, after) {
  if (!before) return h('p.muted', null, 'There is no earlier message on this topic here.');
  const asShown = (payload) => readable(payload) ?? hexDump(payload, HEX_SHOWN).map(({ hex }) => hex.trimEnd()).join('\n');
  const [old, now] = [asShown(before.payload), asShown(after.payload)];
  if (old === now) return h('p.muted', null, 'The same payload as the message before.');
  const long = old.includes('\n') || now.includes('\n') || old.length + now.length > BY_WORDS;
  if (!long) {
    return h('pre.diff', null, diffWords(old, now).map(({ kind, text }) => part(kind, text)));
  }
  const lines = diffLines(old, now).flatMap(({ kind, text }) => text.split('\n').map((line) => [kind, line]));
  return h('pre.diff', null, lines.map(([kind, line]) => {
    const sign = { same: '  ', added: '+ ', removed: '− ' }[kind];
    return h('span.line', { class: kind }, sign, line, '\n');
  }));
}

function part(kind, text) {
  if (kind === 'same') return text;
  return h(kind === 'added' ? 'ins' : 'del', null, text);
}

const NAMES = {
  payloadFormatIndicator: 'Payload is UTF-8',
  messageExpiryInterval: 'Expiry (s)',
  topicAlias: 'Topic alias',
  contentType: 'Content type',
  responseTopic: 'Response topic',
  correlationData: 'Correlation data',
  subscriptionIdentifier: 'Subscription id',
};

function propertyRows(properties) {
  const rows = [];
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === 'userProperties') {
      for (const line of linesOf(value).split('\n')) if (line) rows.push(['User property', line]);
    } else {
      rows.push([NAMES[name] ?? name, value instanceof Uint8Array ? asText(value) ?? toHex(value, ' ') : String(value)]);
    }
  }
  return rows.flatMap(([name, value]) => [h('dt', null, name), h('dd.mono', null, value)]);
}
