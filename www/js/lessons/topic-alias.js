import { reasonText } from '../describe.js';
import { BROKER } from '../sequence/layout.js';

const TOPIC = 'building/7/floor/12/room/1204/temperature';

export default {
  id: 'topic-alias',
  title: 'Topic alias',
  section: '3.3.2.3.4',
  intent: 'A long topic is sent once and given a number. After that the number is enough, for as long as the connection lasts.',
  lanes: ['sensor', BROKER, 'panel'],
  steps: [
    {
      say: 'The sensor connects. Watch CONNACK: topic alias maximum is how many aliases the broker accepts from it.',
      async run(c) {
        await c.join('sensor', 'panel');
        await c.clients.panel.subscribe({ filter: 'building/#', qos: 1 });
      },
      check(c) {
        const most = c.one({ name: 'CONNACK', client: 'sensor' }).properties?.topicAliasMaximum;
        c.expect(most > 0, 'the broker to accept aliases');
        return `The broker accepts ${most} aliases.`;
      },
    },
    {
      say: 'The first message has the topic and an alias, 1. Look at the size of the packet.',
      async run(c) {
        await c.clients.sensor.publish(TOPIC, '20.1', { qos: 1, properties: { topicAlias: 1 } });
      },
      check(c) {
        const [entry] = c.packets({ name: 'PUBLISH', client: 'sensor', way: 'in' });
        const { topic, properties } = entry.packet;
        c.expect(topic === TOPIC && properties?.topicAlias === 1, 'the topic and the alias 1');
        c.first = entry.bytes.length;
        return `The topic and its alias: ${c.first} bytes.`;
      },
    },
    {
      say: 'From now on the topic is empty and the alias stands for it. Watch the panel get the whole topic nonetheless.',
      async run(c) {
        await c.clients.sensor.publish('', '20.2', { qos: 1, properties: { topicAlias: 1 } });
        await c.clients.sensor.publish('', '20.3', { qos: 1, properties: { topicAlias: 1 } });
      },
      check(c) {
        const short = c.packets({ name: 'PUBLISH', client: 'sensor', way: 'in' });
        c.expect(short.length === 2 && short.every(({ packet }) => packet.topic === ''), 'two PUBLISH without a topic');
        c.expectTexts('panel', ['20.1', '20.2', '20.3']);
        c.expect(c.messages.panel.every(({ topic }) => topic === TOPIC), 'the panel to get the whole topic');
        return `${short[0].bytes.length} bytes instead of ${c.first}; the panel sees ${TOPIC}.`;
      },
    },
    {
      say: 'Another client uses alias 1 without ever having said what it stands for. Watch the broker refuse: an alias belongs to its connection.',
      async run(c) {
        // Our client would not send this, so the packets are made by hand.
        c.raw('careless', [
          { cmd: 'connect', protocolVersion: 5, clean: true, clientId: 'careless', keepalive: 0 },
          { cmd: 'publish', topic: '', payload: '20.4', qos: 0, properties: { topicAlias: 1 } },
        ]);
      },
      check(c) {
        const farewell = c.one({ name: 'DISCONNECT', client: 'careless', way: 'out' });
        c.expect(farewell.reasonCode >= 0x80, 'the broker to close with a reason');
        c.expectTexts('panel', ['20.1', '20.2', '20.3']);
        return `DISCONNECT with reason ${reasonText(farewell.reasonCode)}: nobody knows what alias 1 is on this connection.`;
      },
    },
  ],
  end: 'Aliases belong to one connection and one direction, and save most where topics are long and payloads short.',
};
