import { BROKER } from '../sequence/layout.js';

export default {
  id: 'will-delay',
  title: 'Will delay',
  section: '3.1.3.2.2',
  intent: 'A phone in a tunnel is not gone. The delay gives a client time to come back before its will is published.',
  lanes: ['phone', BROKER, 'friend'],
  steps: [
    {
      say: 'The phone connects with a will that waits 30 seconds, and with a session that outlives the connection by five minutes. A friend subscribes.',
      async run(c) {
        c.client('phone', {
          cleanStart: false,
          will: { topic: 'phone/presence', payload: 'away', qos: 1, delay: 30 },
          properties: { sessionExpiryInterval: 300 },
        });
        await c.connect('phone');
        await c.join('friend');
        await c.clients.friend.subscribe({ filter: 'phone/#', qos: 1 });
      },
      check(c) {
        const { will } = c.one({ name: 'CONNECT', client: 'phone' });
        c.expect(will.properties?.willDelayInterval === 30, 'a will delay of 30 seconds');
        return 'The will has a delay of 30 seconds.';
      },
    },
    {
      say: 'The phone loses its connection, and ten seconds go by. Watch the friend hear nothing.',
      async run(c) {
        c.clients.phone.drop();
        await c.wait(10);
      },
      check(c) {
        c.none({ name: 'PUBLISH' });
        c.expect(c.broker.client('phone').hasWill, 'the will to wait');
        return 'Ten seconds without the phone, and no will.';
      },
    },
    {
      say: 'The phone is back in time. Half a minute more goes by; watch the will not come after all.',
      async run(c) {
        await c.connect('phone');
        await c.wait(30);
      },
      check(c) {
        c.expect(c.one({ name: 'CONNACK', client: 'phone' }).sessionPresent, 'the session to be present');
        c.none({ name: 'PUBLISH' });
        return 'The session went on, and the friend never knew.';
      },
    },
    {
      say: 'This time the phone stays away. Watch the time beside the will: thirty seconds, no more.',
      async run(c) {
        c.clients.phone.drop();
        c.gone = c.clock.now();
        await c.wait(29);
        c.early = c.texts('friend').length;
        await c.wait(2);
      },
      check(c) {
        c.expect(c.early === 0, 'no will after 29 seconds');
        const [told] = c.packets({ name: 'PUBLISH', client: 'friend', way: 'out' });
        c.expect(told, 'the will after 30 seconds');
        const after = (told.time - c.gone) / 1000;
        c.expect(Math.abs(after - 30) < 0.1, `the will after 30 seconds, not ${after}`);
        c.expectTexts('friend', ['away']);
        return `“away” came ${after.toFixed(1)} seconds after the connection was lost.`;
      },
    },
  ],
  end: 'The will waits for its delay or the end of the session, whichever comes first, and a return cancels it.',
};
