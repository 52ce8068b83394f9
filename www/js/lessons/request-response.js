import { BROKER } from '../sequence/layout.js';

const ANSWERS = 'app/7/answers';

/** Answers each question where and as the question says. */
function answer(client, text) {
  client.on('message', ({ properties: { responseTopic, correlationData } }) => {
    client.publish(responseTopic, text, { qos: 1, properties: { correlationData } });
  });
}

function ask(c, whom, number) {
  const properties = { responseTopic: ANSWERS, correlationData: new Uint8Array([number]) };
  return c.clients.app.publish(`${whom}/state`, '?', { qos: 1, properties });
}

export default {
  id: 'request-response',
  title: 'Request and response',
  section: '4.10',
  intent: 'A message can say where its answer should go and which question it belongs to. The answerer need not know the asker.',
  lanes: ['app', BROKER, 'lamp', 'heater'],
  steps: [
    {
      say: 'A lamp and a heater listen for questions, and the app subscribes to the topic where it wants its answers. Each side has chosen its own topic.',
      async run(c) {
        await c.join('app', 'lamp', 'heater');
        const { app, lamp, heater } = c.clients;
        await app.subscribe({ filter: ANSWERS, qos: 1 });
        await lamp.subscribe({ filter: 'lamp/state', qos: 1 });
        await heater.subscribe({ filter: 'heater/state', qos: 1 });
        answer(lamp, 'on');
        answer(heater, '21 °C');
      },
      check(c) {
        c.expect(c.packets({ name: 'SUBACK' }).length === 3, 'three subscriptions');
        return 'All three listen.';
      },
    },
    {
      say: 'The app asks the lamp. Watch the response topic and the correlation data, which travel with the question and come back with the answer.',
      async run(c) {
        await ask(c, 'lamp', 1);
      },
      check(c) {
        const asked = c.one({ name: 'PUBLISH', client: 'lamp', way: 'out' });
        c.expect(asked.properties?.responseTopic === ANSWERS, 'the response topic to reach the lamp');
        const { topic, properties } = c.one({ name: 'PUBLISH', client: 'app', way: 'out' });
        c.expect(topic === ANSWERS && properties?.correlationData?.[0] === 1, 'the answer with the correlation data');
        c.expectTexts('app', ['on']);
        return 'The answer “on” came with correlation data 01.';
      },
    },
    {
      say: 'It asks both, and the network holds up the first question. Watch the answers come in the wrong order, and the correlation data put them right.',
      async run(c) {
        c.broker.fault({ packet: 'PUBLISH', client: 'lamp', direction: 'to-client', when: 'once', action: { delay: 800 } });
        await Promise.all([ask(c, 'lamp', 2), ask(c, 'heater', 3)]);
        await c.wait(1);
      },
      check(c) {
        const answers = c.messages.app.slice(1).map((message) => `0${message.properties.correlationData[0]} ${message.text()}`);
        c.expect(answers.join() === '03 21 °C,02 on', `answer 03 before answer 02, not ${answers.join(', ')}`);
        return 'Answer 03 came before answer 02, and each named its question.';
      },
    },
  ],
  end: 'Response topic says where to, correlation data says which; the broker only passes them on.',
};
