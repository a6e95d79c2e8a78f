package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/stele-db/stele/cmd/stele/internal/bundle"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/slate"
)

type serveCmd struct {
	Schema string `arg:"" help:"The .proto file; each message with a key becomes a model."`
	ServeFlags
}

// Help is shown by --help.
func (*serveCmd) Help() string {
	return `Serves the schema's database over gRPC until it gets SIGTERM or an interrupt: the same as the server that create makes. Each model Dog has the methods GetDogsByPk, DeleteDogsByPk, PutDog and BatchPutDogs, each indexed field one more; reflection and health checks are there. Everything written is durable before it is answered.

Example:
  stele serve schema.proto --db file://./data`
}

// Run serves until the program is told to stop.
func (c *serveCmd) Run(e *env) error {
	_, api, err := readSchema(e.ctx, c.Schema)
	if err != nil {
		return err
	}
	noteSkipped(e, api)
	return serve(e.ctx, api, c.ServeFlags, e.stdout, e.stderr)
}

// embeddedCmd is the whole command line of a server made by create.
type embeddedCmd struct {
	ServeFlags
	schema embedded

	Version kong.VersionFlag `help:"Print the version."`
}

const embeddedDescription = `Serves its database over gRPC until it gets SIGTERM or an interrupt. This program was made by "stele create" and holds its schema; clients compile the database.proto that lies beside it.`

// Run serves until the program is told to stop.
func (c *embeddedCmd) Run(e *env) error {
	api, err := c.schema.compile(e.ctx)
	if err != nil {
		return err
	}
	return serve(e.ctx, api, c.ServeFlags, e.stdout, e.stderr)
}

// ServeFlags are the flags of serve and of the servers that create makes.
type ServeFlags struct {
	DB            string        `name:"db" env:"STELE_DB" default:"file://./data" help:"The database, made if it is not there."`
	Listen        string        `default:"localhost:50051" help:"Host and port to listen at, without encryption: keep it on loopback or a private network."`
	Grace         time.Duration `default:"10s" help:"How long requests under way may take after SIGTERM."`
	MaxDeleteRows int           `default:"100000" help:"How many records one delete may remove."`
	writerFlags
}

// writerFlags say how a command that stays a writer opens the database.
type writerFlags struct {
	NoCompaction bool `help:"Leave compaction to \"stele slate compactor\", which must run then: this writer never compacts."`
}

// options are those of the engine.
func (f writerFlags) options() (o slate.Options) {
	if f.NoCompaction {
		o.CompactL0 = -1
	}
	return o
}

// serve answers requests until ctx ends, then lets those under way finish and
// closes the database.
func serve(ctx context.Context, api *server.API, flags ServeFlags, stdout, stderr io.Writer) (err error) {
	// The port comes first: a server that was started twice must fail here,
	// before it takes the database away from the one that is running.
	l, err := net.Listen("tcp", flags.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // the server closes it too
	db, err := openForServing(ctx, flags.DB, flags.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	srv, err := server.New(ctx, db, api, server.Options{
		MaxDeleteRows: flags.MaxDeleteRows,
		Logger:        slog.New(slog.NewTextHandler(stderr, nil)),
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "Database server listening at %s\n", l.Addr()); err != nil {
		return err
	}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(l) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), flags.Grace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("requests under way were cut off after the grace of %s", flags.Grace), <-stopped)
	}
	return <-stopped
}

// openForServing opens the database for writing, and makes it if it is not
// there.
func openForServing(ctx context.Context, url string, opts slate.Options) (*record.DB, error) {
	store, err := slatekv.Open(ctx, url, opts)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", url, err)
	}
	db, err := record.Open(ctx, store, record.Options{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", url, err), store.Close())
	}
	return db, nil
}

// readEmbedded returns the schema behind the running program, if it is a
// server that create made.
func readEmbedded() (e embedded, found bool, err error) {
	exe, err := os.Executable()
	if err != nil {
		return e, false, nil // then nobody put anything behind it
	}
	f, err := os.Open(exe)
	if err != nil {
		return e, false, nil
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return e, false, err
	}
	payload, found, err := bundle.Read(f, info.Size())
	if err != nil || !found {
		return e, found, err
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return e, true, fmt.Errorf("%w: %w", bundle.ErrDamaged, err)
	}
	return e, true, nil
}

// commandLine is what arguments are parsed by.
type commandLine struct {
	grammar     any
	name        string
	description string
	serves      bool // runs without arguments
}

// thisProgram is stele, or a server if a schema is embedded.
func thisProgram() (commandLine, error) {
	e, found, err := readEmbedded()
	if err != nil {
		return commandLine{}, err
	}
	if found {
		return commandLine{&embeddedCmd{schema: e}, "server", embeddedDescription, true}, nil
	}
	return commandLine{&commands{}, "stele", description, false}, nil
}
