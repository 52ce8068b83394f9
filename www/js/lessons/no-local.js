import { BROKER } from '../sequence/layout.js';

export default {
  id: 'no-local',
  title: 'No local',
  section: '3.8.3.1',
  intent: 'A client that publishes to a topic it also subscribes to hears itself. No local is the option that spares it the echo.',
  lanes: ['alice', BROKER, 'bob'],
  steps: [
    {
      say: 'Alice and Bob subscribe to the same chat, and Alice says hello. Watch her own words come back to her.',
      async run(c) {
        await c.join('alice', 'bob');
        await c.clients.alice.subscribe({ filter: 'chat', qos: 0 });
        await c.clients.bob.subscribe({ filter: 'chat', qos: 0 });
        await c.clients.alice.publish('chat', 'hello');
        await c.settle();
      },
      check(c) {
        c.expectTexts('alice', ['hello']);
        c.expectTexts('bob', ['hello']);
        return 'Both received “hello”, also she who sent it.';
      },
    },
    {
      say: 'Alice subscribes again to the same filter, now with no local. Look into SUBSCRIBE: it is one bit of the options, and it replaces the subscription.',
      async run(c) {
        await c.clients.alice.subscribe({ filter: 'chat', qos: 0, noLocal: true });
      },
      check(c) {
        c.expect(c.one({ name: 'SUBSCRIBE', client: 'alice' }).subscriptions[0].nl === true, 'the no local bit');
        const [subscription, ...others] = c.broker.subscriptions('alice');
        c.expect(subscription.noLocal && !others.length, 'one subscription, with no local');
        return 'One subscription as before, now with no local.';
      },
    },
    {
      say: 'Alice speaks, then Bob. Watch who receives what.',
      async run(c) {
        await c.clients.alice.publish('chat', 'anyone there?');
        await c.clients.bob.publish('chat', 'yes');
        await c.settle();
      },
      check(c) {
        c.expectTexts('alice', ['hello', 'yes']);
        c.expectTexts('bob', ['hello', 'anyone there?', 'yes']);
        return 'Alice hears Bob but not herself; Bob, without the option, hears both.';
      },
    },
  ],
  end: 'No local is what a bridge needs, too, or two brokers would pass a message to and fro for ever.',
};
