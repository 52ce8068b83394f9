// The `columba` command on free ports, for tests that need a broker outside the browser.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import mqtt from 'mqtt';

import { PATIENCE, root } from './support.mjs';

const PLACES = ['target/release/columba', 'target/debug/columba'].map((path) => join(root, path));

function binary() {
  const found = process.env.COLUMBA_BIN ?? PLACES.find((path) => existsSync(path));
  assert.ok(found, `there is no ${PLACES.join(' and no ')}, and COLUMBA_BIN names none`);
  return found;
}

/** Starts it: `{ ws, page, tcp, stop() }`, the addresses of MQTT over WebSocket, of the page, and of MQTT over TCP. */
export async function columba() {
  const child = spawn(binary(), ['--ws', '127.0.0.1:0', '--tcp', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = [];
  const addresses = {};
  const heard = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`columba does not listen:\n${said.join('\n')}`)), PATIENCE);
    const take = (line) => {
      said.push(line);
      const [, kind, address] = /listening (ws|tcp) (\S+)/.exec(line) ?? [];
      if (kind) addresses[kind] = address;
      if (!addresses.ws || !addresses.tcp) return;
      clearTimeout(late);
      resolve();
    };
    for (const stream of [child.stdout, child.stderr]) createInterface(stream).on('line', take);
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`columba ended with ${code}:\n${said.join('\n')}`)));
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill();
    await gone;
  };
  try {
    await heard;
  } catch (error) {
    await stop();
    throw error;
  }
  const { ws, tcp } = addresses;
  return { ws: `ws://${ws}`, page: `http://${ws.split('/')[0]}/`, tcp: `mqtt://${tcp}`, stop };
}

/** MQTT.js in Node, connected: `inbox` has what came as [topic, payload]. */
export async function outside(url) {
  const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
  client.inbox = [];
  client.on('message', (topic, payload) => client.inbox.push([topic, payload.toString()]));
  return client;
}
