package sim

import "errors"

// savedServer is a copy of the database as it was, as a backup is.
type savedServer struct {
	database        database
	columns, tables int
}

// saveServer makes a backup. Nobody may be connected then: what is open is lost.
func (w *World) saveServer() error {
	if w.saved != nil {
		w.databases.give(w.saved.database)
		w.saved = nil
	}
	w.leave()
	made, err := w.databases.copyOf(w.ctx, w.database)
	if err != nil {
		return err
	}
	w.saved = &savedServer{made, w.columns, len(w.tables)}
	return w.arrive()
}

// rewind restores the server from its backup, as it was before some of what devices have seen. What they
// had pushed since is lost with the server. An app of protocol v1 cannot tell one history from another, and
// is installed again; the others notice.
func (w *World) rewind() error {
	// A backup of before a change of the schema is one for apps of before it.
	if w.saved == nil || w.saved.columns != w.columns || w.saved.tables != len(w.tables) {
		return nil
	}
	w.leave()
	w.databases.give(w.database)
	w.database, w.saved = w.saved.database, nil
	if err := w.arrive(); err != nil {
		return err
	}
	for _, p := range w.phones {
		if err := p.rewound(); err != nil {
			return err
		}
	}
	for _, r := range w.readers {
		r.kill()
		r.seen.rewound()
	}
	return nil
}

// rewound is what the restored server means for a device: it goes back once, when it notices.
func (p *phone) rewound() error {
	err := p.crash()
	if p.number == 0 {
		err = errors.Join(err, p.install())
	}
	// What does not wait on the device any more the server had taken, whether the exchange came to its end or not.
	for _, e := range p.edits {
		e.lost = e.lost || e.acknowledged || !p.waits(e)
	}
	p.seen.rewound()
	return err
}
