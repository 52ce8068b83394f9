// The model that all views share: the broker (or where it is), the clients, the publishers, the clock and what has happened.
// It knows nothing of the page.
//
// Events, by on(kind, fn):
//   clients     the list of clients changed          client      a PlayClient changed (state, subscriptions)
//   message     a client received { n, time, client, topic, payload, qos, retain, dup, properties, packetId }
//   published   the broker took a message, or, if it is elsewhere, a client received one: { time, client, topic, payload, … }
//   packet      a PacketEvent                        link        a LinkEvent
//   publishers  the list changed or one started      faults      one was added or removed
//   bridge      its state changed                    time        the clock was set, stopped or advanced
//   plots       series came or went                  view        the name of a view that is to be shown
//   retained    one was deleted at a broker elsewhere
//   target      the broker is somewhere else now     reset       everything that was remembered is gone

import { Broker, connectShared } from '../columba/columba.js';
import { RealClock } from './clock.js';
import { Emitter } from './emitter.js';
import { Faults } from './faults.js';
import { PacketLog } from './log.js';
import { PlayClient, messageRing } from './playclient.js';
import { PlotModel } from './plotmodel.js';
import { Publishers } from './publishers.js';
import { tap } from './tap.js';
import { TopicModel } from './topicmodel.js';

const MESSAGES = 5000;
const MESSAGE_BYTES = 16 * 1024 * 1024;

export class World extends Emitter {
  #keys = 0;
  #numbers = 0;
  #connections = 0;
  /** Counts worlds, so that one that is still loading notices that it is no longer wanted. */
  #age = 0;
  #off = [];
  #share = null;
  #bridge = null;

  /** The broker of this tab; null if the target is elsewhere. */
  broker = null;
  /** { kind: 'tab', share?: name } | { kind: 'shared', name } | { kind: 'url', url } */
  target = { kind: 'tab' };
  /** What the broker of this tab was made with; plain JSON. */
  brokerOptions = {};
  /** { options, state } of the bridge, or null. */
  bridge = null;
  /** In the order they were added. */
  clients = [];
  clock = new RealClock();
  log = new PacketLog();
  /** What clients received, all of them together. */
  messages = messageRing(MESSAGES, MESSAGE_BYTES);
  topics = new TopicModel();

  constructor() {
    super();
    this.faults = new Faults(this);
    this.publishers = new Publishers(this);
    this.plots = new PlotModel(this);
  }

  /** Starts with an empty broker, with the one in `snapshot`, or elsewhere. Ends what was there. */
  #begin(target, brokerOptions = {}, restore = null) {
    this.#end();
    this.#age += 1;
    this.target = structuredClone(target);
    this.brokerOptions = structuredClone(brokerOptions);
    if (target.kind === 'tab') {
      this.broker = restore
        ? Broker.restore(restore.snapshot, this.brokerOptions, restore.away)
        : new Broker(this.brokerOptions);
      this.clock = this.broker.clock;
      this.#listen();
      if (target.share) this.share(target.share);
      for (const { topic, payload } of this.broker.retained('#', 5000)) this.topics.retained(topic, payload, this.clock.now());
    } else {
      this.clock = new RealClock();
    }
    this.emit('reset');
    this.emit('target');
    this.emit('time');
  }

  #listen() {
    const { broker } = this;
    this.#off = [
      broker.on('packet', (event) => this.#packet(event)),
      broker.on('link', (event) => this.#link(event)),
      broker.on('disconnected', ({ clientId }) => this.faults.ended(clientId)),
      broker.on('published', (event) => this.#published({ ...event, client: event.clientId, time: this.clock.now() })),
    ];
  }

  #end() {
    this.publishers.clear();
    for (const client of this.clients) client.close();
    this.clients = [];
    this.faults.clear();
    this.unbridge();
    this.unshare();
    for (const off of this.#off) off();
    this.#off = [];
    this.broker?.close();
    this.broker = null;
    this.#connections = 0;
    this.forget();
  }

  /** Forgets messages and packets; the broker and its clients stay. */
  forget() {
    this.log.clear();
    this.messages.clear();
    this.topics.clear();
    this.plots.clear();
  }

  /** An empty world in this tab. */
  reset() {
    this.#begin({ kind: 'tab' });
    this.plots.load();
    this.emit('clients');
    this.emit('publishers');
  }

  // Clients

  /** `spec`: see PlayClient. Connects it unless `online` is false; the name is made unique. */
  addClient(spec) {
    const client = new PlayClient(this, `c${(this.#keys += 1)}`, { ...spec, name: this.uniqueName(spec.name || 'client') });
    this.clients.push(client);
    this.emit('clients');
    if (client.spec.online) client.connect().catch(() => {});
    return client;
  }

  removeClient(client) {
    const gone = typeof client === 'string' ? this.client(client) : client;
    if (!gone) return;
    gone.close();
    this.clients = this.clients.filter((other) => other !== gone);
    this.emit('clients');
  }

  client(name) {
    return this.clients.find((client) => client.name === name);
  }

  uniqueName(name, except = null) {
    const taken = (candidate) => this.clients.some((client) => client !== except && client.name === candidate);
    let candidate = name;
    for (let i = 2; taken(candidate); i += 1) candidate = `${name}-${i}`;
    return candidate;
  }

  /** A connection to the broker, wherever it is. */
  openSocket(client) {
    if (this.broker) return this.broker.connect({ name: client.name });
    const socket =
      this.target.kind === 'shared'
        ? connectShared(this.target.name)
        : new WebSocket(this.target.url, client.version === 3 ? ['mqttv3.1'] : ['mqtt']);
    return tap(socket, {
      connection: (this.#connections += 1),
      client: client.clientId,
      version: client.version,
      clock: this.clock,
      onPacket: (event) => this.#packet(event),
      onLink: (event) => this.#link(event),
    });
  }

  // What happens

  nextNumber() {
    return (this.#numbers += 1);
  }

  received(client, entry) {
    this.messages.push(entry);
    this.emit('message', entry);
    if (!this.broker) this.#published(entry);
  }

  #packet(event) {
    this.log.add(event);
    this.emit('packet', event);
  }

  #link(event) {
    this.log.add(event);
    this.emit('link', event);
  }

  #published(event) {
    this.topics.add(event, Boolean(this.broker));
    this.emit('published', event);
  }

  /** Deletes what is retained at a topic: by the broker, or, if it is elsewhere, by the first client that is online. */
  async deleteRetained(topic) {
    const publisher = this.broker ?? this.clients.find(({ state }) => state === 'online');
    if (!publisher) throw new Error('No client is online that could do it.');
    await publisher.publish(topic, new Uint8Array(0), { retain: true });
    if (this.broker) return;
    this.topics.forgetRetained(topic);
    this.emit('retained');
  }

  // Time

  get timeAdjustable() {
    return Boolean(this.broker);
  }

  setRate(rate) {
    this.clock.rate = rate;
    this.emit('time');
  }

  /** Publishers slow down meanwhile: an hour of ten thousand messages a second would take an hour. */
  async advance(milliseconds) {
    this.publishers.beginAdvance(milliseconds);
    this.emit('time');
    try {
      await this.clock.advance(milliseconds);
    } finally {
      this.publishers.endAdvance();
      this.emit('time');
    }
  }

  // Where the broker is

  /** Clients, publishers and broker options stay as they are written; all of them connect to the new target. */
  async setTarget(target) {
    await this.load({ ...this.spec(), target });
  }

  share(name) {
    this.unshare();
    this.#share = this.broker.share(name);
    this.target.share = name;
    this.emit('target');
  }

  unshare() {
    if (!this.#share) return;
    this.#share.close();
    this.#share = null;
    delete this.target.share;
    this.emit('target');
  }

  /** BridgeOptions. */
  startBridge(options) {
    this.unbridge();
    this.bridge = { options, state: { state: 'connecting' }, handle: null };
    const onstate = (state) => {
      if (!this.bridge) return;
      this.bridge.state = state;
      this.emit('bridge');
    };
    try {
      this.#bridge = this.broker.bridge({ ...options, onstate });
    } catch (error) {
      this.bridge = null;
      throw error;
    }
    this.bridge.handle = this.#bridge;
    this.emit('bridge');
  }

  unbridge() {
    if (!this.#bridge) return;
    const bridge = this.#bridge;
    this.#bridge = null;
    this.bridge = null;
    bridge.close();
    this.emit('bridge');
  }

  // As JSON

  /** What `load` needs to make such a world again: without what was sent. Passwords are in it. */
  spec() {
    return {
      version: 1,
      target: structuredClone(this.target),
      broker: structuredClone(this.brokerOptions),
      clients: this.clients.map((client) => client.toSpec()),
      publishers: this.publishers.spec(),
      plots: this.plots.spec(),
      ...(this.bridge && { bridge: withoutPassword(this.bridge.options) }),
    };
  }

  /**
   * Resolves when the clients that are to be online are so, or could not. `restore`: { snapshot, away, rate } of a broker that
   * goes on.
   */
  async load(spec, restore = null) {
    this.#begin(spec.target ?? { kind: 'tab' }, spec.broker ?? {}, restore);
    this.plots.load(spec.plots);
    if (restore?.rate !== undefined && restore.rate !== 1) this.setRate(restore.rate);
    const age = this.#age;
    const connecting = [];
    for (const clientSpec of spec.clients ?? []) {
      const client = this.addClient({ ...clientSpec, online: false });
      if (clientSpec.online === false) continue;
      connecting.push(client.connect().catch(() => {}));
    }
    this.emit('clients');
    await Promise.all(connecting);
    if (age !== this.#age) return;
    for (const publisher of spec.publishers ?? []) this.publishers.add(publisher);
    this.emit('publishers');
    if (spec.bridge?.url && this.broker) this.startBridge(spec.bridge);
  }
}

function withoutPassword({ password: _, onstate: _onstate, ...options }) {
  return structuredClone(options);
}
