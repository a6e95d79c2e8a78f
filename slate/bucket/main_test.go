package bucket_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child() {
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
