"""Publishes KV events as vLLM does: libzmq's sockets, msgspec's encoder, the fields and their order of each generation of vLLM.

A line of JSON on standard input is an order, a line on standard output says that it is done. The sockets are those of
vllm/distributed/kv_events.py: PUB, and ROUTER for what is asked for again.
"""

import json
import sys
from collections import deque
from itertools import count
from typing import Any

import msgspec
import zmq


def structs(is_array: bool):
    """The classes of a generation. Up to 0.2x all were arrays; later the events, and then the batches, are maps."""

    class KVCacheEvent(msgspec.Struct, array_like=is_array, omit_defaults=True, gc=False, tag=True):
        pass

    class BlockStored(KVCacheEvent):
        block_hashes: list
        parent_block_hash: Any
        token_ids: list
        block_size: int
        lora_id: Any
        medium: Any
        lora_name: Any
        extra_keys: Any = None
        group_idx: Any = None
        kv_cache_spec_kind: Any = None
        kv_cache_spec_sliding_window: Any = None
        locality: Any = None
        ownership: Any = None
        session_id: Any = None

    class BlockRemoved(KVCacheEvent):
        block_hashes: list
        medium: Any
        group_idx: Any = None
        locality: Any = None

    class AllBlocksCleared(KVCacheEvent):
        pass

    class BlockMoved(KVCacheEvent):
        """What no version has yet."""

        where: str

    return {c.__name__: c for c in (BlockStored, BlockRemoved, AllBlocksCleared, BlockMoved)}


def batches(is_array: bool):
    class Batch(msgspec.Struct, array_like=is_array, omit_defaults=True, gc=False):
        ts: float
        events: list
        data_parallel_rank: Any = None

    return Batch


def hash_of(value):
    """`{"bytes": "00ff"}` as bytes, numbers as they are, as text where JSON has none so large."""
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"])
    return int(value) if isinstance(value, str) else value


def event(kind, fields, kinds):
    given = dict(fields)
    for name in ("parent_block_hash",):
        if name in given:
            given[name] = hash_of(given[name])
    if "block_hashes" in given:
        given["block_hashes"] = [hash_of(each) for each in given["block_hashes"]]
    if kind == "BlockStored":
        for name in ("parent_block_hash", "lora_id", "medium", "lora_name"):
            given.setdefault(name, None)
    if kind == "BlockRemoved":
        given.setdefault("medium", None)
    return kinds[kind](**given)


def main():
    context = zmq.Context()
    order = order_at_start = json.loads(sys.stdin.readline())
    hwm = order.get("hwm", 100_000)
    pub = context.socket(zmq.PUB)
    pub.set_hwm(hwm)
    pub.setsockopt(zmq.SNDBUF, order.get("send_buffer", -1))
    replay = context.socket(zmq.ROUTER)
    pub.bind(order["endpoint"])
    if order["replay_endpoint"]:
        replay.bind(order["replay_endpoint"])
    print(json.dumps({}), flush=True)

    encoder = msgspec.msgpack.Encoder()
    buffer = deque(maxlen=order.get("buffer_steps", 10_000))
    sequences = count()
    kinds = {False: structs(False), True: structs(True)}
    batch_kinds = {False: batches(False), True: batches(True)}
    poller = zmq.Poller()
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    if order["replay_endpoint"]:
        poller.register(replay, zmq.POLLIN)
    replays = 0
    while True:
        ready = dict(poller.poll())
        if replay in ready:
            client, _, start = replay.recv_multipart()
            replays += 1
            for sequence, payload in buffer:
                if sequence >= int.from_bytes(start, "big"):
                    replay.send_multipart((client, b"", sequence.to_bytes(8, "big"), payload))
            if replays > order_at_start.get("endless_replays", 0):
                replay.send_multipart((client, b"", (-1).to_bytes(8, "big", signed=True), b""))
        if sys.stdin.fileno() not in ready:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        order = json.loads(line)
        if order["do"] == "publish":
            is_array = order.get("array", False)
            events = [event(kind, fields, kinds[is_array]) for kind, fields in order["events"]]
            batch = batch_kinds[order.get("batch_array", is_array)](ts=1.5, events=events, data_parallel_rank=0)
            payload = encoder.encode(batch) if "raw" not in order else bytes.fromhex(order["raw"])
            for _ in range(order.get("times", 1)):
                sequence = next(sequences)
                # `lost`: as where a subscriber was too slow for it.
                if not order.get("lost"):
                    pub.send_multipart((b"", sequence.to_bytes(8, "big"), payload))
                buffer.append((sequence, payload))
        if order["do"] == "frames":
            pub.send_multipart([bytes.fromhex(each) for each in order["frames"]])
        print(json.dumps({"replays": replays}), flush=True)


main()
