import { BROKER } from '../sequence/layout.js';

export default {
  id: 'message-expiry',
  title: 'Message expiry',
  section: '3.3.2.3.3',
  intent: 'Some messages are worth nothing when they are old. The sender says for how long one is good, and the broker counts down.',
  lanes: ['control', BROKER, 'gate'],
  steps: [
    {
      say: 'The gate subscribes, keeps its session and goes offline. What is sent to it now will wait.',
      async run(c) {
        await c.join('control');
        c.client('gate', { cleanStart: false, properties: { sessionExpiryInterval: 3600 } });
        await c.connect('gate');
        await c.clients.gate.subscribe({ filter: 'gate/#', qos: 1 });
        c.clients.gate.disconnect();
        await c.settle();
      },
      check(c) {
        c.expect(c.broker.client('gate') && !c.broker.client('gate').connection, 'the gate to be away with a session');
        return 'The gate is away.';
      },
    },
    {
      say: 'Two commands: “open”, good for 60 seconds, and “log”, good for ever. Twenty seconds later the gate returns; watch what is left of the 60.',
      async run(c) {
        await c.clients.control.publish('gate/command', 'open', { qos: 1, properties: { messageExpiryInterval: 60 } });
        await c.clients.control.publish('gate/log', 'log', { qos: 1 });
        await c.wait(20);
        await c.connect('gate');
      },
      check(c) {
        const [open, log] = c.packets({ name: 'PUBLISH', client: 'gate', way: 'out' }).map(({ packet }) => packet);
        c.expect(open?.properties?.messageExpiryInterval === 40, `40 seconds to be left, not ${open?.properties?.messageExpiryInterval}`);
        c.expect(log && log.properties?.messageExpiryInterval === undefined, 'no expiry for the other');
        c.expectTexts('gate', ['open', 'log']);
        return '“open” came with 40 of its 60 seconds.';
      },
    },
    {
      say: 'Now the gate stays away for two minutes. Watch only one of the two messages arrive.',
      async run(c) {
        c.clients.gate.disconnect();
        await c.settle();
        await c.clients.control.publish('gate/command', 'close', { qos: 1, properties: { messageExpiryInterval: 60 } });
        await c.clients.control.publish('gate/log', 'log again', { qos: 1 });
        await c.wait(120);
        await c.connect('gate');
      },
      check(c) {
        const sent = c.one({ name: 'PUBLISH', client: 'gate', way: 'out' });
        c.expect(sent.topic === 'gate/log', 'the log message alone');
        c.expectTexts('gate', ['open', 'log', 'log again']);
        return '“close” expired in the queue and was never sent.';
      },
    },
  ],
  end: 'The interval shrinks by the time a message has waited; at zero the message is dropped.',
};
