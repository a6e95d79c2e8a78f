// Package aptindex reads Debian package indexes (the files named Packages that
// apt-get update fetches) and turns their stanzas into the records of
// ../package.proto, one JSON object a line.
//
// It knows nothing of Stele on purpose: Find answers, by looking at every
// record, the questions that the example asks of a database, so that the two
// answers can be held side by side.
package aptindex
