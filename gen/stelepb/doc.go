// Package stelepb is proto/stele/options.proto as Go: the options that make a
// table of a message. It is generated but for this file.
package stelepb
