package client

import "slices"

// Table is a synced table as the server describes it.
type Table struct {
	Schema      string       `json:"schema"`
	Name        string       `json:"table"`
	Columns     []Column     `json:"columns"`
	PrimaryKey  []string     `json:"primary_key"`
	ForeignKeys []ForeignKey `json:"foreign_keys,omitempty"`
	OwnerColumn string       `json:"owner_column,omitempty"`
	PushPolicy  string       `json:"push_policy,omitempty"`
}

// Column is one column of it.
type Column struct {
	Name string `json:"name"`
	// Kind says how a value is spelled in JSON: integer, decimal, float, boolean, bytes, json, array,
	// object; anything else is text.
	Kind    string `json:"kind"`
	NotNull bool   `json:"not_null,omitempty"`
	// Default is an expression of PostgreSQL.
	Default string `json:"default,omitempty"`
	// Generated, Identity and ServerFilled columns get their value at the server.
	Generated    string `json:"generated,omitempty"`
	Identity     string `json:"identity,omitempty"`
	ServerFilled bool   `json:"server_filled,omitempty"`
}

// readOnly columns are not sent: the server does not hear them.
func (c Column) readOnly() bool { return c.ServerFilled || c.Generated != "" || c.Identity == "always" }

// mayBeLeftOut says that the server finds a value itself.
func (c Column) mayBeLeftOut() bool { return c.readOnly() || c.Default != "" || c.Identity != "" }

// ForeignKey leads to another table, or to its own.
type ForeignKey struct {
	Columns    []string  `json:"columns"`
	References Reference `json:"references"`
	OnDelete   string    `json:"on_delete,omitempty"`
	OnUpdate   string    `json:"on_update,omitempty"`
}

// Reference is where a foreign key leads.
type Reference struct {
	Schema  string   `json:"schema"`
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

func (t Table) column(name string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
}
