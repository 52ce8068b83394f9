import { BROKER } from '../sequence/layout.js';

export default {
  id: 'receive-maximum',
  title: 'Receive maximum',
  section: '3.1.2.11.3',
  intent: 'A slow client says how many unacknowledged messages it can bear. The broker waits with the rest.',
  lanes: ['fast', BROKER, 'slow'],
  steps: [
    {
      say: 'The slow client connects with a receive maximum of two, and it acknowledges by hand. Look at CONNECT for the number.',
      async run(c) {
        await c.join('fast');
        c.client('slow', { manualAcks: true, properties: { receiveMaximum: 2 } });
        await c.connect('slow');
        await c.clients.slow.subscribe({ filter: 'work', qos: 1 });
      },
      check(c) {
        const { properties } = c.one({ name: 'CONNECT', client: 'slow' });
        c.expect(properties?.receiveMaximum === 2, 'a receive maximum of 2');
        return 'CONNECT said: no more than two at once.';
      },
    },
    {
      say: 'Five messages are published quickly. Watch two go out to the slow client, and the fast one get its acknowledgements all the same.',
      async run(c) {
        for (let i = 1; i <= 5; i += 1) await c.clients.fast.publish('work', `task ${i}`, { qos: 1 });
      },
      check(c) {
        c.expect(c.packets({ name: 'PUBLISH', client: 'slow' }).length === 2, 'two messages to the slow client');
        c.expect(c.packets({ name: 'PUBACK', client: 'fast' }).length === 5, 'five acknowledgements to the fast client');
        const { inflight, queued } = c.broker.client('slow');
        c.expect(inflight === 2 && queued === 3, `2 messages under way and 3 waiting, not ${inflight} and ${queued}`);
        return 'Two under way, three waiting in the broker.';
      },
    },
    {
      say: 'The slow client acknowledges one. Watch the next message take the free place.',
      async run(c) {
        c.clients.slow.acknowledge(c.messages.slow[0]);
        await c.settle();
      },
      check(c) {
        c.one({ name: 'PUBACK', client: 'slow' });
        c.one({ name: 'PUBLISH', client: 'slow', way: 'out' });
        c.expectTexts('slow', ['task 1', 'task 2', 'task 3']);
        return 'One PUBACK in, one PUBLISH out.';
      },
    },
    {
      say: 'It works off the rest, one after the other. Watch the order: nobody is overtaken.',
      async run(c) {
        for (let i = 1; i < 5; i += 1) {
          c.clients.slow.acknowledge(c.messages.slow[i]);
          await c.settle();
        }
      },
      check(c) {
        c.expectTexts('slow', ['task 1', 'task 2', 'task 3', 'task 4', 'task 5']);
        const { inflight, queued } = c.broker.client('slow');
        c.expect(inflight === 0 && queued === 0, 'nothing to be left');
        return 'All five tasks arrived in their order.';
      },
    },
  ],
  end: 'Receive maximum holds back QoS 1 and 2, in either direction; CONNACK carries the broker’s own.',
};
