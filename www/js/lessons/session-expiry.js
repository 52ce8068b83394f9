import { BROKER } from '../sequence/layout.js';

export default {
  id: 'session-expiry',
  title: 'Session expiry',
  section: '3.1.2.11.2',
  intent: 'A session may outlive its connection: subscriptions stay and messages wait. How long is the client’s wish.',
  lanes: ['sender', BROKER, 'reader'],
  steps: [
    {
      say: 'The reader connects and asks for a session that lasts an hour longer than its connection. It subscribes and leaves.',
      async run(c) {
        await c.join('sender');
        c.client('reader', { cleanStart: false, properties: { sessionExpiryInterval: 3600 } });
        await c.connect('reader');
        await c.clients.reader.subscribe({ filter: 'mail', qos: 1 });
        c.clients.reader.disconnect();
        await c.settle();
      },
      check(c) {
        c.expect(!c.one({ name: 'CONNACK', client: 'reader' }).sessionPresent, 'a new session');
        c.one({ name: 'DISCONNECT', client: 'reader' });
        c.expect(c.broker.subscriptions('reader').length === 1, 'the subscription to stay');
        return 'The reader is gone, its session and subscription are not.';
      },
    },
    {
      say: 'Two messages come for the reader while it is away. Watch them stop at the broker.',
      async run(c) {
        await c.clients.sender.publish('mail', 'first', { qos: 1 });
        await c.clients.sender.publish('mail', 'second', { qos: 1 });
      },
      check(c) {
        c.none({ name: 'PUBLISH', client: 'reader' });
        c.expect(c.broker.client('reader').queued === 2, 'two messages to wait');
        return 'Two messages wait in the session.';
      },
    },
    {
      say: 'Half an hour later the reader is back. Watch CONNACK say that there is a session, and both messages follow without a new SUBSCRIBE.',
      async run(c) {
        await c.wait(1800);
        await c.connect('reader');
      },
      check(c) {
        c.expect(c.one({ name: 'CONNACK', client: 'reader' }).sessionPresent, 'the session to be present');
        c.none({ name: 'SUBSCRIBE' });
        c.expectTexts('reader', ['first', 'second']);
        return 'Session present: “first” and “second” arrived in their order.';
      },
    },
    {
      say: 'The reader leaves again, a message comes, and two hours go by. Watch the session end after the first of them.',
      async run(c) {
        c.ended = [];
        c.off = c.broker.on('sessionended', (event) => c.ended.push({ ...event, time: c.clock.now() }));
        c.clients.reader.disconnect();
        await c.settle();
        c.left = c.clock.now();
        await c.clients.sender.publish('mail', 'third', { qos: 1 });
        await c.wait(7200);
        c.off();
      },
      check(c) {
        c.expect(c.ended.length === 1 && c.ended[0].expired, 'the session to expire');
        c.expect(Math.abs(c.ended[0].time - c.left - 3_600_000) < 1000, 'it to expire after an hour');
        c.expect(c.broker.client('reader') === undefined, 'the broker to know the reader no more');
        return 'The session expired one hour after the connection, and “third” with it.';
      },
    },
    {
      say: 'The reader comes back too late. Watch CONNACK: no session, so it would have to subscribe again.',
      async run(c) {
        await c.connect('reader');
      },
      check(c) {
        c.expect(!c.one({ name: 'CONNACK', client: 'reader' }).sessionPresent, 'no session');
        c.none({ name: 'PUBLISH' });
        c.expectTexts('reader', ['first', 'second']);
        return 'No session, no subscription, no third message.';
      },
    },
  ],
  end: 'Session present in CONNACK is how a client learns whether it must set things up again.',
};
