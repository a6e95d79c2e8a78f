// Package catalogpb is proto/stele/catalog.proto as Go: what a database
// remembers of its tables. It is generated but for this file.
package catalogpb
