// The broker as JavaScript sees it: when the WebAssembly module gets its turns, and who is called with what comes out.

import { RawBroker } from './columba_wasm.js';
import { Bridge } from './bridge.js';
import { Clock, later } from './clock.js';
import { decodePacket } from './codec.js';
import { guarded } from './guarded.js';
import { Local } from './local.js';
import { attachPort, serveSharedWorker, Share } from './ports.js';
import { Socket } from './socket.js';

/** The bit of each kind of event in the core's mask. */
const KIND_BITS = {
  connected: 1, refused: 1, disconnected: 1, sessionended: 1,
  subscribed: 2, unsubscribed: 2,
  queuefull: 4, storefull: 4,
  published: 8, delivered: 16, dropped: 32,
};
const OTHER_KINDS = ['packet', 'link', 'error'];
/**
 * Input of one connection that is in the module before it is taken, in bytes. The rest waits outside: the module's memory never
 * shrinks.
 */
const INSIDE = 256 << 10;
/** How long the broker works before the page gets its turn, in milliseconds. */
const SLICE = 8;
const ADMINISTRATIVE_ACTION = 0x98;
const CUT = 0;
const HALF_OPEN = 1;
const BLACKHOLE = 2;
const SLOW = 3;

export class Broker {
  #raw;
  #clock;
  #pipes = new Map();
  #listeners = new Map();
  #enabled = 0;
  #authenticate;
  #isInHook = false;
  #isScheduled = false;
  #spent = 0;
  #activity = 0;
  #seenActivity = 0;
  #local;
  #ends = new Set();
  #isClosing = false;

  constructor(options = {}, snapshot = undefined, away = 0) {
    const seed = seedOf(options.seed);
    const given = { ...options };
    this.#authenticate = options.authenticate;
    if (options.authorize) given.authorize = (action) => this.#authorize(options.authorize, action);
    this.#raw = snapshot
      ? RawBroker.restore(given, ...seed, snapshot, away)
      : new RawBroker(given, ...seed);
    const turns = { turn: () => this.#turn(), deadline: () => this.#raw?.deadline(), isBusy: () => this.#isBusy() };
    this.#clock = new Clock(options.clock === 'manual' ? 0 : 1, turns);
    this.#schedule();
  }

  static restore(snapshot, options = {}, away = 0) {
    return new this(options, snapshot, away);
  }

  get clock() {
    return this.#clock;
  }

  connect(options = {}) {
    return new Socket('mqtt://in-process/', 'mqtt', (ends) => {
      const pipe = this.open(
        { data: (bytes) => ends.message(bytes), close: (isCut) => ends.close(!isCut) },
        { transport: 'memory', ...options },
      );
      queueMicrotask(() => ends.open());
      return pipe;
    });
  }

  webSocketClass(url) {
    const connect = (options) => this.connect(options);
    const Network = globalThis.WebSocket;
    const matches = (address) => url === undefined || sameAddress(address, url);
    function InTabWebSocket(address, protocols) {
      return matches(String(address)) ? connect({ name: 'websocket' }) : new Network(address, protocols);
    }
    InTabWebSocket.prototype = Socket.prototype;
    return Object.assign(InTabWebSocket, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
  }

  attach(port, options = {}) {
    return attachPort(this, port, options);
  }

  share(name) {
    const share = new Share(this, name, () => this.#ends.delete(share));
    this.#ends.add(share);
    return share;
  }

  serveSharedWorker() {
    serveSharedWorker(this);
  }

  publish(topic, payload = '', options = {}) {
    return this.#inProcess().publish(topic, payload, options);
  }

  subscribe(filter, listener, options = {}) {
    return this.#inProcess().subscribe(filter, listener, options);
  }

  clients() {
    return this.#core().clients();
  }

  client(clientId) {
    return this.#core().client(clientId);
  }

  subscriptions(clientId) {
    return this.#core().subscriptions(clientId);
  }

  retained(filter = '#', limit = 1000) {
    return this.#core().retained(filter, limit);
  }

  metrics() {
    return this.#core().metrics();
  }

  disconnect(clientId, reasonCode = ADMINISTRATIVE_ACTION) {
    const found = this.#core().disconnect(this.#clock.now(), clientId, reasonCode);
    this.#schedule();
    return found;
  }

  fault(rule) {
    const raw = this.#core().fault(rule);
    const wake = () => this.#schedule();
    return {
      get hits() {
        return raw.hits;
      },
      remove() {
        raw.remove();
        wake();
      },
      release() {
        raw.release();
        wake();
      },
    };
  }

  clearFaults() {
    this.#core().clearFaults();
    this.#schedule();
  }

  cut(clientId) {
    return this.#trouble(clientId, CUT);
  }

  halfOpen(clientId) {
    return this.#trouble(clientId, HALF_OPEN);
  }

  blackhole(clientId) {
    return this.#trouble(clientId, BLACKHOLE);
  }

  slow(clientId, bytesPerSecond) {
    return this.#trouble(clientId, SLOW, bytesPerSecond);
  }

  on(kind, listener) {
    const bit = KIND_BITS[kind];
    if (bit === undefined && !OTHER_KINDS.includes(kind)) throw new TypeError(`${kind} is no event of a broker`);
    if (typeof listener !== 'function') throw new TypeError('a listener has to be a function');
    const core = this.#core();
    const listeners = this.#listeners.get(kind) ?? new Set();
    this.#listeners.set(kind, listeners);
    // The same function may listen twice, and each has an end of its own.
    const entry = { listener };
    listeners.add(entry);
    if (bit && !(this.#enabled & bit)) core.enable((this.#enabled |= bit));
    this.#watchPackets();
    return () => {
      listeners.delete(entry);
      if (this.#raw) this.#watchPackets();
    };
  }

  snapshot() {
    return this.#core().snapshot(this.#clock.now());
  }

  bridge(options) {
    const bridge = new Bridge(this, options, () => this.#ends.delete(bridge));
    this.#ends.add(bridge);
    return bridge;
  }

  async close() {
    if (!this.#raw || this.#isClosing) return;
    // Whoever is sent away now and wants to come back at once is told that there is nothing to come back to.
    this.#isClosing = true;
    for (const end of [...this.#ends]) end.close();
    this.#core().shutDown(this.#clock.now());
    // Each turn may send so much only; what a client does not take is not waited for.
    for (let turns = 0; turns < 100 && this.#turn(); turns += 1) await new Promise((resolve) => later(resolve));
    await new Promise((resolve) => later(resolve));
    this.#clock.stop();
    const raw = this.#raw;
    this.#raw = undefined;
    for (const { ends } of this.#pipes.values()) guarded(() => ends.close(false));
    this.#pipes.clear();
    raw.free();
  }

  /**
   * Opens a connection whose bytes something else moves. `ends` is told what the broker does: `data(bytes)`, `close(isCut)` and
   * `drained()` after `wantDrain`. For the other modules of this package.
   */
  open(ends, { name = '', transport = 'memory', address, isTrusted = false } = {}) {
    const raw = this.#core();
    if (this.#isClosing) throw new Error('the broker is closed');
    const number = raw.open(this.#clock.now(), name, transport, address, isTrusted);
    const link = new Link(number, ends, this.#raw);
    this.#pipes.set(number, link);
    this.#schedule();
    const isOpen = () => this.#raw !== undefined && this.#pipes.has(number);
    const close = () => {
      if (!isOpen()) return;
      this.#core();
      link.flush();
      this.#raw.ended(this.#clock.now(), number);
      this.#pipes.delete(number);
      this.#schedule();
    };
    return {
      number,
      send: (bytes) => {
        if (!isOpen()) return;
        this.#core();
        link.send(bytes);
        this.#activity += 1;
        this.#schedule();
      },
      close,
      /** The other side sends nothing any more; it may wait for the answers to what it has sent. */
      end: () => {
        if (!isOpen()) return;
        this.#core();
        link.flush();
        this.#schedule();
        later(() => {
          if (!isOpen()) return;
          close();
          ends.close(false);
        });
      },
      buffered: () => (isOpen() ? link.buffered() : 0),
      block: (isBlocked) => {
        if (!isOpen()) return;
        this.#core().block(number, isBlocked);
        if (!isBlocked) this.#schedule();
      },
      wantDrain: () => {
        if (!isOpen()) return;
        this.#core();
        link.wantDrain();
        this.#schedule();
      },
    };
  }

  #core() {
    if (!this.#raw) throw new Error('the broker is closed');
    if (this.#isInHook) throw new Error('authorize must not call the broker');
    return this.#raw;
  }

  #inProcess() {
    this.#core();
    this.#local ??= new Local(this);
    return this.#local;
  }

  #trouble(clientId, kind, rate = 0) {
    const found = this.#core().trouble(this.#clock.now(), clientId, kind, rate);
    this.#schedule();
    return found;
  }

  #watchPackets() {
    const isWatched = ['packet', 'link'].some((kind) => this.#listeners.get(kind)?.size > 0);
    this.#raw.recordPackets(isWatched);
  }

  /** Soon, but not within whatever is going on. */
  #schedule() {
    if (this.#isScheduled || !this.#raw) return;
    this.#isScheduled = true;
    const run = () => {
      this.#isScheduled = false;
      if (!this.#raw) return;
      const isMore = this.#turn();
      this.#clock.arm();
      if (isMore) this.#schedule();
    };
    // A microtask answers at once; but a page whose microtasks never end is dead, so after a while it gets its turn.
    if (this.#spent < SLICE) queueMicrotask(run);
    else later(run);
  }

  /** True if there is more to do. */
  #turn() {
    if (!this.#raw) return false;
    const start = performance.now();
    if (this.#spent === 0) later(() => (this.#spent = 0));
    let isMore;
    do {
      isMore = this.#raw.turn(this.#clock.now());
      for (let output; this.#raw && (output = this.#raw.next()); ) {
        this.#activity += 1;
        guarded(() => this.#dispatch(output));
      }
    } while (isMore && this.#raw && performance.now() - start < SLICE);
    this.#spent += Math.max(performance.now() - start, 0.01);
    return isMore && this.#raw !== undefined;
  }

  #isBusy() {
    const isBusy = this.#isScheduled || this.#activity !== this.#seenActivity;
    this.#seenActivity = this.#activity;
    return isBusy;
  }

  #dispatch(output) {
    switch (output[0]) {
      case 0:
        return this.#pipes.get(output[1])?.ends.data(output[2]);
      case 1: {
        const pipe = this.#pipes.get(output[1]);
        this.#pipes.delete(output[1]);
        return pipe?.ends.close(output[2]);
      }
      case 2:
        if (this.#pipes.get(output[1])?.drained()) this.#schedule();
        return undefined;
      case 3:
        return this.#ask(output[1], output[2]);
      case 4:
        return this.#emit(output[1], output[2]);
      case 5:
        return this.#emit('packet', new PacketEvent(output));
      default: {
        const [, time, connection, client, what] = output;
        return this.#emit('link', { time, connection, client, what });
      }
    }
  }

  #emit(kind, event) {
    for (const { listener } of this.#listeners.get(kind) ?? []) guarded(() => listener(event));
  }

  #ask(ticket, request) {
    const answer = (verdict) => {
      if (!this.#raw) return;
      try {
        this.#core().answer(this.#clock.now(), ticket, verdict);
      } catch (error) {
        this.#emit('error', { error });
        this.#core().answer(this.#clock.now(), ticket, false);
      }
      this.#schedule();
    };
    const fail = (error) => {
      this.#emit('error', { error });
      answer(false);
    };
    let verdict;
    try {
      verdict = this.#authenticate(request);
    } catch (error) {
      return fail(error);
    }
    if (typeof verdict?.then === 'function') verdict.then(answer, fail);
    else answer(verdict);
  }

  #authorize(hook, action) {
    this.#isInHook = true;
    try {
      return hook(action) === true;
    } catch (error) {
      later(() => this.#emit('error', { error }));
      return false;
    } finally {
      this.#isInHook = false;
    }
  }
}

/** One connection: what it has sent and the module has not, and who is told. */
class Link {
  #number;
  #raw;
  #waiting = [];
  #waitingBytes = 0;
  #wantsDrain = false;

  constructor(number, ends, raw) {
    this.#number = number;
    this.ends = ends;
    this.#raw = raw;
  }

  buffered() {
    return this.#raw.buffered(this.#number) + this.#waitingBytes;
  }

  send(bytes) {
    if (this.#waiting.length === 0 && this.#raw.buffered(this.#number) < INSIDE) {
      this.#raw.receive(this.#number, bytes);
      return;
    }
    if (this.#waiting.length === 0) this.#raw.wantDrain(this.#number);
    // Whoever sent it may use its buffer again.
    this.#waiting.push(bytes.slice());
    this.#waitingBytes += bytes.length;
  }

  wantDrain() {
    this.#wantsDrain = true;
    if (this.#waiting.length === 0) this.#raw.wantDrain(this.#number);
  }

  /** The module has taken what it had. True if it has got more. */
  drained() {
    if (this.#waiting.length > 0) {
      let count = 0;
      for (let inside = 0; count < this.#waiting.length && inside < INSIDE; count += 1) {
        inside += this.#waiting[count].length;
        this.#raw.receive(this.#number, this.#waiting[count]);
      }
      for (const { length } of this.#waiting.splice(0, count)) this.#waitingBytes -= length;
      if (this.#waiting.length > 0 || this.#wantsDrain) this.#raw.wantDrain(this.#number);
      return true;
    }
    if (this.#wantsDrain) {
      this.#wantsDrain = false;
      this.ends.drained?.();
    }
    return false;
  }

  /** All that waits, before the end. */
  flush() {
    for (const bytes of this.#waiting.splice(0)) this.#raw.receive(this.#number, bytes);
    this.#waitingBytes = 0;
  }
}

class PacketEvent {
  #packet;

  constructor([, time, connection, client, isUp, version, bytes, fate]) {
    this.time = time;
    this.connection = connection;
    this.client = client;
    this.direction = isUp ? 'to-broker' : 'to-client';
    this.version = version;
    this.bytes = bytes;
    if (fate !== undefined) this.fate = fate;
  }

  get packet() {
    if (this.#packet === undefined) {
      try {
        this.#packet = decodePacket(this.version, this.bytes);
      } catch {
        this.#packet = null;
      }
    }
    return this.#packet ?? undefined;
  }
}

function seedOf(seed) {
  if (seed !== undefined) return [0n, BigInt.asUintN(64, BigInt(seed))];
  return crypto.getRandomValues(new BigUint64Array(2));
}

function sameAddress(one, other) {
  const plain = (address) => new URL(address, globalThis.location?.href).href;
  try {
    return plain(one) === plain(other);
  } catch {
    return one === other;
  }
}
