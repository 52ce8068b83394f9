// A packet in words: one line for the log and the diagram.

/** What reason codes mean; the same code says the same thing in whatever packet it stands. */
const REASONS = {
  0x00: 'success', 0x04: 'disconnect, with the will', 0x10: 'nobody subscribes', 0x11: 'no such subscription',
  0x18: 'go on authenticating', 0x19: 'authenticate again', 0x80: 'unspecified error', 0x81: 'malformed packet',
  0x82: 'protocol error', 0x83: 'implementation specific error', 0x84: 'version not supported', 0x85: 'client id not valid',
  0x86: 'bad user name or password', 0x87: 'not authorised', 0x88: 'server unavailable', 0x89: 'server busy', 0x8a: 'banned',
  0x8b: 'server shuts down', 0x8c: 'bad authentication method', 0x8d: 'keep alive timeout', 0x8e: 'session taken over',
  0x8f: 'topic filter not valid', 0x90: 'topic name not valid', 0x91: 'packet id in use', 0x92: 'packet id not found',
  0x93: 'receive maximum exceeded', 0x94: 'topic alias not valid', 0x95: 'packet too large', 0x96: 'message rate too high',
  0x97: 'quota exceeded', 0x98: 'administrative action', 0x99: 'payload format not valid', 0x9a: 'retain not supported',
  0x9b: 'QoS not supported', 0x9c: 'use another server', 0x9d: 'server moved', 0x9e: 'shared subscriptions not supported',
  0x9f: 'connection rate exceeded', 0xa0: 'maximum connect time', 0xa1: 'subscription ids not supported',
  0xa2: 'wildcards not supported',
};

const RETURN_CODES = [
  'accepted', 'version not supported', 'client id refused', 'server unavailable', 'bad user name or password', 'not authorised',
];

const utf8 = new TextDecoder('utf-8', { fatal: true });

export function hex(value, digits = 2) {
  return value.toString(16).padStart(digits, '0');
}

export function reasonText(code) {
  return `0x${hex(code)} ${REASONS[code] ?? 'unknown'}`;
}

/** The payload as text if it is some, else undefined. */
export function asText(bytes) {
  try {
    const text = typeof bytes === 'string' ? bytes : utf8.decode(bytes);
    return /[\u0000-\u0008\u000e-\u001f\u007f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

export function preview(payload, limit = 60) {
  if (!payload?.length) return 'empty';
  const text = asText(payload.length > 400 ? payload.slice(0, limit) : payload);
  if (text === undefined) return `${payload.length} bytes`;
  const line = text.replace(/\s+/g, ' ');
  return line.length > limit ? `“${line.slice(0, limit)}…”` : `“${line}”`;
}

/** `12.345`, `3:07.250`, `1:00:02.665` */
export function exactTime(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return seconds.toFixed(3);
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - minutes * 60).toFixed(3).padStart(6, '0');
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${rest}`;
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/** What to say of each kind beside its name; the reason is apart, since it decides the colour. */
const KINDS = {
  CONNECT: (p) => [
    p.clientId ? `“${p.clientId}”` : 'no client id',
    { 3: 'MQTT 3.1', 4: '3.1.1', 5: '5.0' }[p.protocolVersion],
    p.clean ? 'clean start' : 'resumes',
    p.keepalive ? `keep alive ${p.keepalive} s` : 'no keep alive',
    p.properties?.sessionExpiryInterval !== undefined && `session ${expiry(p.properties.sessionExpiryInterval)}`,
    p.properties?.receiveMaximum !== undefined && `receive maximum ${p.properties.receiveMaximum}`,
    p.will && `will ${p.will.topic}${p.will.properties?.willDelayInterval ? ` after ${p.will.properties.willDelayInterval} s` : ''}`,
    p.username !== undefined && `user ${p.username}`,
  ],
  CONNACK: (p) => [
    p.sessionPresent ? 'session present' : 'no session',
    p.properties?.topicAliasMaximum && `topic aliases ${p.properties.topicAliasMaximum}`,
    p.properties?.assignedClientIdentifier && `you are “${p.properties.assignedClientIdentifier}”`,
  ],
  PUBLISH: (p, entry) => [
    topicOf(p, entry),
    `QoS ${p.qos}`,
    id(p),
    p.dup && 'DUP',
    p.retain && 'retain',
    preview(p.payload),
    p.properties?.messageExpiryInterval !== undefined && `expires in ${p.properties.messageExpiryInterval} s`,
    p.properties?.responseTopic && `reply to ${p.properties.responseTopic}`,
    p.properties?.correlationData && `correlation ${Array.from(p.properties.correlationData.slice(0, 8), (byte) => hex(byte)).join('')}`,
  ],
  SUBSCRIBE: (p) => [id(p), ...p.subscriptions.map((s) => [s.topic, `QoS ${s.qos}`, s.nl && 'no local'].filter(Boolean).join(' '))],
  SUBACK: (p) => [id(p), codes(p.granted).map((code) => (code < 3 ? `QoS ${code}` : reasonText(code))).join(', ')],
  UNSUBSCRIBE: (p) => [id(p), ...p.unsubscriptions],
  UNSUBACK: (p) => [id(p), codes(p.granted).filter((code) => code > 0).map(reasonText).join(', ')],
  DISCONNECT: (p) => [p.properties?.sessionExpiryInterval !== undefined && `session ${expiry(p.properties.sessionExpiryInterval)}`],
  AUTH: (p) => [p.properties?.authenticationMethod],
  PUBACK: (p) => [id(p)],
  PUBREC: (p) => [id(p)],
  PUBREL: (p) => [id(p)],
  PUBCOMP: (p) => [id(p)],
};

/**
 * { name, details: what is worth saying of it, reason: code or undefined, bad: whether the reason is a refusal, text: all of it }.
 * For a link event the name is empty.
 */
export function describe(entry) {
  if (entry.isLink) return { name: '', details: [entry.what], bad: /^(cut|half-open|silent)/.test(entry.what), text: entry.what };
  const { name, packet } = entry;
  if (!packet) {
    const details = [entry.bytes.length < 2 ? 'not a packet' : 'malformed', size(entry.bytes.length)];
    return { name, details, bad: true, text: `${name} ${details.join(' ')}` };
  }
  const details = (KINDS[name]?.(packet, entry) ?? []).filter((part) => part !== undefined && part !== false && part !== '');
  const { words, reason, bad } = reasonOf(name, packet);
  if (words) details.push(words);
  if (packet.properties?.reasonString) details.push(`“${packet.properties.reasonString}”`);
  return { name, details, reason, bad, text: [name, ...details].join(' ') };
}

/** MQTT 5 has reason codes, MQTT 3 a return code in CONNACK. */
function reasonOf(name, packet) {
  const reason = packet.reasonCode;
  if (reason !== undefined && reason !== null) {
    const isPlain = reason === 0 && name !== 'CONNACK';
    return { reason, bad: reason >= 0x80, words: isPlain ? '' : reasonText(reason) };
  }
  if (name === 'SUBACK') return { bad: codes(packet.granted).some((code) => code >= 0x80) };
  if (packet.returnCode === undefined) return { bad: false };
  return { reason: packet.returnCode, bad: packet.returnCode > 0, words: RETURN_CODES[packet.returnCode] ?? `code ${packet.returnCode}` };
}

function codes(list) {
  return Array.from(list ?? [], (code) => (typeof code === 'object' ? code.qos : code));
}

function id(packet) {
  return packet.messageId ? `#${packet.messageId}` : undefined;
}

function expiry(seconds) {
  if (seconds === 0xffffffff) return 'for ever';
  return `${seconds} s`;
}

function topicOf(packet, entry) {
  const alias = packet.properties?.topicAlias;
  if (!alias) return packet.topic;
  return packet.topic ? `${packet.topic} = alias ${alias}` : `alias ${alias} (${entry.topic ?? 'unknown'})`;
}
