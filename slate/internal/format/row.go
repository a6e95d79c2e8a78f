package format

// Kind tells what a row entry does to its key.
type Kind uint8

const (
	Value     Kind = iota // the key has this value
	Tombstone             // the key is deleted
	Merge                 // the value is an operand to be merged onto what is older
)

// Row is one version of one key, as it stands in a block, a WAL object or a
// memtable. A row handed out by an iterator is valid until its next step.
type Row struct {
	Key   []byte
	Value []byte // empty for a tombstone
	Seq   uint64
	Kind  Kind

	// Milliseconds since the epoch. Rows written by SlateDB always carry a
	// creation time; expiry is there only for rows with a TTL.
	HasCreate, HasExpire bool
	CreateTS, ExpireTS   int64
}
