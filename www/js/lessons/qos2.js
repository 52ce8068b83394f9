import { BROKER } from '../sequence/layout.js';

export default {
  id: 'qos-2',
  title: 'QoS 2: exactly once',
  section: '4.3.3',
  intent: 'Four packets instead of two, so that both sides agree that a message has been handed over. Each exchange has a colour in the diagram.',
  lanes: ['meter', BROKER, 'billing'],
  steps: [
    {
      say: 'A meter that keeps its session, and a billing system that subscribes with QoS 2. What is counted in money should not be counted twice.',
      async run(c) {
        c.client('meter', { cleanStart: false, properties: { sessionExpiryInterval: 3600 } });
        await c.connect('meter');
        await c.join('billing');
        await c.clients.billing.subscribe({ filter: 'meter/+', qos: 2 });
      },
      check(c) {
        c.expect(c.one({ name: 'SUBACK', client: 'billing' }).granted[0] === 2, 'the subscription to be granted with QoS 2');
        return 'The subscription has QoS 2.';
      },
    },
    {
      say: 'One message. Watch the four packets on the left, PUBLISH, PUBREC, PUBREL and PUBCOMP, and the same four in the other direction on the right.',
      async run(c) {
        await c.clients.meter.publish('meter/17', '1 kWh', { qos: 2 });
      },
      check(c) {
        for (const client of ['meter', 'billing']) {
          const ids = ['PUBLISH', 'PUBREC', 'PUBREL', 'PUBCOMP'].map((name) => c.one({ name, client }).messageId);
          c.expect(new Set(ids).size === 1, `one packet id in the four packets of ${client}`);
        }
        c.expectTexts('billing', ['1 kWh']);
        return 'Four packets on each side, all with one packet id.';
      },
    },
    {
      say: 'PUBREC gets lost on its way to the meter. The broker knows the message already, and watch: it keeps the packet id until PUBREL comes.',
      async run(c) {
        c.broker.fault({ packet: 'PUBREC', client: 'meter', direction: 'to-client', when: 'once', action: 'lose' });
        c.clients.meter.publish('meter/17', '2 kWh', { qos: 2 }).catch(() => {});
        await c.settle();
      },
      check(c) {
        const [lost] = c.packets({ name: 'PUBREC', client: 'meter' });
        c.expect(lost?.fate === 'lost', 'PUBREC to be lost');
        c.expect(c.broker.client('meter').incoming === 1, 'the broker to remember one packet id');
        c.none({ name: 'PUBREL', client: 'meter' });
        return 'PUBREC was lost. The broker remembers one unreleased message.';
      },
    },
    {
      say: 'The line breaks and the meter comes back, unsure. It sends the message again, and the broker recognises the packet id: watch the billing system get nothing new.',
      async run(c) {
        c.broker.cut('meter');
        await c.settle();
        await c.connect('meter');
      },
      check(c) {
        const again = c.one({ name: 'PUBLISH', client: 'meter', way: 'in' });
        c.expect(again.dup, 'DUP to be set');
        for (const name of ['PUBREC', 'PUBREL', 'PUBCOMP']) c.one({ name, client: 'meter' });
        c.none({ name: 'PUBLISH', client: 'billing' });
        c.expectTexts('billing', ['1 kWh', '2 kWh']);
        c.expect(c.broker.client('meter').incoming === 0, 'the broker to have released the packet id');
        return 'The meter sent it twice; the billing system has “2 kWh” once.';
      },
    },
  ],
  end: 'Exactly once: the packet id is remembered until both sides have said that they are done with it.',
};
