import { BROKER } from '../sequence/layout.js';

export default {
  id: 'request-response',
  title: 'Request and response',
  section: '4.10',
  intent: 'A message can say where its answer should go and which question it belongs to. The answerer need not know the asker.',
  lanes: ['app', BROKER, 'lamp'],
  steps: [
    {
      say: 'The lamp listens for questions, and the app subscribes to the topic on which it wants its answers. Each chooses its own topic.',
      async run(c) {
        await c.join('app', 'lamp');
        const { app, lamp } = c.clients;
        await app.subscribe({ filter: 'app/7/answers', qos: 1 });
        await lamp.subscribe({ filter: 'lamp/question', qos: 1 });
        lamp.on('message', (message) => {
          const { responseTopic, correlationData } = message.properties;
          const text = message.text() === 'brightness' ? '80 %' : 'warm';
          lamp.publish(responseTopic, text, { qos: 1, properties: { correlationData } });
        });
      },
      check(c) {
        c.expect(c.packets({ name: 'SUBACK' }).length === 2, 'two subscriptions');
        return 'Both listen.';
      },
    },
    {
      say: 'The app asks. Watch the response topic and the correlation data, which travel with the question and come back with the answer.',
      async run(c) {
        await c.clients.app.publish('lamp/question', 'brightness', {
          qos: 1,
          properties: { responseTopic: 'app/7/answers', correlationData: new Uint8Array([1]) },
        });
      },
      check(c) {
        const asked = c.one({ name: 'PUBLISH', client: 'lamp', way: 'out' });
        c.expect(asked.properties?.responseTopic === 'app/7/answers', 'the response topic to reach the lamp');
        const answer = c.one({ name: 'PUBLISH', client: 'app', way: 'out' });
        c.expect(answer.topic === 'app/7/answers' && answer.properties?.correlationData?.[0] === 1, 'the answer with the correlation data');
        c.expectTexts('app', ['80 %']);
        return 'The answer “80 %” came with correlation data 01.';
      },
    },
    {
      say: 'Two questions at once, and the network holds up the first. Watch the answers come in the wrong order, and the correlation data put them right.',
      async run(c) {
        c.broker.fault({ packet: 'PUBLISH', client: 'app', direction: 'to-client', when: 'once', action: { behind: 1 } });
        const ask = (text, number) =>
          c.clients.app.publish('lamp/question', text, {
            qos: 1,
            properties: { responseTopic: 'app/7/answers', correlationData: new Uint8Array([number]) },
          });
        await Promise.all([ask('brightness', 2), ask('colour', 3)]);
        await c.settle();
      },
      check(c) {
        const answers = c.messages.app.slice(1).map((message) => [message.properties.correlationData[0], message.text()]);
        const byNumber = new Map(answers);
        c.expect(byNumber.get(2) === '80 %' && byNumber.get(3) === 'warm', 'each answer to have the number of its question');
        const order = answers.map(([number]) => `0${number}`).join(' before ');
        return `Answer ${order}, and each names its question.`;
      },
    },
  ],
  end: 'Response topic says where to, correlation data says which; the broker only passes them on.',
};
