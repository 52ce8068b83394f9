// An MQTT client over anything that has the shape of a WebSocket. The protocol is in the WebAssembly module; here are sockets,
// promises and timers.

import { RawClient } from './columba_wasm.js';
import { guarded } from './guarded.js';
import { toBytes } from './socket.js';

// What an event of the module begins with.
const CONNECTED = 0;
const DISCONNECTED = 1;
const MESSAGE = 2;
const ANSWERED = 3;
const FAILED = 4;
const AUTH = 5;

const realClock = {
  now: () => performance.now(),
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** By which numbers messages are acknowledged; nobody else's affair. */
const acks = new WeakMap();

export class ReasonError extends Error {
  constructor(reasonCode, text) {
    super(`0x${reasonCode.toString(16).padStart(2, '0').toUpperCase()}${text ? `: ${text}` : ''}`);
    this.name = 'ReasonError';
    this.reasonCode = reasonCode;
  }
}

export class Client {
  #raw;
  #clock;
  #start;
  #socket;
  #listeners = new Map();
  #waiting = new Map();
  #connecting;
  #timer;
  #timerAt = Infinity;
  #isFlushing = false;
  // Why the transport went, where that is known better than the protocol knows it.
  #words;

  constructor(options = {}) {
    const { clock = realClock, ...given } = options;
    this.#clock = clock;
    // A clock that is moved by hand may be anywhere.
    this.#start = clock.now();
    this.#raw = new RawClient(given);
  }

  get state() {
    if (this.#socket === undefined) return 'offline';
    return this.#raw.isOnline() ? 'online' : 'connecting';
  }

  get clientId() {
    return this.#raw.clientId();
  }

  get inflight() {
    return this.#raw.inflight();
  }

  connect(socket) {
    if (this.#socket) this.drop();
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    const isCurrent = () => this.#socket === socket;
    const connected = new Promise((resolve, reject) => (this.#connecting = { resolve, reject }));
    // Whoever does not wait for it listens to the events.
    connected.catch(() => {});
    socket.addEventListener('message', ({ data }) => {
      if (!isCurrent()) return;
      this.#raw.receive(this.#now(), new Uint8Array(data));
      this.#work();
    });
    let isOpen = false;
    socket.addEventListener('close', ({ reason }) => {
      if (!isCurrent()) return;
      this.#gone(reason || (isOpen ? 'the connection was closed' : 'the broker cannot be reached'));
    });
    const begin = () => {
      if (!isCurrent()) return;
      isOpen = true;
      this.#raw.open(this.#now());
      this.#work();
    };
    if (socket.readyState === 1) begin();
    else socket.addEventListener('open', begin);
    return connected;
  }

  publish(topic, payload = '', { qos = 0, retain = false, properties } = {}) {
    return this.#promised(() => this.#raw.publish(this.#now(), topic, bytesOf(payload), qos, retain, properties));
  }

  subscribe(filters, properties) {
    const list = [filters].flat().map((filter) => (typeof filter === 'string' ? { filter } : filter));
    return this.#promised(() => this.#raw.subscribe(this.#now(), list, properties));
  }

  unsubscribe(filters) {
    return this.#promised(() => this.#raw.unsubscribe(this.#now(), [filters].flat()));
  }

  acknowledge(message, reasonCode = 0) {
    this.#raw.acknowledge(this.#now(), acks.get(message) ?? 0, reasonCode);
    this.#work();
  }

  authenticate(reasonCode, data) {
    this.#raw.authenticate(this.#now(), reasonCode, data && bytesOf(data));
    this.#work();
  }

  disconnect({ reasonCode = 0, sessionExpiryInterval, reasonString } = {}) {
    const socket = this.#socket;
    if (!socket) return;
    this.#raw.disconnect(this.#now(), reasonCode, sessionExpiryInterval, reasonString);
    this.#work();
    if (this.#socket === socket) this.drop();
  }

  drop() {
    const socket = this.#socket;
    if (!socket) return;
    this.#gone('dropped');
    socket.close();
  }

  on(kind, listener) {
    const listeners = this.#listeners.get(kind) ?? new Set();
    this.#listeners.set(kind, listeners);
    const entry = { listener };
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  #now() {
    return this.#clock.now() - this.#start;
  }

  #promised(begin) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(begin(), { resolve, reject });
      this.#work();
    });
  }

  #gone(reason) {
    this.#socket = undefined;
    this.#disarm();
    this.#words = reason;
    this.#raw.closed(this.#now());
    this.#work();
    this.#words = undefined;
    // A socket that never opened has been no connection to the protocol, but somebody waits for it.
    if (this.#connecting) this.#tell([DISCONNECTED, reason]);
  }

  /** Sends and tells what there is to send and to tell. A listener may call the client again; that joins in. */
  #work() {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      for (let isMore = true; isMore; ) {
        isMore = false;
        for (let bytes; this.#socket?.readyState === 1 && (bytes = this.#raw.transmit(this.#now())); ) {
          isMore = true;
          this.#socket.send(bytes);
        }
        for (let event; (event = this.#raw.next()); ) {
          isMore = true;
          this.#tell(event);
        }
      }
    } finally {
      this.#isFlushing = false;
    }
    this.#arm();
  }

  /** One timer that rings too early is left alone: to set it anew for each packet costs more than all the rest. */
  #arm() {
    const deadline = this.#socket && this.#raw.deadline();
    if (deadline === undefined || deadline >= this.#timerAt) return;
    this.#clock.clearTimeout(this.#timer);
    this.#timerAt = deadline;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timerAt = Infinity;
      this.#raw.timeout(this.#now());
      this.#work();
    }, Math.max(0, deadline - this.#now()));
    this.#timer?.unref?.();
  }

  #disarm() {
    this.#clock.clearTimeout(this.#timer);
    this.#timerAt = Infinity;
  }

  #tell([kind, ...values]) {
    switch (kind) {
      case CONNECTED:
        this.#connecting?.resolve(values[0]);
        this.#connecting = undefined;
        return this.#emit('connected', values[0]);
      case DISCONNECTED: {
        const [said, packet, reasonCode] = values;
        const reason = packet ? said : (this.#words ?? said);
        this.#connecting?.reject(reasonCode === undefined ? new Error(reason) : new ReasonError(reasonCode, reason));
        this.#connecting = undefined;
        const socket = this.#socket;
        this.#socket = undefined;
        this.#disarm();
        socket?.close();
        return this.#emit('disconnected', packet ? { reason, packet } : { reason });
      }
      case MESSAGE:
        return this.#emit('message', new Message(values));
      case AUTH:
        return this.#emit('auth', values[0]);
      case FAILED:
        return this.#settle(values[0], (waiting) => waiting.reject(new ReasonError(values[1], values[2])));
      case ANSWERED:
        return this.#settle(values[0], (waiting) => waiting.resolve(values[1]));
    }
  }

  #settle(token, how) {
    const waiting = this.#waiting.get(token);
    this.#waiting.delete(token);
    if (waiting) how(waiting);
  }

  #emit(kind, event) {
    for (const { listener } of this.#listeners.get(kind) ?? []) {
      guarded(() => listener(event));
    }
  }
}

class Message {
  constructor([topic, payload, qos, retain, dup, packetId, properties, ack]) {
    this.topic = topic;
    this.payload = payload;
    this.qos = qos;
    this.retain = retain;
    this.dup = dup;
    this.properties = properties ?? {};
    if (packetId) this.packetId = packetId;
    if (ack) acks.set(this, ack);
  }

  text() {
    return new TextDecoder().decode(this.payload);
  }
}

function bytesOf(payload) {
  return typeof payload === 'string' ? new TextEncoder().encode(payload) : toBytes(payload);
}
