// Runs the real SlateDB (npm @slatedb/uniffi) on command.
//
//   node slatedb.mjs                     JSON commands on standard input, one a line; see `commands` below
//   node slatedb.mjs scan URL            every row of the database, as `stele slate scan --json` prints it
//   node slatedb.mjs get URL KEY         the value of one key (UTF-8), as it lies
//
// A URL is that of a database: file:///folder/of/the/db, or s3://bucket/path with SlateDB's AWS_* variables.
// Opening a reader makes SlateDB write a checkpoint into the manifest: read a copy of what must not change.
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
// A compactor that merges whatever there are two of.
const COMPACTOR = {
  poll_interval: "25ms", manifest_update_timeout: "300s", max_sst_size: 268435456,
  max_concurrent_compactions: 4, max_fetch_tasks: 4,
  scheduler_options: { min_compaction_sources: "2", max_compaction_sources: "8", include_size_threshold: "4.0" },
};
const GC = { interval: "50ms", min_age: "0s" };

function settings(c) {
  const s = S.Settings.default();
  const all = { ...QUICK, ...c.settings };
  if (c.compactor) all.compactor_options = { ...COMPACTOR, ...(c.maxSST ? { max_sst_size: c.maxSST } : {}) };
  if (c.gc) all.garbage_collector_options = { manifest_options: GC, wal_options: GC, compacted_options: GC, compactions_options: GC };
  for (const [k, v] of Object.entries(all)) s.set(k, JSON.stringify(v));
  return s;
}

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
  // {db, url, settings?, compactor?, gc?, maxSST?, block?}: open as the writer
  async open(c) {
    const { store, name } = locate(c.url);
    const b = new S.DbBuilder(name, store);
    b.with_settings(settings(c));
    if (c.block) b.with_sst_block_size(c.block);
    handles.set(c.db, await b.build());
  },
  // {db, url, checkpoint?, pollMs?}: open for reading, following the newest state unless a checkpoint is given
  async reader(c) {
    const { store, name } = locate(c.url);
    const b = new S.DbReaderBuilder(name, store);
    if (c.checkpoint) b.with_checkpoint_id(c.checkpoint);
    b.with_options({ manifest_poll_interval_ms: c.pollMs ?? 3600000, checkpoint_lifetime_ms: 86400000, max_memtable_bytes: 1 << 26, skip_wal_replay: false });
    handles.set(c.db, await b.build());
  },
  // {db, from?, to?, prefix?, desc?}: lines {key, value}
  async scan(c, emit) {
    await scan(handle(c), c, (kv) => emit({ key: b64(kv.key), value: b64(kv.value) }));
  },
  // {db, keys}: lines {value}, null where there is none
  async get(c, emit) {
    for (let i = 0; i < c.keys.length; i += 64) {
      const values = await Promise.all(c.keys.slice(i, i + 64).map((k) => handle(c).get(bytes(k))));
      for (const v of values) emit({ value: v === undefined ? null : b64(v) });
    }
  },
  // {db, ops: [{key, value?}], volatile?}: one batch; without a value it is a delete
  async write(c) {
    const wb = new S.WriteBatch();
    for (const o of c.ops) o.value === undefined ? wb.delete(bytes(o.key)) : wb.put(bytes(o.key), bytes(o.value));
    const w = await handle(c).write_with_options(wb, { await_durable: !c.volatile });
    return { seq: num(w.seqnum) };
  },
  // {db, key, value} and {db, key}: one durable write
  async put(c) { await handle(c).put(bytes(c.key), bytes(c.value ?? "")); },
  async delete(c) { await handle(c).delete(bytes(c.key)); },
  // {db, memtable?}: the log durable, or the memtable in L0 as well
  async flush(c) {
    await handle(c).flush_with_options({ flush_type: c.memtable ? S.FlushType.MemTable : S.FlushType.Wal });
  },
  async status(c) {
    const s = handle(c).status();
    return { durableSeq: num(s.durable_seq), closed: s.close_reason };
  },
  // {url}: lines {wal, kind, key, value, seq, created}, the rows of the log, and a line {wal} for an object without rows
  async wal(c, emit) {
    const { store, name } = locate(c.url);
    for (const file of await new S.WalReader(name, store).list(undefined, undefined)) {
      const wal = num(file.id());
      const it = await file.iterator();
      let rows = 0;
      for (let r; (r = await it.next()) !== undefined; rows++) {
        emit({ wal, kind: r.kind, key: b64(r.key), value: r.value === undefined ? undefined : b64(r.value), seq: num(r.seq), created: num(r.create_ts) });
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
