// Package format turns SlateDB's files into values and back, and nothing else:
// rows, blocks, Bloom filters, indexes, statistics and infos of SSTs,
// manifests, compactions. It touches no bucket and keeps no state.
//
// # Conventions
//
// Integers of hand-written structures are big endian. Larger structures are
// FlatBuffers, which are little endian, without file identifier or size
// prefix. Every part of an SST is followed by the CRC-32 (IEEE) of its stored
// bytes:
//
//	┌─────────────────────────┬──────────────┐
//	│ compress(raw part)      │ crc32 u32 BE │   Seal, Unseal
//	└─────────────────────────┴──────────────┘
//
// Manifests and compactions files have no checksum; what can be told from
// their content is checked instead.
//
// # Versions
//
// Written is the one form that every SlateDB from 0.12 on reads: SST version
// 2 with a legacy filter, manifest version 1, compactions version 1. Read are
// also SST version 1, composite filters, manifest and compactions version 2.
// A version beyond those is ErrNewer.
//
// # Trust
//
// Decoders trust nothing: any bytes at all give a value or an error, never a
// panic, and memory in proportion to the input, for compressed parts up to
// MaxRaw. Errors say at which offset the bytes contradict the format.
//
// # An SST
//
//	┌────────────────────┐ 0
//	│ data block 0 .. n-1│       rows                      BlockBuilder, DecodeBlock
//	├────────────────────┤ FilterOffset
//	│ filter (optional)  │       Bloom filter              BuildBloom, DecodeFilter
//	├────────────────────┤ IndexOffset
//	│ index              │       separators and offsets    EncodeIndex, DecodeIndex
//	├────────────────────┤ StatsOffset
//	│ stats (optional)   │       counts                    EncodeStats, DecodeStats
//	├────────────────────┤ MetaOffset
//	│ info               │       SSTInfo, uncompressed     EncodeInfo, DecodeInfo
//	├────────────────────┤
//	│ MetaOffset  u64    │                                 AppendFooter, DecodeFooter
//	│ version     u16    │
//	└────────────────────┘
package format
