package sim

import "github.com/pgtide/pgtide/internal/v1client"

// Fault is something that goes wrong with one request of a device.
type Fault struct {
	Name string
	// Where it strikes: any request of the protocol that the schedule picks.
	Where string
	// Sees it: the oracle that fails when the product does not bear it.
	Sees  string
	kind  v1client.Fault
	twice bool
	hold  bool
}

// Faults are all faults of the network. A step picks one by its place here; the first is none.
var Faults = []Fault{
	{Name: "none", Where: "-", Sees: "-"},
	{Name: "request lost", Where: "before the server", Sees: "outboxes drain; nothing lost", kind: v1client.LoseRequest},
	{Name: "response lost", Where: "after the server acted", Sees: "applied once; acknowledged is there", kind: v1client.LoseResponse},
	{Name: "request truncated", Where: "in the body on its way in", Sees: "applied once; bundles whole", kind: v1client.TruncateRequest},
	{Name: "response truncated", Where: "in the body on its way out", Sees: "applied once; devices equal the query", kind: v1client.TruncateResponse},
	{Name: "request twice", Where: "one after the other; the device gets the second answer", Sees: "applied once; same answer", twice: true},
	{Name: "request late", Where: "lost to the device, delivered by a later step, after others", Sees: "applied once; cursors never go back", kind: v1client.DeliverLate},
	{Name: "response held", Where: "the server acted, others go on, the device hears later", Sees: "bundles whole; devices equal the query", hold: true},
}
