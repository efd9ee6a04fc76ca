package v1client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// RetryLaterError says that another device is seeding the server.
type RetryLaterError struct {
	After        time.Duration
	LeaseExpires time.Time
}

func (e *RetryLaterError) Error() string {
	return fmt.Sprintf("another device is initializing: attach again in %s", e.After)
}

// Attach asks the server what it is and who begins: the device seeds the server with its pending rows,
// begins empty, or takes what the server has.
func (d *Device) Attach(ctx context.Context) (resolution string, err error) {
	answer, err := d.call(ctx, http.MethodGet, "/sync/capabilities", nil)
	if err != nil {
		return "", lifecycle(err)
	}
	if err := d.holdCapabilities(answer); err != nil {
		return "", err
	}
	answer, err = d.call(ctx, http.MethodPost, "/sync/connect", map[string]any{"has_local_pending_rows": d.Pending() > 0})
	if err != nil {
		return "", lifecycle(err)
	}
	o := parseObject("connect", answer)
	resolution = o.text("resolution")
	fields := map[string][]string{
		"initialize_local":     {"initialization_id", "lease_expires_at"},
		"initialize_empty":     {},
		"remote_authoritative": {},
		"retry_later":          {"lease_expires_at", "retry_after_seconds"},
	}
	wanted, known := fields[resolution]
	o.require(known, "resolution", "%q is not a resolution", resolution)
	for _, field := range []string{"initialization_id", "lease_expires_at", "retry_after_seconds"} {
		allowed := false
		for _, w := range wanted {
			allowed = allowed || w == field
		}
		o.require(allowed || !o.has(field), field, "the field does not go with %s", resolution)
	}
	var lease time.Time
	var id string
	var after int64
	switch resolution {
	case "initialize_local":
		o.require(d.Pending() > 0, "resolution", "a device without rows is to seed the server")
		id, lease = o.uuid("initialization_id"), o.time("lease_expires_at")
	case "initialize_empty":
		o.require(d.Pending() == 0, "resolution", "a device with rows is to begin empty")
	case "retry_later":
		lease, after = o.time("lease_expires_at"), o.positive("retry_after_seconds")
	}
	if o.err != nil {
		return "", o.err
	}
	switch resolution {
	case "retry_later":
		return resolution, &RetryLaterError{After: time.Duration(after) * time.Second, LeaseExpires: lease}
	case "remote_authoritative":
		if err := d.Rebuild(ctx, ""); err != nil {
			return resolution, err
		}
	}
	d.attached, d.initializationID = true, id
	return resolution, nil
}

func lifecycle(err error) error {
	var refusal *APIError
	if errors.As(err, &refusal) {
		switch refusal.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
	}
	return err
}

func (d *Device) holdCapabilities(answer []byte) error {
	o := parseObject("capabilities", answer)
	version := o.text("protocol_version")
	o.require(version == "v1", "protocol_version", "%q is not v1", version)
	features := parseObject("capabilities/features", o.raw("features"))
	connect := features.has("connect_lifecycle") && features.bool("connect_lifecycle")
	tables := map[string][]string{}
	for _, text := range o.list("registered_table_specs") {
		spec := parseObject("capabilities/registered_table_specs", text)
		name := spec.text("schema") + "." + spec.text("table")
		for _, column := range spec.list("sync_key_columns") {
			tables[name] = append(tables[name], string(column))
		}
		if spec.err != nil {
			return spec.err
		}
	}
	names := o.list("registered_tables")
	o.require(len(names) == len(tables), "registered_tables", "%d names, %d specs", len(names), len(tables))
	before := ""
	for _, text := range names {
		name := parseObject("capabilities/registered_tables", []byte(`{"name":`+string(text)+`}`)).text("name")
		o.require(name > before, "registered_tables", "%q is not after %q", name, before)
		o.require(tables[name] != nil, "registered_tables", "%q has no spec", name)
		before = name
	}
	for _, table := range d.config.Tables {
		key, known := tables[d.config.Schema+"."+table.Name]
		o.require(known && len(key) == len(table.Key), "registered_tables", "table %q is not served, or not with the key %v", table.Name, table.Key)
	}
	if o.err == nil {
		o.err = features.err
	}
	if o.err == nil && !connect {
		return fmt.Errorf("%w: connect_lifecycle is not true", ErrUnsupported)
	}
	return o.err
}
