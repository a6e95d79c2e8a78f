// Command memory shows that the engine's memory does not grow with the
// database: it loads rows of 120 bytes in random order into a local folder,
// compacts them, opens the database anew, scans it and gets rows, while the
// resident memory of the whole process has to stay under a limit.
//
//	make memory                      10 million rows
//	make memory ARGS='-rows 1000000' fewer
//
// It prints the settings under which it runs and, of each step, time, processor
// time, peak resident memory, requests to the bucket and their bytes. Every row
// that comes back is checked. The last line says PASS or FAIL, and so does the
// exit code. The folder is removed at the end.
package main
