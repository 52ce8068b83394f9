import { BROKER } from '../sequence/layout.js';

export default {
  id: 'qos-1',
  title: 'QoS 1: at least once',
  section: '4.3.2',
  intent: 'The receiver acknowledges, and the sender keeps the message until then. If the acknowledgement is lost, the message comes twice.',
  lanes: ['sensor', BROKER, 'panel'],
  steps: [
    {
      say: 'The sensor asks the broker to keep its session for an hour, since that is where unfinished messages live. The panel subscribes with QoS 1.',
      async run(c) {
        c.client('sensor', { cleanStart: false, properties: { sessionExpiryInterval: 3600 } });
        await c.connect('sensor');
        await c.join('panel');
        await c.clients.panel.subscribe({ filter: 'door/#', qos: 1 });
      },
      check(c) {
        c.expect(c.one({ name: 'SUBACK', client: 'panel' }).granted[0] === 1, 'the subscription to be granted with QoS 1');
        return 'Both are connected; the subscription has QoS 1.';
      },
    },
    {
      say: 'A message in good weather. Watch the packet id: PUBACK repeats it, once for the sensor’s packet and once for the broker’s.',
      async run(c) {
        await c.clients.sensor.publish('door/front', 'open', { qos: 1 });
      },
      check(c) {
        const sent = c.one({ name: 'PUBLISH', client: 'sensor', way: 'in' });
        const ack = c.one({ name: 'PUBACK', client: 'sensor', way: 'out' });
        c.expect(sent.messageId === ack.messageId, 'PUBACK to have the packet id of PUBLISH');
        c.one({ name: 'PUBACK', client: 'panel', way: 'in' });
        return `PUBACK #${ack.messageId} answered PUBLISH #${sent.messageId}: the sensor may forget the message.`;
      },
    },
    {
      say: 'The next PUBACK to the sensor gets lost. The panel has the message, but watch the sensor: for all it knows, nobody has.',
      async run(c) {
        c.broker.fault({ packet: 'PUBACK', client: 'sensor', direction: 'to-client', when: 'once', action: 'lose' });
        c.clients.sensor.publish('door/front', 'closed', { qos: 1 }).catch(() => {});
        await c.settle();
      },
      check(c) {
        const [ack] = c.packets({ name: 'PUBACK', client: 'sensor' });
        c.expect(ack?.fate === 'lost', 'PUBACK to be lost');
        c.expect(c.clients.sensor.inflight === 1, 'the sensor to keep its message');
        c.expectTexts('panel', ['open', 'closed']);
        return 'PUBACK was lost. The sensor holds one message without an answer.';
      },
    },
    {
      say: 'The connection breaks and the sensor comes back to its session. Watch the same packet id again, now with the DUP flag.',
      async run(c) {
        c.broker.cut('sensor');
        await c.settle();
        await c.connect('sensor');
      },
      check(c) {
        const connack = c.one({ name: 'CONNACK', client: 'sensor' });
        c.expect(connack.sessionPresent, 'the session to be present');
        const again = c.one({ name: 'PUBLISH', client: 'sensor', way: 'in' });
        c.expect(again.dup, 'DUP to be set');
        c.expect(c.one({ name: 'PUBACK', client: 'sensor' }).messageId === again.messageId, 'PUBACK for it');
        c.expect(c.clients.sensor.inflight === 0, 'the sensor to have nothing left');
        c.expectTexts('panel', ['open', 'closed', 'closed']);
        return `PUBLISH #${again.messageId} with DUP, and this time its PUBACK. The panel received “closed” twice.`;
      },
    },
  ],
  end: 'At least once: no message is lost, but whoever receives must be able to bear it twice.',
};
