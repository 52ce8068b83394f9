import { BROKER } from '../sequence/layout.js';

export default {
  id: 'shared',
  title: 'Shared subscription',
  section: '4.8.2',
  intent: 'Several clients share the work of one subscription: each message goes to one of them. It is how a queue of jobs gets more hands.',
  lanes: ['office', BROKER, 'worker-1', 'worker-2', 'audit'],
  steps: [
    {
      say: 'Two workers subscribe to $share/workers/jobs, which is the filter “jobs” shared in the group “workers”. The audit subscribes to jobs on its own.',
      async run(c) {
        await c.join('office', 'worker-1', 'worker-2', 'audit');
        await c.clients['worker-1'].subscribe({ filter: '$share/workers/jobs', qos: 1 });
        await c.clients['worker-2'].subscribe({ filter: '$share/workers/jobs', qos: 1 });
        await c.clients.audit.subscribe({ filter: 'jobs', qos: 1 });
      },
      check(c) {
        const acks = c.packets({ name: 'SUBACK' });
        c.expect(acks.length === 3 && acks.every(({ packet }) => packet.granted[0] === 1), 'three subscriptions to be granted');
        return 'Three subscriptions, two of them shared.';
      },
    },
    {
      say: 'The office publishes six jobs. Watch each go to the audit and to one worker, never to both.',
      async run(c) {
        for (let i = 1; i <= 6; i += 1) await c.clients.office.publish('jobs', `job ${i}`, { qos: 1 });
      },
      check(c) {
        const [one, two] = [c.texts('worker-1'), c.texts('worker-2')];
        c.expect(new Set([...one, ...two]).size === 6 && one.length + two.length === 6, 'each job to reach one worker');
        c.expect(one.length > 0 && two.length > 0, 'both workers to get jobs');
        c.expect(c.texts('audit').length === 6, 'the audit to see all six');
        return `Worker 1 got ${one.length} jobs, worker 2 got ${two.length}, the audit saw all 6.`;
      },
    },
    {
      say: 'One worker leaves and two more jobs come. Watch the other one take both.',
      async run(c) {
        c.before = c.texts('worker-2').length;
        c.clients['worker-1'].disconnect();
        await c.settle();
        await c.clients.office.publish('jobs', 'job 7', { qos: 1 });
        await c.clients.office.publish('jobs', 'job 8', { qos: 1 });
      },
      check(c) {
        c.none({ name: 'PUBLISH', client: 'worker-1' });
        c.expect(c.texts('worker-2').slice(c.before).join() === 'job 7,job 8', 'worker 2 to get both');
        return 'Jobs 7 and 8 went to worker 2.';
      },
    },
  ],
  end: 'Within a group each message has one receiver; outside of it nothing changes.',
};
