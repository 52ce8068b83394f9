// A bridge's connection to the broker in this program, and its timers. Messages are passed on in the WebAssembly module, which
// has the WebSocket, too.

import { RawBridge } from './columba_wasm.js';
import { guarded } from './guarded.js';

/** How often a WebSocket that has too much to send is looked at, in milliseconds. */
const BLOCKED = 20;

export class Bridge {
  #raw;
  #broker;
  #socket;
  #timer;
  #state = 'connecting';
  #counts = [0, 0, 0, 0];
  #onstate;
  #onend;
  #isWorking = false;

  constructor(broker, options, onend) {
    const { protocol } = new URL(options.url);
    if (protocol !== 'ws:' && protocol !== 'wss:') throw new TypeError('a bridge needs an address with ws: or wss:');
    if (typeof WebSocket === 'undefined') {
      throw new Error("there is no WebSocket here; in Node before 22: globalThis.WebSocket = (await import('ws')).WebSocket");
    }
    this.#broker = broker;
    this.#onstate = options.onstate;
    this.#onend = onend;
    const [seed] = crypto.getRandomValues(new BigUint64Array(1));
    const raw = new RawBridge(options, seed, () => performance.now(), () => this.#work());
    this.#raw = raw;
    queueMicrotask(() => this.#turn());
  }

  get state() {
    return this.#state;
  }

  get received() {
    return this.#count(0);
  }

  get sent() {
    return this.#count(1);
  }

  get waiting() {
    return this.#count(2);
  }

  get dropped() {
    return this.#count(3);
  }

  close() {
    if (!this.#raw) return;
    this.#raw.shutDown();
    this.#work();
    this.#counts = this.#raw.counts();
    clearTimeout(this.#timer);
    const raw = this.#raw;
    this.#raw = undefined;
    this.#socket?.close();
    raw.free();
    this.#onend();
    // A listener that closes it is in the way of its own news.
    if (this.#state !== 'closed') {
      this.#state = 'closed';
      this.#tell({ state: 'closed' });
    }
  }

  #count(index) {
    return (this.#raw?.counts() ?? this.#counts)[index];
  }

  #turn() {
    if (!this.#raw) return;
    this.#raw.turn();
    this.#work();
  }

  /** A listener may close the bridge; then there is nothing more to do. */
  #work() {
    if (this.#isWorking) return;
    this.#isWorking = true;
    try {
      for (let isMore = true; isMore && this.#raw; ) {
        isMore = false;
        for (let event; (event = this.#raw?.next()); isMore = true) this.#handle(event);
        for (let bytes; this.#socket?.readyState === 1 && (bytes = this.#raw?.transmit()); isMore = true) {
          this.#socket.send(bytes);
        }
      }
    } finally {
      this.#isWorking = false;
    }
    this.#arm();
  }

  #arm() {
    clearTimeout(this.#timer);
    if (!this.#raw) return;
    const deadline = this.#raw.deadline();
    const wait = deadline === undefined ? Infinity : Math.max(0, deadline - performance.now());
    const delay = this.#raw.isBlocked() ? Math.min(wait, BLOCKED) : wait;
    if (delay === Infinity) return;
    this.#timer = setTimeout(() => this.#turn(), delay);
    this.#timer.unref?.();
  }

  #handle([kind, ...values]) {
    if (kind === 'open') return this.#connect();
    if (kind === 'note') return this.#tell({ state: this.#state, reason: values[0], reasonCode: values[1] });
    const [state, reason, reasonCode, retryIn] = values;
    this.#state = state;
    const told = { state };
    if (reason !== undefined) told.reason = reason;
    if (reasonCode !== undefined) told.reasonCode = reasonCode;
    if (retryIn !== undefined) told.retryIn = retryIn;
    this.#tell(told);
  }

  #tell(state) {
    guarded(() => this.#onstate?.(state));
  }

  #connect() {
    const socket = this.#broker.connect({ name: 'bridge', transport: 'bridge', isTrusted: true });
    this.#socket = socket;
    const on = (type, act) =>
      socket.addEventListener(type, (event) => {
        if (this.#socket !== socket || !this.#raw) return;
        act(event);
        this.#work();
      });
    on('open', () => this.#raw.opened());
    on('message', ({ data }) => this.#raw.receive(new Uint8Array(data)));
    on('close', () => {
      this.#socket = undefined;
      this.#raw.closed();
    });
  }
}
