package slate

import (
	"context"

	"github.com/stele-db/stele/slate/internal/format"
)

// BlockTransformer changes the blocks of a database on their way to the bucket
// and back, to encrypt them for example. It is given every part of every SST
// and log object: data, index, filter and statistics, after compression and
// before the checksum, which covers what it returns. Encrypt what it is given
// with a nonce of its own, for one block may be written twice.
//
// Not transformed are manifests, compactions files and the info at the end of
// an SST. They show the first and the last key of each SST, sizes, times and
// sequence numbers: what must stay secret belongs into values, or into keys that
// are hidden already.
//
// As in SlateDB, nothing in the database says that there is one, or which.
// Every writer, compactor and reader must have the same, from the database's
// creation on. Open looks at one object first and changes nothing if that
// contradicts the transformer, or its absence; a reader, compactor or tool meets
// the same errors when it reads. They name the object: a *TransformError if
// Decode refused, else a *CorruptError which says that a transformer may be
// missing. What Decode needs to know beside the block, such as the version of a
// key, Encode must put into it; then keys can change, and compaction rewrites
// old blocks in time.
//
// Its methods are called concurrently, for one block each, and hold up the read
// or write that needs it. They must neither change nor keep the argument. What
// they return is the engine's, and may be the argument or a part of it. It may
// be of any length, up to 1 GiB.
type BlockTransformer interface {
	// Encode returns what is stored of a block. It may return something else for
	// the same block each time. An error ends a writer that is about to flush, as
	// a bucket's would; a compaction is tried again.
	Encode(block []byte) ([]byte, error)
	// Decode returns the block that Encode was given for what it returned. It must
	// depend on nothing else, and fail on what it did not make, if it can. The
	// checksum has been verified: whatever damage is meant to be told beyond that,
	// or by somebody's hand, is for Decode to tell. It is not told where a block
	// lies, and so cannot tell exchanged ones.
	Decode(block []byte) ([]byte, error)
}

// checkTransformer refuses a database that was written with another
// transformer, before anything is written to it. It looks at the smallest index
// of an SST, or if there is none at the log.
func (db *DB) checkTransformer(ctx context.Context, m *format.Manifest) error {
	var least *format.SST
	for t := range treeSSTs(m) {
		if least == nil || t.Info.IndexLen < least.Info.IndexLen {
			least = t
		}
	}
	switch {
	case least != nil:
		return db.tables.Open(sstKeys(m, db.root)(least.ID), *least).CheckTransformer(ctx)
	case m.WriterEpoch == 0:
		return nil // new
	}
	return db.logAt.CheckTransformer(ctx, m.ReplayAfterWAL)
}
