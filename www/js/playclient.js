// One client of the playground: an MQTT client with a name, what it is to do when it connects, and what it has received.

import { Client } from '../columba/columba.js';
import { Ring } from './ring.js';

const MESSAGES = 1000;
const MESSAGE_BYTES = 4 * 1024 * 1024;
const CONNECT_TIMEOUT = 15_000;

export function messageRing(count = MESSAGES, bytes = MESSAGE_BYTES) {
  return new Ring(count, { weigh: (message) => message.payload.length + 64, bytes });
}

/**
 * `spec` is plain JSON: { name, options: ClientOptions, subscriptions: SubscribeFilter[], online }. `online` says whether it
 * connects when the world is loaded. `options.clientId` defaults to the name.
 */
export class PlayClient {
  #world;
  #off = [];
  /** Counts connections, so that what an earlier one still reports is told apart. */
  #attempt = 0;
  messages = messageRing();
  received = 0;
  sent = 0;
  /** Why it is offline, for a person; empty if it was asked to be. */
  reason = '';
  /** CONNACK of the connection. */
  connack = null;

  constructor(world, key, spec) {
    this.#world = world;
    this.key = key;
    this.spec = { options: {}, subscriptions: [], online: true, ...structuredClone(spec) };
    this.renew();
  }

  get name() {
    return this.spec.name;
  }
  get clientId() {
    return this.client.clientId || this.spec.options.clientId || this.name;
  }
  get version() {
    return this.spec.options.version ?? 5;
  }
  get state() {
    return this.client.state;
  }
  /** As in the spec, each with `granted` once the broker has answered: a QoS or a reason code from 0x80. */
  get subscriptions() {
    return this.spec.subscriptions;
  }

  /** A new client with an empty session at its end, from the spec as it is now. */
  renew() {
    this.close();
    const { options, name } = this.spec;
    this.client = new Client({ clientId: name, ...clientOptions(options), clock: this.#world.clock });
    const changed = () => this.#world.emit('client', this);
    this.#off = [
      this.client.on('connected', (connack) => {
        this.connack = connack;
        this.reason = '';
        changed();
      }),
      this.client.on('disconnected', ({ reason }) => {
        this.reason = reason ?? '';
        changed();
      }),
      this.client.on('message', (message) => this.#receive(message)),
    ];
  }

  /** Resolves with CONNACK when the subscriptions are in place, too. */
  async connect() {
    if (this.client.state !== 'offline') return this.connack;
    this.spec.online = true;
    this.reason = '';
    this.#attempt += 1;
    const attempt = this.#attempt;
    try {
      const socket = this.#world.openSocket(this);
      const connecting = this.client.connect(socket);
      this.#world.emit('client', this);
      const connack = await withTimeout(connecting, CONNECT_TIMEOUT, 'no answer to CONNECT');
      if (!connack?.sessionPresent) await this.#subscribeAgain();
      return connack;
    } catch (error) {
      if (attempt === this.#attempt) {
        this.reason = error.message ?? String(error);
        if (this.client.state === 'connecting') this.client.drop();
        this.#world.emit('client', this);
      }
      throw error;
    }
  }

  disconnect(options) {
    this.spec.online = false;
    if (this.client.state !== 'offline') this.client.disconnect(options);
    this.reason = '';
    this.#world.emit('client', this);
  }

  /** Without DISCONNECT, so that the will is published. */
  drop() {
    this.spec.online = false;
    if (this.client.state !== 'offline') this.client.drop();
    this.reason = 'dropped';
    this.#world.emit('client', this);
  }

  /** Resolves with the reason codes; remembers the subscription for later connections. */
  async subscribe(filters, properties) {
    const list = [].concat(filters).map((filter) => (typeof filter === 'string' ? { filter, qos: 0 } : { ...filter }));
    const codes = await this.client.subscribe(list.map(wire), properties);
    list.forEach((entry, i) => {
      entry.granted = codes[i];
      const known = this.spec.subscriptions.findIndex((other) => other.filter === entry.filter);
      if (known >= 0) this.spec.subscriptions[known] = entry;
      else this.spec.subscriptions.push(entry);
    });
    this.#world.emit('client', this);
    return codes;
  }

  async unsubscribe(filters) {
    const list = [].concat(filters);
    const codes = this.state === 'online' ? await this.client.unsubscribe(list) : [];
    this.spec.subscriptions = this.spec.subscriptions.filter(({ filter }) => !list.includes(filter));
    this.#world.emit('client', this);
    return codes;
  }

  /** Resolves with the reason code when the handshake is over. */
  publish(topic, payload, options) {
    this.sent += 1;
    return this.client.publish(topic, payload, options);
  }

  /** Takes effect with the next connection; at once, if it is online. */
  async edit(spec) {
    const online = this.state !== 'offline';
    const before = this.name;
    this.spec = { ...this.spec, ...structuredClone(spec) };
    for (const publisher of this.#world.publishers) {
      if (publisher.spec.client === before) publisher.spec.client = this.name;
    }
    this.renew();
    this.#world.emit('clients');
    if (online) await this.connect();
  }

  close() {
    this.#attempt += 1;
    for (const off of this.#off) off();
    this.#off = [];
    if (this.client && this.client.state !== 'offline') this.client.disconnect();
  }

  toSpec() {
    const spec = structuredClone(this.spec);
    for (const subscription of spec.subscriptions) delete subscription.granted;
    return spec;
  }

  async #subscribeAgain() {
    const list = this.spec.subscriptions;
    if (!list.length) return;
    // One SUBSCRIBE for each subscription identifier: the property belongs to the packet.
    for (const [identifier, group] of Map.groupBy(list, (entry) => entry.subscriptionIdentifier)) {
      const properties = identifier ? { subscriptionIdentifier: identifier } : undefined;
      const codes = await this.client.subscribe(group.map(wire), properties);
      group.forEach((entry, i) => (entry.granted = codes[i]));
    }
    this.#world.emit('client', this);
  }

  #receive(message) {
    const entry = {
      n: this.#world.nextNumber(),
      time: this.#world.clock.now(),
      client: this.name,
      topic: message.topic,
      payload: message.payload,
      qos: message.qos,
      retain: message.retain,
      dup: message.dup,
      properties: message.properties ?? {},
      packetId: message.packetId,
    };
    this.received += 1;
    this.messages.push(entry);
    this.#world.received(this, entry);
  }
}

/** What the client is built from: the options of the spec without what is empty, for MQTT 3 without properties. */
function clientOptions(options) {
  const clean = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== ''));
  if ((clean.version ?? 5) < 5) delete clean.properties;
  return clean;
}

function wire({ granted: _, subscriptionIdentifier: _id, ...subscription }) {
  return subscription;
}

function withTimeout(promise, milliseconds, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(what)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
