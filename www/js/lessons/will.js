import { BROKER } from '../sequence/layout.js';

const WILL = { topic: 'drone/status', payload: 'lost contact', qos: 1 };

export default {
  id: 'will',
  title: 'Will',
  section: '3.1.2.5',
  intent: 'A client leaves a message with the broker that is published if it vanishes. So others learn of it, though it cannot tell them itself.',
  lanes: ['drone', BROKER, 'pilot'],
  steps: [
    {
      say: 'The drone connects and hands over its will inside CONNECT. The pilot subscribes; watch that the will is not sent now.',
      async run(c) {
        c.client('drone', { will: WILL });
        await c.connect('drone');
        await c.join('pilot');
        await c.clients.pilot.subscribe({ filter: 'drone/#', qos: 1 });
      },
      check(c) {
        c.expect(c.one({ name: 'CONNECT', client: 'drone' }).will?.topic === WILL.topic, 'CONNECT to carry the will');
        c.expect(c.broker.client('drone').hasWill, 'the broker to hold the will');
        c.none({ name: 'PUBLISH' });
        return 'The will came with CONNECT and waits in the broker.';
      },
    },
    {
      say: 'The connection breaks without a DISCONNECT. Watch the broker speak for the drone.',
      async run(c) {
        c.clients.drone.drop();
        await c.settle();
      },
      check(c) {
        c.none({ name: 'DISCONNECT', client: 'drone' });
        const told = c.one({ name: 'PUBLISH', client: 'pilot', way: 'out' });
        c.expect(told.topic === WILL.topic, 'the will on its topic');
        c.expectTexts('pilot', ['lost contact']);
        return 'The pilot received “lost contact”.';
      },
    },
    {
      say: 'The drone returns with the same will and this time leaves properly. Watch DISCONNECT take the will away.',
      async run(c) {
        await c.connect('drone');
        c.clients.drone.disconnect();
        await c.settle();
      },
      check(c) {
        c.expect((c.one({ name: 'DISCONNECT', client: 'drone' }).reasonCode ?? 0) === 0, 'an ordinary DISCONNECT');
        c.none({ name: 'PUBLISH' });
        return 'DISCONNECT, and no will.';
      },
    },
    {
      say: 'A client can also leave and still want its will published. Watch the reason code 0x04 in DISCONNECT.',
      async run(c) {
        await c.connect('drone');
        c.clients.drone.disconnect({ reasonCode: 0x04 });
        await c.settle();
      },
      check(c) {
        c.expect(c.one({ name: 'DISCONNECT', client: 'drone' }).reasonCode === 4, 'reason code 0x04');
        c.expectTexts('pilot', ['lost contact', 'lost contact']);
        return 'DISCONNECT with 0x04, and the will was published.';
      },
    },
  ],
  end: 'The will is published when a connection ends in any way but an ordinary DISCONNECT.',
};
