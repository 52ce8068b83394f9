// Payloads, sizes and times as text, and text as payloads.

const utf8 = new TextDecoder('utf-8', { fatal: true });
const encoder = new TextEncoder();
// Control characters other than tab and line ends: what has them is no text to read.
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;

/** The payload as text, or null if it is none. */
export function asText(payload) {
  try {
    const text = utf8.decode(payload);
    return CONTROL.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** { value } if the payload is a JSON object or array, else null. */
export function asJson(payload) {
  const first = payload[0];
  if (first !== 0x7b && first !== 0x5b && first !== 0x20 && first !== 0x0a) return null;
  try {
    const value = JSON.parse(utf8.decode(payload));
    return value && typeof value === 'object' ? { value } : null;
  } catch {
    return null;
  }
}

/** One short line. */
export function preview(payload, limit = 120) {
  if (!payload.length) return '(empty)';
  const cut = payload.length > limit * 4 ? payload.subarray(0, limit * 4) : payload;
  // A cut may go through a character, so what is cut is decoded leniently.
  const text = cut === payload ? asText(cut) : lenient(cut);
  if (text === null) return toHex(payload.subarray(0, Math.ceil(limit / 3)), ' ') + (payload.length * 3 > limit ? ' …' : '');
  const line = text.replace(/\s+/g, ' ');
  return line.length > limit ? `${line.slice(0, limit)}…` : line;
}

function lenient(bytes) {
  const text = new TextDecoder().decode(bytes);
  return CONTROL.test(text) || text.split('\ufffd').length > 3 ? null : text;
}

export function toHex(bytes, separator = '') {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(separator);
}

export function fromHex(text) {
  const digits = text.replace(/[\s:,]|0x/gi, '');
  if (/[^0-9a-f]/i.test(digits)) throw new Error('Only the digits 0–9 and a–f are hex.');
  if (digits.length % 2) throw new Error('Hex needs two digits for each byte.');
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function toBase64(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

export function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text.replace(/\s/g, '').replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  } catch {
    throw new Error('This is not base64.');
  }
}

/** Lines of { offset, hex, text }, sixteen bytes each. */
export function hexDump(bytes, limit = 4096) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, limit); at += 16) {
    const row = bytes.subarray(at, Math.min(at + 16, limit));
    lines.push({
      offset: at.toString(16).padStart(4, '0'),
      hex: toHex(row, ' ').padEnd(47),
      text: Array.from(row, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·')).join(''),
    });
  }
  return lines;
}

/** Bytes from what a person typed. Throws with the reason. `kind`: text, json, hex, base64. */
export function parsePayload(kind, text) {
  if (kind === 'hex') return fromHex(text);
  if (kind === 'base64') return fromBase64(text);
  if (kind === 'json') {
    try {
      return encoder.encode(JSON.stringify(JSON.parse(text)));
    } catch (error) {
      throw new Error(`This is not JSON: ${error.message}`);
    }
  }
  return encoder.encode(text);
}

/** The number in a payload, or in the field `path` (`a.b.0`) of a JSON payload; NaN if there is none. */
export function numberIn(payload, path = '') {
  if (payload.length > 65_536) return Number.NaN;
  if (!path) {
    const text = payload.length && payload.length < 40 ? asText(payload) : '';
    return text?.trim() ? Number(text) : Number.NaN;
  }
  let value = asJson(payload)?.value;
  for (const key of path.split('.')) value = value?.[key];
  return typeof value === 'number' || typeof value === 'boolean' ? Number(value) : Number.NaN;
}

/** The paths of all numbers in a payload: '' for a bare number, at most twelve. */
export function numericFields(payload) {
  if (!Number.isNaN(numberIn(payload))) return [''];
  const json = payload.length <= 65_536 ? asJson(payload) : null;
  const found = [];
  const walk = (value, path, depth) => {
    if (found.length >= 12) return;
    if (typeof value === 'number') found.push(path);
    else if (value && typeof value === 'object' && depth < 4) {
      for (const [key, child] of Object.entries(value)) walk(child, path ? `${path}.${key}` : key, depth + 1);
    }
  };
  if (json) walk(json.value, '', 0);
  return found;
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(bytes < 10_240 ? 1 : 0)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export function count(n) {
  if (n < 10_000) return String(Math.round(n));
  if (n < 1_000_000) return `${(n / 1000).toFixed(n < 100_000 ? 1 : 0)}k`;
  return `${(n / 1_000_000).toFixed(1)}M`;
}

/** A point on the clock: 0:00:12.345. */
export function clockTime(milliseconds, digits = 3) {
  const total = Math.max(0, milliseconds);
  const seconds = Math.floor(total / 1000);
  const pad = (n) => String(n).padStart(2, '0');
  const fraction = digits ? `.${String(Math.floor(total % 1000)).padStart(3, '0').slice(0, digits)}` : '';
  return `${Math.floor(seconds / 3600)}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}${fraction}`;
}

/** A span: 850 ms, 12 s, 5 min 3 s, 2 h 10 min. */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

const FOREVER = 0xffffffff;

/** A session expiry interval. */
export function expiry(seconds) {
  if (seconds === FOREVER) return 'never';
  return seconds ? duration(seconds * 1000) : 'at once';
}

export const versionName = (version) => ({ 3: '3.1', 4: '3.1.1', 5: '5.0' })[version] ?? String(version);

/** Lines of `name: value`, for user properties. */
export function linesOf(properties = {}) {
  return Object.entries(properties)
    .flatMap(([name, value]) => [].concat(value).map((one) => `${name}: ${one}`))
    .join('\n');
}

export function fromLines(text) {
  const properties = {};
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (!line.trim()) continue;
    const name = (at < 0 ? line : line.slice(0, at)).trim();
    const value = at < 0 ? '' : line.slice(at + 1).trim();
    if (Object.hasOwn(properties, name)) properties[name] = [].concat(properties[name], value);
    else properties[name] = value;
  }
  return Object.keys(properties).length ? properties : undefined;
}
