import { BROKER } from '../sequence/layout.js';

export default {
  id: 'takeover',
  title: 'Takeover',
  section: '3.1.4',
  intent: 'There is one connection for each client id. Who connects with an id that is in use takes the session, and the other must go.',
  lanes: ['old phone', BROKER, 'new phone', 'friend'],
  steps: [
    {
      say: 'The old phone connects as “anna” and subscribes. A friend is there to write to her.',
      async run(c) {
        await c.join('friend');
        c.client('old phone', { clientId: 'anna', cleanStart: false, properties: { sessionExpiryInterval: 600 } });
        await c.connect('old phone');
        await c.clients['old phone'].subscribe({ filter: 'to/anna', qos: 1 });
      },
      check(c) {
        c.expect(!c.one({ name: 'CONNACK', client: 'old phone' }).sessionPresent, 'a new session');
        return 'The session “anna” belongs to the old phone.';
      },
    },
    {
      say: 'The new phone connects with the same client id. Watch the broker send the old one away with a reason and hand over the session.',
      async run(c) {
        c.client('new phone', { clientId: 'anna', cleanStart: false, properties: { sessionExpiryInterval: 600 } });
        await c.connect('new phone');
      },
      check(c) {
        const farewell = c.one({ name: 'DISCONNECT', client: 'old phone', way: 'out' });
        c.expect(farewell.reasonCode === 0x8e, 'reason code 0x8E');
        c.expect(c.one({ name: 'CONNACK', client: 'new phone' }).sessionPresent, 'the session to be present');
        c.expect(c.clients['old phone'].state === 'offline', 'the old phone to be offline');
        return 'DISCONNECT with 0x8E to the old phone; session present for the new one.';
      },
    },
    {
      say: 'The friend writes. Watch the message find the new phone, which has never subscribed.',
      async run(c) {
        await c.clients.friend.publish('to/anna', 'nice phone', { qos: 1 });
      },
      check(c) {
        c.none({ name: 'SUBSCRIBE' });
        c.none({ client: 'old phone' });
        c.expectTexts('new phone', ['nice phone']);
        c.expectTexts('old phone', []);
        return 'The new phone received “nice phone” by the old one’s subscription.';
      },
    },
  ],
  end: 'Two clients with one id that both reconnect by themselves throw each other out for ever: ids must be unique.',
};
