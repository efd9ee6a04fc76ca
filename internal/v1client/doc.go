// Package v1client is a device of the bundle protocol v1, held in memory, that believes nothing: every
// answer is held against what the protocol promises, and the first broken promise is a *Violation that
// names the rule. It shares no code with the server, its hash included, so that both cannot be wrong
// in the same way.
package v1client
