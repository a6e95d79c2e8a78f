"""Runs the newest SlateDB, as latest.sh builds it, on command.

    .venv/bin/python latest.py              JSON commands on standard input, one a line; see the methods of Commands

The commands are those of slatedb.mjs, and some that only this SlateDB has.
A URL is that of a database: file:///folder/of/the/db, or s3://bucket/path with SlateDB's AWS_* variables.
"""

import asyncio
import base64
import json
import struct
import sys

import slatedb
import slatedb.uniffi as S


def b64(b):
    return base64.b64encode(b).decode()


def unb64(s):
    return None if s is None else base64.b64decode(s)


def locate(url):
    """The object store of a database's URL, and the database's path in it."""
    scheme, rest = url.split("://", 1)
    bucket, _, path = rest.rstrip("/").partition("/")
    return S.ObjectStore.resolve(f"{scheme}://{bucket}/"), path


class Operator(S.MergeOperator):
    """The first byte of a value or operand says what it is."""

    def merge(self, key, existing_value, operand):
        if existing_value is None:
            return operand
        if existing_value[0] != operand[0]:
            raise S.MergeOperatorCallbackError.Failed("operand of another type than the value")
        if operand[:1] == b"c":  # bytes, appended
            return existing_value + operand[1:]
        if operand[:1] == b"+":  # a counter, u64 big endian
            total = struct.unpack(">Q", existing_value[1:])[0] + struct.unpack(">Q", operand[1:])[0]
            return b"+" + struct.pack(">Q", total % 2**64)
        raise S.MergeOperatorCallbackError.Failed("operand of unknown type")


class FirstBytes(S.PrefixExtractor):
    """The first n bytes of a key; of a shorter one, all of it."""

    def __init__(self, n):
        self.n = n

    def name(self):
        return f"first{self.n}"

    def prefix_len(self, target):
        if target.is_point():
            return min(self.n, len(target.key))
        return self.n if len(target.prefix) >= self.n else None


class Mask(S.BlockTransformer):
    """Puts its key before every block and changes each byte by it."""

    def __init__(self, key):
        self.key = key
        self.table = bytes(i ^ key for i in range(256))

    def encode(self, data):
        return bytes([self.key]) + data.translate(self.table)

    def decode(self, data):
        if data[:1] != bytes([self.key]):
            raise S.BlockTransformerCallbackError.Failed("block of another key")
        return data[1:].translate(self.table)


def settings(c):
    """The settings that the fields of open stand for: SlateDB's defaults, but quick, and without background work."""
    everything = {
        "flush_interval": "5ms",
        "manifest_poll_interval": "50ms",
        "garbage_collector_options": None,
        "compactor_options": None,
    }
    for field, setting in {"codec": "compression_codec", "filterKeys": "min_filter_keys", "l0Bytes": "l0_sst_size_bytes"}.items():
        if field in c:
            everything[setting] = c[field]
    s = S.Settings.default()
    if c.get("compactor"):
        # It compacts whatever there are two of: L0 SSTs, and runs of a size unless stack is set.
        o = json.loads(s.to_json_string())["compactor_options"]
        o["poll_interval"] = o["commit_compacted_interval"] = o["worker"]["compactions_poll_interval"] = "25ms"
        o["scheduler_options"] = {
            "min_compaction_sources": "2",
            "max_compaction_sources": "8",
            "include_size_threshold": "0.0" if c.get("stack") else "4.0",
        }
        if "maxSST" in c:
            o["worker"]["max_sst_size"] = c["maxSST"]
        else:
            o["worker"]["max_subcompactions"] = 1  # each makes SSTs of its own
        o["worker"]["compression_codec"] = c.get("codec")
        o["worker"]["min_filter_keys"] = c.get("filterKeys", 1000)
        everything["compactor_options"] = o
    if c.get("gc"):
        each = {"interval": "50ms", "min_age": "0s", "dry_run": False}
        everything["garbage_collector_options"] = {
            "manifest_options": each, "wal_options": each, "compacted_options": each, "compactions_options": each,
        }
    for key, value in everything.items():
        s.set(key, json.dumps(value))
    return s


def components(b, c):
    """What writer and reader are both built with."""
    b.with_merge_operator(Operator())
    if "wal" in c:
        b.with_wal_object_store(locate(c["wal"])[0])
    if "mask" in c:
        b.with_block_transformer(Mask(c["mask"]))
    if "segment" in c:
        b.with_segment_extractor(FirstBytes(c["segment"]))
    if "filterOf" in c:
        b.with_filter_policies([
            S.FilterPolicy.bloom_with_options(S.BloomFilterOptions(bits_per_key=10, whole_key_filtering=False), FirstBytes(c["filterOf"])),
            S.FilterPolicy.bloom(10),
        ])


def row(kv):
    out = {"key": b64(kv.key), "seq": kv.seq, "created": kv.create_ts}
    if kv.value is not None:
        out["value"] = b64(kv.value)
    if kv.expire_ts is not None:
        out["expires"] = kv.expire_ts
    return out


def admin(c):
    store, name = locate(c["url"])
    b = S.AdminBuilder(name, store)
    if "wal" in c:
        b.with_wal_object_store(locate(c["wal"])[0])
    return b.build()


class Commands:
    """Each answers with any number of lines of rows and then one with "ok" or "error"."""

    def __init__(self):
        self.open_handles = {}

    def handle(self, c):
        return self.open_handles[c["db"]]

    async def version(self, c, emit):
        return {"version": slatedb.__version__}

    async def open(self, c, emit):
        """As slatedb.mjs, and segment?: segments by so many first bytes; filterOf?: a filter of such prefixes before the Bloom filter; mask?: Mask."""
        store, name = locate(c["url"])
        b = S.DbBuilder(name, store)
        b.with_settings(settings(c))
        if "block" in c:
            b.with_sst_block_size(getattr(S.SstBlockSize, f"BLOCK{c['block']}_KIB"))
        components(b, c)
        self.open_handles[c["db"]] = await b.build()

    async def reader(self, c, emit):
        """As slatedb.mjs, and segment?, filterOf?, mask?."""
        store, name = locate(c["url"])
        b = S.DbReaderBuilder(name, store)
        if "checkpoint" in c:
            b.with_reader_mode(S.ReaderMode.CHECKPOINT(c["checkpoint"]))
        b.with_options(S.ReaderOptions(
            manifest_poll_interval_ms=c.get("pollMs", 3600000), checkpoint_lifetime_ms=86400000, max_memtable_bytes=1 << 26, skip_wal_replay=False,
        ))
        components(b, c)
        self.open_handles[c["db"]] = await b.build()

    async def scan(self, c, emit):
        r = S.KeyRange(start=unb64(c.get("from")), start_inclusive=True, end=unb64(c.get("to")), end_inclusive=False)
        options = S.ScanOptions(
            durability_filter=S.DurabilityLevel.MEMORY, dirty=False, read_ahead_bytes=1 << 20, cache_blocks=True, max_fetch_tasks=2,
            order=S.IterationOrder.DESCENDING if c.get("desc") else S.IterationOrder.ASCENDING,
        )
        if "prefix" in c:
            it = await self.handle(c).scan_prefix_with_options(unb64(c["prefix"]), r, options)
        else:
            it = await self.handle(c).scan_with_options(r, options)
        while batch := await it.next_batch(256):
            for kv in batch:
                emit(row(kv))

    async def get(self, c, emit):
        keys = [unb64(k) for k in c["keys"]]
        for i in range(0, len(keys), 64):
            for v in await asyncio.gather(*(self.handle(c).get(k) for k in keys[i:i + 64])):
                emit({"value": None if v is None else b64(v)})

    async def write(self, c, emit):
        wb = S.WriteBatch()
        for o in c["ops"]:
            ttl = S.Ttl.EXPIRE_AT_MILLIS(o["expires"]) if "expires" in o else S.Ttl.DEFAULT()
            if "merge" in o:
                wb.merge_with_options(unb64(o["key"]), unb64(o["merge"]), S.MergeOptions(ttl=ttl))
            elif "value" in o:
                wb.put_with_options(unb64(o["key"]), unb64(o["value"]), S.PutOptions(ttl=ttl))
            else:
                wb.delete(unb64(o["key"]))
        w = await self.handle(c).write(wb)
        if not c.get("volatile"):
            await w.await_durable()
        return {"seq": w.seqnum(), "created": w.create_ts()}

    async def flush(self, c, emit):
        kind = S.FlushType.MEM_TABLE if c.get("memtable") else S.FlushType.WAL
        await self.handle(c).flush_with_options(S.FlushOptions(flush_type=kind))

    async def status(self, c, emit):
        s = self.handle(c).status()
        return {"durableSeq": s.durable_seq, "closed": s.close_reason and s.close_reason.name.title()}

    async def wal(self, c, emit):
        store, name = locate(c["url"])
        r = S.SlateDbWalReader(name, store)
        last = await r.last_wal_file_id(0)
        it, at = await r.iterator(1), 0
        while at < last:
            rows = await it.next()
            for at in range(at + 1, rows.last_consumed_wal_file_id):
                emit({"wal": at})
            at = rows.last_consumed_wal_file_id
            for r in rows.rows:
                emit({"wal": at, "kind": r.kind.name.title(), **row(r)})
            if not rows.rows:
                emit({"wal": at})

    async def close(self, c, emit):
        await self.open_handles.pop(c["db"]).shutdown()

    # What only the newest has.

    async def gc(self, c, emit):
        """{url, wal?}: collect whatever is garbage, whatever its age, without being a writer"""
        each = S.GarbageCollectorDirectoryOptions(min_age_ms=0, dry_run=False)
        await admin(c).run_gc_once(S.GarbageCollectorOptions(
            manifest_options=each, wal_options=each, compacted_options=each, compactions_options=each,
            detach_options=S.GarbageCollectorScheduleOptions(),
            # A boundary file is replaced conditionally, which SlateDB cannot do in a folder: it would delete nothing more.
            disable_boundary_files=c["url"].startswith("file:"),
        ))

    async def checkpoint(self, c, emit):
        """{url}: a checkpoint of the newest manifest; answers {id}"""
        r = await admin(c).create_detached_checkpoint(S.CheckpointOptions(lifetime_ms=None, source=None, name=None))
        return {"id": r.id}

    async def clone(self, c, emit):
        """{url, parent}: a database at url that is a clone of the one at parent, in the same store"""
        parent = S.CloneSourceSpec(path=locate(c["parent"])[1], checkpoint=None, projection_range=None)
        await admin(c).create_clone_builder_from_source(parent).build()

    async def manifest(self, c, emit):
        """{url}: of the newest manifest {epochs: of writer and compactor, ids: of its L0 SSTs, of the SSTs of its runs, of its checkpoints}"""
        m = await admin(c).read_manifest(None)
        ssts = [*m.l0, *(t for run in m.compacted for t in run.sst_views)]
        return {"epochs": [m.writer_epoch, m.compactor_epoch], "ids": [str(t.id) for t in ssts] + [p.id for p in m.checkpoints]}

    async def compact(self, c, emit):
        """{url}: asks whoever compacts the database for a compaction of its L0"""
        m = await admin(c).read_manifest(None)
        spec = S.CompactionSpec.TIERED(segment=b"", sources=[S.SourceId.SST_VIEW(t.id) for t in m.l0], destination=1 + max([run.id for run in m.compacted], default=-1))
        await admin(c).submit_compaction(spec)


async def serve():
    commands = Commands()
    loop = asyncio.get_running_loop()
    out = []

    def emit(o):
        out.append(json.dumps(o, separators=(",", ":")))

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            c = json.loads(line)
            answer = await getattr(Commands, c["op"])(commands, c, emit)
            emit({"ok": True, **(answer or {})})
        except Exception as e:
            reason = getattr(e, "reason", None)
            emit({"error": {"tag": type(e).__name__, "reason": reason and reason.name.title(), "message": getattr(e, "message", str(e))}})
        sys.stdout.write("\n".join(out) + "\n")
        sys.stdout.flush()
        out.clear()


asyncio.run(serve())
