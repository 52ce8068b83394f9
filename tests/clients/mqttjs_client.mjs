// An MQTT.js client for the tests.
//
// The argument says how to connect, as JSON. Commands come as lines of JSON on standard input, events go as
// lines of JSON to standard output. The end of the input without a command to leave ends the process at once.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'

const options = JSON.parse(process.argv[2])
const isV5 = options.version === 5
const fromHex = (text) => Buffer.from(text, 'hex')

function report(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

function connect() {
  const { will } = options
  return mqtt.connect(options.url, {
    protocolVersion: options.version,
    protocolId: options.version === 3 ? 'MQIsdp' : 'MQTT',
    clientId: options.id,
    clean: !options.keep_session,
    reconnectPeriod: 0,
    ...(options.authority && { ca: readFileSync(options.authority) }),
    ...(will && { will: { ...will, payload: fromHex(will.payload) } }),
    ...(isV5 && options.keep_session && { properties: { sessionExpiryInterval: 3600 } }),
  })
}

// MQTT.js keeps user properties in an object, with a list where a name occurs more than once.
function toUserProperties(pairs) {
  const properties = {}
  for (const [name, value] of pairs) properties[name] = [...(properties[name] ?? []), value]
  return properties
}

function fromUserProperties(properties) {
  return Object.entries(properties ?? {}).flatMap(([name, values]) => [values].flat().map((value) => [name, value]))
}

function publishProperties({ user, content_type: contentType, response_topic: responseTopic, correlation }) {
  return {
    ...(user.length > 0 && { userProperties: toUserProperties(user) }),
    ...(contentType && { contentType }),
    ...(responseTopic && { responseTopic }),
    ...(correlation && { correlationData: fromHex(correlation) }),
  }
}

const client = connect()

client.on('connect', ({ sessionPresent }) => {
  const ready = () => report('ready', { session_present: sessionPresent })
  if (options.subscribe.length === 0) return ready()
  const filters = Object.fromEntries(options.subscribe.map(([filter, qos]) => [filter, { qos }]))
  client.subscribe(filters, (error, granted) => {
    const isGranted = !error && granted.every(({ topic, qos }) => filters[topic]?.qos === qos)
    return isGranted ? ready() : report('failed', { reason: `SUBACK: ${error ?? JSON.stringify(granted)}` })
  })
})

client.on('message', (topic, payload, { qos, retain, properties }) => {
  report('message', {
    topic,
    payload: payload.toString('hex'),
    qos,
    retain,
    user: fromUserProperties(properties?.userProperties),
    content_type: properties?.contentType,
    response_topic: properties?.responseTopic,
    correlation: properties?.correlationData?.toString('hex'),
  })
})

let isLeaving = false
client.on('error', (error) => report('failed', { reason: `${error}` }))
client.on('close', () => isLeaving || report('failed', { reason: 'disconnected' }))

const commands = createInterface({ input: process.stdin })
commands.on('line', (line) => {
  const { command, topic, payload, qos, retain, ...rest } = JSON.parse(line)
  if (command === 'leave') {
    isLeaving = true
    client.end(false, () => process.exit(0))
    return
  }
  const properties = isV5 ? { properties: publishProperties(rest) } : {}
  client.publish(topic, fromHex(payload), { qos, retain, ...properties }, (error) => {
    if (error) report('failed', { reason: `publish: ${error}` })
    else report('published')
  })
})
commands.on('close', () => isLeaving || process.exit(1))
