// Package buckettest is the contract of bucket.Bucket as a test suite. Every
// driver passes it; run it on yours, and on a store that is new to you:
//
//	func TestContract(t *testing.T) {
//		buckettest.Run(t, func(t *testing.T) bucket.Bucket { return mybucket.New(t) })
//	}
package buckettest
