"""Scenarios with paho-mqtt in MQTT 3.1, 3.1.1 and 5.0. Usage: paho_scenarios.py HOST PORT SCENARIO [tcp|ws [CA_FILE]]"""

import queue
import socket
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

TIMEOUT = 20
VERSIONS = [mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5]
HOST, PORT = sys.argv[1], int(sys.argv[2])
TRANSPORT = "websockets" if sys.argv[4:5] == ["ws"] else "tcp"
# Of TLS; without it there is none.
CA_FILE = sys.argv[5] if sys.argv[5:] else None


class Peer:
    """A client with a queue of what it received; every method waits for its answer."""

    def __init__(self, name, version, persistent=False, will=None):
        self.messages = queue.Queue()
        self.connected = threading.Event()
        self.subscribed = threading.Event()
        self.version = version
        self.persistent = persistent
        options = {} if version == mqtt.MQTTv5 else {"clean_session": not persistent}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"{name}-{version}",
            protocol=version,
            transport=TRANSPORT,
            **options,
        )
        self.client.ws_set_options(path="/mqtt")
        if CA_FILE:
            self.client.tls_set(ca_certs=CA_FILE)
        self.client.reconnect_delay_set(min_delay=0.05, max_delay=0.2)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        if will:
            self.client.will_set(*will)

    def _on_connect(self, _client, _data, flags, reason, _properties):
        assert not reason.is_failure, reason
        self.session_present = flags.session_present
        self.connected.set()

    def connect(self, expiry=300):
        options = {}
        if self.version == mqtt.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry if self.persistent else 0
            options = {"clean_start": not self.persistent, "properties": properties}
        self.connected.clear()
        self.client.connect(HOST, PORT, keepalive=30, **options)
        self.client.loop_start()
        assert self.connected.wait(TIMEOUT), "no CONNACK"
        return self

    def subscribe(self, topic, qos, options=None):
        self.subscribed.clear()
        if options:
            self.client.subscribe(topic, options=options)
        else:
            self.client.subscribe(topic, qos)
        assert self.subscribed.wait(TIMEOUT), "no SUBACK"

    def publish(self, topic, payload, qos, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(TIMEOUT)
        assert info.is_published(), f"{topic} {payload} is not acknowledged"

    def receive(self):
        return self.messages.get(timeout=TIMEOUT)

    def expect(self, topic, payload):
        message = self.receive()
        assert (message.topic, message.payload.decode()) == (topic, payload), (message.topic, message.payload)
        return message

    def expect_nothing(self):
        time.sleep(0.2)
        assert self.messages.empty(), self.messages.get().payload

    def disconnect(self):
        self.client.disconnect()
        self.client.loop_stop()

    def cut(self):
        """Breaks the connection without DISCONNECT; the client's loop connects again."""
        try:
            self.client.socket().shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass

    def vanish(self):
        """Breaks the connection without DISCONNECT, for good."""
        sock = self.client.socket()
        self.client.on_disconnect = lambda client, *_: client.disconnect()
        # Over WebSocket paho wraps it.
        getattr(sock, "_socket", sock).shutdown(socket.SHUT_RDWR)
        self.client.loop_stop()


def qos():
    for version in VERSIONS:
        for other in VERSIONS:
            subscriber = Peer("subscriber", other).connect()
            subscriber.subscribe("qos/#", 2)
            publisher = Peer("publisher", version).connect()
            for level in range(3):
                publisher.publish(f"qos/{level}", "x", level)
                assert subscriber.expect(f"qos/{level}", "x").qos == level
            publisher.disconnect()
            subscriber.disconnect()


def retained():
    for version in VERSIONS:
        topic = f"retained/{version}"
        publisher = Peer("publisher", version).connect()
        publisher.publish(topic, "kept", 1, retain=True)
        subscriber = Peer("subscriber", version).connect()
        subscriber.subscribe("retained/+", 1)
        assert subscriber.expect(topic, "kept").retain
        publisher.publish(topic, "", 1, retain=True)
        subscriber.receive()
        late = Peer("late", version).connect()
        late.subscribe("retained/#", 1)
        late.expect_nothing()
        for peer in (publisher, subscriber, late):
            peer.disconnect()


def will():
    for version in VERSIONS:
        watcher = Peer("watcher", version).connect()
        watcher.subscribe("will/#", 1)
        Peer("gentle", version, will=("will/gentle", "no", 1)).connect().disconnect()
        Peer("rude", version, will=("will/rude", "gone", 1)).connect().vanish()
        watcher.expect("will/rude", "gone")
        watcher.expect_nothing()
        watcher.disconnect()


def resume():
    for version in VERSIONS:
        client = Peer("persistent", version, persistent=True).connect()
        client.subscribe("resume/#", 2)
        client.disconnect()
        publisher = Peer("publisher", version).connect()
        for number in range(50):
            publisher.publish("resume/t", str(number), 1 + number % 2)
        client = Peer("persistent", version, persistent=True).connect()
        assert version == mqtt.MQTTv31 or client.session_present
        got = [int(client.receive().payload) for _ in range(50)]
        # A message of QoS 2 is handed over at its PUBREL, so the two QoS are each in order, not together.
        assert [number for number in got if number % 2] == list(range(1, 50, 2)), got
        assert [number for number in got if number % 2 == 0] == list(range(0, 50, 2)), got
        client.expect_nothing()
        client.disconnect()
        publisher.disconnect()


def shared():
    members = [Peer(f"member-{number}", VERSIONS[number % 3]).connect() for number in range(6)]
    for member in members:
        member.subscribe("$share/group/shared/#", 1)
    publisher = Peer("publisher", mqtt.MQTTv5).connect()
    for number in range(120):
        publisher.publish(f"shared/{number % 5}", str(number), 1)
    deadline = time.monotonic() + TIMEOUT
    while sum(member.messages.qsize() for member in members) < 120 and time.monotonic() < deadline:
        time.sleep(0.05)
    parts = [[int(member.receive().payload) for _ in range(member.messages.qsize())] for member in members]
    assert sorted(sum(parts, [])) == list(range(120)), parts
    assert all(parts), parts


def properties():
    subscriber = Peer("subscriber", mqtt.MQTTv5).connect()
    subscriber.subscribe("properties", 1, SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True))
    publisher = Peer("publisher", mqtt.MQTTv5).connect()
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 60
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "answers"
    sent.CorrelationData = b"\x00\x01"
    sent.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    publisher.publish("properties", "größe", 1, retain=True, properties=sent)
    message = subscriber.expect("properties", "größe")
    got = message.properties
    assert message.retain
    assert got.ContentType == "text/plain" and got.ResponseTopic == "answers", got
    assert got.CorrelationData == b"\x00\x01" and got.UserProperty == sent.UserProperty, got
    assert got.PayloadFormatIndicator == 1 and 55 <= got.MessageExpiryInterval <= 60, got


def order():
    for version in VERSIONS:
        for level in (1, 2):
            subscriber = Peer("subscriber", version).connect()
            subscriber.subscribe("order", level)
            publisher = Peer("publisher", version).connect()
            infos = [publisher.client.publish("order", str(number), level) for number in range(1000)]
            for number in range(1000):
                subscriber.expect("order", str(number))
            for info in infos:
                info.wait_for_publish(TIMEOUT)
                assert info.is_published()
            subscriber.expect_nothing()
            publisher.disconnect()
            subscriber.disconnect()


def reconnect():
    """The subscriber's connection is cut again and again while messages flow."""
    for version in VERSIONS[1:]:
        for level in (1, 2):
            # A session of its own: at QoS 1 repetitions may still be under way when the last message has come.
            subscriber = Peer(f"subscriber-{level}", version, persistent=True).connect()
            subscriber.subscribe("reconnect", level)
            publisher = Peer("publisher", version).connect()
            for number in range(400):
                publisher.publish("reconnect", str(number), level)
                if number % 80 == 40:
                    subscriber.cut()
            got = []
            while not got or got[-1] != 399:
                got.append(int(subscriber.receive().payload))
            if level == 2:
                assert got == list(range(400)), got
            else:
                assert sorted(set(got)) == list(range(400)), got
            publisher.disconnect()
            subscriber.disconnect()


if __name__ == "__main__":
    {f.__name__: f for f in (qos, retained, will, resume, shared, properties, order, reconnect)}[sys.argv[3]]()
    print("done")
