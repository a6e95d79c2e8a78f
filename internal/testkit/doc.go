// Package testkit is what the tests of several packages share. Nothing but
// tests imports it.
package testkit
