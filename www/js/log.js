// The packet log: the last packets and link events of a broker, within bounds of number and bytes. It shows nothing.

import { decodePacket } from '../columba/columba.js';
import { matches, packetName, publishTopic } from './wire.js';
import { describe } from './describe.js';

/** Names of connections and topic aliases that are remembered. */
const CONNECTIONS = 5000;
const ALIASES = 20_000;
/** What an entry costs beside its bytes, about. */
const OVERHEAD = 200;

/** One packet or link event. */
class Entry {
  constructor(log, seq, event) {
    this.log = log;
    this.seq = seq;
    this.time = event.time;
    this.connection = event.connection;
    this.client = event.client;
    this.what = event.what;
    if (this.what !== undefined) return;
    this.direction = event.direction;
    this.version = event.version;
    this.bytes = event.bytes;
    this.fate = event.fate;
    this.topic = undefined;
  }

  get isLink() {
    return this.what !== undefined;
  }

  /** `PUBLISH`, …, or `bytes` for what is no packet. */
  get name() {
    return this.isLink ? 'link' : packetName(this.bytes);
  }

  /** Decoded each time: 20,000 decoded packets would be most of the page's memory. */
  get packet() {
    if (this.isLink) return undefined;
    try {
      return decodePacket(this.version, this.bytes);
    } catch {
      return undefined;
    }
  }

  /** The client's name as it is known by now: the first packets of a connection come before its client id does. */
  get who() {
    return this.log.nameOf(this.connection) ?? this.client;
  }

  /** One line; kept, since the line is drawn again with each scroll. */
  get summary() {
    return (this.line ??= describe(this));
  }

  get weight() {
    return OVERHEAD + (this.bytes?.length ?? 0);
  }
}

export class PacketLog {
  constructor({ entries = 20_000, bytes = 32 * 1024 * 1024 } = {}) {
    this.capacity = entries;
    this.byteLimit = bytes;
    this.listeners = new Set();
    this.scheduled = false;
    this.reset();
  }

  reset() {
    this.ring = new Array(Math.min(this.capacity, 1024));
    /** Sequence numbers: of the oldest entry that is held, and of the next one to come. */
    this.first = 0;
    this.next = 0;
    this.bytes = 0;
    /** Entries of each connection. */
    this.counts = new Map();
    this.forgetConnections();
  }

  forgetConnections() {
    this.names = new Map();
    this.aliases = new Map();
    this.newest = 0;
  }

  /** Takes what the broker's `packet` and `link` events give. */
  add(event) {
    const entry = new Entry(this, this.next, event);
    // Connections count up; where they begin anew, it is another broker.
    if (entry.what === 'opened' && entry.connection <= this.newest) this.forgetConnections();
    this.newest = Math.max(this.newest, entry.connection);
    remember(this.names, entry.connection, entry.client, CONNECTIONS);
    if (entry.bytes && entry.bytes[0] >> 4 === 3) entry.topic = this.topicOf(entry);
    if (this.length === this.ring.length) this.makeRoom();
    this.ring[this.next % this.ring.length] = entry;
    this.next += 1;
    this.bytes += entry.weight;
    this.counts.set(entry.connection, (this.counts.get(entry.connection) ?? 0) + 1);
    while (this.bytes > this.byteLimit && this.length > 1) this.drop();
    this.changed();
    return entry;
  }

  clear() {
    // The count goes on, so that whoever holds a position notices that the entries before it are gone.
    this.ring.fill(undefined);
    this.counts.clear();
    this.first = this.next;
    this.bytes = 0;
    this.changed();
  }

  get length() {
    return this.next - this.first;
  }

  /** How many were dropped or cleared, all in all. */
  get dropped() {
    return this.first;
  }

  /** The entry with this sequence number, if it is still held. */
  at(seq) {
    return seq >= this.first && seq < this.next ? this.ring[seq % this.ring.length] : undefined;
  }

  slice(from = this.first, to = this.next) {
    const entries = [];
    for (let seq = Math.max(from, this.first); seq < Math.min(to, this.next); seq++) entries.push(this.at(seq));
    return entries;
  }

  get entries() {
    return this.slice();
  }

  /** The last `limit` entries that pass `test`, oldest first. */
  last(limit, test = () => true) {
    const entries = [];
    for (let seq = this.next - 1; seq >= this.first && entries.length < limit; seq--) {
      const entry = this.at(seq);
      if (test(entry)) entries.push(entry);
    }
    return entries.reverse();
  }

  nameOf(connection) {
    return this.names.get(connection);
  }

  /** The names of the clients whose entries are held. */
  get clients() {
    const names = Array.from(this.counts.keys(), (connection) => this.names.get(connection));
    return [...new Set(names.filter((name) => name !== undefined))];
  }

  /** Calls `listener` after changes, once for all of a task. Returns a function that ends that. */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed() {
    if (this.scheduled || !this.listeners.size) return;
    this.scheduled = true;
    setTimeout(() => {
      this.scheduled = false;
      for (const listener of this.listeners) listener();
    });
  }

  /** The topic of a PUBLISH, also where only an alias stands for it. */
  topicOf(entry) {
    const found = publishTopic(entry.bytes, entry.version);
    if (!found?.alias) return found?.topic;
    const key = `${entry.connection} ${entry.direction} ${found.alias}`;
    if (!found.topic) return this.aliases.get(key);
    remember(this.aliases, key, found.topic, ALIASES);
    return found.topic;
  }

  drop() {
    const index = this.first % this.ring.length;
    const { connection, weight } = this.ring[index];
    this.bytes -= weight;
    const left = this.counts.get(connection) - 1;
    if (left) this.counts.set(connection, left);
    else this.counts.delete(connection);
    this.ring[index] = undefined;
    this.first += 1;
  }

  /** The ring grows up to its capacity; from then on the oldest entry goes. */
  makeRoom() {
    if (this.ring.length === this.capacity) return this.drop();
    const ring = new Array(Math.min(this.ring.length * 2, this.capacity));
    for (let seq = this.first; seq < this.next; seq++) ring[seq % ring.length] = this.at(seq);
    this.ring = ring;
  }
}

/** Sets, and forgets the oldest beyond `limit`. */
function remember(map, key, value, limit) {
  if (map.get(key) === value) return;
  map.set(key, value);
  if (map.size > limit) map.delete(map.keys().next().value);
}

/** Kinds of packets that one looks at together. */
export const GROUPS = {
  'Connecting': ['CONNECT', 'CONNACK', 'DISCONNECT', 'AUTH', 'link'],
  'Publishing': ['PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'],
  'Subscribing': ['SUBSCRIBE', 'SUBACK', 'UNSUBSCRIBE', 'UNSUBACK'],
};

/**
 * A function that says whether an entry is wanted. Every part may be left out: `client`, `types` (names of packets, and `link`),
 * `topic` (a topic filter), `direction`, `text` (anywhere in the line or the bytes), `faults` (only what a fault has met).
 * Undefined if everything is wanted.
 */
export function makeFilter({ client, types, topic, direction, text, faults } = {}) {
  const tests = [];
  if (faults) tests.push((entry) => entry.fate !== undefined);
  if (direction) tests.push((entry) => entry.direction === direction);
  if (types?.length) {
    const names = new Set(types);
    tests.push((entry) => names.has(entry.name));
  }
  if (client) tests.push((entry) => entry.who === client);
  if (topic) tests.push((entry) => entry.topic !== undefined && matches(topic, entry.topic));
  if (text) tests.push(finder(text.toLowerCase()));
  return tests.length ? (entry) => tests.every((test) => test(entry)) : undefined;
}

function finder(text) {
  const utf8 = new TextDecoder();
  return (entry) =>
    entry.name.toLowerCase().includes(text)
    || entry.who.toLowerCase().includes(text)
    || (entry.fate ?? '').includes(text)
    || (entry.bytes !== undefined && utf8.decode(entry.bytes).toLowerCase().includes(text))
    // What the line of a PUBLISH says is in its bytes, and decoding all of them would cost more than anything else here.
    || (entry.name !== 'PUBLISH' && entry.summary.text.toLowerCase().includes(text));
}
