// A bare WebSocket for the tests, so that they decide which bytes go into which frame.
//
// The argument is the address. Lines of JSON on standard input are frames to send, lines of JSON on standard
// output say what the server does.

import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'

function report(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

const socket = new WebSocket(process.argv[2], ['mqtt'])
socket.on('open', () => report('open', { protocol: socket.protocol }))
socket.on('message', (data, isBinary) => report('frame', { binary: isBinary, data: data.toString('hex') }))
socket.on('pong', (data) => report('pong', { data: data.toString('hex') }))
socket.on('close', () => report('close', {}))
socket.on('error', (error) => report('failed', { reason: `${error}` }))

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { kind, data, last } = JSON.parse(line)
    const bytes = Buffer.from(data, 'hex')
    if (kind === 'ping') socket.ping(bytes)
    else socket.send(bytes, { binary: kind === 'binary', fin: last })
  })
  .on('close', () => process.exit(0))
