// The world of a first visit: enough to see something move.

export const starter = {
  version: 1,
  target: { kind: 'tab' },
  clients: [
    {
      name: 'greenhouse',
      options: {
        version: 5,
        cleanStart: false,
        properties: { sessionExpiryInterval: 3600 },
        will: { topic: 'greenhouse/status', payload: 'offline', qos: 1, retain: true },
      },
      subscriptions: [{ filter: 'greenhouse/set/#', qos: 1 }],
    },
    {
      name: 'dashboard',
      options: { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } },
      subscriptions: [{ filter: 'greenhouse/#', qos: 1 }],
    },
  ],
  publishers: [
    { client: 'greenhouse', topic: 'greenhouse/temperature', shape: 'sine', rate: 2, minimum: 16, maximum: 28, period: 30, retain: true },
    { client: 'greenhouse', topic: 'greenhouse/air', shape: 'random walk', rate: 1, minimum: 40, maximum: 80, step: 2, format: 'json', qos: 1 },
    { client: 'greenhouse', topic: 'greenhouse/status', shape: 'interval', rate: 0.1, text: 'online', retain: true, qos: 1 },
  ],
};
