// A scenario as an address or a file: who is there and how it is set up, not what was sent. Whatever comes in is a stranger's: it
// is measured before it is unpacked, and only what is known here gets through. It starts nothing by itself.

export const VERSION = 1;
/** Characters of a fragment, bytes of what it unpacks to. */
const FRAGMENT = 100_000;
const UNPACKED = 1024 * 1024;
/** Messages a second of all publishers together. */
const RATE = 50_000;
const KEY = '#s=';

export class ScenarioError extends Error {
  name = 'ScenarioError';
}

// What a scenario may hold. `null` is as good as not there, unknown members are left out.

const text = (most) => (value, at) => {
  if (typeof value !== 'string') throw new ScenarioError(`${at} should be text.`);
  if (value.length > most) throw new ScenarioError(`${at} is too long: ${value.length} characters, ${most} are allowed.`);
  return value;
};
const number = (least, most) => (value, at) => {
  if (typeof value !== 'number' || !(value >= least && value <= most)) throw new ScenarioError(`${at} should be a number from ${least} to ${most}.`);
  return value;
};
const flag = (value, at) => {
  if (typeof value !== 'boolean') throw new ScenarioError(`${at} should be true or false.`);
  return value;
};
const among = (...values) => (value, at) => {
  if (!values.includes(value)) throw new ScenarioError(`${at} should be one of ${values.join(', ')}.`);
  return value;
};
const list = (item, most) => (value, at) => {
  if (!Array.isArray(value)) throw new ScenarioError(`${at} should be a list.`);
  if (value.length > most) throw new ScenarioError(`${at} is too long: ${value.length}, ${most} are allowed.`);
  return value.map((each, i) => item(each, `${at}[${i}]`));
};
const record = (members) => (value, at) => {
  if (!isRecord(value)) throw new ScenarioError(`${at} should be an object.`);
  const clean = {};
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(members, name) && value[name] !== null) clean[name] = members[name](value[name], `${at}.${name}`);
  }
  return clean;
};
/** JSON of no great depth, for properties, whose names are the protocol's. */
const json = (depth) => (value, at) => {
  if (depth < 0) throw new ScenarioError(`${at} is too deep.`);
  if (Array.isArray(value)) return value.map((each, i) => json(depth - 1)(each, `${at}[${i}]`));
  if (!isRecord(value)) return value;
  const names = Object.keys(value).filter((name) => name !== '__proto__');
  return Object.fromEntries(names.map((name) => [name, json(depth - 1)(value[name], `${at}.${name}`)]));
};

const TEXT = text(65_535);
const QOS = among(0, 1, 2);
const U16 = number(0, 0xffff);
const U32 = number(0, 0xffffffff);
const COUNT = number(0, Number.MAX_SAFE_INTEGER);
const SECONDS = number(0, 1e9);

const LIMITS = [
  'connections', 'pendingHandshakes', 'connectTimeout', 'closeTimeout', 'sessions', 'clientIdLength', 'packetSize', 'controlSize',
  'connectSize', 'receiveMaximum', 'inflight', 'queuedMessages', 'queuedBytes', 'storedBytes', 'subscriptions', 'wildcardLevels',
  'topicLevels', 'retainedMessages', 'retainedLevels', 'retainedBytes', 'retainedPayload', 'topicAliasesIn',
  'topicAliasesOut', 'outputBacklog',
];

const BROKER = record({
  limits: record(Object.fromEntries(LIMITS.map((name) => [name, COUNT]))),
  fullQueue: among('drop-newest', 'drop-oldest', 'disconnect-consumer', 'refuse-publisher'),
  maximumQos: QOS,
  retainAvailable: flag,
  wildcardSubscriptions: flag,
  subscriptionIds: flag,
  sharedSubscriptions: flag,
  assignClientIds: flag,
  serverKeepAlive: U16,
  maximumSessionExpiry: U32,
  queueQos0Offline: flag,
  responseInformation: TEXT,
  clock: among('real', 'manual'),
  seed: COUNT,
});

const SUBSCRIPTION = record({
  filter: TEXT,
  qos: QOS,
  noLocal: flag,
  retainAsPublished: flag,
  retainHandling: among(0, 1, 2),
  subscriptionIdentifier: number(1, 268_435_455),
});

const CLIENT = record({
  name: text(200),
  online: flag,
  options: record({
    version: among(3, 4, 5),
    clientId: TEXT,
    cleanStart: flag,
    keepAlive: U16,
    username: TEXT,
    will: record({ topic: TEXT, payload: TEXT, qos: QOS, retain: flag, delay: U32, properties: json(4) }),
    properties: json(4),
    manualAcks: flag,
  }),
  subscriptions: list(SUBSCRIPTION, 1000),
});

const PUBLISHER = record({
  client: text(200),
  topic: TEXT,
  shape: among('interval', 'random walk', 'sine', 'counter'),
  rate: number(0.001, 10_000),
  qos: QOS,
  retain: flag,
  format: among('number', 'json'),
  text: TEXT,
  minimum: number(-1e15, 1e15),
  maximum: number(-1e15, 1e15),
  step: number(-1e15, 1e15),
  period: SECONDS,
  running: flag,
});

const ROUTE = record({ filter: TEXT, qos: QOS, localPrefix: TEXT, remotePrefix: TEXT });

const SCENARIO = record({
  version: among(VERSION),
  target: record({ kind: among('tab', 'shared', 'url'), share: text(200), name: text(200), url: text(2000) }),
  broker: BROKER,
  clients: list(CLIENT, 200),
  publishers: list(PUBLISHER, 200),
  bridge: record({
    url: text(2000), clientId: TEXT, version: among(4, 5), username: TEXT, cleanStart: flag, keepAlive: U16, in: list(ROUTE, 200), out: list(ROUTE, 200),
  }),
  plots: list(record({ topic: TEXT, field: TEXT }), 100),
  view: text(20),
});

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The scenario in `value`, without what has no place in one. Throws a ScenarioError with words for a person. */
export function validate(value) {
  if (!isRecord(value)) throw new ScenarioError('This is no scenario of the playground.');
  if (!Number.isInteger(value.version)) throw new ScenarioError('This is no scenario of the playground: it has no version.');
  if (value.version !== VERSION) {
    throw new ScenarioError(`The scenario has version ${value.version}, this page knows version ${VERSION}. A newer page may open it.`);
  }
  const scenario = SCENARIO(value, 'scenario');
  for (const [i, client] of (scenario.clients ?? []).entries()) {
    client.name ??= `client-${i + 1}`;
    client.options ??= {};
    client.subscriptions = (client.subscriptions ?? []).filter(({ filter }) => filter);
  }
  const rate = (scenario.publishers ?? []).reduce((sum, publisher) => sum + (publisher.rate ?? 1), 0);
  if (rate > RATE) throw new ScenarioError(`The publishers send ${rate} messages a second together, ${RATE} are allowed.`);
  const url = scenario.target?.kind === 'url' ? scenario.target.url : undefined;
  for (const address of [url, scenario.bridge?.url]) if (address !== undefined) checkUrl(address);
  if (scenario.target?.kind === 'url' && !url) throw new ScenarioError('The scenario names no broker.');
  if (scenario.target?.kind === 'shared' && !scenario.target.name) throw new ScenarioError('The scenario names no broker.');
  return scenario;
}

function checkUrl(address) {
  if (!/^wss?:$/.test(URL.parse?.(address)?.protocol ?? protocolOf(address))) {
    throw new ScenarioError(`“${address.slice(0, 80)}” is not a ws:// or wss:// address.`);
  }
}

function protocolOf(address) {
  try {
    return new URL(address).protocol;
  } catch {
    return '';
  }
}

/** Where a scenario reaches beyond this tab, for a person to agree to; empty if it does not. */
export function outside({ target, bridge }) {
  const places = [];
  if (target?.kind === 'url') places.push(`the broker ${target.url}`);
  if (target?.kind === 'shared') places.push(`the tab that shares “${target.name}”`);
  if (target?.share) places.push(`other tabs of this site, by the name “${target.share}”`);
  if (bridge) places.push(`the broker ${bridge.url}, by a bridge`);
  return places;
}

/** The world as a scenario: passwords stay here, and so does the name by which other tabs join this one. */
export function fromWorld(world, view) {
  const spec = structuredClone(world.spec());
  delete spec.target?.share;
  return validate({ ...spec, version: VERSION, ...(view && { view }) });
}

// Addresses

/** `#s=…` */
export async function toFragment(scenario) {
  const packed = await through(new TextEncoder().encode(JSON.stringify(scenario)), new CompressionStream('deflate-raw'));
  return KEY + toBase64Url(packed);
}

/** The scenario of a fragment; undefined if it has none. */
export async function parseFragment(hash) {
  if (!hash?.startsWith(KEY)) return undefined;
  if (hash.length > FRAGMENT) throw new ScenarioError(`The address is too long: ${hash.length} characters, ${FRAGMENT} are allowed.`);
  const damaged = new ScenarioError('The address is damaged: part of it may be missing.');
  let bytes;
  try {
    bytes = await through(fromBase64Url(hash.slice(KEY.length)), new DecompressionStream('deflate-raw'), UNPACKED);
  } catch (error) {
    throw error instanceof ScenarioError ? error : damaged;
  }
  return parse(new TextDecoder().decode(bytes), damaged);
}

/** The scenario in a JSON file. */
export function parseFile(json) {
  if (json.length > UNPACKED) throw new ScenarioError('The file is too large for a scenario.');
  return parse(json, new ScenarioError('The file is not JSON.'));
}

/**
 * What the page begins with. It is taken out of the address, so that a reload goes on with what has become of it. Nobody is
 * connected anywhere else without having agreed: `agree` gets the question.
 */
export async function fromFragment(hash, agree = (question) => confirm(question)) {
  if (!hash?.startsWith(KEY)) return undefined;
  try {
    const scenario = await parseFragment(hash);
    const places = outside(scenario);
    if (places.length && !agree(`This address makes the page connect to ${places.join(' and to ')}. Go on?`)) return undefined;
    return scenario;
  } catch (error) {
    dispatchEvent(new CustomEvent('scenariorefused', { detail: error.message }));
    throw error;
  } finally {
    history.replaceState(history.state, '', location.pathname + location.search);
  }
}

function parse(json, otherwise) {
  let value;
  try {
    value = JSON.parse(json);
  } catch {
    throw otherwise;
  }
  return validate(value);
}

/** All that comes out of a stream, up to `most` bytes: a small address can unpack to gigabytes. */
async function through(bytes, stream, most = Infinity) {
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw new ScenarioError('The address unpacks to more than a scenario may be.');
    }
    chunks.push(value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function toBase64Url(bytes) {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

function fromBase64Url(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}
