package server

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// method is one RPC bound to its table.
type method struct {
	Method
	table *record.Table
	field *record.Field // of an index; nil for the primary key
	index string        // its name
	list  string        // the name of the list message's field
}

// handle runs the method on the bytes of a request and returns the reply's.
func (s *Server) handle(ctx context.Context, m *method, req []byte) (mem.BufferSlice, error) {
	switch m.Verb {
	case Get:
		return s.get(ctx, m, req)
	case Delete:
		return nil, s.delete(ctx, m, req)
	case Put:
		return nil, s.put(ctx, m, [][]byte{req}, func(int) string { return "" })
	default:
		recs, err := splitList(req, m.list)
		if err != nil {
			return nil, err
		}
		return nil, s.put(ctx, m, recs, func(i int) string { return fmt.Sprintf("%s[%d]", m.list, i) })
	}
}

func (s *Server) get(ctx context.Context, m *method, req []byte) (mem.BufferSlice, error) {
	q, err := m.query(req)
	if err != nil {
		return nil, err
	}
	l := list{limit: s.opts.MaxReplyBytes}
	err = s.db.View(ctx, func(r kv.Reader) error {
		for row, err := range m.table.Query(ctx, r, q) {
			if err != nil {
				return err
			}
			if !l.add(row.Record) {
				return &exhaustedError{"the reply in bytes", int64(l.limit), "ask for a narrower range"}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l.message(), nil
}

func (s *Server) delete(ctx context.Context, m *method, req []byte) error {
	q, err := m.query(req)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *record.Tx) error {
		var keys []tuple.Tuple
		for row, err := range m.table.Query(ctx, tx, q) {
			if err != nil {
				return err
			}
			if len(keys) == s.opts.MaxDeleteRows {
				return &exhaustedError{"the number of deleted records", int64(len(keys)), "nothing is deleted; delete narrower ranges"}
			}
			key, err := row.Key()
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		for _, key := range keys {
			if _, err := m.table.Delete(ctx, tx, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// put stores records as they are, all of them or none. place names the i-th
// one in messages about it.
func (s *Server) put(ctx context.Context, m *method, recs [][]byte, place func(i int) string) error {
	return s.db.Update(ctx, func(tx *record.Tx) error {
		for i, rec := range recs {
			if err := m.table.Put(ctx, tx, rec); err != nil {
				return at(place(i), err)
			}
		}
		return nil
	})
}

// at says which part of the request an error is about.
func at(place string, err error) error {
	if errors.Is(err, kv.ErrInvalid) {
		return &fieldError{place, err.Error()}
	}
	if place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", place, err)
}

// desc returns the method as grpc takes it.
func (s *Server) desc(m *method) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: m.Name,
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var req []byte
			if err := decode(&req); err != nil {
				return nil, err
			}
			reply, err := s.handle(ctx, m, req)
			if err != nil {
				return nil, s.fail(ctx, m.Name, err)
			}
			return reply, nil
		},
	}
}
