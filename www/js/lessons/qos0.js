import { BROKER } from '../sequence/layout.js';

export default {
  id: 'qos-0',
  title: 'QoS 0: at most once',
  section: '4.3.1',
  intent: 'The cheapest way to send: one packet and no answer. It is right for values that the next one replaces anyway.',
  lanes: ['sensor', BROKER, 'panel'],
  steps: [
    {
      say: 'Two clients connect, and the panel subscribes to the temperature. Watch each question get its answer: CONNECT and CONNACK, SUBSCRIBE and SUBACK.',
      async run(c) {
        await c.join('sensor', 'panel');
        await c.clients.panel.subscribe({ filter: 'house/temperature', qos: 0 });
      },
      check(c) {
        const { granted } = c.one({ name: 'SUBACK', client: 'panel' });
        c.expect(granted[0] === 0, 'the subscription to be granted with QoS 0');
        return 'The broker granted the subscription with QoS 0.';
      },
    },
    {
      say: 'The sensor publishes 21.5 with QoS 0. Watch how few packets that takes: one in, one out, no number to tell them by.',
      async run(c) {
        await c.clients.sensor.publish('house/temperature', '21.5', { qos: 0 });
      },
      check(c) {
        const sent = c.one({ name: 'PUBLISH', client: 'sensor', way: 'in' });
        c.one({ name: 'PUBLISH', client: 'panel', way: 'out' });
        c.expect(!sent.messageId, 'PUBLISH without a packet id');
        c.expect(c.packets().length === 2, 'no packets but the two PUBLISH');
        c.expectTexts('panel', ['21.5']);
        return 'Two PUBLISH packets, no packet id, no acknowledgement.';
      },
    },
    {
      say: 'Now the network loses the packet on its last leg. Watch what happens next: nothing, for neither side can know.',
      async run(c) {
        c.broker.fault({ packet: 'PUBLISH', client: 'panel', direction: 'to-client', when: 'once', action: 'lose' });
        await c.clients.sensor.publish('house/temperature', '22.0', { qos: 0 });
        await c.wait(60);
      },
      check(c) {
        const [lost] = c.packets({ name: 'PUBLISH', client: 'panel', way: 'out' });
        c.expect(lost?.fate === 'lost', 'the PUBLISH to the panel to be lost');
        c.expect(c.packets({ name: 'PUBLISH' }).length === 2, 'nobody to send it again');
        c.expectTexts('panel', ['21.5']);
        return 'A minute later the panel still shows 21.5, and nobody has noticed.';
      },
    },
  ],
  end: 'At most once: a message comes or it does not, and it never comes twice.',
};
