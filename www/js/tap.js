// Packet events from a socket whose broker is out of reach, in the form that a broker in the tab gives them.

import { decodePacket } from '../columba/columba.js';

/** More than this without a whole packet is no MQTT; it is shown as it came. */
const LIMIT = 4 * 1024 * 1024;

class TapEvent {
  #decoded = false;
  #packet;

  constructor(fields) {
    Object.assign(this, fields);
  }

  get packet() {
    if (!this.#decoded) {
      this.#decoded = true;
      try {
        this.#packet = decodePacket(this.version, this.bytes);
      } catch {
        this.#packet = undefined;
      }
    }
    return this.#packet;
  }
}

/** Finds packets in a stream of bytes, however it is cut. */
class Splitter {
  #rest = new Uint8Array(0);

  push(chunk) {
    let bytes = chunk;
    if (this.#rest.length) {
      bytes = new Uint8Array(this.#rest.length + chunk.length);
      bytes.set(this.#rest);
      bytes.set(chunk, this.#rest.length);
    }
    const packets = [];
    let at = 0;
    for (;;) {
      const size = packetSize(bytes, at);
      if (size === 0 || at + size > bytes.length) break;
      packets.push(bytes.slice(at, at + size));
      at += size;
    }
    this.#rest = bytes.slice(at);
    if (this.#rest.length > LIMIT) {
      packets.push(this.#rest);
      this.#rest = new Uint8Array(0);
    }
    return packets;
  }
}

/** 0 if the length is not all there yet. */
function packetSize(bytes, at) {
  let length = 0;
  for (let i = 0; i < 4; i += 1) {
    const byte = bytes[at + 1 + i];
    if (byte === undefined) return 0;
    length += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return 2 + i + length;
  }
  return bytes.length - at;
}

function asBytes(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return null;
}

/** Tells `onPacket` and `onLink` what goes over `socket`. Before anybody else listens to it. */
export function tap(socket, { connection, client, version, clock, onPacket, onLink }) {
  socket.binaryType = 'arraybuffer';
  const link = (what) => onLink({ time: clock.now(), connection, client, what });
  const feed = (direction) => {
    const splitter = new Splitter();
    return (data) => {
      const bytes = asBytes(data);
      if (!bytes) return;
      for (const packet of splitter.push(bytes)) {
        onPacket(new TapEvent({ time: clock.now(), connection, client, direction, version, bytes: packet }));
      }
    };
  };
  const outgoing = feed('to-broker');
  const incoming = feed('to-client');
  let closedHere = false;
  const send = socket.send.bind(socket);
  const close = socket.close.bind(socket);
  socket.send = (data) => {
    outgoing(data);
    send(data);
  };
  socket.close = (...args) => {
    closedHere = true;
    close(...args);
  };
  socket.addEventListener('open', () => link('opened'));
  socket.addEventListener('message', (event) => incoming(event.data));
  socket.addEventListener('close', () => link(closedHere ? 'closed by the client' : 'closed by the broker'));
  return socket;
}
