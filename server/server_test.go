package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/tuple"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dogSchema = `syntax = "proto3";
package database;

message Dog {
  string pk = 1;
  string name = 2;
  uint32 age = 3;
  string breed = 4;
}
`

const farmSchema = `syntax = "proto3";
package farm;

import "stele/options.proto";
import "google/protobuf/timestamp.proto";

message Cow {
  uint64 tag = 1 [(stele.key) = true];
  string name = 2 [(stele.index) = true];
  sint64 grams = 3 [(stele.index) = true];
  enum Mood { CALM = 0; WILD = 1; }
  Mood mood = 4 [(stele.index) = true];
  google.protobuf.Timestamp born_at = 5 [(stele.index) = true];
  repeated string colors = 6 [(stele.index) = true];
  string chip = 7 [(stele.unique) = true];
  bool milk = 8 [(stele.index) = true];
  bytes mark = 9 [(stele.index) = true];
}

message Visit {
  string cow = 1 [(stele.key) = true];
  int32 day = 2 [(stele.key) = true];
  Note note = 3;
}

message Note { string text = 1; }
`

// running is a server over an in-memory connection, and a client of it.
type running struct {
	t    *testing.T
	db   *record.DB
	api  *API
	srv  *Server
	conn *grpc.ClientConn
}

func start(t *testing.T, schema string, opts Options, store kv.Store) *running {
	t.Helper()
	ctx := t.Context()
	api, err := Compile(ctx, "schema.proto", map[string]string{"schema.proto": schema})
	if err != nil {
		t.Fatal(err)
	}
	if store == nil {
		store = memkv.New()
	}
	db, err := record.Open(ctx, store, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(ctx, db, api, opts)
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &running{t, db, api, srv, conn}
}

func (r *running) path(method string) string {
	return fmt.Sprintf("/%s/%s", r.api.Service().FullName(), method)
}

// call sends a request written as JSON and returns the reply as compact JSON.
func (r *running) call(ctx context.Context, method, request string) (string, error) {
	r.t.Helper()
	md := r.api.Service().Methods().ByName(protoreflect.Name(method))
	if md == nil {
		r.t.Fatalf("no method %s", method)
	}
	in, out := dynamicpb.NewMessage(md.Input()), dynamicpb.NewMessage(md.Output())
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		r.t.Fatal(err)
	}
	// As generated code writes it: fields ascending, which a dynamic message
	// promises only when asked.
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(in)
	if err != nil {
		r.t.Fatal(err)
	}
	var reply []byte
	if err := r.conn.Invoke(ctx, r.path(method), rawMessage{body}, &reply, grpc.ForceCodec(bytesCodec{})); err != nil {
		return "", err
	}
	if err := proto.Unmarshal(reply, out); err != nil {
		r.t.Fatal(err)
	}
	text, err := protojson.Marshal(out)
	if err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		r.t.Fatal(err)
	}
	return b.String(), nil
}

// want calls and compares the reply.
func (r *running) want(method, request, reply string) {
	r.t.Helper()
	got, err := r.call(r.t.Context(), method, request)
	if err != nil {
		r.t.Errorf("%s %s: %v", method, request, err)
	} else if got != reply {
		r.t.Errorf("%s %s:\n got %s\nwant %s", method, request, got, reply)
	}
}

// refused calls, and checks the status and that its message holds the words.
func (r *running) refused(method, request string, code codes.Code, words ...string) *status.Status {
	r.t.Helper()
	_, err := r.call(r.t.Context(), method, request)
	return r.checkStatus(method+" "+request, err, code, words...)
}

func (r *running) checkStatus(what string, err error, code codes.Code, words ...string) *status.Status {
	r.t.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		r.t.Errorf("%s is %s (%s), want %s", what, st.Code(), st.Message(), code)
	}
	for _, w := range words {
		if !strings.Contains(st.Message(), w) {
			r.t.Errorf("%s says %q, without %q", what, st.Message(), w)
		}
	}
	return st
}

func TestSeedCalls(t *testing.T) {
	t.Run("memkv", func(t *testing.T) { testSeedCalls(t, memkv.New()) })
	t.Run("slatekv", func(t *testing.T) {
		store, err := slatekv.Open(t.Context(), "mem://server/seed", slate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		testSeedCalls(t, store)
	})
}

func testSeedCalls(t *testing.T, store kv.Store) {
	r := start(t, dogSchema, Options{}, store)
	r.want("PutDog", `{"pk":"DOG#1","name":"Rover","age":3,"breed":"Golden Retriever"}`, `{}`)
	r.want("BatchPutDogs", `{"dogs":[{"pk":"DOG#2","name":"Buddy","age":2,"breed":"Labrador"},{"pk":"DOG#3","name":"Max","age":4,"breed":"Poodle"}]}`, `{}`)
	const first = `{"pk":"DOG#1","name":"Rover","age":3,"breed":"Golden Retriever"},{"pk":"DOG#2","name":"Buddy","age":2,"breed":"Labrador"}`
	r.want("GetDogsByPk", `{"begins_with":"DOG#"}`, `{"dogs":[`+first+`,{"pk":"DOG#3","name":"Max","age":4,"breed":"Poodle"}]}`)
	r.want("DeleteDogsByPk", `{"eq":"DOG#3"}`, `{}`)
	r.want("GetDogsByPk", `{"begins_with":"DOG#"}`, `{"dogs":[`+first+`]}`)
}

// pks calls and returns the keys of the reply's dogs.
func (r *running) pks(request string) string {
	r.t.Helper()
	text, err := r.call(r.t.Context(), "GetDogsByPk", request)
	if err != nil {
		r.t.Errorf("%s: %v", request, err)
	}
	var reply struct{ Dogs []struct{ Pk string } }
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, d := range reply.Dogs {
		out = append(out, d.Pk)
	}
	return strings.Join(out, " ")
}

func TestRanges(t *testing.T) {
	r := start(t, dogSchema, Options{}, nil)
	r.want("BatchPutDogs", `{"dogs":[{"pk":"b"},{"pk":"a"},{"pk":"ba"},{"pk":"c"},{"pk":"bb"}]}`, `{}`)
	for request, want := range map[string]string{
		`{"eq":"b"}`:           "b",
		`{"eq":"x"}`:           "",
		`{"eq":""}`:            "",
		`{"gte":"ba"}`:         "ba bb c",
		`{"gte":"bab"}`:        "bb c",
		`{"gte":""}`:           "a b ba bb c",
		`{"gte":"d"}`:          "",
		`{"lte":"ba"}`:         "ba b a",
		`{"lte":"bab"}`:        "ba b a",
		`{"lte":""}`:           "",
		`{"begins_with":"b"}`:  "b ba bb",
		`{"begins_with":"bb"}`: "bb",
		`{"begins_with":"x"}`:  "",
		`{"begins_with":""}`:   "a b ba bb c",
	} {
		if got := r.pks(request); got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
	st := r.refused("GetDogsByPk", `{}`, codes.InvalidArgument, "expression", "begins_with")
	if v := violation(st); v.GetField() != "expression" {
		t.Errorf("the violation names %q", v.GetField())
	}
	r.refused("DeleteDogsByPk", `{}`, codes.InvalidArgument, "expression")

	r.want("DeleteDogsByPk", `{"begins_with":"b"}`, `{}`)
	if got := r.pks(`{"begins_with":""}`); got != "a c" {
		t.Errorf("after deleting b*: %s", got)
	}
	r.want("DeleteDogsByPk", `{"eq":"none"}`, `{}`)
	r.want("DeleteDogsByPk", `{"lte":"b"}`, `{}`)
	r.want("DeleteDogsByPk", `{"gte":"b"}`, `{}`)
	if got := r.pks(`{"begins_with":""}`); got != "" {
		t.Errorf("after deleting all: %s", got)
	}
}

func violation(st *status.Status) *errdetails.BadRequest_FieldViolation {
	for _, d := range st.Details() {
		if br, ok := d.(*errdetails.BadRequest); ok && len(br.FieldViolations) > 0 {
			return br.FieldViolations[0]
		}
	}
	return nil
}

func TestPutReplaces(t *testing.T) {
	r := start(t, dogSchema, Options{}, nil)
	r.want("PutDog", `{"pk":"a","name":"Rover","age":3}`, `{}`)
	r.want("PutDog", `{"pk":"a","name":"Buddy"}`, `{}`)
	r.want("BatchPutDogs", `{"dogs":[{"pk":"b","age":1},{"pk":"b","age":2}]}`, `{}`)
	r.want("BatchPutDogs", `{}`, `{}`)
	r.want("GetDogsByPk", `{"begins_with":""}`, `{"dogs":[{"pk":"a","name":"Buddy"},{"pk":"b","age":2}]}`)
}

func TestIndexes(t *testing.T) {
	r := start(t, farmSchema, Options{}, nil)
	r.want("BatchPutCows", `{"cows":[
		{"tag":7,"name":"Ada","grams":-5,"mood":"WILD","born_at":"2020-01-02T03:04:05Z","colors":["red","white"],"chip":"c1","milk":true,"mark":"AQID"},
		{"tag":30,"name":"Adele","grams":900,"born_at":"2021-01-02T03:04:05.5Z","colors":["red","red"],"chip":"c2","mark":"AQ=="},
		{"tag":200,"name":"Zoe","grams":10,"chip":"c3","milk":true,"mark":"/w=="}]}`, `{}`)
	for _, c := range []struct{ method, request, want string }{
		{"GetCowsByPk", `{"eq":"30"}`, "30"},
		{"GetCowsByPk", `{"gte":"8"}`, "30 200"},
		{"GetCowsByPk", `{"lte":"199"}`, "30 7"},
		{"GetCowsByPk", `{"begins_with":""}`, "7 30 200"},
		{"GetCowsByName", `{"begins_with":"Ad"}`, "7 30"},
		{"GetCowsByName", `{"eq":"Ad"}`, ""},
		{"GetCowsByName", `{"lte":"B"}`, "30 7"},
		{"GetCowsByGrams", `{"gte":"-5"}`, "7 200 30"},
		{"GetCowsByGrams", `{"lte":"899"}`, "200 7"},
		{"GetCowsByMood", `{"eq":"WILD"}`, "7"},
		{"GetCowsByMood", `{"eq":"0"}`, "30 200"},
		{"GetCowsByBornAt", `{"gte":"2020-06-01T00:00:00Z"}`, "30"},
		{"GetCowsByBornAt", `{"lte":"2021-01-02T04:04:05.5+01:00"}`, "30 7"},
		{"GetCowsByBornAt", `{"begins_with":""}`, "200 7 30"},
		{"GetCowsByColors", `{"eq":"red"}`, "7 30"},
		{"GetCowsByColors", `{"begins_with":""}`, "7 30 200"},
		{"GetCowsByColors", `{"begins_with":"w"}`, "7"},
		{"GetCowsByChip", `{"eq":"c3"}`, "200"},
		{"GetCowsByMilk", `{"eq":"true"}`, "7 200"},
		{"GetCowsByMark", `{"eq":"AQ=="}`, "30"},
		{"GetCowsByMark", `{"begins_with":"AQ=="}`, "30 7"},
		{"GetCowsByMark", `{"begins_with":""}`, "30 7 200"},
	} {
		text, err := r.call(t.Context(), c.method, c.request)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.request, err)
			continue
		}
		var reply struct{ Cows []struct{ Tag string } }
		if err := json.Unmarshal([]byte(text), &reply); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, cow := range reply.Cows {
			got = append(got, cow.Tag)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s: %v, want %s", c.method, c.request, got, c.want)
		}
	}
	r.refused("GetCowsByPk", `{"eq":"seven"}`, codes.InvalidArgument, "eq", "tag")
	r.refused("GetCowsByPk", `{"begins_with":"1"}`, codes.InvalidArgument, "begins_with", "gte")
	r.refused("GetCowsByMood", `{"eq":"ANGRY"}`, codes.InvalidArgument, "eq", "mood")
	r.refused("GetCowsByBornAt", `{"gte":"yesterday"}`, codes.InvalidArgument, "gte", "born_at")
	r.refused("GetCowsByColors", `{}`, codes.InvalidArgument, "expression")

	st := r.refused("PutCow", `{"tag":8,"chip":"c1"}`, codes.AlreadyExists, "chip")
	if len(st.Details()) != 1 || st.Details()[0].(*errdetails.ErrorInfo).Metadata["index"] != "chip" {
		t.Errorf("details are %v", st.Details())
	}
	r.want("GetCowsByPk", `{"eq":"8"}`, `{}`)
}

func TestCompositeKey(t *testing.T) {
	r := start(t, farmSchema, Options{}, nil)
	r.want("BatchPutVisits", `{"visits":[{"cow":"b","day":-1},{"cow":"a","day":10},{"cow":"b","day":2},{"cow":"a","day":9,"note":{"text":"hi"}},{"cow":"c","day":0}]}`, `{}`)
	visits := func(keys ...string) string {
		all := map[string]string{
			"a9": `{"cow":"a","day":9,"note":{"text":"hi"}}`, "a10": `{"cow":"a","day":10}`,
			"b-1": `{"cow":"b","day":-1}`, "b2": `{"cow":"b","day":2}`, "c0": `{"cow":"c"}`,
		}
		if len(keys) == 0 {
			return `{}`
		}
		var out []string
		for _, k := range keys {
			out = append(out, all[k])
		}
		return `{"visits":[` + strings.Join(out, ",") + `]}`
	}
	r.want("GetVisitsByPk", `{"begins_with":""}`, visits("a9", "a10", "b-1", "b2", "c0"))
	r.want("GetVisitsByPk", `{"eq":"[\"a\",10]"}`, visits("a10"))
	r.want("GetVisitsByPk", `{"eq":"[\"a\",11]"}`, visits())
	r.want("GetVisitsByPk", `{"gte":"[\"a\",10]"}`, visits("a10", "b-1", "b2", "c0"))
	r.want("GetVisitsByPk", `{"lte":"[\"b\",1]"}`, visits("b-1", "a10", "a9"))
	r.refused("GetVisitsByPk", `{"begins_with":"a"}`, codes.InvalidArgument, "begins_with", "composite")
	r.refused("GetVisitsByPk", `{"eq":"a"}`, codes.InvalidArgument, "eq")
	r.want("DeleteVisitsByPk", `{"gte":"[\"a\",10]"}`, `{}`)
	r.want("GetVisitsByPk", `{"begins_with":""}`, visits("a9"))
}

func TestConcurrentCallers(t *testing.T) {
	r := start(t, farmSchema, Options{}, nil)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 10 {
				cow := fmt.Sprintf(`{"tag":%d,"name":"caller %d","chip":"%d-%d"}`, 100*caller+i+1, caller, caller, i)
				if _, err := r.call(t.Context(), "PutCow", cow); err != nil {
					t.Errorf("put %s: %v", cow, err)
				}
				if _, err := r.call(t.Context(), "GetCowsByName", `{"begins_with":"caller"}`); err != nil {
					t.Errorf("get: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for caller := range 8 {
		text, err := r.call(t.Context(), "GetCowsByName", fmt.Sprintf(`{"eq":"caller %d"}`, caller))
		if n := strings.Count(text, `"tag"`); err != nil || n != 10 {
			t.Errorf("caller %d put 10, found %d, %v", caller, n, err)
		}
	}
}

// Of callers who want the same unique value at once, one gets it, and the others
// are told that it is taken.
func TestConcurrentClaims(t *testing.T) {
	r := start(t, farmSchema, Options{}, nil)
	for round := range 5 {
		var wg sync.WaitGroup
		got := make([]codes.Code, 8)
		for caller := range got {
			wg.Go(func() {
				_, err := r.call(t.Context(), "PutCow", fmt.Sprintf(`{"tag":%d,"chip":"chip %d"}`, 10*round+caller+1, round))
				got[caller] = status.Code(err)
			})
		}
		wg.Wait()
		slices.Sort(got)
		want := []codes.Code{codes.OK}
		if !slices.Equal(got, append(want, slices.Repeat([]codes.Code{codes.AlreadyExists}, 7)...)) {
			t.Errorf("round %d: %v", round, got)
		}
	}
	cows, err := r.db.Table(t.Context(), "Cow")
	if err != nil {
		t.Fatal(err)
	}
	v, err := record.VerifyTable(t.Context(), r.db.Store(), cows)
	if err != nil || !v.OK() || v.Rows != 5 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

func TestBadMessages(t *testing.T) {
	r := start(t, dogSchema, Options{}, nil)
	st := r.refused("PutDog", `{"name":"nobody"}`, codes.InvalidArgument, "pk")
	if violation(st) == nil {
		t.Error("no google.rpc.BadRequest")
	}
	st = r.refused("BatchPutDogs", `{"dogs":[{"pk":"a"},{"name":"nobody"},{"pk":"c"}]}`, codes.InvalidArgument, "dogs[1]", "pk")
	if v := violation(st); v.GetField() != "dogs[1]" {
		t.Errorf("the violation names %q", v.GetField())
	}
	if got := r.pks(`{"begins_with":""}`); got != "" {
		t.Errorf("a refused batch left %s", got)
	}
	for name, req := range map[string][]byte{
		"cut off":    {0x0a, 0x05, 'a'},
		"bad UTF-8":  {0x0a, 0x01, 0xff},
		"wrong type": {0x0a, 0x01, 'a', 0x18 | 5, 1, 0, 0, 0},
		"too deep":   append([]byte{0x0a, 0x01, 'a'}, bytes.Repeat([]byte{0x53}, 1000)...),
	} {
		err := r.raw("PutDog", req, new([]byte))
		r.checkStatus("PutDog "+name, err, codes.InvalidArgument)
		err = r.raw("BatchPutDogs", protowire.AppendBytes([]byte{0x0a}, req), new([]byte))
		r.checkStatus("BatchPutDogs "+name, err, codes.InvalidArgument, "dogs[0]")
	}
	if got := r.pks(`{"begins_with":""}`); got != "" {
		t.Errorf("refused messages left %s", got)
	}
}

// raw sends and receives bytes as they are.
func (r *running) raw(method string, req []byte, reply *[]byte) error {
	return r.conn.Invoke(r.t.Context(), r.path(method), rawMessage{req}, reply, grpc.ForceCodec(bytesCodec{}))
}

type rawMessage struct{ b []byte }

type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return v.(rawMessage).b, nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

// What comes over gRPC is stored byte by byte, and what lies there is served
// so, whoever wrote it: unknown fields, order and repetitions included.
func TestBytesAreTheRecord(t *testing.T) {
	r := start(t, dogSchema, Options{}, nil)
	ctx := t.Context()
	odd := protowire.AppendVarint([]byte{0x18}, 9)                         // age first
	odd = protowire.AppendString(append(odd, 0x0a), "a")                   // then pk
	odd = protowire.AppendVarint(append(odd, 0x18), 3)                     // age again
	odd = protowire.AppendString(protowire.AppendTag(odd, 99, 2), "later") // unknown
	odd = protowire.AppendString(append(odd, 0x12), "")                    // an implicit zero
	if err := r.raw("PutDog", odd, new([]byte)); err != nil {
		t.Fatal(err)
	}
	table, err := r.db.Table(ctx, "Dog")
	if err != nil {
		t.Fatal(err)
	}
	key, err := table.Schema().ParseKey("a")
	if err != nil {
		t.Fatal(err)
	}
	got, err := table.Get(ctx, r.db.Store(), key)
	if err != nil || !bytes.Equal(got, odd) {
		t.Fatalf("stored %x, %v; sent %x", got, err, odd)
	}
	other := append(bytes.Clone(odd), 0x0a, 0x01, 'b')
	if err := r.db.Update(ctx, func(tx *record.Tx) error { return table.Put(ctx, tx, other) }); err != nil {
		t.Fatal(err)
	}
	var reply []byte
	if err := r.raw("GetDogsByPk", queryBytes(fieldBeginsWith, ""), &reply); err != nil {
		t.Fatal(err)
	}
	recs, err := splitList(reply, "dogs")
	if err != nil || len(recs) != 2 || !bytes.Equal(recs[0], odd) || !bytes.Equal(recs[1], other) {
		t.Errorf("served %x, %v", reply, err)
	}
}

// Each side indexes what the other wrote.
func TestGoAndGRPCShareIndexes(t *testing.T) {
	r := start(t, farmSchema, Options{}, nil)
	ctx := t.Context()
	cows, err := r.db.Table(ctx, "Cow")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := cows.Schema().FromJSON([]byte(`{"tag":1,"name":"Go","colors":["red"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.db.Update(ctx, func(tx *record.Tx) error { return cows.Put(ctx, tx, rec) }); err != nil {
		t.Fatal(err)
	}
	r.want("PutCow", `{"tag":2,"name":"gRPC","colors":["red"],"chip":"x"}`, `{}`)
	r.want("GetCowsByColors", `{"eq":"red"}`, `{"cows":[{"tag":"1","name":"Go","colors":["red"]},{"tag":"2","name":"gRPC","colors":["red"],"chip":"x"}]}`)
	var names []string
	where := record.Compare{Field: "colors", Op: record.Has, Value: tuple.String("red")}
	for row, err := range cows.Query(ctx, r.db.Store(), record.Query{Where: where, Using: "colors"}) {
		if err != nil {
			t.Fatal(err)
		}
		m := dynamicpb.NewMessage(cows.Schema().Message())
		if err := proto.Unmarshal(row.Record, m); err != nil {
			t.Fatal(err)
		}
		names = append(names, m.Get(m.Descriptor().Fields().ByName("name")).String())
	}
	if !slices.Equal(names, []string{"Go", "gRPC"}) {
		t.Errorf("Go finds %v", names)
	}
	// A move in the index made by one side is seen by the other.
	r.want("PutCow", `{"tag":1,"name":"Go","colors":["blue"]}`, `{}`)
	r.want("GetCowsByColors", `{"eq":"red"}`, `{"cows":[{"tag":"2","name":"gRPC","colors":["red"],"chip":"x"}]}`)
}

func TestLimits(t *testing.T) {
	r := start(t, dogSchema, Options{MaxRequestBytes: 4000, MaxReplyBytes: 2000, MaxDeleteRows: 3}, nil)
	long := strings.Repeat("x", 900)
	for _, pk := range []string{"a", "b", "c"} {
		r.want("PutDog", `{"pk":"`+pk+`","name":"`+long+`"}`, `{}`)
	}
	if got := r.pks(`{"lte":"b"}`); got != "b a" {
		t.Errorf("under the limit: %s", got)
	}
	st := r.refused("GetDogsByPk", `{"begins_with":""}`, codes.ResourceExhausted, "2000", "narrower")
	if len(st.Details()) != 1 {
		t.Errorf("details are %v", st.Details())
	}
	r.refused("PutDog", `{"pk":"d","name":"`+strings.Repeat("x", 5000)+`"}`, codes.ResourceExhausted, "4000")
	r.want("PutDog", `{"pk":"d"}`, `{}`)
	r.refused("DeleteDogsByPk", `{"begins_with":""}`, codes.ResourceExhausted, "3", "nothing is deleted")
	if got := r.pks(`{"eq":"d"}`); got != "d" {
		t.Error("a refused delete deleted")
	}
	r.want("DeleteDogsByPk", `{"lte":"c"}`, `{}`)
	if got := r.pks(`{"begins_with":""}`); got != "d" {
		t.Errorf("left: %s", got)
	}
}

func TestNewRefuses(t *testing.T) {
	ctx := t.Context()
	api, err := Compile(ctx, "schema.proto", map[string]string{"schema.proto": dogSchema})
	if err != nil {
		t.Fatal(err)
	}
	db, err := record.Open(ctx, memkv.New(), record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = New(ctx, db, api, Options{MaxReplyBytes: -1, MaxDeleteRows: -1})
	if !errors.Is(err, kv.ErrInvalid) || !strings.Contains(err.Error(), "MaxReplyBytes") || !strings.Contains(err.Error(), "MaxDeleteRows") {
		t.Errorf("bad options give %v", err)
	}
	if _, err := New(ctx, db, api, Options{}); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(dogSchema, "uint32 age", "string age", 1)
	api, err = Compile(ctx, "schema.proto", map[string]string{"schema.proto": changed})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(ctx, db, api, Options{}); !errors.Is(err, record.ErrIncompatible) {
		t.Errorf("an incompatible schema gives %v", err)
	}
	grown := strings.Replace(dogSchema, "string breed = 4;", "string breed = 4; repeated string toys = 5;", 1)
	api, err = Compile(ctx, "schema.proto", map[string]string{"schema.proto": grown})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(ctx, db, api, Options{}); err != nil {
		t.Errorf("a grown schema gives %v", err)
	}
}

func TestCompileReportsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		schema string
		words  []string
	}{
		"no key": {"syntax = \"proto3\";\npackage database;\nmessage Dog {\n  string name = 1;\n}\n",
			[]string{"schema.proto:3", "model does not include `string pk = 1;`"}},
		"syntax": {"syntax = \"proto3\";\nmessage Dog {\n", []string{"schema.proto:"}},
		"taken":  {"syntax = \"proto3\";\nmessage Empty { string pk = 1; }\n", []string{"schema.proto", "Empty"}},
	} {
		_, err := Compile(t.Context(), "schema.proto", map[string]string{"schema.proto": c.schema})
		if !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
}

func TestReflection(t *testing.T) {
	r := start(t, dogSchema, Options{}, nil)
	ctx := t.Context()
	stream, err := reflectionv1.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		reply, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	reply := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	var names []string
	for _, s := range reply.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	want := []string{"database.Database", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
	if !slices.Equal(names, want) {
		t.Errorf("services are %v", names)
	}
	for _, symbol := range []string{"database.Database", "database.Dog", "database.Database.PutDog"} {
		reply = ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}})
		files := reply.GetFileDescriptorResponse().GetFileDescriptorProto()
		if len(files) != 1 {
			t.Fatalf("%s: %v", symbol, reply)
		}
		fd := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(files[0], fd); err != nil {
			t.Fatal(err)
		}
		if fd.GetName() != ProtoFile || len(fd.GetMessageType()) != 4 || len(fd.GetService()) != 1 {
			t.Errorf("%s is in %v", symbol, fd)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}

	old, err := reflectionv1alpha.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Send(&reflectionv1alpha.ServerReflectionRequest{MessageRequest: &reflectionv1alpha.ServerReflectionRequest_ListServices{}}); err != nil { //nolint:staticcheck // what older clients speak
		t.Fatal(err)
	}
	if reply, err := old.Recv(); err != nil || len(reply.GetListServicesResponse().GetService()) != 4 { //nolint:staticcheck // as above
		t.Errorf("v1alpha lists %v, %v", reply, err)
	}
}

func TestHealthAndShutdown(t *testing.T) {
	r := start(t, dogSchema, Options{}, nil)
	ctx := t.Context()
	health := healthpb.NewHealthClient(r.conn)
	for _, service := range []string{"", "database.Database"} {
		reply, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, reply, err)
		}
	}
	watch, err := health.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := watch.Recv(); err != nil || reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("watch: %v, %v", reply, err)
	}
	// The watcher does not hold up the shutdown; it is told, or cut off.
	if err := r.srv.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	for {
		reply, err := watch.Recv()
		if err != nil {
			break
		}
		if reply.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			t.Error("serving after shutdown")
		}
	}
	if err := r.srv.Shutdown(ctx); err != nil {
		t.Errorf("second shutdown: %v", err)
	}
}

// slowStore blocks reads of its snapshots until it is told to go on, or their
// context ends.
type slowStore struct {
	kv.Store
	begun chan struct{} // receives when a scan has begun
	ended chan error    // receives the scan's context error
	goOn  chan struct{} // when closed, scans go on
	fail  error         // if set, scans fail so at once
}

func (s *slowStore) Snapshot(ctx context.Context) (kv.Snapshot, error) {
	snap, err := s.Store.Snapshot(ctx)
	return slowSnapshot{snap, s}, err
}

type slowSnapshot struct {
	kv.Snapshot
	store *slowStore
}

func (s slowSnapshot) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := s.store.wait(ctx); err != nil {
		return nil, err
	}
	return s.Snapshot.Get(ctx, key)
}

func (s slowSnapshot) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		if err := s.store.wait(ctx); err != nil {
			yield(kv.Pair{}, err)
			return
		}
		s.Snapshot.Scan(ctx, r)(yield)
	}
}

func (s *slowStore) wait(ctx context.Context) error {
	if s.fail != nil {
		return s.fail
	}
	s.begun <- struct{}{}
	select {
	case <-s.goOn:
		return nil
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return ctx.Err()
	}
}

func TestCancellationReachesTheStore(t *testing.T) {
	store := &slowStore{Store: memkv.New(), begun: make(chan struct{}, 1), ended: make(chan error, 1)}
	r := start(t, dogSchema, Options{}, store)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := r.call(ctx, "GetDogsByPk", `{"begins_with":""}`)
		result <- err
	}()
	<-store.begun
	cancel()
	if err := <-store.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the scan ended with %v", err)
	}
	r.checkStatus("a cancelled get", <-result, codes.Canceled)

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := r.call(ctx, "GetDogsByPk", `{"eq":"a"}`)
	r.checkStatus("a late get", err, codes.DeadlineExceeded)
	<-store.begun
	if err := <-store.ended; err == nil {
		t.Error("the deadline did not reach the store")
	}
}

func TestShutdownWaitsForAnswers(t *testing.T) {
	store := &slowStore{Store: memkv.New(), begun: make(chan struct{}, 2), ended: make(chan error, 1), goOn: make(chan struct{})}
	r := start(t, dogSchema, Options{}, store)
	r.want("PutDog", `{"pk":"a"}`, `{}`)
	result := make(chan string, 1)
	go func() {
		reply, err := r.call(t.Context(), "GetDogsByPk", `{"begins_with":""}`)
		result <- fmt.Sprint(reply, err)
	}()
	<-store.begun
	down := make(chan error, 1)
	go func() { down <- r.srv.Shutdown(t.Context()) }()
	<-r.srv.draining
	select {
	case err := <-down:
		t.Errorf("shut down before the answer: %v", err)
	default:
	}
	close(store.goOn)
	if got := <-result; got != `{"dogs":[{"pk":"a"}]}<nil>` {
		t.Errorf("the request under way got %s", got)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOffWhatTakesTooLong(t *testing.T) {
	store := &slowStore{Store: memkv.New(), begun: make(chan struct{}, 1), ended: make(chan error, 1)}
	r := start(t, dogSchema, Options{}, store)
	result := make(chan error, 1)
	go func() {
		_, err := r.call(t.Context(), "GetDogsByPk", `{"begins_with":""}`)
		result <- err
	}()
	<-store.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	<-store.ended
	if err := <-result; err == nil {
		t.Error("the request was answered")
	}
}

func TestLostDatabaseIsNotServing(t *testing.T) {
	store := &slowStore{Store: memkv.New(), fail: fmt.Errorf("writer 7: %w", kv.ErrFenced)}
	r := start(t, dogSchema, Options{}, store)
	r.refused("GetDogsByPk", `{"begins_with":""}`, codes.Unavailable, "another writer")
	reply, err := healthpb.NewHealthClient(r.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || reply.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health: %v, %v", reply, err)
	}
}
