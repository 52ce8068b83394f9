// A broker in Node on a free port, for tests that are not written in JavaScript. Ends with its standard input.

import { Broker } from 'columba';

const broker = new Broker();
const { port } = await broker.listen({ port: 0, webSocket: false });
console.log(`listening tcp 127.0.0.1:${port}`);
process.stdin.resume();
process.stdin.on('end', () => broker.close());
