package v1client

import (
	"context"
	"errors"
)

// Sync brings device and server in step: attach when needed, push, pull, with the rebuilds that the
// server asks for. A lost answer is returned; calling Sync again goes on where it stopped.
func (d *Device) Sync(ctx context.Context) error {
	for try := 0; ; try++ {
		err := d.syncOnce(ctx)
		var refusal *APIError
		if !errors.As(err, &refusal) || try == 5 {
			return err
		}
		switch refusal.Code {
		case "initialization_expired", "initialization_stale":
			continue
		case "source_sequence_out_of_order", "source_sequence_changed", "source_retired":
			if refusal.ReplacedBy != "" && d.reserved == "" {
				d.reserved = refusal.ReplacedBy
			}
			err = d.Rebuild(ctx, refusal.Code)
		case "history_pruned":
			reason := ""
			if refusal.Step != StepPull {
				reason = refusal.Code
			}
			err = d.Rebuild(ctx, reason)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
}

func (d *Device) syncOnce(ctx context.Context) error {
	if !d.attached {
		if _, err := d.Attach(ctx); err != nil {
			return err
		}
	}
	if err := d.Push(ctx); err != nil {
		return err
	}
	if d.initializationID != "" {
		// The edits it was to seed the server with are gone, refused or undone: it begins empty.
		d.attached, d.initializationID = false, ""
		return d.syncOnce(ctx)
	}
	return d.Pull(ctx)
}
