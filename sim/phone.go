package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pgtide/pgtide/internal/v1client"
)

// phone is one installation of the app: a device, the processes that exchange for it, and what its
// user did on it.
type phone struct {
	world *World
	name  string
	user  string
	shape shape
	// number is set for devices of client/, from 1 on.
	number int
	tables []v1client.Table
	device Device
	// processes are those under way, each with the state it works on; as a rule there is one.
	processes []*running
	// wires may still have late requests of processes that ended.
	wires    []*wire
	installs int
	backup   Device
	backupAt int
	// full says that its disk is; resting that whoever uses it clears away what was refused.
	full, resting bool
	// restored says that the server knows more of this device than the device does.
	restored bool
	edits    []*localEdit
	refused  []refusedRow
	// gone are the conflicts that were listed on devices that are no more.
	gone []v1client.Conflict
	seen seen
	// lastErr is why the last exchange ended early.
	lastErr error
}

type running struct {
	*process
	device Device
	// upTo is how many edits there were when it began.
	upTo int
}

func (w *World) newPhone(user string, n, number int) (*phone, error) {
	p := &phone{world: w, user: user, name: fmt.Sprintf("%s/%d", user, n), shape: shapes[len(w.phones)%len(shapes)], number: number}
	return p, p.install()
}

// conflicts are those that the user was ever told of, also on a device that is gone.
func (p *phone) conflicts() []v1client.Conflict {
	return append(slices.Clip(p.gone), p.device.Conflicts()...)
}

// become goes on from another state of the device, and ends its processes.
func (p *phone) become(state Device) error {
	next, err := state.Clone()
	if err != nil {
		return err
	}
	if err := errors.Join(p.killAll(), p.device.Close()); err != nil {
		return err
	}
	p.device, p.full = next, false
	return nil
}

// install puts a new device in place of the one there was.
func (p *phone) install() error {
	if p.device != nil {
		p.gone = p.conflicts()
	}
	if err := p.killAll(); err != nil {
		return err
	}
	p.installs++
	p.tables = slices.Clone(p.world.tables)
	device, err := p.fresh()
	if err != nil {
		return err
	}
	if err := p.close(); err != nil {
		return err
	}
	for _, e := range p.edits {
		e.lost = e.lost || !e.acknowledged
	}
	p.device, p.backup, p.restored, p.seen, p.full = device, nil, false, seen{}, false
	return nil
}

func (p *phone) fresh() (Device, error) {
	if p.number > 0 {
		return p.world.newClientDevice(p.user, p.number)
	}
	return newV1Device(p.world.url, p.world.tokenOf(p.user), fmt.Sprintf("%s/%d", p.name, p.installs), p.tables, p.shape)
}

func (p *phone) close() error {
	var errs []error
	for _, d := range []Device{p.device, p.backup} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// crash ends the device's processes as kill -9 does: what is on its disk is what there is from now on.
func (p *phone) crash() error {
	if len(p.processes) == 0 {
		return nil
	}
	return p.become(p.device)
}

func (p *phone) killAll() error { return p.killOthers(nil) }

// killOthers leaves one process.
func (p *phone) killOthers(but *running) error {
	var errs []error
	for _, r := range p.processes {
		if r == but {
			continue
		}
		r.kill()
		if r.device != p.device && (but == nil || r.device != but.device) {
			errs = append(errs, r.device.Close())
		}
	}
	p.processes = nil
	return errors.Join(errs...)
}

func (p *phone) begin(exchange func(context.Context, Device) error) (r *running, err error) {
	r = &running{device: p.device, upTo: len(p.edits)}
	if len(p.processes) > 0 {
		if r.device, err = p.device.Twin(); err != nil {
			return nil, err
		}
	}
	r.process = start(p.world.ctx, p.world.base, func(ctx context.Context, w *wire) error {
		return exchange(context.WithValue(ctx, wireKey{}, w), r.device)
	})
	p.wires = append(p.wires, r.wire)
	p.processes = append(p.processes, r)
	return r, nil
}

func (p *phone) sync() (*running, error) {
	return p.begin(p.exchange())
}

// exchange is what a device does when it syncs. Protocol v1 has it compare a push that got no answer with
// what was committed, which cascades, triggers and columns it does not know make something else: then it
// begins anew, as another source, and may push once more what it pushed. So does a device that was copied back
// from a backup where it finds that its numbers stand for other pushes.
func (p *phone) exchange() func(context.Context, Device) error {
	rules := []string{"already_committed/rows"}
	if p.restored {
		rules = append(rules, "already_committed/row_count", "pull/bundle/source_bundle_id")
	}
	return func(ctx context.Context, d Device) error {
		err := d.Sync(ctx)
		var broken *v1client.Violation
		if !errors.As(err, &broken) || !slices.Contains(rules, broken.Rule) {
			return err
		}
		for _, e := range p.edits {
			e.again = e.again || !e.acknowledged
		}
		if err = d.Replace(ctx); err == nil {
			err = d.Sync(ctx)
		}
		return err
	}
}

// mend has a device of client/ fetch all its buckets anew with the next exchange, or compare what it has with the server.
func (p *phone) mend(how int) error {
	d, is := p.device.(*clientDevice)
	if !is {
		return nil
	}
	if how%2 == 0 {
		err := d.Rebuild(p.world.ctx)
		if p.full && sqliteCode(err) == sqlite3.SQLITE_FULL {
			return nil
		}
		return err
	}
	if _, err := p.begin(func(ctx context.Context, d Device) error {
		_, err := d.(*clientDevice).Verify(ctx)
		return err
	}); err != nil {
		return err
	}
	return p.settle()
}

// twin begins a second exchange beside the one under way.
func (p *phone) twin() error {
	if _, err := p.sync(); err != nil {
		return err
	}
	return p.settle()
}

// advance lets one request of a process go, with a fault.
func (p *phone) advance(which int, fault Fault) error {
	if len(p.processes) == 0 {
		if _, err := p.sync(); err != nil {
			return err
		}
	} else {
		p.processes[which%len(p.processes)].advance(fault)
	}
	return p.settle()
}

// settle looks at the processes after one of them went on.
func (p *phone) settle() error {
	for _, r := range p.processes {
		if !r.ended {
			continue
		}
		// The others were this device's as well: the one that is through is the one that lives.
		if err := p.killOthers(r); err != nil {
			return err
		}
		if p.device != r.device {
			if err := p.device.Close(); err != nil {
				return err
			}
		}
		p.device = r.device
		return p.ended(r)
	}
	return p.hold()
}

// waits says whether an edit is still on the device: it was refused, or needs what was.
func (p *phone) waits(e *localEdit) bool {
	d, is := p.device.(*clientDevice)
	return is && d.waits(e.table, e.key)
}

// ended takes in how an exchange ended.
func (p *phone) ended(r *running) error {
	p.lastErr = r.err
	if err := p.world.lookout.leaked; err != nil {
		return err
	}
	var rejected *v1client.RejectedError
	var refusal *v1client.APIError
	var broken *v1client.Violation
	var lost *v1client.LostError
	switch {
	case r.err == nil:
		p.restored = false
		p.seen.exchanged()
		for _, e := range p.edits[:r.upTo] {
			e.acknowledged = e.acknowledged || !e.lost && !p.waits(e)
		}
	case errors.As(r.err, &rejected):
		for _, row := range rejected.Rows {
			if !expectedRefusal(row) {
				return failed("refusals", "%s: row %q of %s was refused: %+v", p.name, row.Key, row.Table, row)
			}
			p.refused = append(p.refused, refusedRow{row.Table, row.Key})
			// An edit made meanwhile may have taken it back already: then there is nothing to discard.
			_ = p.device.Discard(row.Table, row.Key)
		}
	case errors.As(r.err, &broken):
		return failed("protocol", "%s: %v", p.name, broken)
	case p.number > 0 && expectedClientError(r.err, p.full):
	case errors.As(r.err, &lost), errors.Is(r.err, v1client.ErrPending), errors.Is(r.err, context.Canceled), errors.Is(r.err, errGone):
	case errors.As(r.err, &refusal):
		if !refusal.Retryable && !slices.Contains(passing, refusal.Code) {
			return failed("refusals", "%s: %v", p.name, refusal)
		}
	default:
		var later *v1client.RetryLaterError
		if !errors.As(r.err, &later) {
			return failed("refusals", "%s: %v", p.name, r.err)
		}
	}
	if err := p.clearRefused(); err != nil {
		return err
	}
	return p.hold()
}

// clearRefused is what a user does about edits that wait because they were refused: he sees them, and
// gives every other one up, in the end all.
func (p *phone) clearRefused() error {
	waiting, err := p.device.Refused()
	if err != nil {
		return err
	}
	for _, row := range waiting {
		// push_conflict: somebody else has a row of this key.
		if !expectedRefusal(row) && row.SQLState != "push_conflict" {
			return failed("refusals", "%s: row %q of %s was refused: %+v", p.name, row.Key, row.Table, row)
		}
		if p.refused = append(p.refused, refusedRow{row.Table, row.Key}); len(p.refused)%2 == 0 && !p.resting {
			continue
		}
		err := p.device.Discard(row.Table, row.Key)
		if p.full && sqliteCode(err) == sqlite3.SQLITE_FULL {
			continue // it waits
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passing are refusals that come of requests that were late, or came twice or after days: the next exchange
// goes on.
var passing = []string{"push_session_not_found", "push_chunk_out_of_order", "snapshot_session_not_found", "push_commit_invalid",
	"push_session_expired", "snapshot_session_expired", "initialization_expired"}

// expectedRefusal says whether rows like those of edit may be refused so: by the constraints of the schema.
func expectedRefusal(row v1client.Rejected) bool {
	return slices.Contains([]string{"23514", "23505", "23503", "42501"}, row.SQLState)
}

// saveBackup copies the device's state, as a backup of the phone does.
func (p *phone) saveBackup() error {
	if len(p.processes) > 0 {
		return nil
	}
	backup, err := p.device.Clone()
	if err != nil {
		return err
	}
	if p.backup != nil {
		err = p.backup.Close()
	}
	p.backup, p.backupAt = backup, len(p.edits)
	p.seen.saved()
	return err
}

// fill makes the disk full, or not any more.
func (p *phone) fill(full bool) error {
	d, onDisk := p.device.(*clientDevice)
	if !onDisk || p.full == full {
		return nil
	}
	p.full = full
	return d.setFull(full)
}

// restore puts the state of the backup back.
func (p *phone) restore() error {
	if p.backup == nil {
		return nil
	}
	p.gone = p.conflicts()
	if err := p.become(p.backup); err != nil {
		return err
	}
	for i, e := range p.edits {
		e.again = e.again || i < p.backupAt
		e.lost = e.lost || !e.acknowledged && i >= p.backupAt
	}
	p.restored = true
	p.seen.restored()
	return nil
}

// release delivers what was late.
func (p *phone) release() {
	for _, w := range p.wires {
		w.faults.Release(p.world.ctx)
	}
	running := p.wires[:0]
	for _, r := range p.processes {
		running = append(running, r.wire)
	}
	p.wires = running
}
