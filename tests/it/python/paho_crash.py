"""paho-mqtt against a broker that is killed and started again meanwhile. Usage: paho_crash.py HOST PORT; standard input ends
when the broker stays. Checks what paho's own sessions came to: QoS 1 at least once, QoS 2 once."""

import queue
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TIMEOUT = 30
# Messages of a publisher that may be unacknowledged: after a reconnect paho sends all at once, whatever Receive Maximum says.
WINDOW = 15
HOST, PORT = sys.argv[1], int(sys.argv[2])


class Client(mqtt.Client):
    """paho 2.2 forgets at a second attempt to connect that PUBREC has come: it then publishes the message anew instead of
    sending PUBREL again, which is another message if the first one's handshake was over."""

    def _messages_reconnect_reset_out(self):
        for message in self._out_messages.values():
            if message.state == mqtt.mqtt_ms_resend_pubrel:
                message.state = mqtt.mqtt_ms_wait_for_pubcomp
        super()._messages_reconnect_reset_out()


def client(name, version):
    """One with a persistent session that connects again by itself."""
    options = {} if version == mqtt.MQTTv5 else {"clean_session": False}
    made = Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **options)
    made.reconnect_delay_set(min_delay=0.05, max_delay=0.1)
    made.max_queued_messages_set(0)
    made.connected = threading.Event()
    made.sessions = []

    def on_connect(_client, _data, flags, reason, _properties):
        if not reason.is_failure:
            made.sessions.append(flags.session_present)
            made.connected.set()

    # Once a message, when its handshake is over. A MessageInfo does not serve: of a message that was published while there was
    # no connection it raises, although paho keeps it and sends it later.
    made.sent = made.published = 0

    def on_publish(client, *_):
        client.published += 1

    made.on_publish = on_publish
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
    sent = {}
    while not ended.is_set():
        for publisher in publishers:
            for qos in (1, 2) if publisher.sent - publisher.published < WINDOW else ():
                topic = f"crash/{int(publisher.protocol)}/{qos}"
                number = sent.get(topic, 0)
                sent[topic] = number + 1
                publisher.sent += 1
                publisher.publish(topic, str(number), qos)
        time.sleep(0.005)
    deadline = time.monotonic() + TIMEOUT
    while (left := sum(publisher.sent - publisher.published for publisher in publishers)) > 0:
        assert time.monotonic() < deadline, f"{left} messages were never acknowledged"
        time.sleep(0.02)
    for subscriber in subscribers:
        for topic, count in sent.items():
            subscriber.take(topic, count - 1)
        subscriber.rest()
        for topic, count in sent.items():
            numbers = subscriber.numbers[topic]
            # No word on the order: what is published between paho's reconnect and its repetitions overtakes those.
            lost = sorted(set(range(count)) - set(numbers))
            assert not lost, f"{topic}: {lost} of {count} are lost"
            if topic.endswith("2"):
                twice = [number for number in set(numbers) if numbers.count(number) > 1]
                assert not twice, f"{subscriber.client.protocol}: {topic}: {twice} came more than once: {numbers}"
    for made in publishers + [subscriber.client for subscriber in subscribers]:
        assert made.sessions[0] is False and all(made.sessions[1:]), f"a session was lost: {made.sessions}"
        assert len(made.sessions) > 1, "no crash was noticed"
    print(f"{sum(sent.values())} messages", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
