"""Scenarios with gmqtt (asyncio) in MQTT 5.0. Usage: gmqtt_scenarios.py HOST PORT SCENARIO"""

import asyncio
import sys

import gmqtt
from gmqtt.mqtt.constants import MQTTv50

TIMEOUT = 20
HOST, PORT = sys.argv[1], int(sys.argv[2])


class Peer:
    """A client with a queue of what it received; every method waits for its answer."""

    def __init__(self, name, clean=True, **options):
        self.messages = asyncio.Queue()
        self.subscribed = asyncio.Event()
        self.client = gmqtt.Client(name, clean_session=clean, **options)
        self.client.set_config({"reconnect_retries": 0})
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self.subscribed.set()

    async def _on_message(self, _client, topic, payload, qos, properties):
        self.messages.put_nowait((topic, payload.decode(), qos, properties))
        return 0

    async def connect(self):
        await asyncio.wait_for(self.client.connect(HOST, PORT, version=MQTTv50, keepalive=30), TIMEOUT)
        return self

    async def subscribe(self, topic, qos, **options):
        self.subscribed.clear()
        self.client.subscribe(gmqtt.Subscription(topic, qos=qos, **options))
        await asyncio.wait_for(self.subscribed.wait(), TIMEOUT)

    async def publish(self, topic, payload, **options):
        """Waits while the broker's Receive Maximum is used up; gmqtt then has no Packet Identifier left."""
        while True:
            try:
                return self.client.publish(topic, payload, **options)
            except OverflowError:
                await asyncio.sleep(0.005)

    async def expect(self, topic, payload):
        message = await asyncio.wait_for(self.messages.get(), TIMEOUT)
        assert message[:2] == (topic, payload), message
        return message

    async def expect_nothing(self):
        await asyncio.sleep(0.2)
        assert self.messages.empty(), self.messages.get_nowait()


async def qos():
    subscriber = await Peer("subscriber").connect()
    await subscriber.subscribe("qos/#", 2)
    publisher = await Peer("publisher").connect()
    for level in range(3):
        await publisher.publish(f"qos/{level}", "x", qos=level)
        assert (await subscriber.expect(f"qos/{level}", "x"))[2] == level


async def retained():
    publisher = await Peer("publisher").connect()
    await publisher.publish("retained/t", "kept", qos=1, retain=True)
    await publisher.publish("retained/end", "end", qos=1)
    subscriber = await Peer("subscriber").connect()
    await subscriber.subscribe("retained/+", 1)
    message = await subscriber.expect("retained/t", "kept")
    assert message[3]["retain"], message


async def will():
    watcher = await Peer("watcher").connect()
    await watcher.subscribe("will/#", 1)
    message = gmqtt.Message("will/rude", "gone", qos=1, will_delay_interval=1, user_property=("k", "v"))
    rude = await Peer("rude", will_message=message, session_expiry_interval=60).connect()
    rude.client._connection._transport.abort()
    assert ("k", "v") in (await watcher.expect("will/rude", "gone"))[3]["user_property"]


async def resume():
    client = await Peer("persistent", clean=False, session_expiry_interval=60).connect()
    await client.subscribe("resume/#", 2)
    await client.client.disconnect()
    publisher = await Peer("publisher").connect()
    for number in range(50):
        await publisher.publish("resume/t", str(number), qos=1 + number % 2)
    await asyncio.sleep(0.5)
    client = await Peer("persistent", clean=False, session_expiry_interval=60).connect()
    got = [int((await asyncio.wait_for(client.messages.get(), TIMEOUT))[1]) for _ in range(50)]
    assert sorted(got) == list(range(50)), got
    await client.expect_nothing()


async def shared():
    members = [await Peer(f"member-{number}").connect() for number in range(5)]
    for member in members:
        await member.subscribe("$share/group/shared/#", 1)
    publisher = await Peer("publisher").connect()
    for number in range(100):
        await publisher.publish("shared/t", str(number), qos=1)
    for _ in range(TIMEOUT * 10):
        if sum(member.messages.qsize() for member in members) >= 100:
            break
        await asyncio.sleep(0.1)
    parts = [[int(member.messages.get_nowait()[1]) for _ in range(member.messages.qsize())] for member in members]
    assert sorted(sum(parts, [])) == list(range(100)), parts
    assert all(parts), parts


async def properties():
    subscriber = await Peer("subscriber").connect()
    await subscriber.subscribe("properties", 1, subscription_identifier=77)
    publisher = await Peer("publisher").connect()
    await publisher.publish(
        "properties",
        "x",
        qos=1,
        content_type="text/plain",
        response_topic="answers",
        correlation_data=b"\x00\x01",
        message_expiry_interval=60,
        payload_format_id=1,
        user_property=[("b", "1"), ("a", "2"), ("b", "3")],
    )
    got = (await subscriber.expect("properties", "x"))[3]
    assert got["content_type"] == ["text/plain"] and got["response_topic"] == ["answers"], got
    assert got["correlation_data"] == [b"\x00\x01"], got
    assert got["user_property"] == [("b", "1"), ("a", "2"), ("b", "3")], got
    assert got["subscription_identifier"] == [77], got


async def order():
    for level in (1, 2):
        topic = f"order/{level}"
        subscriber = await Peer(f"subscriber-{level}").connect()
        await subscriber.subscribe(topic, level)
        publisher = await Peer(f"publisher-{level}").connect()
        for start in range(0, 1000, 20):
            for number in range(start, start + 20):
                await publisher.publish(topic, str(number), qos=level)
            for number in range(start, start + 20):
                await subscriber.expect(topic, str(number))
        await subscriber.expect_nothing()


if __name__ == "__main__":
    scenarios = {f.__name__: f for f in (qos, retained, will, resume, shared, properties, order)}
    asyncio.run(scenarios[sys.argv[3]]())
    print("done")
