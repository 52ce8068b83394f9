// Packets as objects: every vector of the codec's table, beside mqtt-packet, whose form of packets ours is.
//
// The module is the one that `cargo xtask wasm` builds; COLUMBA_PACKAGE names another folder. The vectors are printed by the
// example of columba-codec; COLUMBA_VECTORS names a file with what it printed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import mqttPacket from 'mqtt-packet';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const folder = process.env.COLUMBA_PACKAGE ?? join(root, 'target/wasm/package');
const { decodePacket, encodePacket } = await import(pathToFileURL(join(folder, 'node.js')));

const vectors = printedVectors().trim().split('\n').map((line) => JSON.parse(line));
const named = (name, version) => vectors.find((vector) => vector.name === name && vector.version === version);
const titled = ({ name, version }) => `${version}: ${name}`;
const bytesOf = (vector) => Uint8Array.from(Buffer.from(vector.bytes, 'hex'));
const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** What the standards allow and mqtt-packet does not. */
const REFUSED_BY_MQTT_PACKET = {
  '3: PINGREQ with unused bits, which mean nothing in 3.1': /Invalid header flag bits/,
  '3: CONNECT with flags that mean nothing in 3.1': /Invalid header flag bits/,
  '3: CONNECT without the user name and password it announces': /Cannot parse username/,
  '3: CONNECT without the password it announces': /Cannot parse password/,
  '3: CONNACK with what 3.1 reserves': /Invalid connack flags/,
  '3: PUBREL, again': /Invalid header flag bits/,
  '3: PUBREL with an unused bit': /Invalid header flag bits/,
  '3: PUBACK with unused bits': /Invalid header flag bits/,
  '3: SUBSCRIBE, again': /Invalid header flag bits/,
  '3: SUBSCRIBE with an unused bit': /Invalid header flag bits/,
  '3: UNSUBSCRIBE, again': /Invalid header flag bits/,
  '3: DISCONNECT with unused bits': /Invalid header flag bits/,
  // A code that is missing in its table.
  '5: DISCONNECT with the code on which the standard disagrees with itself': /Invalid disconnect reason code/,
  // It wants the reason code that success may leave out.
  '5: AUTH with success and nothing else': /Invalid auth reason code/,
};

/** What it reads otherwise, and how. */
const READ_OTHERWISE_BY_MQTT_PACKET = {
  // We leave a flag out that means nothing there.
  '3: PUBLISH at QoS 0 with DUP, which means nothing in 3.1': { dup: true },
};

test('there are vectors of every kind', () => {
  const count = (expect) => vectors.filter((vector) => vector.expect === expect).length;
  assert.ok(count('is') > 90 && count('reads') > 10 && count('fails') > 150 && count('incomplete') > 3);
});

for (const vector of vectors.filter(({ expect }) => expect === 'is' || expect === 'reads')) {
  const title = titled(vector);

  test(`${title} reads as mqtt-packet reads it`, () => {
    const packet = decodePacket(vector.version, bytesOf(vector));
    const refused = REFUSED_BY_MQTT_PACKET[title];
    if (refused) {
      assert.throws(() => parsed(vector), refused);
      return;
    }
    assert.deepEqual({ ...packet, ...READ_OTHERWISE_BY_MQTT_PACKET[title] }, parsed(vector));
  });

  test(`${title} is written as it was read`, () => {
    const packet = decodePacket(vector.version, bytesOf(vector));
    const bytes = encodePacket(vector.version, packet);
    if (vector.expect === 'is') {
      assert.equal(hex(bytes), vector.bytes);
      assert.ok(bytes instanceof Uint8Array);
    } else {
      const again = decodePacket(vector.version, bytes);
      assert.deepEqual({ ...again, length: packet.length }, packet);
    }
  });
}

for (const vector of vectors.filter(({ expect }) => expect === 'fails')) {
  test(`${titled(vector)} is refused with the reason`, () => {
    assert.throws(() => decodePacket(vector.version, bytesOf(vector)), { name: 'Error', message: vector.error });
  });
}

for (const vector of vectors.filter(({ expect }) => expect === 'incomplete')) {
  test(`${titled(vector)} is no packet`, () => {
    assert.throws(() => decodePacket(vector.version, bytesOf(vector)), /bytes are not a whole packet|are here/);
  });
}

test('exactly one packet', () => {
  const two = Uint8Array.of(0xc0, 0, 0xc0, 0);
  assert.throws(() => decodePacket(5, two), { message: '2 bytes follow after the packet' });
  assert.throws(() => decodePacket(5, two.subarray(0, 0)), { message: '0 bytes are not a whole packet' });
  assert.throws(() => decodePacket(5, Uint8Array.of(0x30, 9, 0)), { message: 'the packet has 11 bytes, and 3 are here' });
  assert.equal(decodePacket(5, two.subarray(2)).cmd, 'pingreq');
});

test('versions are 3, 4 and 5', () => {
  for (const version of [0, 2, 6, 255]) {
    assert.throws(() => decodePacket(version, Uint8Array.of(0xc0, 0)), /the version has to be 3/);
    assert.throws(() => encodePacket(version, { cmd: 'pingreq' }), /the version has to be 3/);
  }
});

/** As a program would write them: what may be left out is. mqtt-packet has to write the same, but for the order of properties. */
const WRITTEN = [
  [4, { cmd: 'connect', clientId: 'a' }],
  [4, { cmd: 'connect', protocolId: 'MQIsdp', protocolVersion: 3, clientId: 'a', clean: false, keepalive: 65535 }],
  [4, { cmd: 'connect', protocolVersion: 5, clientId: '', username: '', password: Buffer.of(0, 255) }],
  [5, { cmd: 'connect', protocolVersion: 4, clientId: 'a', username: 'ü', password: 'p' }],
  [
    5,
    {
      cmd: 'connect',
      protocolVersion: 5,
      clientId: 'a',
      will: {
        topic: 'w',
        payload: 'gone',
        qos: 2,
        retain: true,
        properties: { willDelayInterval: 7, payloadFormatIndicator: true, correlationData: Buffer.of(1, 2) },
      },
      properties: {
        sessionExpiryInterval: 0xffffffff,
        maximumPacketSize: 1,
        requestProblemInformation: false,
        userProperties: { z: 'first', a: ['1', '2', ''], '': 'none' },
      },
    },
  ],
  [4, { cmd: 'connack', returnCode: 5, sessionPresent: false }],
  [5, { cmd: 'connack', reasonCode: 0, sessionPresent: true, properties: { maximumQoS: 0, serverKeepAlive: 0 } }],
  [4, { cmd: 'publish', topic: 'a/b', payload: 'text' }],
  [4, { cmd: 'publish', topic: 'a/b', payload: Buffer.of(0, 1), qos: 1, messageId: 7, dup: true, retain: true }],
  [4, { cmd: 'publish', topic: 'a/b', payload: '', qos: 0, messageId: 7, properties: { topicAlias: 0 } }],
  [5, { cmd: 'publish', topic: '', payload: '', properties: { topicAlias: 1, subscriptionIdentifier: [1, 268435455] } }],
  [5, { cmd: 'publish', topic: 'a', payload: '', properties: { subscriptionIdentifier: 3, contentType: undefined } }],
  [5, { cmd: 'puback', messageId: 1, reasonCode: 0 }],
  [5, { cmd: 'pubrec', messageId: 1, reasonCode: 0x80, properties: { reasonString: 'no' } }],
  [4, { cmd: 'pubrel', messageId: 1 }],
  [4, { cmd: 'pubcomp', messageId: 65535 }],
  [4, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 2 }, { topic: '+', qos: 0 }] }],
  [5, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 1, nl: true, rap: true, rh: 2 }], properties: { subscriptionIdentifier: 9 } }],
  [4, { cmd: 'suback', messageId: 1, granted: [0, 1, 2, 128] }],
  [5, { cmd: 'suback', messageId: 1, granted: [0x87], properties: { userProperties: { k: 'v' } } }],
  [5, { cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['a', '$share/g/b'] }],
  [4, { cmd: 'unsuback', messageId: 1 }],
  [5, { cmd: 'unsuback', messageId: 1, granted: [0, 17] }],
  [4, { cmd: 'pingreq' }],
  [4, { cmd: 'pingresp' }],
  [4, { cmd: 'disconnect' }],
  [5, { cmd: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 0 } }],
  [5, { cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'm', authenticationData: Buffer.from('d') } }],
];

for (const [version, packet] of WRITTEN) {
  test(`written as mqtt-packet writes it: ${version}: ${JSON.stringify(packet)}`, () => {
    const theirs = mqttPacket.generate(packet, { protocolVersion: version });
    const ours = encodePacket(version, packet);
    assert.deepEqual(decodePacket(version, ours), { ...decodePacket(version, theirs), length: length(ours) });
  });
}

/** What is wrong, and the words for it. */
const WRONG = [
  [4, undefined, 'cmd is missing'],
  [4, 'pingreq', 'cmd is missing'],
  [4, { cmd: 1 }, 'cmd has to be a string'],
  [4, { cmd: 'PINGREQ' }, "cmd cannot be 'PINGREQ'"],
  [4, { cmd: 'connect', protocolVersion: 6 }, /^the version has to be 3/],
  [4, { cmd: 'connect', protocolVersion: 4, protocolId: 'MQIsdp' }, 'protocolId has to be MQTT in MQTT 3.1.1'],
  [4, { cmd: 'connect', keepalive: 65536 }, 'keepalive has to be a whole number up to 65535'],
  [4, { cmd: 'connect', keepalive: -1 }, 'keepalive has to be a number that is not negative'],
  [4, { cmd: 'connect', clean: 1 }, 'clean has to be true or false'],
  [4, { cmd: 'connect', password: 'p' }, 'a password without a user name'],
  [4, { cmd: 'connect', will: {} }, 'will.topic is missing'],
  [4, { cmd: 'connect', will: { topic: 'a/#' } }, 'will.topic contains a wildcard, which only filters may have'],
  [5, { cmd: 'connect', will: { topic: 'a', properties: { topicAlias: 1 } } }, 'topicAlias has no place in a will'],
  [5, { cmd: 'connect', clientId: 'a\0' }, 'the client id contains U+0000'],
  [5, { cmd: 'connect', clientId: 'x'.repeat(65536) }, 'the client id has more than 65,535 bytes'],
  [4, { cmd: 'connack' }, 'returnCode is missing'],
  [5, { cmd: 'connack', returnCode: 0 }, 'reasonCode is missing'],
  [4, { cmd: 'connack', returnCode: 6 }, 'returnCode has to be a whole number up to 5'],
  [5, { cmd: 'connack', reasonCode: 3 }, 'reasonCode cannot be 3'],
  [5, { cmd: 'connack', reasonCode: 0, properties: { maximumQoS: 2 } }, 'maximumQoS has to be a whole number from 0 to 1'],
  [4, { cmd: 'publish', payload: 'x' }, 'PUBLISH needs a topic'],
  [4, { cmd: 'publish', topic: 'a', payload: 5 }, 'payload has to be a string or bytes'],
  [4, { cmd: 'publish', topic: 'a', qos: 3 }, 'qos has to be a whole number up to 2'],
  [4, { cmd: 'publish', topic: 'a', qos: 1 }, 'messageId is missing'],
  [4, { cmd: 'publish', topic: 'a', qos: 1, messageId: 0 }, 'messageId has to be from 1 to 65535'],
  [4, { cmd: 'publish', topic: 'a', dup: true }, 'a message of QoS 0 cannot be marked as a duplicate'],
  [5, { cmd: 'publish', topic: 'a', properties: 'x' }, 'properties has to be an object'],
  [5, { cmd: 'publish', topic: 'a', properties: { Topicalias: 1 } }, "there is no property 'Topicalias'"],
  [5, { cmd: 'publish', topic: 'a', properties: { topicAlias: 0 } }, 'topicAlias has to be a whole number from 1 to 65535'],
  [5, { cmd: 'publish', topic: 'a', properties: { topicAlias: '1' } }, 'topicAlias has to be a whole number from 1 to 65535'],
  [5, { cmd: 'publish', topic: 'a', properties: { messageExpiryInterval: 1.5 } }, 'messageExpiryInterval has to be a whole number from 0 to 4294967295'],
  [5, { cmd: 'publish', topic: 'a', properties: { messageExpiryInterval: NaN } }, /^messageExpiryInterval has to be/],
  [5, { cmd: 'publish', topic: 'a', properties: { payloadFormatIndicator: 1 } }, 'payloadFormatIndicator has to be true or false'],
  [5, { cmd: 'publish', topic: 'a', properties: { contentType: true } }, 'contentType has to be a string'],
  [5, { cmd: 'publish', topic: 'a', properties: { contentType: {} } }, 'contentType has to be a number, a string, bytes, or true or false'],
  [5, { cmd: 'publish', topic: 'a', properties: { correlationData: 1 } }, 'correlationData has to be a string or bytes'],
  [5, { cmd: 'publish', topic: 'a', properties: { responseTopic: '+' } }, 'the property Response Topic contains a wildcard, which only filters may have'],
  [5, { cmd: 'publish', topic: 'a', properties: { subscriptionIdentifier: [1, 0] } }, 'subscriptionIdentifier has to be a whole number from 1 to 268435455'],
  [5, { cmd: 'publish', topic: 'a', properties: { userProperties: { k: [1] } } }, 'userProperties.k has to be a string or an array of strings'],
  [5, { cmd: 'publish', topic: 'a', properties: { reasonString: 'x' } }, 'reasonString has no place in PUBLISH'],
  [5, { cmd: 'puback', messageId: 1, reasonCode: 1 }, 'PUBACK cannot have the reason "Granted QoS 1"'],
  [4, { cmd: 'subscribe', messageId: 1 }, 'SUBSCRIBE without a topic filter'],
  [4, { cmd: 'subscribe', messageId: 1, subscriptions: {} }, 'subscriptions has to be an array'],
  [4, { cmd: 'subscribe', messageId: 1, subscriptions: [{ qos: 1 }] }, 'subscriptions[].topic is missing'],
  [4, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a#' }] }, "a topic filter has a '#' that is not alone in the last level"],
  [5, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a' }], properties: { subscriptionIdentifier: [1, 2] } }, 'subscriptionIdentifier has to be one number'],
  [4, { cmd: 'suback', messageId: 1, granted: [] }, 'SUBACK without a reason code'],
  [4, { cmd: 'suback', messageId: 1, granted: ['1'] }, 'granted has to be an array of reason codes'],
  [4, { cmd: 'unsubscribe', messageId: 1, unsubscriptions: [7] }, 'unsubscriptions has to be an array of strings'],
  [4, { cmd: 'auth', reasonCode: 0 }, 'AUTH does not exist in MQTT 3.1.1'],
];

for (const [version, packet, message] of WRONG) {
  test(`refused: ${String(message)}: ${version}: ${JSON.stringify(packet)?.slice(0, 100)}`, () => {
    assert.throws(() => encodePacket(version, packet), { name: 'Error', message });
  });
}

test('user properties keep their order and may have any name', () => {
  const userProperties = { z: 'x', a: ['1', '', '2'], ['__proto__']: 'p', constructor: 'c' };
  const bytes = encodePacket(5, { cmd: 'disconnect', properties: { userProperties } });
  const read = decodePacket(5, bytes).properties.userProperties;
  assert.deepEqual(Object.entries(read), Object.entries(userProperties));
  assert.deepEqual(Object.keys(read), ['z', 'a', '__proto__', 'constructor']);
});

test('user properties that an object cannot keep in order', () => {
  const read = (userProperties) => {
    const bytes = encodePacket(5, { cmd: 'disconnect', properties: { userProperties } });
    return Object.entries(decodePacket(5, bytes).properties.userProperties);
  };
  // Names that are numbers come first in every object, and the values of a name are together.
  assert.deepEqual(read({ b: 'x', 1: 'y' }), [['1', 'y'], ['b', 'x']]);
  const mixed = Uint8Array.from(Buffer.from('e0170015' + ['a1', 'b1', 'a2'].map((pair) => {
    const [name, value] = Buffer.from(pair);
    return hex([0x26, 0, 1, name, 0, 1, value]);
  }).join(''), 'hex'));
  assert.deepEqual(Object.entries(decodePacket(5, mixed).properties.userProperties), [['a', ['1', '2']], ['b', '1']]);
});

test('bytes may come in any shape', () => {
  const bytes = Uint8Array.of(9, 1, 2, 9);
  const shapes = [bytes.subarray(1, 3), bytes.slice(1, 3).buffer, new DataView(bytes.buffer, 1, 2), Buffer.of(1, 2), '\x01\x02'];
  for (const payload of shapes) {
    assert.equal(hex(encodePacket(4, { cmd: 'publish', topic: 'a', payload })), '3005000161' + '0102');
  }
});

test('lengths at the edges of their encoding', () => {
  for (const remaining of [127, 128, 16383, 16384, 2097151, 2097152]) {
    const payload = new Uint8Array(remaining - 3);
    const packet = decodePacket(4, encodePacket(4, { cmd: 'publish', topic: 'a', payload }));
    assert.equal(packet.length, remaining);
    assert.equal(packet.payload.length, payload.length);
  }
});

test('an object is what it was before', () => {
  const packet = decodePacket(5, bytesOf(named('CONNECT with every property', 5)));
  const copy = structuredClone(packet);
  encodePacket(5, packet);
  assert.deepEqual(plain(packet), plain(copy));
});

/** What mqtt-packet makes of a vector, without what says nothing and with bytes as Uint8Array. */
function parsed(vector) {
  const parser = mqttPacket.parser({ protocolVersion: vector.version });
  const packets = [];
  parser.on('packet', (packet) => packets.push(packet));
  parser.on('error', (error) => {
    throw error;
  });
  parser.parse(Buffer.from(vector.bytes, 'hex'));
  assert.equal(packets.length, 1);
  const packet = plain(packets[0]);
  if (packet.cmd !== 'publish') {
    // Parts of a PUBLISH, which it sets in every packet.
    for (const name of ['retain', 'qos', 'dup', 'topic', 'payload']) {
      delete packet[name];
    }
  }
  return packet;
}

/** A copy without classes: buffers are Uint8Array, objects plain; but user properties have no prototype. */
function plain(value, name) {
  if (value instanceof Uint8Array) {
    return Uint8Array.from(value);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return value;
  }
  const copy = name === 'userProperties' ? Object.create(null) : {};
  for (const [key, part] of Object.entries(value)) {
    copy[key] = plain(part, key);
  }
  return copy;
}

/** The remaining length that the fixed header says. */
function length(bytes) {
  let value = 0;
  for (let index = 1; ; index += 1) {
    value += (bytes[index] & 0x7f) * 128 ** (index - 1);
    if (bytes[index] < 0x80) {
      return value;
    }
  }
}

function printedVectors() {
  if (process.env.COLUMBA_VECTORS) {
    return readFileSync(process.env.COLUMBA_VECTORS, 'utf8');
  }
  const command = 'run --quiet --package columba-codec --features vectors --example vectors';
  return execFileSync('cargo', command.split(' '), { cwd: root, encoding: 'utf8' });
}
