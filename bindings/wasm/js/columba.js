// The package for browsers.

import initialise from './columba_wasm.js';

export { Broker } from './broker.js';
export { Client, ReasonError } from './client.js';
export { decodePacket, encodePacket, explainPacket, toPcap } from './codec.js';
export { connectPort, connectShared, connectWorker } from './ports.js';

let loading;

export function init(module) {
  const source = module ?? new URL('./columba_wasm_bg.wasm', import.meta.url);
  loading ??= initialise({ module_or_path: source }).then(() => undefined);
  return loading;
}
