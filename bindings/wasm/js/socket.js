// A connection in the shape of a browser's WebSocket. It knows the shape only: what moves the bytes is handed in.

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

// Node before 23 has none.
const CloseEventClass =
  globalThis.CloseEvent ??
  class CloseEvent extends Event {
    constructor(type, options = {}) {
      super(type);
      this.wasClean = options.wasClean ?? false;
      this.code = options.code ?? 0;
      this.reason = options.reason ?? '';
    }
  };

export class Socket extends EventTarget {
  static CONNECTING = CONNECTING;
  static OPEN = OPEN;
  static CLOSING = CLOSING;
  static CLOSED = CLOSED;
  CONNECTING = CONNECTING;
  OPEN = OPEN;
  CLOSING = CLOSING;
  CLOSED = CLOSED;

  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  extensions = '';
  #url;
  #protocol;
  #state = CONNECTING;
  #binaryType = 'arraybuffer';
  #pipe;
  #listeners = 0;
  // Blobs are read asynchronously; whatever is sent after one waits for it.
  #blobs = null;

  /**
   * `start` is called with the functions by which the connection reports, and returns what moves the bytes:
   * `{ number, send(bytes), close(), buffered() }`.
   */
  constructor(url, protocol, start) {
    super();
    this.#url = url;
    this.#protocol = protocol;
    this.#pipe = start({
      open: () => this.#opened(),
      message: (bytes) => this.#received(bytes),
      close: (isClean, reason) => this.#closed(isClean, reason),
    });
  }

  get url() {
    return this.#url;
  }

  get protocol() {
    return this.#state === CONNECTING ? '' : this.#protocol;
  }

  get readyState() {
    return this.#state;
  }

  get number() {
    return this.#pipe.number;
  }

  get bufferedAmount() {
    return this.#pipe.buffered();
  }

  get binaryType() {
    return this.#binaryType;
  }

  set binaryType(type) {
    if (type === 'arraybuffer' || type === 'blob') this.#binaryType = type;
  }

  send(data) {
    if (this.#state === CONNECTING) {
      throw new DOMException('the connection is not open yet', 'InvalidStateError');
    }
    if (this.#state !== OPEN) return;
    if (typeof Blob === 'function' && data instanceof Blob) {
      const earlier = this.#blobs ?? Promise.resolve();
      const sent = earlier.then(() => data.arrayBuffer()).then((buffer) => this.#send(new Uint8Array(buffer)));
      this.#blobs = sent;
      sent.then(() => {
        if (this.#blobs === sent) this.#blobs = null;
      });
      return;
    }
    // The caller may use its buffer again as soon as this returns, so what has to wait is a copy.
    const bytes = toBytes(data);
    if (this.#blobs) {
      const copy = bytes.slice();
      this.#blobs = this.#blobs.then(() => this.#send(copy));
    } else {
      this.#send(bytes);
    }
  }

  close(code, reason) {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException(`a program closes with 1000 or 3000 to 4999, not with ${code}`, 'InvalidAccessError');
    }
    if (this.#state >= CLOSING) return;
    this.#state = CLOSING;
    const close = () => {
      this.#pipe.close();
      queueMicrotask(() => this.#closed(true, reason, code));
    };
    if (this.#blobs) this.#blobs.then(close);
    else close();
  }

  addEventListener(type, ...rest) {
    if (type === 'message') this.#listeners += 1;
    super.addEventListener(type, ...rest);
  }

  #send(bytes) {
    if (this.#state === OPEN || this.#blobs) this.#pipe.send(bytes);
  }

  #opened() {
    if (this.#state !== CONNECTING) return;
    this.#state = OPEN;
    this.#emit('open', new Event('open'));
  }

  #received(bytes) {
    if (this.#state !== OPEN) return;
    const data = this.#binaryType === 'blob' ? new Blob([bytes]) : exactBuffer(bytes);
    const event = new MessageEvent('message', { data, origin: this.#url });
    // Dispatching costs as much as the rest together, and most clients set `onmessage`.
    if (this.#listeners > 0) this.dispatchEvent(event);
    this.onmessage?.call(this, event);
  }

  #closed(isClean, reason = '', code = isClean ? 1000 : 1006) {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    if (!isClean) this.#emit('error', new Event('error'));
    this.#emit('close', new CloseEventClass('close', { wasClean: isClean, code, reason }));
  }

  #emit(type, event) {
    this.dispatchEvent(event);
    this[`on${type}`]?.call(this, event);
  }
}

export function toBytes(data) {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  // Of another realm, such as a frame or a test runner's context.
  if (Object.prototype.toString.call(data) === '[object ArrayBuffer]') return new Uint8Array(data);
  if (typeof data === 'string') throw new TypeError('MQTT is binary: send an ArrayBuffer or a view, not text');
  throw new TypeError('send takes an ArrayBuffer, a view of one or a Blob');
}

function exactBuffer(bytes) {
  const { buffer, byteOffset, byteLength } = bytes;
  return byteOffset === 0 && byteLength === buffer.byteLength ? buffer : bytes.slice().buffer;
}
