package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/semver"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// notice is what the database says to all devices. While anybody asks it is read once a second, by
// one request; the others go by what was said before, and by nothing at first. None waits for it.
type notice struct {
	reading sync.Mutex
	last    atomic.Pointer[said]
}

type said struct {
	db.FrontSettingsRow
	at time.Time
}

const noticeAge = time.Second

func (n *notice) read(ctx context.Context, s *Server) db.FrontSettingsRow {
	last := n.last.Load()
	if (last == nil || time.Since(last.at) >= noticeAge) && n.reading.TryLock() {
		last = n.renew(ctx, s, last)
		n.reading.Unlock()
	}
	if last == nil {
		return db.FrontSettingsRow{}
	}
	return last.FrontSettingsRow
}

func (n *notice) renew(ctx context.Context, s *Server, last *said) *said {
	// Who asked may go away; the answer is for all. Without one, what was said last holds: the request
	// itself meets the trouble.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.QueueTimeout)
	defer cancel()
	fresh := &said{}
	var err error
	if fresh.FrontSettingsRow, err = db.New(s.pool).FrontSettings(ctx); err != nil && last != nil {
		fresh.FrontSettingsRow = last.FrontSettingsRow
	}
	fresh.at = time.Now()
	n.last.Store(fresh)
	return fresh
}

// heed refuses devices that have to wait, or to be updated first.
func (c *call) heed() *wire.Error {
	now := c.notice.read(c.client, c.Server)
	if now.InMaintenance {
		return &wire.Error{Code: wire.Maintenance, Message: now.MaintenanceMessage, Retryable: true, RetryAfter: time.Duration(now.RetryAfterSeconds * float64(time.Second))}
	}
	version := c.about.AppVersion
	if now.MinAppVersion == "" || (version == "" && !now.AppVersionRequired) || !older(version, now.MinAppVersion) {
		return nil
	}
	why := "version " + version + " of the app is too old"
	if version == "" {
		why = "the app does not say its version, in the header " + appVersionHeader
	}
	refused := wire.Refuse(wire.ClientTooOld, why+": this server needs "+now.MinAppVersion+". Update the app.")
	refused.Add("min_app_version", now.MinAppVersion)
	return refused
}

// older compares versions; one that cannot be read is older than any.
func older(version, than string) bool { return semver.Compare("v"+version, "v"+than) < 0 }
