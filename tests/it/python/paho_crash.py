"""paho-mqtt against a broker that is killed and started again meanwhile. Usage: paho_crash.py HOST PORT; standard input ends
when the broker stays. Checks what paho's own sessions came to: QoS 1 at least once, QoS 2 once, both in order."""

import queue
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TIMEOUT = 30
HOST, PORT = sys.argv[1], int(sys.argv[2])


def client(name, version):
    """One with a persistent session that connects again by itself."""
    options = {} if version == mqtt.MQTTv5 else {"clean_session": False}
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **options)
    made.reconnect_delay_set(min_delay=0.05, max_delay=0.1)
    made.max_queued_messages_set(0)
    made.connected = threading.Event()
    made.sessions = []

    def on_connect(_client, _data, flags, reason, _properties):
        if not reason.is_failure:
            made.sessions.append(flags.session_present)
            made.connected.set()

    made.on_connect = on_connect
    return made


def connect(made):
    options = {}
    if made.protocol == mqtt.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        options = {"clean_start": False, "properties": properties}
    made.connect(HOST, PORT, keepalive=30, **options)
    made.loop_start()
    assert made.connected.wait(TIMEOUT), "no CONNACK"
    return made


class Subscriber:
    """What came, by topic."""

    def __init__(self, version):
        self.came = queue.Queue()
        self.numbers = {}
        self.client = client(f"subscriber-{version}", version)
        self.client.on_message = lambda _client, _data, message: self.came.put(message)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        connect(self.client)
        self.client.subscribe("crash/#", 2)
        assert subscribed.wait(TIMEOUT), "no SUBACK"

    def take(self, topic, last):
        """Takes messages until the last one of the topic has come."""
        deadline = time.monotonic() + TIMEOUT
        while last not in self.numbers.get(topic, []):
            message = self.came.get(timeout=max(0.01, deadline - time.monotonic()))
            self.numbers.setdefault(message.topic, []).append(int(message.payload))

    def rest(self):
        """What still comes, until nothing does."""
        while True:
            try:
                message = self.came.get(timeout=0.5)
            except queue.Empty:
                return
            self.numbers.setdefault(message.topic, []).append(int(message.payload))


def main():
    versions = [mqtt.MQTTv311, mqtt.MQTTv5]
    subscribers = [Subscriber(version) for version in versions]
    publishers = [connect(client(f"publisher-{version}", version)) for version in versions]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    infos, sent = [], {}
    while not ended.is_set():
        for publisher in publishers:
            for qos in (1, 2):
                topic = f"crash/{int(publisher.protocol)}/{qos}"
                number = sent.get(topic, 0)
                sent[topic] = number + 1
                infos.append(publisher.publish(topic, str(number), qos))
        time.sleep(0.005)
    deadline = time.monotonic() + TIMEOUT
    for info in infos:
        info.wait_for_publish(max(0.01, deadline - time.monotonic()))
        assert info.is_published(), "a message was never acknowledged"
    for subscriber in subscribers:
        for topic, count in sent.items():
            subscriber.take(topic, count - 1)
        subscriber.rest()
        for topic, count in sent.items():
            numbers = subscriber.numbers[topic]
            first = list(dict.fromkeys(numbers))
            lost = sorted(set(range(count)) - set(numbers))
            assert not lost, f"{topic}: {lost} of {count} are lost"
            assert first == sorted(first), f"{topic}: not in order: {first}"
            if topic.endswith("2"):
                assert numbers == first, f"{topic}: {len(numbers) - len(first)} came twice"
    for made in publishers + [subscriber.client for subscriber in subscribers]:
        assert made.sessions[0] is False and all(made.sessions[1:]), f"a session was lost: {made.sessions}"
        assert len(made.sessions) > 1, "no crash was noticed"
    print(f"{sum(sent.values())} messages", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
