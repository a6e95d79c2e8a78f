// Generates real SlateDB databases with the published npm binding (@slatedb/uniffi)
// and records what the engine itself reads back in expected.json.
//
//   node make-fixtures.mjs --set small --out DIR [--seed N] [--only name,name]
//   node make-fixtures.mjs --set heldout --out DIR --seed 90210
//
// Each fixture is DIR/<name>/db/... (object store root = DIR/<name>, db path = "db")
// plus DIR/<name>/expected.json.
import fs from "node:fs";
import path from "node:path";
import crypto from "node:crypto";
import * as S from "@slatedb/uniffi";

const args = Object.fromEntries(process.argv.slice(2).join(" ").split("--").filter(Boolean)
  .map((s) => { const [k, ...v] = s.trim().split(/\s+/); return [k, v.join(" ")]; }));
const OUT = path.resolve(args.out ?? "./slatedb-0.12.1");
const SET = args.set ?? "small";
const BIG = SET === "heldout";
const SEED = Number(args.seed ?? (BIG ? 90210 : 7));
const ONLY = args.only ? new Set(args.only.split(",")) : null;

// ---------- small helpers ----------
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const b = (s) => Buffer.from(s);
const b64 = (u8) => Buffer.from(u8).toString("base64");
function rng(seed) { // splitmix-like 32-bit generator, good enough for test data
  let a = (seed ^ 0x9e3779b9) >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const R = rng(SEED);
const rint = (lo, hi) => lo + Math.floor(R() * (hi - lo + 1));
const rbytes = (n) => { const o = Buffer.alloc(n); for (let i = 0; i < n; i++) o[i] = rint(0, 255); return o; };
const rtext = (n) => { let s = ""; const w = ["alpha", "beta", "gamma", "delta", "omega", "slate", "store"]; while (s.length < n) s += w[rint(0, w.length - 1)] + " "; return b(s.slice(0, n)); };
const pad = (n, w = 6) => String(n).padStart(w, "0");

function settings(over = {}) {
  const s = S.Settings.default();
  const base = { flush_interval: "20ms", manifest_poll_interval: "100ms", garbage_collector_options: null, compactor_options: null };
  for (const [k, v] of Object.entries({ ...base, ...over })) s.set(k, JSON.stringify(v));
  return s;
}
const COMPACT = (o = {}) => ({
  compactor_options: {
    poll_interval: "50ms", manifest_update_timeout: "300s", max_sst_size: 268435456,
    max_concurrent_compactions: 4, max_fetch_tasks: 4,
    scheduler_options: { min_compaction_sources: "2", max_compaction_sources: "8", include_size_threshold: "4.0" }, ...o,
  },
});
const NOWAIT = { await_durable: false };
const NOTTL = { ttl: S.Ttl.Default() };
const SCAN = { durability_filter: S.DurabilityLevel.Memory, dirty: false, read_ahead_bytes: 1 << 20, cache_blocks: false, max_fetch_tasks: 4, order: undefined };
const ALL = { start: undefined, start_inclusive: true, end: undefined, end_inclusive: true };

// byte-concatenation merge operator: associative, order revealing
const CONCAT = { merge: (_k, existing, operand) => Buffer.concat([existing ? Buffer.from(existing) : Buffer.alloc(0), Buffer.from(operand)]) };

async function scanAll(h) {
  const it = await h.scan_with_options(ALL, SCAN);
  const out = [];
  for (;;) {
    const kv = await it.next();
    if (!kv) break;
    out.push(kv);
  }
  return out;
}
const rowsOf = (kvs) => kvs.map((r) => ({
  k: b64(r.key), v: b64(r.value), seq: Number(r.seq), create_ts: Number(r.create_ts),
  ...(r.expire_ts === undefined ? {} : { expire_ts: Number(r.expire_ts) }),
}));

class Fx {
  constructor(name, notes, extra = {}) {
    this.name = name; this.notes = notes; this.extra = extra;
    this.dir = path.join(OUT, name); fs.rmSync(this.dir, { recursive: true, force: true });
    fs.mkdirSync(this.dir, { recursive: true });
    this.store = S.ObjectStore.resolve("file://" + this.dir);
    this.settings = {};
  }
  async open(over = {}, { merge, block, wal } = {}) {
    const bld = new S.DbBuilder("db", this.store);
    bld.with_settings(settings(over));
    this.settings = { ...this.settings, ...over };
    if (merge) { bld.with_merge_operator(merge); this.extra.merge_operator = "byte-concat"; }
    if (block) { bld.with_sst_block_size(block); this.extra.sst_block_size = block; }
    if (wal) bld.with_wal_object_store(wal);
    return bld.build();
  }
  async reader({ merge, wal, options, checkpoint } = {}) {
    const rb = new S.DbReaderBuilder("db", this.store);
    if (merge) rb.with_merge_operator(merge);
    if (wal) rb.with_wal_object_store(wal);
    if (options) rb.with_options(options);
    if (checkpoint) rb.with_checkpoint_id(checkpoint);
    return rb.build();
  }
  files() {
    const out = {};
    const walk = (d) => { for (const e of fs.readdirSync(d, { withFileTypes: true })) { const p = path.join(d, e.name); if (e.isDirectory()) walk(p); else if (e.name !== "expected.json") out[path.relative(this.dir, p)] = fs.statSync(p).size; } };
    walk(this.dir);
    return out;
  }
  // Read back through a *copy* so that opening a reader (which writes a checkpoint
  // into the manifest) does not change the fixture itself.
  async finish({ merge, wal = false, order } = {}) {
    const tmp = fs.mkdtempSync(path.join(OUT, ".tmp-"));
    fs.cpSync(this.dir, tmp, { recursive: true });
    const st = S.ObjectStore.resolve("file://" + tmp);
    const rb = new S.DbReaderBuilder("db", st);
    if (merge) rb.with_merge_operator(merge);
    if (wal) rb.with_wal_object_store(S.ObjectStore.resolve("file://" + tmp + "/walstore"));
    const rd = await rb.build();
    const kvs = await scanAll(rd);
    await rd.shutdown();
    fs.rmSync(tmp, { recursive: true, force: true });
    const rows = rowsOf(kvs);
    const j = {
      engine: "slatedb 0.12.1 (npm @slatedb/uniffi 0.12.1)", fixture: this.name, db_path: "db", notes: this.notes,
      settings: this.settings, ...this.extra, count: rows.length,
      files: this.files(), live: rows,
    };
    // head pretty-printed, one row per line to keep the file small and diffable
    const { live, ...head } = j;
    const lines = live.map((r) => "  " + JSON.stringify(r)).join(",\n");
    fs.writeFileSync(path.join(this.dir, "expected.json"),
      JSON.stringify(head, null, 1).replace(/\n}$/, `,\n "live": [\n${lines}\n ]\n}\n`));
    const total = Object.values(j.files).reduce((a, c) => a + c, 0);
    console.log(`${this.name.padEnd(28)} live=${rows.length} files=${Object.keys(j.files).length} bytes=${total}`);
    return j;
  }
}
const put = (db, k, v) => db.put_with_options(k, v, NOTTL, NOWAIT);
const del = (db, k) => db.delete_with_options(k, NOWAIT);
const flushWal = (db) => db.flush_with_options({ flush_type: S.FlushType.Wal });
const flushMem = (db) => db.flush_with_options({ flush_type: S.FlushType.MemTable });
// "Crash": keep the files as they are now, without the clean-shutdown flush.
async function crashCopy(fx, db) {
  const snap = fx.dir + ".crash";
  fs.rmSync(snap, { recursive: true, force: true });
  fs.cpSync(fx.dir, snap, { recursive: true });
  await db.shutdown();
  fs.rmSync(fx.dir, { recursive: true, force: true });
  fs.renameSync(snap, fx.dir);
}

// ---------- just enough FlatBuffers reading to find checkpoint ids in a manifest ----------
export function readManifest(file) {
  const buf = fs.readFileSync(file);
  const version = buf.readUInt16BE(0);
  const d = buf.subarray(2);
  const fld = (t, i) => { const vt = t - d.readInt32LE(t); return 4 + 2 * i < d.readUInt16LE(vt) ? d.readUInt16LE(vt + 4 + 2 * i) : 0; };
  const root = d.readUInt32LE(0);
  const ref = (t, i) => { const o = fld(t, i); return o ? t + o + d.readUInt32LE(t + o) : 0; };
  const u64 = (t, i) => { const o = fld(t, i); return o ? d.readBigUInt64LE(t + o) : 0n; };
  const vec = (p) => (p ? Array.from({ length: d.readUInt32LE(p) }, (_, k) => p + 4 + 4 * k + d.readUInt32LE(p + 4 + 4 * k)) : []);
  const ck = vec(ref(root, version === 1 ? 11 : 12)).map((c) => {
    const id = ref(c, 0);
    const hex = u64(id, 0).toString(16).padStart(16, "0") + u64(id, 1).toString(16).padStart(16, "0");
    return { id: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"), manifest_id: Number(u64(c, 1)) };
  });
  const runs = vec(ref(root, version === 1 ? 9 : 10)).map((r) => { const o = fld(r, 0); return { id: o ? d.readUInt32LE(r + o) : 0, ssts: vec(ref(r, 1)).length }; });
  return { version, writer_epoch: Number(u64(root, 3)), compactor_epoch: Number(u64(root, 4)), replay_after_wal_id: Number(u64(root, 5)), l0: vec(ref(root, version === 1 ? 8 : 9)).length, runs, checkpoints: ck };
}
const latestManifest = (fx) => { const d = path.join(fx.dir, "db/manifest"); const f = fs.readdirSync(d).filter((x) => x.endsWith(".manifest")).sort().at(-1); return { file: f, ...readManifest(path.join(d, f)) }; };
async function waitFor(fx, cond, ms = 15000) {
  const t0 = Date.now();
  for (;;) {
    const m = latestManifest(fx);
    if (cond(m)) return m;
    if (Date.now() - t0 > ms) throw new Error(fx.name + ": timed out waiting for manifest state " + JSON.stringify(m));
    await sleep(50);
  }
}

// ---------- fixtures ----------
const F = {};

F["wal-only"] = async (n) => {
  const fx = new Fx(n, "Nothing flushed to L0: all rows live in WAL SSTs (several files, incl. overwrite, delete, empty value). Files captured before clean shutdown.");
  const db = await fx.open();
  for (let i = 0; i < (BIG ? 400 : 40); i++) { await put(db, b("key" + pad(i, 4)), rtext(rint(1, BIG ? 300 : 30))); if (i % (BIG ? 50 : 10) === 9) await flushWal(db); }
  await put(db, b("empty-value"), Buffer.alloc(0));
  await put(db, b("key0003"), b("overwritten"));
  await del(db, b("key0005"));
  await flushWal(db);
  const batch = new S.WriteBatch(); batch.put(b("batch-a"), b("1")); batch.put(b("batch-b"), b("2")); batch.delete(b("key0007"));
  await db.write_with_options(batch, NOWAIT); await flushWal(db);
  await crashCopy(fx, db);
  fx.extra.deleted = ["key0005", "key0007"].map((k) => b64(b(k)));
  await fx.finish();
};

F["annotated"] = async (n) => {
  if (BIG) return;
  const fx = new Fx(n, "Tiny database used for the byte-by-byte examples of a format description (one WAL SST, one L0 SST, one manifest). Re-running the generator changes ids and timestamps.");
  const db = await fx.open({ flush_interval: "10s" });
  await put(db, b("apple"), b("red")); await put(db, b("apricot"), b("orange"));
  const wb = new S.WriteBatch(); wb.delete(b("avocado")); wb.put_with_options(b("banana"), b("yellow"), { ttl: S.Ttl.ExpireAt(4102444800000) });
  await db.write_with_options(wb, NOWAIT);
  await flushWal(db); await flushMem(db);
  await crashCopy(fx, db);
  await fx.finish();
};

F["l0-flushed"] = async (n) => {
  const fx = new Fx(n, "Three L0 SSTs (overlapping keys, newest wins), compactor off, plus a WAL tail not yet in L0.");
  const db = await fx.open();
  for (let f = 0; f < 3; f++) {
    for (let i = 0; i < (BIG ? 700 : 120); i++) await put(db, b("k" + pad(rint(0, BIG ? 1500 : 200), 5)), b(`f${f}-` + rtext(rint(5, 60))));
    await flushMem(db);
  }
  await put(db, b("tail-1"), b("only-in-wal")); await put(db, b("k00000"), b("newest-in-wal")); await flushWal(db);
  await crashCopy(fx, db);
  await fx.finish();
};

F["sorted-runs"] = async (n) => {
  const fx = new Fx(n, "Compacted database: at least two sorted runs (one made of several SSTs because max_sst_size is small) and possibly L0s. Key ranges overlap between runs.");
  const o = COMPACT({ max_sst_size: BIG ? 60000 : 20000, scheduler_options: { min_compaction_sources: "4", max_compaction_sources: "4", include_size_threshold: "1.5" } });
  const db = await fx.open(o);
  const rounds = BIG ? 12 : 8, per = BIG ? 640 : 200, space = BIG ? 4000 : 1200;
  for (let f = 0; f < rounds; f++) {
    const m = f < 4 ? per * 2 : per / 4; // big first runs, small later ones => size tiers stay separate
    for (let i = 0; i < m; i++) await put(db, b("user:" + pad(rint(0, space), 7)), b(`r${f}:` + rtext(rint(10, 50))));
    for (let i = 0; i < m / 20; i++) await del(db, b("user:" + pad(rint(0, space), 7)));
    await flushMem(db);
    if (f % 4 === 3) await waitFor(fx, (x) => x.l0 === 0);
  }
  const m = await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 2);
  fx.extra.sorted_runs = m.runs;
  await db.shutdown();
  await fx.finish();
};

F["deletes"] = async (n) => {
  const fx = new Fx(n, "Tombstones in WAL, L0 and sorted runs; keys deleted then re-put; a key deleted that never existed; bottom-level compaction has dropped some tombstones.");
  let db = await fx.open(COMPACT());
  const N = BIG ? 1500 : 200;
  for (let i = 0; i < N; i++) await put(db, b("d" + pad(i)), b("v" + i));
  await flushMem(db);
  for (let i = 0; i < N; i += 2) await del(db, b("d" + pad(i)));
  await flushMem(db);
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  await db.shutdown();
  db = await fx.open({ compactor_options: null });
  for (let i = 1; i < N; i += 4) await del(db, b("d" + pad(i)));
  await del(db, b("never-existed"));
  await flushMem(db);
  for (let i = 0; i < N; i += 8) await put(db, b("d" + pad(i)), b("again" + i));
  for (let i = 3; i < N; i += 16) await del(db, b("d" + pad(i)));
  await flushWal(db);
  await crashCopy(fx, db);
  const m = latestManifest(fx); fx.extra.sorted_runs = m.runs; fx.extra.l0_count = m.l0;
  await fx.finish();
};

F["empty-run"] = async (n) => {
  const fx = new Fx(n, "Every key was deleted and compacted to the bottom: the manifest holds a sorted run with zero SSTs. One later row sits in L0.");
  const db = await fx.open(COMPACT());
  for (let i = 0; i < 30; i++) await put(db, b("e" + pad(i, 3)), b("v" + i));
  await flushMem(db);
  for (let i = 0; i < 30; i++) await del(db, b("e" + pad(i, 3)));
  await flushMem(db);
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  await put(db, b("survivor"), b("1"));
  await flushMem(db);
  await crashCopy(fx, db);
  fx.extra.sorted_runs = latestManifest(fx).runs;
  fx.extra.deleted = Array.from({ length: 30 }, (_, i) => b64(b("e" + pad(i, 3))));
  await fx.finish();
};

F["merges"] = async (n) => {
  const fx = new Fx(n, "Merge operands (operator = byte concatenation, existing ++ operand) in WAL, L0 and sorted runs; operands on top of values, on missing keys, on tombstones; values put on top of operands.");
  const M = { merge: CONCAT };
  let db = await fx.open(COMPACT(), M);
  const mg = (k, v) => db.merge_with_options(k, v, { ttl: S.Ttl.Default() }, NOWAIT);
  const N = BIG ? 800 : 30;
  for (let i = 0; i < N; i++) await put(db, b("m" + pad(i, 4)), b("base" + i));
  for (let i = 0; i < N; i += 2) await mg(b("m" + pad(i, 4)), b("+a" + i));
  for (let i = 0; i < 6; i++) await mg(b("only-operands"), b("<" + i + ">"));
  await flushMem(db);
  for (let i = 0; i < N; i += 3) await mg(b("m" + pad(i, 4)), b("+b" + i));
  await del(db, b("m0004")); await mg(b("m0004"), b("after-delete"));
  await flushMem(db);
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  await db.shutdown();
  db = await fx.open({ compactor_options: null }, M);
  for (let i = 0; i < 4; i++) await mg(b("only-operands"), b("{" + i + "}"));
  for (let i = 0; i < N; i += 5) await mg(b("m" + pad(i, 4)), b("+c" + i));
  await flushMem(db);
  for (let i = 0; i < N; i += 6) await mg(b("m" + pad(i, 4)), b("+w" + i));
  await put(db, b("m0006"), b("reset")); await mg(b("m0006"), b("+1")); await mg(b("m0006"), b("+2"));
  await flushWal(db);
  await crashCopy(fx, db);
  await fx.finish({ merge: CONCAT });
};

F["ttl"] = async (n) => {
  const fx = new Fx(n, "Rows with expire_ts: already expired, far-future (year 2100) and none; in WAL, L0 and a sorted run. Reads do NOT hide expired rows: they disappear only when a memtable flush or a compaction rewrites them, so expired rows still physically present are listed in live. create_ts/expire_ts are ms since the epoch.");
  let db = await fx.open(COMPACT());
  const far = 4102444800000, N = BIG ? 1000 : 40;
  const w = (k, v, ttl) => db.put_with_options(k, v, { ttl }, NOWAIT);
  for (let i = 0; i < N; i++) await w(b("t" + pad(i, 4)), b("v" + i), i % 3 === 0 ? S.Ttl.ExpireAt(far + i) : i % 3 === 1 ? S.Ttl.NoExpiry() : S.Ttl.ExpireAfterTicks(1));
  await flushMem(db);
  for (let i = 0; i < N; i += 4) await w(b("t" + pad(i, 4)), b("w" + i), S.Ttl.ExpireAt(far));
  await sleep(20);
  await flushMem(db);
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  await db.shutdown();
  db = await fx.open({ compactor_options: null, default_ttl: 4102444800000 });
  for (let i = 0; i < 10; i++) await w(b("u" + pad(i, 4)), b("x" + i), i % 2 ? S.Ttl.ExpireAfterTicks(1) : S.Ttl.Default());
  await w(b("t0001"), b("shadowed-by-expired"), S.Ttl.ExpireAfterTicks(1));
  await flushMem(db);
  for (let i = 10; i < 16; i++) await w(b("u" + pad(i, 4)), b("x" + i), i % 2 ? S.Ttl.ExpireAfterTicks(1) : S.Ttl.NoExpiry());
  await flushWal(db); await sleep(20);
  await crashCopy(fx, db);
  await fx.finish();
};

for (const codec of ["Snappy", "Zlib", "Lz4", "Zstd"]) {
  F["codec-" + codec.toLowerCase()] = async (n) => {
    const fx = new Fx(n, `compression_codec = ${codec} in WAL SSTs, L0s and a sorted run; mix of compressible and random values.`);
    let db = await fx.open({ ...COMPACT(), compression_codec: codec, min_filter_keys: 50 });
    const N = BIG ? 600 : 150;
    for (let f = 0; f < 2; f++) {
      for (let i = 0; i < N; i++) await put(db, b("c" + pad(i * (f + 1), 5)), i % 5 ? rtext(rint(20, 120)) : rbytes(rint(20, 120)));
      await flushMem(db);
    }
    await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
    await db.shutdown();
    db = await fx.open({ compactor_options: null, compression_codec: codec, min_filter_keys: 50 });
    for (let i = 0; i < N; i += 3) await put(db, b("c" + pad(i, 5)), rtext(40));
    await flushMem(db);
    for (let i = 0; i < 20; i++) await put(db, b("w" + pad(i, 5)), rtext(40));
    await flushWal(db);
    await crashCopy(fx, db);
    await fx.finish();
  };
}

F["bloom"] = async (n) => {
  const fx = new Fx(n, "One L0 SST with many keys so that a Bloom filter block (10 bits/key, legacy form) is written (min_filter_keys default 1000); second L0 below the threshold (no filter).");
  const db = await fx.open();
  const N = BIG ? 5000 : 1500;
  for (let i = 0; i < N; i++) await put(db, b("bloom/" + pad(i * 7, 7)), b("v" + i));
  await flushMem(db);
  for (let i = 0; i < 200; i++) await put(db, b("small/" + pad(i, 4)), b("s" + i));
  await flushMem(db);
  await db.shutdown();
  await fx.finish();
};

F["large-values"] = async (n) => {
  const fx = new Fx(n, "Values larger than a block (4 KiB), larger than 64 KiB (single-row blocks), mixed with tiny and empty values.");
  const db = await fx.open();
  const sizes = [0, 1, 100, 4080, 4096, 5000, 9000, 65535, 65536, 70000, ...(BIG ? [200000] : [])];
  for (const s of sizes) { await put(db, b("big" + pad(s, 8)), rtext(Math.max(s, 1)).subarray(0, s)); await put(db, b("big" + pad(s, 8) + "-t"), b("tiny")); }
  await flushMem(db);
  await put(db, b("wal-big"), rbytes(20000)); await put(db, b("wal-after"), b("x")); await flushWal(db);
  await crashCopy(fx, db);
  await fx.finish();
};

F["binary-keys"] = async (n) => {
  const fx = new Fx(n, "Keys with long shared prefixes, 0x00/0xff bytes, one key being a prefix of another, and a 65535-byte key (the maximum). 1 KiB blocks so that there are many index entries.");
  const db = await fx.open({}, { block: S.SstBlockSize.Block1Kib });
  const ks = [];
  for (const x of [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff]) for (let l = 1; l <= 5; l++) ks.push(Buffer.alloc(l, x));
  for (let i = 0; i < 256; i++) ks.push(Buffer.concat([b("p\x00"), Buffer.from([i])]), Buffer.from([0xff, 0xff, i]), Buffer.from([i, 0x00]));
  const long = "shared/prefix/that/is/rather/long/".repeat(4);
  for (let i = 0; i < (BIG ? 700 : 200); i++) ks.push(b(long + pad(i)), b(long + pad(i) + "/child"));
  for (let i = 0; i < (BIG ? 1200 : 100); i++) ks.push(rbytes(rint(1, 40)));
  ks.push(Buffer.alloc(65535, 0x41));
  for (const k of ks) await put(db, k, b("v:" + k.length));
  await flushMem(db);
  for (let i = 0; i < 40; i++) await put(db, ks[rint(0, ks.length - 2)], b("upd" + i));
  await flushWal(db);
  await crashCopy(fx, db);
  await fx.finish();
};

F["many-versions"] = async (n) => {
  const fx = new Fx(n, "Multiple versions of one key inside one memtable/L0 while a snapshot is held (snapshot pins old versions), then compaction with the snapshot released. expected.versions lists what the open snapshot saw.");
  const db = await fx.open(COMPACT());
  for (let i = 0; i < 50; i++) await put(db, b("mv" + pad(i, 3)), b("first" + i));
  await flushWal(db);
  const snap = await db.snapshot();
  for (let v = 0; v < 4; v++) for (let i = 0; i < 50; i++) await put(db, b("mv" + pad(i, 3)), b(`v${v}-${i}`));
  await flushMem(db);
  for (let i = 0; i < 50; i += 5) await del(db, b("mv" + pad(i, 3)));
  await flushMem(db);
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  fx.extra.snapshot_view = rowsOf(await scanAll(snap));
  await db.shutdown();
  await fx.finish();
};

F["checkpoint"] = async (n) => {
  const fx = new Fx(n, "A checkpoint pinned by a reader (24 h lifetime), then more writes and a compaction. expected.checkpoint_view is what a reader opened at that checkpoint id returns.");
  const db = await fx.open(COMPACT());
  for (let i = 0; i < (BIG ? 900 : 80); i++) await put(db, b("ck" + pad(i, 5)), b("old" + i));
  await flushMem(db);
  const rd = await fx.reader({ options: { manifest_poll_interval_ms: 3600000, checkpoint_lifetime_ms: 86400000, max_memtable_bytes: 1 << 26, skip_wal_replay: false } });
  const m0 = await waitFor(fx, (x) => x.checkpoints.length === 1);
  for (let i = 0; i < (BIG ? 900 : 80); i += 2) await put(db, b("ck" + pad(i, 5)), b("new" + i));
  for (let i = 1; i < (BIG ? 900 : 80); i += 10) await del(db, b("ck" + pad(i, 5)));
  await flushMem(db);
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  await put(db, b("after"), b("tail")); await flushWal(db);
  fx.extra.checkpoints = m0.checkpoints;
  fs.cpSync(fx.dir, fx.dir + ".keep", { recursive: true });
  const cr = await fx.reader({ checkpoint: m0.checkpoints[0].id });
  fx.extra.checkpoint_view = rowsOf(await scanAll(cr));
  await cr.shutdown(); await rd.shutdown(); await db.shutdown();
  fs.rmSync(fx.dir, { recursive: true, force: true }); fs.renameSync(fx.dir + ".keep", fx.dir);
  fx.extra.manifest = latestManifest(fx);
  await fx.finish();
};

F["fenced-writer"] = async (n) => {
  const fx = new Fx(n, "Writer A wrote, writer B opened the same path (epoch bump + empty WAL fence file), A's next write failed with a Fenced close reason, B wrote and crashed. writer_epoch is 2.");
  const a = await fx.open();
  for (let i = 0; i < 10; i++) await put(a, b("a" + i), b("from-a")); await flushWal(a);
  const bdb = await fx.open();
  for (let i = 0; i < 5; i++) await put(bdb, b("b" + i), b("from-b")); await flushWal(bdb);
  let err = null;
  try { await a.put(b("a-late"), b("must-not-exist")); } catch (e) { err = { tag: e.tag, reason: e.reason, message: e.message }; }
  fx.extra.fenced_error = err;
  const keep = fx.dir + ".keep"; fs.cpSync(fx.dir, keep, { recursive: true });
  await bdb.shutdown(); try { await a.shutdown(); } catch { /* fenced */ }
  fs.rmSync(fx.dir, { recursive: true, force: true }); fs.renameSync(keep, fx.dir);
  fx.extra.manifest = latestManifest(fx);
  await fx.finish();
};

F["gc-trimmed"] = async (n) => {
  const fx = new Fx(n, "Garbage collector ran with min_age 0: old manifests, WALs and compacted inputs are gone, so ids do not start at 1.");
  const g = { interval: "100ms", min_age: "0s" };
  const db = await fx.open({ ...COMPACT(), garbage_collector_options: { manifest_options: g, wal_options: g, compacted_options: g, compactions_options: g } });
  for (let f = 0; f < 6; f++) { for (let i = 0; i < (BIG ? 700 : 60); i++) await put(db, b("g" + pad(rint(0, BIG ? 3000 : 150), 5)), b(`f${f}`)); await flushMem(db); }
  await waitFor(fx, (x) => x.l0 === 0 && x.runs.length >= 1);
  await sleep(1500);
  await put(db, b("last"), b("one")); await flushWal(db);
  await crashCopy(fx, db);
  fx.extra.manifest = latestManifest(fx);
  await fx.finish();
};

F["wal-disabled"] = async (n) => {
  const fx = new Fx(n, "wal_enabled = false: rows reach storage only through memtable flushes; wal/ holds only the fence file written at open.");
  const db = await fx.open({ wal_enabled: false });
  for (let i = 0; i < 60; i++) await put(db, b("nw" + pad(i, 4)), b("v" + i));
  await flushMem(db);
  for (let i = 0; i < 60; i += 3) await put(db, b("nw" + pad(i, 4)), b("w" + i));
  await flushMem(db);
  await db.shutdown();
  await fx.finish();
};

F["separate-wal-store"] = async (n) => {
  const fx = new Fx(n, "WAL in a second object store rooted at walstore/ (same db path below it); manifest carries a non-null wal_object_store_uri. Opening without a WAL store must fail.");
  fs.mkdirSync(path.join(fx.dir, "walstore"));
  const wal = S.ObjectStore.resolve("file://" + fx.dir + "/walstore");
  const db = await fx.open({}, { wal });
  for (let i = 0; i < 30; i++) await put(db, b("sw" + pad(i, 4)), b("v" + i));
  await flushMem(db);
  for (let i = 0; i < 10; i++) await put(db, b("sx" + pad(i, 4)), b("v" + i));
  await flushWal(db);
  await crashCopy(fx, db);
  fx.extra.wal_store = "walstore";
  await fx.finish({ wal: true });
};

F["random-soak"] = async (n) => {
  if (!BIG) return;
  const fx = new Fx(n, "Random puts/deletes/merges over random binary keys, several flushes, several sorted runs of several SSTs, WAL tail.");
  const o = COMPACT({ max_sst_size: 50000, scheduler_options: { min_compaction_sources: "3", max_compaction_sources: "4", include_size_threshold: "2.0" } });
  const db = await fx.open({ ...o, min_filter_keys: 200 }, { merge: CONCAT });
  const keys = Array.from({ length: 2500 }, () => rbytes(rint(4, 24)));
  for (let f = 0; f < 11; f++) {
    const ops = f < 3 ? 2500 : 450;
    for (let i = 0; i < ops; i++) {
      const k = keys[rint(0, keys.length - 1)], x = R();
      if (x < 0.7) await put(db, k, rtext(rint(1, 60)));
      else if (x < 0.85) await db.merge_with_options(k, rbytes(rint(1, 8)), { ttl: S.Ttl.Default() }, NOWAIT);
      else await del(db, k);
    }
    if (f === 10) break;
    await flushMem(db);
    if (f % 3 === 2) await waitFor(fx, (x) => x.l0 <= 1);
  }
  await flushWal(db);
  await sleep(500);
  await crashCopy(fx, db);
  fx.extra.manifest = latestManifest(fx);
  await fx.finish({ merge: CONCAT });
};

fs.mkdirSync(OUT, { recursive: true });
let bad = 0;
for (const [name, fn] of Object.entries(F)) {
  if (ONLY && !ONLY.has(name)) continue;
  try { await fn(name); } catch (e) { bad++; console.error("FAILED", name, e.tag ?? "", e.message, e.stack); }
}
process.exit(bad ? 1 : 0);
