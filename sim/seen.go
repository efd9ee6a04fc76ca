package sim

// seen is what a device had reached when it was last looked at, to which it never goes back.
type seen struct {
	stands   map[string]int64 // by bucket, "" for a device that syncs one
	versions map[string]int64 // by row
	// unsure: the server was restored, and since then no exchange of the device, or of what its backup is of,
	// went through. It goes back when it notices.
	unsure, backupUnsure bool
}

// hold looks at what a device has reached by now.
func (s *seen) hold(name string, stands, versions map[string]int64) error {
	for id, version := range versions {
		// Begun anew from a snapshot that has no such row, an edit of the device stands upon nothing.
		if version < s.versions[id] && version != 0 {
			return failed("versions never go back", "%s: row %s went from %d to %d", name, id, s.versions[id], version)
		}
	}
	for bucket, at := range stands {
		if at < s.stands[bucket] {
			return failed("cursors never go back", "%s: bucket %q went from %d to %d", name, bucket, s.stands[bucket], at)
		}
	}
	if s.stands, s.versions = stands, versions; s.unsure {
		s.stands, s.versions = nil, nil
	}
	return nil
}

// exchanged is called when an exchange went through.
func (s *seen) exchanged() { s.unsure = false }

// rewound is called when the server went back.
func (s *seen) rewound() { *s = seen{unsure: true, backupUnsure: true} }

// saved is called when the device was backed up, restored when it became its backup.
func (s *seen) saved() { s.backupUnsure = s.unsure }

func (s *seen) restored() { *s = seen{unsure: s.backupUnsure, backupUnsure: s.backupUnsure} }
