//go:build deps

// Package deps holds the versions of dependencies that the first packages
// are about to use, until they import them themselves.
package deps

import (
	_ "github.com/alecthomas/kong"
	_ "github.com/aws/aws-sdk-go-v2/config"
	_ "github.com/aws/aws-sdk-go-v2/service/s3"
	_ "github.com/bufbuild/protocompile"
	_ "github.com/google/flatbuffers/go"
	_ "github.com/jedib0t/go-pretty/v6/table"
	_ "github.com/johannesboyne/gofakes3"
	_ "github.com/johannesboyne/gofakes3/backend/s3mem"
	_ "github.com/klauspost/compress/snappy"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/maypok86/otter/v2"
	_ "github.com/oklog/ulid/v2"
	_ "github.com/pierrec/lz4/v4"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/schollz/progressbar/v3"
	_ "go.einride.tech/aip/filtering"
	_ "go.einride.tech/aip/ordering"
	_ "go.uber.org/goleak"
	_ "google.golang.org/grpc"
	_ "google.golang.org/grpc/health"
	_ "google.golang.org/grpc/reflection"
	_ "google.golang.org/protobuf/types/dynamicpb"
	_ "pgregory.net/rapid"
)
