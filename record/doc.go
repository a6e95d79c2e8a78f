// Package record keeps tables of Protobuf records in an ordered store, by
// descriptor: it knows no Go types. A record is the wire form of a Protobuf
// message, and it is stored as it came; keys, indexes and conditions are read
// straight from its bytes.
//
// # Schemas
//
// A [Schema] is one message with its primary key and its indexes. It comes from
// a .proto file, compiled at run time without protoc ([CompileProto],
// [CompileFS]), from a message descriptor with a definition beside it
// ([FromMessage]), or from the database itself ([DB.Table]). In a .proto,
//
//	import "stele/options.proto";
//
//	message Dog {
//	  string name = 1 [(stele.key) = true];
//	  string breed = 2 [(stele.index) = true];
//	  string chip = 3 [(stele.unique) = true];
//	}
//
// declares a table Dog. The fields with (stele.key) are its primary key, in the
// order in which the message declares them; without any, `string pk = 1` is.
// Whatever source it has, a schema has a text: one .proto file that holds the
// message and all that it refers to.
//
// # Types
//
//	Protobuf                          Kind        value in a key            key  index
//	bool                              Bool        bool                      yes  yes
//	int32 int64 sint* sfixed*         Int         integer                   yes  yes
//	uint32 uint64 fixed*              Uint        integer                   yes  yes
//	float double                      Float       float                     no   yes
//	string                            String      string                    yes  yes
//	bytes                             Bytes       bytes                     yes  yes
//	bytes with (stele.uuid)           UUID        UUID                      yes  yes
//	google.protobuf.Timestamp         Time        time                      yes  yes
//	google.protobuf.Duration          Duration    integer, nanoseconds      yes  yes
//	enum                              Enum        integer                   yes  yes
//	any other message, groups         Message     none                      no   no
//	map                               Map         none                      no   no
//
// A repeated field cannot be a part of the key; in an index it has one entry
// per distinct element. Zero is a value: a field without presence that is
// absent from a record has its zero value (a Timestamp: the null value). Only an
// absent field with presence is null.
//
// # The database
//
// [Open] reads the catalog of a store, which [DB.Define] fills: the tables with
// their ids, indexes and every version of their schemas. It also keeps each
// current schema as text at `__schema__<table>`, and the options that it
// imports at `__schema__/stele/options.proto`, so that whoever holds the bytes
// can read them without this program.
//
// Keys are laid out as described at [Format].
//
// # Rows and queries
//
// [Table.Insert], [Table.Put], [Table.Update] and [Table.Delete] write rows in a
// transaction of [DB.Update], each with its index entries: both change together
// or not at all. A write that is refused changes nothing, so that the others of
// its transaction can go on; many rows in one transaction cost as much each as
// one alone.
//
// A [Query] is a condition, an order and a limit. The planner chooses one range
// of keys, of the rows or of one index: the longest run of parts that the
// condition fixes, then one range; what the range does not hold is tested on the
// record's bytes. [Table.Explain] shows the plan, which depends on the schema
// alone. An order that neither the primary key nor an index has is refused,
// unless a limit bounds the memory that it takes. [ParseFilter] reads conditions
// from text, and [VerifyTable] checks that rows and entries agree.
package record
