package slate_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// encrypted is a slate.BlockTransformer: AES-GCM with a random nonce, which
// stands before what it encrypts.
type encrypted struct {
	aead   cipher.AEAD
	random io.Reader // must be safe for concurrent use
}

// newEncrypted takes a key of 16, 24 or 32 bytes.
func newEncrypted(key []byte, random io.Reader) (*encrypted, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &encrypted{aead, random}, err
}

func (e *encrypted) Encode(block []byte) ([]byte, error) {
	n := e.aead.NonceSize()
	out := make([]byte, n, n+len(block)+e.aead.Overhead())
	if _, err := io.ReadFull(e.random, out); err != nil {
		return nil, err
	}
	return e.aead.Seal(out, out, block, nil), nil
}

func (e *encrypted) Decode(block []byte) ([]byte, error) {
	n := e.aead.NonceSize()
	if len(block) < n {
		return nil, errors.New("block is shorter than a nonce")
	}
	return e.aead.Open(nil, block[:n], block[n:], nil)
}

// Everything that a database stores is encrypted at rest, but for the first and
// the last key of each SST.
func ExampleBlockTransformer() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	var key [32]byte // from where secrets are kept
	cipher, err := newEncrypted(key[:], rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	opts := slate.Options{BlockTransformer: cipher}
	db, err := slate.Open(ctx, "vault", b, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, who := range []string{"alice", "bob", "carol"} {
		if err := db.Put(ctx, []byte(who), []byte(who+" owes 100")); err != nil {
			fmt.Println(err)
		}
	}
	if err := db.Compact(ctx); err != nil {
		fmt.Println(err)
	}
	if err := db.Close(); err != nil {
		fmt.Println(err)
	}

	for _, secret := range []string{"owes", "bob", "alice"} {
		seen := 0
		for o, err := range b.List(ctx, "vault/", "") {
			if err != nil {
				fmt.Println(err)
				return
			}
			if data, err := b.Get(ctx, o.Key); err != nil || bytes.Contains(data, []byte(secret)) {
				seen++
			}
		}
		fmt.Printf("%s can be read in the bucket: %v\n", secret, seen > 0)
	}

	db, err = slate.Open(ctx, "vault", b, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	value, err := db.Get(ctx, []byte("bob"))
	fmt.Println(string(value), err)
	_ = db.Close()

	key[0]++
	opts.BlockTransformer, _ = newEncrypted(key[:], rand.Reader)
	_, err = slate.Open(ctx, "vault", b, opts)
	fmt.Println("another key:", errors.Is(err, slate.ErrTransform))
	// Output:
	// owes can be read in the bucket: false
	// bob can be read in the bucket: false
	// alice can be read in the bucket: true
	// bob owes 100 <nil>
	// another key: true
}
