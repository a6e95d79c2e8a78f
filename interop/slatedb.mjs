// Runs the real SlateDB (npm @slatedb/uniffi) on command.
//
//   node slatedb.mjs                     JSON commands on standard input, one a line; see `commands` below
//   node slatedb.mjs scan URL            every row of the database, as `stele slate scan --json` prints it
//   node slatedb.mjs get URL KEY         the value of one key (UTF-8), as it lies
//
// A URL is that of a database: file:///folder/of/the/db, or s3://bucket/path with SlateDB's AWS_* variables.
// Opening a reader makes SlateDB write a checkpoint into the manifest: read a copy of what must not change.
import { readFile } from "node:fs/promises";
import path from "node:path";
import readline from "node:readline";
import * as S from "@slatedb/uniffi";

const b64 = (bytes) => Buffer.from(bytes).toString("base64");
const bytes = (text) => Buffer.from(text, "base64");
const num = (n) => (n === undefined ? undefined : Number(n));

// A database's URL is its object store and the last element as the path in it.
function locate(url) {
  const cut = url.replace(/\/+$/, "").lastIndexOf("/");
  return { store: S.ObjectStore.resolve(url.slice(0, cut)), name: url.slice(cut + 1).replace(/\/+$/, "") };
}

// SlateDB's defaults, but quick, and without background work that nobody asked for.
const QUICK = {
  flush_interval: "5ms", manifest_poll_interval: "50ms", garbage_collector_options: null, compactor_options: null,
};
const GC = { interval: "50ms", min_age: "0s" };

// The settings that the fields of `open` stand for.
function settings(c) {
  const all = { ...QUICK, compression_codec: c.codec, min_filter_keys: c.filterKeys, l0_sst_size_bytes: c.l0Bytes };
  if (c.compactor) {
    // It compacts whatever there are two of: L0 SSTs, and runs of a size unless `stack` is set.
    all.compactor_options = {
      poll_interval: "25ms", manifest_update_timeout: "300s", max_sst_size: c.maxSST ?? 268435456,
      max_concurrent_compactions: 4, max_fetch_tasks: 4,
      scheduler_options: { min_compaction_sources: "2", max_compaction_sources: "8", include_size_threshold: c.stack ? "0.0" : "4.0" },
    };
  }
  if (c.gc) all.garbage_collector_options = { manifest_options: GC, wal_options: GC, compacted_options: GC, compactions_options: GC };
  const s = S.Settings.default();
  for (const [k, v] of Object.entries(all)) if (v !== undefined) s.set(k, JSON.stringify(v));
  return s;
}

// The merge operator: a value's and an operand's first byte says what they are.
const operator = {
  merge(_key, existing, operand) {
    if (existing === undefined) return operand;
    if (existing[0] !== operand[0]) throw new Error("operand of another type than the value");
    const a = Buffer.from(existing), b = Buffer.from(operand);
    switch (operand[0]) {
      case 0x63: // c: bytes, appended
        return Buffer.concat([a, b.subarray(1)]);
      case 0x2b: { // +: a counter, u64 big endian
        const sum = Buffer.from("+--------");
        sum.writeBigUInt64BE(BigInt.asUintN(64, a.readBigUInt64BE(1) + b.readBigUInt64BE(1)), 1);
        return sum;
      }
    }
    throw new Error("operand of unknown type");
  },
};

const handles = new Map(); // what was opened, by the name that the command gave it
function handle(c) {
  const h = handles.get(c.db);
  if (!h) throw new Error(`nothing is open as ${c.db}`);
  return h;
}

const SCAN = { durability_filter: S.DurabilityLevel.Memory, dirty: false, read_ahead_bytes: 1 << 20, cache_blocks: true, max_fetch_tasks: 2 };
async function scan(h, c, row) {
  const range = {
    start: c.from === undefined ? undefined : bytes(c.from), start_inclusive: true,
    end: c.to === undefined ? undefined : bytes(c.to), end_inclusive: false,
  };
  const options = { ...SCAN, order: c.desc ? S.IterationOrder.Descending : S.IterationOrder.Ascending };
  const it = c.prefix === undefined ? await h.scan_with_options(range, options)
    : await h.scan_prefix_with_options(bytes(c.prefix), options);
  for (let kv; (kv = await it.next()) !== undefined;) row(kv);
}

// Each command answers with any number of lines of rows and then one with "ok" or "error".
const commands = {
  // the engine's version
  async version() {
    const manifest = await readFile(new URL("node_modules/@slatedb/uniffi/package.json", import.meta.url));
    return { version: JSON.parse(manifest).version };
  },
  // {db, url, wal?, codec?, block?, filterKeys?, l0Bytes?, compactor?, stack?, maxSST?, gc?}: open as the writer;
  // block is in KiB, wal the URL of the database in the store of its WAL
  async open(c) {
    const { store, name } = locate(c.url);
    const b = new S.DbBuilder(name, store);
    b.with_settings(settings(c));
    b.with_merge_operator(operator);
    if (c.block) b.with_sst_block_size(`Block${c.block}Kib`);
    if (c.wal) b.with_wal_object_store(locate(c.wal).store);
    handles.set(c.db, await b.build());
  },
  // {db, url, wal?, checkpoint?, pollMs?}: open for reading, following the newest state unless a checkpoint is given
  async reader(c) {
    const { store, name } = locate(c.url);
    const b = new S.DbReaderBuilder(name, store);
    b.with_merge_operator(operator);
    if (c.wal) b.with_wal_object_store(locate(c.wal).store);
    if (c.checkpoint) b.with_checkpoint_id(c.checkpoint);
    b.with_options({ manifest_poll_interval_ms: c.pollMs ?? 3600000, checkpoint_lifetime_ms: 86400000, max_memtable_bytes: 1 << 26, skip_wal_replay: false });
    handles.set(c.db, await b.build());
  },
  // {db, from?, to?, prefix?, desc?}: lines {key, value, seq, created, expires?}
  async scan(c, emit) {
    await scan(handle(c), c, (kv) => emit({
      key: b64(kv.key), value: b64(kv.value), seq: num(kv.seq), created: num(kv.create_ts), expires: num(kv.expire_ts),
    }));
  },
  // {db, keys}: lines {value}, null where there is none. One after the other: of two calls under way over HTTP, one can
  // wake the other's future while it is being woken from another thread, and the binding then waits for itself for ever.
  async get(c, emit) {
    for (const k of c.keys) {
      const v = await handle(c).get(bytes(k));
      emit({ value: v === undefined ? null : b64(v) });
    }
  },
  // {db, ops: [{key, value?, merge?, expires?}], volatile?}: one batch of puts, merges of operands and, with neither,
  // deletes; answers {seq, created}
  async write(c) {
    const wb = new S.WriteBatch();
    for (const o of c.ops) {
      const options = { ttl: o.expires === undefined ? S.Ttl.Default() : S.Ttl.ExpireAt(o.expires) };
      if (o.merge !== undefined) wb.merge_with_options(bytes(o.key), bytes(o.merge), options);
      else if (o.value !== undefined) wb.put_with_options(bytes(o.key), bytes(o.value), options);
      else wb.delete(bytes(o.key));
    }
    const w = await handle(c).write_with_options(wb, { await_durable: !c.volatile });
    return { seq: num(w.seqnum), created: num(w.create_ts) };
  },
  // {db, memtable?}: the log durable, or the memtable in L0 as well
  async flush(c) {
    await handle(c).flush_with_options({ flush_type: c.memtable ? S.FlushType.MemTable : S.FlushType.Wal });
  },
  async status(c) {
    const s = handle(c).status();
    return { durableSeq: num(s.durable_seq), closed: s.close_reason };
  },
  // {url}: lines {wal, kind, key, value, seq, created, expires?}, the rows of the log, and a line {wal} for an object without rows
  async wal(c, emit) {
    const { store, name } = locate(c.url);
    for (const file of await new S.WalReader(name, store).list(undefined, undefined)) {
      const wal = num(file.id());
      const it = await file.iterator();
      let rows = 0;
      for (let r; (r = await it.next()) !== undefined; rows++) {
        emit({ wal, kind: r.kind, key: b64(r.key), value: r.value === undefined ? undefined : b64(r.value), seq: num(r.seq), created: num(r.create_ts), expires: num(r.expire_ts) });
      }
      if (rows === 0) emit({ wal });
    }
  },
  async close(c) {
    const h = handle(c);
    handles.delete(c.db);
    await h.shutdown();
  },
};

async function serve() {
  let out = "";
  const send = (o) => { out += JSON.stringify(o) + "\n"; if (out.length > 1 << 16) drain(); };
  const drain = () => { process.stdout.write(out); out = ""; };
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    try {
      const c = JSON.parse(line);
      const answer = await commands[c.op](c, send);
      send({ ok: true, ...answer });
    } catch (e) {
      send({ error: { tag: e.tag ?? e.name, reason: e.reason, message: e.message } });
    }
    drain();
  }
}

async function once(verb, url, key) {
  if (/^file:\/\/\.?\.?\//.test(url)) url = "file://" + path.resolve(url.slice("file://".length));
  await commands.reader({ db: "it", url });
  const h = handles.get("it");
  try {
    if (verb === "scan") {
      await scan(h, {}, (kv) => process.stdout.write(JSON.stringify({ key: b64(kv.key), value: b64(kv.value) }) + "\n"));
      return 0;
    }
    const v = await h.get(Buffer.from(key));
    if (v === undefined) { console.error("key not found"); return 1; }
    process.stdout.write(Buffer.from(v));
    return 0;
  } finally {
    await h.shutdown();
  }
}

const [verb, url, key] = process.argv.slice(2);
if (verb === undefined) {
  await serve();
} else if ((verb === "scan" && url && key === undefined) || (verb === "get" && url && key !== undefined)) {
  process.exitCode = await once(verb, url, key);
} else {
  console.error("usage: node slatedb.mjs [scan URL | get URL KEY]");
  process.exitCode = 2;
}
