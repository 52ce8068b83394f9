// Packets as objects, explained, and as a capture: what the WebAssembly module knows of MQTT's bytes.

export { decodePacket, encodePacket, explainPacket } from './columba_wasm.js';
import { RawCapture } from './columba_wasm.js';

export function toPcap(packets) {
  const capture = new RawCapture();
  for (const { time, connection, direction, bytes } of packets) {
    capture.add(time, connection, direction === 'to-broker', bytes);
  }
  return capture.finish();
}
