"""What only the cache of one process has: a capacity."""

from __future__ import annotations

from resource_server.adapters.memory.grants import MemoryGrants


async def test_beyond_its_capacity_the_value_unused_for_longest_goes() -> None:
    cache = MemoryGrants(capacity=2)
    for digest in (b"a", b"b"):
        await cache.put(digest, digest, ttl_s=60)
    await cache.get(b"a")
    await cache.put(b"c", b"c", ttl_s=60)
    assert [await cache.get(digest) for digest in (b"a", b"b", b"c")] == [b"a", None, b"c"]
