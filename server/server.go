package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// Options are the settings of a server. The zero value is the default.
type Options struct {
	// MaxRequestBytes is the largest request. A larger one is refused with
	// RESOURCE_EXHAUSTED before it is read. Raised, clients can put more at
	// once and each request may take more memory. Default 16 MiB.
	MaxRequestBytes int
	// MaxReplyBytes is the largest list that a Get returns; a longer one is
	// refused with RESOURCE_EXHAUSTED as soon as it grows over the limit. Raised,
	// each Get may take more memory; lowered, clients must ask for narrower
	// ranges. Clients have limits of their own, 4 MiB in many libraries.
	// Default 64 MiB.
	MaxReplyBytes int
	// MaxDeleteRows is how many records one Delete may remove; one of more is
	// refused with RESOURCE_EXHAUSTED and deletes nothing. Raised, a delete may
	// take more memory and hold up other writers for longer. Default 100,000.
	MaxDeleteRows int
	// Logger takes what clients must not see: errors of the store in full. It
	// is given no values of fields. Default: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	var faults []error
	for _, f := range []struct {
		name  string
		value *int
		def   int
	}{
		{"MaxRequestBytes", &o.MaxRequestBytes, 16 << 20},
		{"MaxReplyBytes", &o.MaxReplyBytes, 64 << 20},
		{"MaxDeleteRows", &o.MaxDeleteRows, 100_000},
	} {
		if *f.value < 0 {
			faults = append(faults, fmt.Errorf("%w: %s is %d, which is negative", kv.ErrInvalid, f.name, *f.value))
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(faults...)
}

// Server serves a database over gRPC. Its methods may be called concurrently.
type Server struct {
	db     *record.DB
	api    *API
	opts   Options
	grpc   *grpc.Server
	health *health.Server

	drain    sync.Once
	draining chan struct{} // closed by Shutdown
}

// New defines the tables of api in db, or lets them grow to it, and returns a
// server for them. The caller keeps db, and closes it after Shutdown. It
// returns kv.ErrInvalid for bad options, and what [record.DB.Define] returns.
func New(ctx context.Context, db *record.DB, api *API, opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	tables, err := db.Define(ctx, api.schemas...)
	if err != nil {
		return nil, err
	}
	s := &Server{db: db, api: api, opts: opts, health: health.NewServer(), draining: make(chan struct{})}
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(newRawCodec()),
		grpc.MaxRecvMsgSize(opts.MaxRequestBytes),
		grpc.StreamInterceptor(s.cutStreams),
	)
	desc := &grpc.ServiceDesc{ServiceName: string(api.Service().FullName()), Metadata: ProtoFile}
	for _, m := range api.bind(tables) {
		desc.Methods = append(desc.Methods, s.desc(m))
	}
	s.grpc.RegisterService(desc, nil)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus(desc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	if err := s.reflect(); err != nil {
		return nil, err
	}
	return s, nil
}

// bind gives each method its table, of which there is one for each schema.
func (a *API) bind(tables []*record.Table) []*method {
	byModel := map[string]*record.Table{}
	for i, s := range a.schemas {
		byModel[string(s.Message().Name())] = tables[i]
	}
	out := make([]*method, len(a.methods))
	for i, m := range a.methods {
		t := byModel[m.Model]
		out[i] = &method{Method: m, table: t, list: snake(m.Model + "s")}
		if m.Field != "" {
			out[i].field, out[i].index = t.Schema().Field(m.Field), indexOf(t.Schema(), m.Field)
		}
	}
	return out
}

// indexOf returns the name of the index over the field alone.
func indexOf(s *record.Schema, field string) string {
	for _, ix := range s.Indexes() {
		if len(ix.Fields()) == 1 && ix.Fields()[0].Name() == field {
			return ix.Name()
		}
	}
	return ""
}

// reflect registers both versions of server reflection.
func (s *Server) reflect() error {
	files := &protoregistry.Files{}
	if err := registerFile(files, s.api.file); err != nil {
		return err
	}
	opts := reflection.ServerOptions{Services: s.grpc, DescriptorResolver: resolvers{files, protoregistry.GlobalFiles}}
	reflectionv1.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(opts))
	reflectionv1alpha.RegisterServerReflectionServer(s.grpc, reflection.NewServer(opts)) // older clients speak nothing else
	return nil
}

// registerFile registers f and all that it imports.
func registerFile(files *protoregistry.Files, f protoreflect.FileDescriptor) error {
	if _, err := files.FindFileByPath(f.Path()); err == nil {
		return nil
	}
	for i := range f.Imports().Len() {
		if err := registerFile(files, f.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	return files.RegisterFile(f)
}

// resolvers asks each resolver in turn.
type resolvers []protodesc.Resolver

// FindFileByPath returns the first answer.
func (r resolvers) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	for _, x := range r {
		if f, err := x.FindFileByPath(path); err == nil {
			return f, nil
		}
	}
	return nil, protoregistry.NotFound
}

// FindDescriptorByName returns the first answer.
func (r resolvers) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	for _, x := range r {
		if d, err := x.FindDescriptorByName(name); err == nil {
			return d, nil
		}
	}
	return nil, protoregistry.NotFound
}

// fail turns an error into the client's status, logs what the client does not
// see, and reports the service as not serving once the database is lost.
func (s *Server) fail(ctx context.Context, name string, err error) error {
	st := toStatus(name, err)
	switch st.Code() {
	case codes.Unavailable, codes.Unknown, codes.DataLoss, codes.FailedPrecondition, codes.Internal:
		s.opts.Logger.ErrorContext(ctx, "request failed", "method", name, "code", st.Code().String(), "error", err)
	}
	if errors.Is(err, kv.ErrFenced) || errors.Is(err, kv.ErrClosed) {
		s.health.Shutdown()
	}
	return st.Err()
}

// Serve answers requests on l, which it closes, until Shutdown. It returns nil
// after Shutdown, else why it stopped.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// cutStreams ends the streams of reflection and health watches when the server
// drains: clients keep them open for as long as they live, and nobody waits for
// an answer.
func (s *Server) cutStreams(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	done := make(chan error, 1)
	go func() { done <- handler(srv, stream) }() // ends with the stream
	select {
	case err := <-done:
		return err
	case <-s.draining:
		return status.Error(codes.Unavailable, "the server is shutting down")
	}
}

// Shutdown reports the service as not serving, refuses new requests and waits
// until those under way are answered. When ctx ends first it cancels them and
// returns the context's error. The database stays open.
func (s *Server) Shutdown(ctx context.Context) error {
	s.health.Shutdown()
	s.drain.Do(func() { close(s.draining) })
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-drained
		return ctx.Err()
	}
}
