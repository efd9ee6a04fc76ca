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

// Hazard is something else that goes wrong.
type Hazard struct {
	Name string
	// Step is the verb of the step that does it, "" where the causal workload does, which has processes
	// to kill.
	Step string
	// Where it strikes, and the oracle that Sees it when it is not borne.
	Where, Sees string
}

// Hazards are all faults that are none of the network.
var Hazards = []Hazard{
	{"several exchanges at once", "twin", "two processes of one device, with one state", "applied once; outboxes drain"},
	{"a herd", "herd", "all devices exchange in the same moment", "applied once; outboxes drain; refusals"},
	{"two processes on one file", "twin", "two connections of client/, which write it in turns", "applied once; devices equal the query"},
	{"a device killed", "kill", "between any two requests; it goes on from the files as they lie there, database and journal", "applied once; nothing acknowledged is missing"},
	{"a full disk", "full", "no connection of the device gets another page, in any statement", "bundles whole; devices equal the query; outboxes drain"},
	{"a process that ends", "sync", "between any two requests; the device goes on from its state", "applied once; devices equal the query"},
	{"a device installed again", "reinstall", "another source; what it had not pushed is lost with it", "applied once; outboxes drain"},
	{"a device restored", "restore", "it knows less than the server knows of it", "applied once; no update is lost; outboxes drain"},
	{"a reader restored, killed, installed again", "reader", "between any two of its requests", "cursors never go back; devices equal the query"},
	{"clocks apart", "edit", "times that devices write are decades apart", "devices equal the query; no update is lost"},
	{"days pass", "tend", "sessions and leases end while they are used", "outboxes drain; refusals"},
	{"away for long", "tend", "the floor of a bucket is raised above where its devices stand", "devices equal the query"},
	{"schema skew", "dba", "columns and tables are added while devices know those of before", "devices equal the query; protocol"},
	{"a restored server", "rewind", "the database is replaced by an older copy of itself; in the traces of the model too", "devices equal the query; applied once; NoRewind; OneHistory"},
	{"connections lost", "tend", "the runtime's connections are ended by the server", "refusals; outboxes drain"},
	{"the runtime forgets", "restart", "a new one takes over between two requests", "applied once; protocol"},
	{"poison rows", "edit", "a constraint refuses a row of a push", "a local edit is never lost without a record; outboxes drain"},
	{"poison rules", "share", "the rule of a row raises at every seal", "nothing leaks; devices equal the query"},
	{"odd strings", "edit", "keys, texts, names of users", "devices equal the query"},
	{"huge bundles", "write", "one transaction over dozens of rows of everybody, in several steps of a seal", "bundles whole; devices equal the query"},
	{"transactions left open", "end", "over any number of steps; prepared, or lost with their session", "every transaction sealed once; the log replays to the tables"},
	{"writes past the triggers", "dba", "what no capture sees, and its mending", "devices equal the query"},
	{"capture paused", "dba", "while devices go on", "bundles whole; devices equal the query"},
	{"access that goes", "share", "a member leaves while his devices read", "nothing leaks"},
	{"network cut", "", "requests and answers of some clients are lost, for a while", "causal consistency; strong convergence"},
	{"processes paused", "", "the runtime is stopped and goes on, in the middle of anything", "causal consistency"},
	{"the runtime killed", "", "kill -9", "atomic visibility; strong convergence"},
	{"PostgreSQL killed", "", "kill -9, as by a power failure", "atomic visibility; strong convergence"},
}
