package server

import (
	"context"
	"sync"
	"time"

	"golang.org/x/mod/semver"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// notice is what the database says to all devices. It is asked once a second, while anybody asks.
type notice struct {
	mutex sync.Mutex
	at    time.Time
	last  db.FrontSettingsRow
}

const noticeAge = time.Second

func (n *notice) read(ctx context.Context, s *Server) db.FrontSettingsRow {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if time.Since(n.at) < noticeAge {
		return n.last
	}
	// Who asked may go away; the answer is for all. Without one, what was said last holds: the request
	// itself meets the trouble.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.QueueTimeout)
	defer cancel()
	if said, err := db.New(s.pool).FrontSettings(ctx); err == nil {
		n.last = said
	}
	n.at = time.Now()
	return n.last
}

// heed refuses devices that have to wait, or to be updated first.
func (c *call) heed() *wire.Error {
	said := c.notice.read(c.client, c.Server)
	if said.InMaintenance {
		return &wire.Error{Code: wire.Maintenance, Message: said.MaintenanceMessage, Retryable: true, RetryAfter: time.Duration(said.RetryAfterSeconds * float64(time.Second))}
	}
	version := c.about.AppVersion
	if said.MinAppVersion == "" || (version == "" && !said.AppVersionRequired) || !older(version, said.MinAppVersion) {
		return nil
	}
	why := "version " + version + " of the app is too old"
	if version == "" {
		why = "the app does not say its version, in the header " + appVersionHeader
	}
	refused := wire.Refuse(wire.ClientTooOld, why+": this server needs "+said.MinAppVersion+". Update the app.")
	refused.Add("min_app_version", said.MinAppVersion)
	return refused
}

// older compares versions; one that cannot be read is older than any.
func older(version, than string) bool { return semver.Compare("v"+version, "v"+than) < 0 }
