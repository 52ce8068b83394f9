// A broker in a worker, for whoever holds the other end of a port.

import { Broker, init } from '../columba/columba.js';

const ready = init().then(() => new Broker());

onmessage = async ({ data: port }) => (await ready).attach(port);
