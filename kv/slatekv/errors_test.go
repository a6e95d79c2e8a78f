package slatekv

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/slate"
)

func TestShared(t *testing.T) {
	for _, k := range kinds {
		wrapped := fmt.Errorf("get: %w", k.engine)
		for _, err := range []error{shared(k.engine), shared(wrapped), fmt.Errorf("again: %w", shared(wrapped))} {
			if !errors.Is(err, k.engine) || !errors.Is(err, k.shared) {
				t.Errorf("%v: is engine's %v, is shared %v", k.engine, errors.Is(err, k.engine), errors.Is(err, k.shared))
			}
		}
		if got := shared(wrapped).Error(); got != wrapped.Error() {
			t.Errorf("message %q, want %q", got, wrapped)
		}
	}
	plain := errors.New("plain")
	if shared(nil) != nil || shared(plain) != plain { //nolint:errorlint // the very same error
		t.Error("shared changes what it does not know")
	}
	err := shared(fmt.Errorf("get: %w", &slate.CorruptError{Object: "db/x.sst", Offset: 7, Reason: "checksum"}))
	c, ok := errors.AsType[*kv.CorruptError](err)
	if !ok || *c != (kv.CorruptError{Object: "db/x.sst", Offset: 7, Reason: "checksum"}) {
		t.Errorf("%v holds %+v", err, c)
	}
	if !errors.Is(err, kv.ErrCorrupt) || !errors.Is(err, slate.ErrCorrupt) {
		t.Errorf("%v matches one of two ErrCorrupt at most", err)
	}
}
