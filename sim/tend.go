package sim

import "fmt"

// tend is what happens to the server over time.
func (w *World) tend(what, n int) error {
	switch what % 10 {
	case 0, 1:
		return w.daysPass()
	case 2, 3:
		return w.prune(n)
	case 4:
		return w.dba(`SELECT tide.retry_bucket_failures()`)
	case 5:
		return w.dba(soon, `SELECT tide.refresh('app.board')`)
	case 6:
		return w.dba(soon, `SELECT tide.refresh('app.card', missed_changes => true)`)
	case 7:
		return w.dba(soon, `SELECT tide.refresh('app.paper')`)
	default:
		return w.cutOff()
	}
}

// daysPass sets the clock of the server on, as seen by what ends by itself.
func (w *World) daysPass() error {
	for _, table := range []string{"push_session", "snapshot_session", "scope_lease"} {
		if err := w.dba(`UPDATE tide.` + table + ` SET expires_at = expires_at - interval '3 days'`); err != nil {
			return err
		}
	}
	return nil
}

// prune raises the floor of a bucket to one of its bundles, as retention does: whoever stands below it is
// away for too long.
func (w *World) prune(n int) error {
	bucket := append(users[:len(users):len(users)], "a", "b")[n%(len(users)+2)]
	kind := "user:"
	if len(bucket) == 1 {
		kind = "team:"
	}
	return w.dba(fmt.Sprintf(`INSERT INTO tide.bucket_floor (bucket_id, floor_seq, floor_bundle_id, seal_id, reason)
		SELECT b.bucket_id, b.bundle_seq, b.bundle_id, b.seal_id, 'pruned' FROM tide.bundle_log AS b CROSS JOIN LATERAL tide.bucket_position(b.bucket_id) AS p
		 WHERE b.bucket_id = %s AND b.bundle_id <= tide.head() AND b.bundle_seq > p.floor_seq ORDER BY b.bundle_seq DESC OFFSET %d LIMIT 1`, quote(kind+bucket), n/5%4))
}

// cutOff ends the connections of the runtime, as a restart of PostgreSQL or a failover does.
func (w *World) cutOff() error {
	return w.dba(`SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a WHERE a.datname = current_database() AND a.application_name = 'runtime'`)
}
