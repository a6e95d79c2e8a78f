// Package format turns SlateDB's files into values and back, and nothing else:
// rows, blocks, Bloom filters, indexes, SST infos, manifests, compactions.
package format
