// Package proto holds the .proto files of Stele as they are written, so that a
// program can compile schemas that import them and copy them into a database.
package proto

import "embed"

// Files are the .proto files by the path under which others import them, such
// as "stele/options.proto".
//
//go:embed stele/*.proto
var Files embed.FS

//go:generate go run ../internal/protogen -I . -out .. -module github.com/stele-db/stele stele/options.proto stele/catalog.proto
