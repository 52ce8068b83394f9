// What can be read from a packet's bytes without decoding it: thousands a second pass through the log, few are looked at.

const NAMES = [
  null, 'CONNECT', 'CONNACK', 'PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP', 'SUBSCRIBE', 'SUBACK', 'UNSUBSCRIBE', 'UNSUBACK',
  'PINGREQ', 'PINGRESP', 'DISCONNECT', 'AUTH',
];

export const PACKET_NAMES = NAMES.slice(1);

const utf8 = new TextDecoder();

/** The name of the packet that begins with these bytes. */
export function packetName(bytes) {
  return (bytes.length && NAMES[bytes[0] >> 4]) || 'bytes';
}

/** A variable byte integer at `at`: its value and the offset behind it, or undefined. */
function variable(bytes, at) {
  let value = 0;
  for (let i = 0; i < 4 && at + i < bytes.length; i++) {
    value += (bytes[at + i] & 0x7f) * 128 ** i;
    if (bytes[at + i] < 0x80) return { value, end: at + i + 1 };
  }
  return undefined;
}

/** Topic and alias of a PUBLISH; undefined if it is cut short. The topic is empty where an alias stands for it. */
export function publishTopic(bytes, version) {
  const length = variable(bytes, 1);
  if (!length) return undefined;
  const start = length.end + 2;
  const end = start + (bytes[length.end] << 8 | bytes[length.end + 1]);
  if (!(end <= bytes.length)) return undefined;
  const topic = utf8.decode(bytes.subarray(start, end));
  if (version < 5) return { topic };
  const hasId = (bytes[0] & 0x06) !== 0;
  return { topic, alias: topicAlias(bytes, end + (hasId ? 2 : 0)) };
}

/** Looks through properties that begin at `at` for a topic alias. */
function topicAlias(bytes, at) {
  const length = variable(bytes, at);
  if (!length || !length.value) return undefined;
  const end = Math.min(length.end + length.value, bytes.length);
  const string = (from) => 2 + (bytes[from] << 8 | bytes[from + 1]);
  for (let i = length.end; i < end;) {
    switch (bytes[i++]) {
      case 0x23: return bytes[i] << 8 | bytes[i + 1];
      case 0x01: i += 1; break;
      case 0x02: i += 4; break;
      case 0x0b: i = variable(bytes, i)?.end ?? end; break;
      case 0x03: case 0x08: case 0x09: i += string(i); break;
      case 0x26: i += string(i); i += string(i); break;
      default: return undefined;
    }
  }
  return undefined;
}

/** Whether `topic` matches `filter`, as MQTT has it. */
export function matches(filter, topic) {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  const levels = topic.split('/');
  const wanted = filter.split('/');
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === '#') return true;
    if (i >= levels.length || (wanted[i] !== '+' && wanted[i] !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}
