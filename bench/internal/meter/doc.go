// Package meter reads what a process has used of the machine: processor time,
// allocations, resident memory. It needs a Unix; what that does not tell is
// zero.
package meter
