// Package sim is the simulator: devices, writers and a DBA work on one database, step by step as a
// history says, over networks that lose, repeat, cut and hold, and at every quiet point oracles hold
// what each device has against plain SQL. A history is data: generated from a seed, shrunk when it
// fails, printed and replayed. docs/simulator.md says how to use it.
package sim
