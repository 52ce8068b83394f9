import { BROKER } from '../sequence/layout.js';

export default {
  id: 'retained',
  title: 'Retained message',
  section: '3.3.1.3',
  intent: 'The broker keeps the last message of a topic for those who come later. That is how a screen shows a value the moment it opens.',
  lanes: ['sensor', BROKER, 'early', 'late'],
  steps: [
    {
      say: 'One subscriber is there in time, and the sensor publishes with the retain flag. Watch the flag on the way out: to someone who was there it is news, so it is not set.',
      async run(c) {
        await c.join('sensor', 'early');
        await c.clients.early.subscribe({ filter: 'pool/#', qos: 1 });
        await c.clients.sensor.publish('pool/temperature', '24', { qos: 1, retain: true });
      },
      check(c) {
        c.expect(c.one({ name: 'PUBLISH', client: 'sensor', way: 'in' }).retain, 'retain to be set by the sensor');
        c.expect(!c.one({ name: 'PUBLISH', client: 'early', way: 'out' }).retain, 'retain not to be set for a subscriber who was there');
        c.expect(c.broker.retained('pool/#').length === 1, 'the broker to keep one message');
        return 'The broker keeps “24” for pool/temperature.';
      },
    },
    {
      say: 'Somebody subscribes later, when nobody is publishing. Watch the broker deliver the value at once, with the retain flag: this is from before your time.',
      async run(c) {
        await c.join('late');
        await c.clients.late.subscribe({ filter: 'pool/#', qos: 1 });
      },
      check(c) {
        const kept = c.one({ name: 'PUBLISH', client: 'late', way: 'out' });
        c.expect(kept.retain, 'retain to be set');
        c.none({ name: 'PUBLISH', client: 'sensor' });
        c.expectTexts('late', ['24']);
        return 'The late subscriber got “24” with the retain flag, right after SUBACK.';
      },
    },
    {
      say: 'An empty retained message takes the kept one away. Watch both subscribers get it as an ordinary message, with nothing in it.',
      async run(c) {
        await c.clients.sensor.publish('pool/temperature', '', { qos: 1, retain: true });
      },
      check(c) {
        c.expect(c.broker.retained('pool/#').length === 0, 'the broker to keep nothing');
        c.expectTexts('late', ['24', '']);
        return 'Nothing is kept any more.';
      },
    },
    {
      say: 'The late subscriber subscribes once more. Watch for what does not come.',
      async run(c) {
        await c.clients.late.subscribe({ filter: 'pool/#', qos: 1 });
      },
      check(c) {
        c.one({ name: 'SUBACK', client: 'late' });
        c.none({ name: 'PUBLISH' });
        return 'SUBACK, and no message behind it.';
      },
    },
  ],
  end: 'One message per topic, the last; an empty one removes it.',
};
