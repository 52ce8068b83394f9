"""A paho-mqtt client for the tests.

The argument says how to connect, as JSON. Commands come as lines of JSON on standard input, events go as
lines of JSON to standard output. The end of the input without a command to leave ends the process at once.
"""

import json
import os
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE = 30
options = json.loads(sys.argv[1])
is_v5 = options["version"] == 5
session_present = False
left = threading.Event()
output = threading.Lock()


def report(event, **fields):
    with output:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def on_connect(client, _userdata, flags, reason, _properties):
    global session_present
    if reason.is_failure:
        report("failed", reason=f"CONNACK: {reason}")
        return
    session_present = flags.session_present
    wanted = options["subscribe"]
    if not wanted:
        report("ready", session_present=session_present)
    elif is_v5:
        client.subscribe([(name, SubscribeOptions(qos=qos)) for name, qos in wanted])
    else:
        client.subscribe([(name, qos) for name, qos in wanted])


def on_subscribe(_client, _userdata, _id, reasons, _properties):
    granted = [reason.value for reason in reasons]
    if granted == [qos for _, qos in options["subscribe"]]:
        report("ready", session_present=session_present)
    else:
        report("failed", reason=f"SUBACK: {granted}")


def on_message(_client, _userdata, message):
    properties = message.properties
    correlation = getattr(properties, "CorrelationData", None)
    report(
        "message",
        topic=message.topic,
        payload=message.payload.hex(),
        qos=message.qos,
        retain=bool(message.retain),
        user=getattr(properties, "UserProperty", []),
        content_type=getattr(properties, "ContentType", None),
        response_topic=getattr(properties, "ResponseTopic", None),
        correlation=None if correlation is None else correlation.hex(),
    )


def on_disconnect(_client, _userdata, _flags, reason, _properties):
    if not left.is_set():
        report("failed", reason=f"disconnected: {reason}")


def publish_properties(message):
    if not is_v5:
        return None
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in (
        ("UserProperty", [tuple(pair) for pair in message["user"]]),
        ("ContentType", message["content_type"]),
        ("ResponseTopic", message["response_topic"]),
        ("CorrelationData", message["correlation"] and bytes.fromhex(message["correlation"])),
    ):
        if value:
            setattr(properties, name, value)
    return properties


def connect():
    common = {"client_id": options["id"], "reconnect_on_failure": False}
    if is_v5:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, **common)
    else:
        protocol = mqtt.MQTTv31 if options["version"] == 3 else mqtt.MQTTv311
        clean = not options["keep_session"]
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol, clean_session=clean, **common)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.on_disconnect = on_disconnect
    if options["authority"]:
        client.tls_set(options["authority"])
    will = options["will"]
    if will:
        client.will_set(will["topic"], bytes.fromhex(will["payload"]), will["qos"], will["retain"])
    if is_v5:
        properties = Properties(PacketTypes.CONNECT)
        if options["keep_session"]:
            properties.SessionExpiryInterval = 3600
        client.connect(
            options["host"], options["port"], clean_start=not options["keep_session"], properties=properties
        )
    else:
        client.connect(options["host"], options["port"])
    client.loop_start()
    return client


def main():
    client = connect()
    for line in sys.stdin:
        message = json.loads(line)
        if message["command"] == "leave":
            left.set()
            client.disconnect()
            client.loop_stop()
            return
        publication = client.publish(
            message["topic"],
            bytes.fromhex(message["payload"]),
            message["qos"],
            message["retain"],
            publish_properties(message),
        )
        publication.wait_for_publish(DEADLINE)
        if publication.is_published():
            report("published")
        else:
            report("failed", reason="the publication is not acknowledged")
    os._exit(1)


main()
