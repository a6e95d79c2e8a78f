// Package stele keeps Go structs in a bucket: a local folder, memory, or S3. It
// is a typed object database without a server: tables with secondary indexes,
// transactions and their own stored schema, in an LSM tree whose only storage is
// an object store.
//
//	type User struct {
//		ID    string   `stele:"key"`
//		City  string   `stele:"index"`
//		Age   int64    `stele:"index"`
//		Email string   `stele:"unique"`
//		Tags  []string `stele:"index"` // one entry per element
//	}
//
//	var (
//		Users    = stele.NewTable[User, string]("user")
//		UserCity = stele.FieldOf[string](Users, "city")
//		UserAge  = stele.FieldOf[int64](Users, "age")
//	)
//
//	db, err := stele.Open(ctx, "file:///var/lib/app", stele.Options{Tables: []stele.Model{Users}})
//	...
//	defer db.Close()
//
//	err = Users.Insert(ctx, db, &User{ID: "u1", City: "Oslo", Age: 41})
//	user, err := Users.Get(ctx, db, "u1")
//	for user, err := range Users.Where(UserCity.Eq("Oslo"), UserAge.Gt(30)).OrderBy(UserAge).Limit(10).Rows(ctx, db) {
//		...
//	}
//	err = db.Update(ctx, func(tx *stele.Tx) error {
//		user, err := Users.Get(ctx, tx, "u1")
//		if err != nil {
//			return err
//		}
//		user.Age++
//		return Users.Update(ctx, tx, &user)
//	})
//
// # Definitions
//
// A [Table] and the [Field] and index handles on it are variables that know no
// database: they are definitions, and every database that was opened with the
// table understands them. What is wrong with them, such as a field that the
// struct does not have, is collected and returned by [Open], all at once;
// nothing panics while a program starts. Conditions are methods of handles, so
// Go checks their values: a string compared with an int64 field does not
// compile, nor does a write into a [Snapshot].
//
// A row is stored as a Protobuf message that its struct describes; package
// record/structs has the table of types and tags. Fields are known by name: they
// may be reordered and added freely, keep their numbers for ever, and a field
// that is taken out of the struct stays in the stored schema, so that a program
// that still has it goes on working. A row that is written through a struct has
// the fields of that struct and no others.
//
// # Guarantees
//
// A write is durable when its call returns: it survives a crash of the process
// and of the machine. A row and its index entries change together or not at
// all. Transactions are serializable. One process at a time writes; one that
// was deposed gets [ErrFenced] and changes nothing. Any number of processes read
// ([OpenReader]) beside it.
//
// # Below
//
//	record   tables by Protobuf descriptor, without Go types
//	tuple    the order-preserving encoding of keys
//	kv       the ordered, transactional store below records
//	slate    the engine, in the file format of SlateDB; useful alone
//	slate/bucket   the object stores
package stele
