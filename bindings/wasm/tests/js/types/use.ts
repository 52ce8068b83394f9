// Compiled, never run: what the declarations say fits how the package is used.

import mqtt from 'mqtt';
import { Broker, Client, ReasonError, connectPort, decodePacket, explainPacket, toPcap } from 'columba';
import type { BridgeState, ClientInfo, Listener, Message, PacketEvent, Verdict } from 'columba';

const broker = new Broker({
  clock: 'manual',
  limits: { queuedMessages: 100 },
  authenticate: async ({ username }): Promise<Verdict> => (username ? true : { accept: false, reasonCode: 0x86 }),
  authorize: (action) => (action.type === 'publish' ? action.topic !== '' : action.filter !== '#'),
});

const packets: PacketEvent[] = [];
const end: () => void = broker.on('packet', (packet) => packets.push(packet));
const fault = broker.fault({ packet: 'PUBACK', when: { nth: 2 }, action: { delay: 1000 } });
const capture: Uint8Array = toPcap(packets);

export async function use(): Promise<void> {
  const listener: Listener = await broker.listen({ port: 0 });
  const client = mqtt.connect(listener.url);
  const direct = new mqtt.MqttClient(() => broker.stream(), {});
  const own = new Client({ version: 5, will: { topic: 'a', payload: 'gone', delay: 5 } });
  await own.connect(broker.connect());
  own.on('message', (message: Message) => own.acknowledge(message));
  const reasonCode: number = await own.publish('a', new Uint8Array(3), { qos: 1, properties: { contentType: 'x' } });
  const subscription = broker.subscribe('a/#', ({ topic, payload }) => console.log(topic, payload.length));
  await subscription.ready.catch((error: ReasonError) => error.reasonCode);
  const [first]: ClientInfo[] = broker.clients();
  const states: BridgeState[] = [];
  broker.bridge({ url: 'ws://localhost', in: [{ filter: '#' }], onstate: (state) => states.push(state) }).close();
  const socket = connectPort(new MessageChannel().port1);
  const restored = Broker.restore(broker.snapshot(), { seed: 1n }, 1000);
  for (const { name, children } of explainPacket(5, packets[0]!.bytes)) console.log(name, children.length);
  console.log(decodePacket(4, new Uint8Array()).cmd, first?.sessionExpiry, reasonCode, fault.hits, capture.length);
  // @ts-expect-error: there is no such option
  new Broker({ maximumQoS: 2 });
  // @ts-expect-error: there is no such event
  broker.on('paket', () => {});
  end();
  socket.close();
  await Promise.all([client.endAsync(), direct.endAsync(), restored.close(), listener.close(), broker.close()]);
}
