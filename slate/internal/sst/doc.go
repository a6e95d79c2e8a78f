// Package sst writes SST objects and reads them through a block cache.
package sst
